"""Removing what ended long ago: jobs, their attempts and their logs together, a few at a time.

The jobs go first, and with them, in the same transaction, it is noted that their logs are to go. So a job that is there
has its log, and whoever prunes next sees to the logs that are left when a prune was killed.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from queuectl import locks
from queuectl.clock import SECOND
from queuectl.errors import StoreBusy, StoreError
from queuectl.home import Home
from queuectl.model import CANCELLED, COMPLETED, Pruned
from queuectl.store.base import Store

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger(__name__)

DEFAULT_STATES = (COMPLETED, CANCELLED)
"""What is removed unless told otherwise. Dead jobs stay: somebody should look at them first."""

_BATCH = 500
"""Jobs that one transaction removes: no worker waits for longer than that takes."""
_PAGES = 1000
"""Pages that one transaction gives back to the file system."""
_LOGS = 0.02
"""Seconds that one transaction takes for logs: the removal of a large file takes a while."""
_BREATH = 0.005
"""Seconds at least between two transactions: others that wait for the database come in."""
_RESERVE = 0.25
"""The share of a database that may be free where jobs come and go: new ones take it again."""


def prune(
    home: Home,
    store: Store,
    states: Collection[str],
    before: int,
    on_progress: Callable[[int], None] = lambda jobs: None,
) -> int:
    """Remove all jobs that are in one of ``states`` since before a time (microseconds); how many there were.

    ``on_progress`` is told how many are gone by then. Raises :class:`StoreError`, also for a log that cannot be removed.
    """
    removed, more = 0, True
    while more:
        began = time.monotonic()
        jobs, more = prune_some(home, store, states, before)
        removed += jobs
        on_progress(removed)
        _breathe(began)
    while removed and store.give_back(_PAGES):
        time.sleep(_BREATH)
    return removed


def _breathe(began: float) -> None:
    """Let others in. Who waits for the database looks again after some milliseconds."""
    time.sleep(max(_BREATH, (time.monotonic() - began) / 2))


def prune_some(
    home: Home, store: Store, states: Collection[str], before: int, seconds_for_logs: float = _LOGS
) -> Pruned:
    """As :func:`prune`, but at most some hundred."""
    return store.prune(states, before, _BATCH, lambda ids: _remove_logs(home, ids, seconds_for_logs))


def discard_logs(home: Home, store: Store) -> None:
    """Remove the logs that a prune left behind which was killed. Raises :class:`StoreError`."""
    while prune_some(home, store, (), 0).more:
        time.sleep(_BREATH)


def _remove_logs(home: Home, ids: Sequence[str], patience: float) -> list[str]:
    """Remove logs for so many seconds, one at least; the ids of those that are gone."""
    deadline = time.monotonic() + patience
    gone: list[str] = []
    for job_id in ids:
        _remove_log(home.log(job_id))
        gone.append(job_id)
        if time.monotonic() > deadline:
            break
    return gone


def _remove_log(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        # A directory in its place is nothing that a job wrote.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR) and not os.path.isdir(path):
            raise StoreError(f"cannot remove the log {path}: {error.strerror}") from error


class Janitor:
    """Prunes on behalf of the setting ``retention``, in the moments that a worker has to spare.

    Every worker has one, and one of them at a time is in office.
    """

    PACE = 60.0
    """Seconds between two looks for what has become old."""
    _IDLE_PAUSE, _BUSY_PAUSE = 0.1, 1.0
    """Seconds between two steps, while there is more to do: of a worker without a job, and of one that has one."""

    def __init__(self, home: Home, store: Store) -> None:
        self._home = home
        self._store = store
        self._next = 0.0
        self._lock: FileLock | None = None

    def wait(self, retention: float, now: float) -> float | None:
        """Seconds until :meth:`tidy` has something to do, at ``now`` on the monotonic clock; None for never."""
        return max(0.0, self._next - now) if retention else None

    def is_due(self, now: float) -> bool:
        """Whether it is time to :meth:`tidy`."""
        return now >= self._next

    def tidy(self, retention: float, wall: int, now: float, *, busy: bool = False) -> None:
        """Remove some of what ended ``retention`` seconds before ``wall``, if no other worker does; 0 keeps all.

        A ``busy`` worker has a job to begin, and does it rarely. Raises :class:`StoreError`, and looks again later.
        """
        self._next = now + self.PACE
        if not retention:
            return
        try:
            if not self._takes_office():
                return
            more = self._step(wall - round(retention * SECOND))
        except BaseException:
            self.rest()
            raise
        if more:
            self._next = now + (self._BUSY_PAUSE if busy else self._IDLE_PAUSE)
        if busy or not more:
            self.rest()

    def _step(self, before: int) -> bool:
        """Do a little; whether there is more."""
        jobs, more = prune_some(self._home, self._store, DEFAULT_STATES, before)
        if jobs:  # their logs, too: there may be no other time
            prune_some(self._home, self._store, (), 0)
        return more or self._store.give_back(_PAGES, _RESERVE)

    def _takes_office(self) -> bool:
        if self._lock is None:
            try:
                self._lock = locks.take(self._home.prune_lock, 0)
            except StoreBusy:
                return False
            except OSError as error:
                raise StoreError(f"cannot write in {self._home.run}: {error.strerror}") from error
        return True

    def rest(self) -> None:
        """Leave what is to be done to another worker."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
