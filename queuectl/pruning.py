"""Removing what ended long ago: jobs, their attempts and their logs together, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from queuectl import files
from queuectl.clock import SECOND
from queuectl.home import Home
from queuectl.model import CANCELLED, COMPLETED
from queuectl.store.base import Store

DEFAULT_STATES = (COMPLETED, CANCELLED)
"""What is removed unless told otherwise. Dead jobs stay: somebody should look at them first."""

_BATCH = 500
"""Jobs that one transaction removes: no worker waits for longer than that takes."""
_PAGES = 2000
"""Pages that one transaction gives back to the file system."""
_BREATH = 0.005
"""Seconds between two transactions: others that wait for the database come in."""


def prune(home: Home, store: Store, states: Collection[str], before: int) -> int:
    """Remove all jobs that are in one of ``states`` since before a time (microseconds); how many there were."""
    removed = 0
    while batch := prune_some(home, store, states, before):
        removed += batch
        time.sleep(_BREATH)
    while removed and store.give_back(_PAGES):
        time.sleep(_BREATH)
    return removed


def prune_some(home: Home, store: Store, states: Collection[str], before: int) -> int:
    """As :func:`prune`, but at most some hundred; how many."""

    def discard(ids: Sequence[str]) -> None:
        for job_id in ids:
            files.remove(home.log(job_id))

    return store.prune(states, before, _BATCH, discard)


class Janitor:
    """Prunes on behalf of the setting ``retention``, in the moments that a worker has to spare.

    Every worker has one. They do not get in each other's way: each takes other jobs.
    """

    PACE = 60.0
    """Seconds between two looks for what has become old."""

    def __init__(self, home: Home, store: Store) -> None:
        self._home = home
        self._store = store
        self._next = 0.0

    def wait(self, retention: float, now: float) -> float | None:
        """Seconds until :meth:`tidy` has something to do, at ``now`` on the monotonic clock; None for never."""
        return max(0.0, self._next - now) if retention else None

    def tidy(self, retention: float, wall: int, now: float) -> None:
        """Remove some of what ended ``retention`` seconds before ``wall``, if it is time to look. Raises ``StoreError``."""
        if not retention or now < self._next:
            return
        removed = prune_some(self._home, self._store, DEFAULT_STATES, wall - round(retention * SECOND))
        more = removed > 0 or self._store.give_back(_PAGES)
        self._next = now + (0.1 if more else self.PACE)
