"""Waiting for jobs to end, without asking the database more often than it changes."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from queuectl.errors import NoSuchBatch, NoSuchJob, named
from queuectl.model import CANCELLED, DEAD, PENDING, PROCESSING, STATES

if TYPE_CHECKING:
    from queuectl.store.base import Store

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two looks: the first while jobs end one after the other, the second when nothing happens."""


class Watch:
    """Jobs that somebody waits for. Looks only when the database changed."""

    def __init__(self, store: Store, ids: Collection[str] | None, batch: str | None = None) -> None:
        self._store = store
        self._batch = batch
        self._ids = None if ids is None else list(dict.fromkeys(ids))
        self._version = store.version()
        self._interval = _SHORTEST_PAUSE
        self.counts: dict[str, int] = {}
        self._last: dict[str, str] = {}
        self._count()
        if batch is not None and not sum(self.counts.values()):
            raise NoSuchBatch(f"no batch {named(batch)}")
        if self._ids is not None and len(self._last) < len(self._ids):
            missing = [job_id for job_id in self._ids if job_id not in self._last]
            raise NoSuchJob(f"no job {named(', '.join(missing))}")

    @property
    def over(self) -> bool:
        """Whether nothing that is watched waits or runs any more."""
        return self.counts[PENDING] + self.counts[PROCESSING] == 0

    @property
    def all_completed(self) -> bool:
        """Whether all that was watched completed; none of them is dead or was cancelled."""
        return self.over and self.counts[DEAD] + self.counts[CANCELLED] == 0

    def pause(self, longest: float) -> None:
        """Sleep a little, 5 to 100 ms as a rule, less while things change, and at most ``longest`` seconds."""
        time.sleep(max(0.0, min(self._interval, longest)))

    def look(self) -> None:
        """Bring ``counts`` up to date. Jobs that were pruned since count as they were.

        Raises :class:`NoSuchJob` for one of which nobody saw how it ended before it was pruned.
        """
        version = self._store.version()
        if version == self._version:
            self._interval = min(self._interval * 1.5, _LONGEST_PAUSE)
            return
        self._version = version
        started = time.monotonic()
        self._count()
        # Where a look takes long, as with very many jobs, look less often.
        self._interval = max(_SHORTEST_PAUSE, 5 * (time.monotonic() - started))

    def _count(self) -> None:
        if self._batch is not None:
            self.counts = self._store.counts_of_batch(self._batch)
            return
        if self._ids is None:
            self.counts = self._store.counts()
            return
        known = self._store.states(self._ids)
        if len(known) < len(self._last):
            pruned = {job_id: state for job_id, state in self._last.items() if job_id not in known}
            unseen = [job_id for job_id, state in pruned.items() if state in (PENDING, PROCESSING)]
            if unseen:
                raise NoSuchJob(f"job {unseen[0]} was pruned before anybody saw how it ended")
            known |= pruned
        self._last = known
        self.counts = dict.fromkeys(STATES, 0)
        for state in known.values():
            self.counts[state] += 1
