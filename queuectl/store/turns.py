"""Writers of one queue take turns: who waits for SQLite's lock sleeps for milliseconds, and then longer and longer.

A transaction takes a fraction of one. So before its transaction, a writer takes a lock of the kernel's on
``run/``, and looks again soon when somebody else has it. Nothing relies on this: it is SQLite's lock that keeps
writers apart. Where a turn cannot be had (a stopped writer has it, the file system knows no such locks), the writer
goes on without.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

_LOOKS = 50
"""Looks before the first pause. The system's shortest is half as long again as it is told to be, and where nobody else wants
the processor, it would do nothing; where others do, they get it, and each look costs a microsecond or two."""
_PAUSE = 0.0001
"""Seconds until another look: half of what a transaction takes. Each pause is twice as long as the one before: of many
who wait somebody looks soon, and to look costs each of them as much as a system call or two."""
_LONGEST_PAUSE = 0.05
_LONGEST_OF_USERS = 0.005
"""For who is not eager: somebody waits for a command, and there are not hundreds of them as there may be of workers."""
_PATIENCE = 0.5
"""Seconds that a turn is waited for: by far longer than many writers take, unless one is stopped or its disk is slow."""


class Turns:
    """The turns of one connection's writer, with a lock on ``directory`` of its own; none where that is None.

    One that is ``eager`` looks more often at first: for who has something else to do between two turns. Who has not
    would always be the next again, while others sleep.
    """

    def __init__(self, directory: str | None, *, eager: bool = False) -> None:
        self._directory = directory
        self._eager = eager
        self._descriptor: int | None = None
        self._fcntl: Any

    def take(self, *, patiently: bool = True) -> bool:
        """Wait for a turn, not for long; whether it was had, and must be given back. Not ``patiently``: look once."""
        if self._descriptor is None and not self._open():
            return False
        return self._is_had() or (patiently and (self._is_had_soon() or self._is_had_in_time()))

    def _is_had_soon(self) -> bool:
        """Look again and again, and let others have the processor in between.

        This would keep other threads of this process waiting, and one of these may have the turn.
        """
        if not self._eager or not hasattr(os, "sched_yield") or threading.active_count() > 1:
            return False
        for _ in range(_LOOKS):
            os.sched_yield()
            if self._is_had():
                return True
        return False

    def _is_had_in_time(self) -> bool:
        """Look again after pauses that become longer."""
        pause, until = _PAUSE, time.monotonic() + _PATIENCE
        while not self._is_had():
            if self._descriptor is None or time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE if self._eager else _LONGEST_OF_USERS)
        return True

    def give_back(self) -> None:
        """Let the next writer have its turn."""
        if self._descriptor is None:
            return
        try:  # noqa: SIM105  # a context manager takes longer than the call, with each job
            self._fcntl.flock(self._descriptor, self._fcntl.LOCK_UN)
        except OSError:
            pass  # who waits looks whether the lock is free, and goes on without it after a while

    def close(self) -> None:
        """Close the descriptor. A turn that others opened along with it, by a fork, stays theirs."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> bool:
        directory, self._directory = self._directory, None  # it is tried once
        if directory is None:
            return False
        import fcntl  # commands that only look start faster without

        self._fcntl = fcntl
        with contextlib.suppress(OSError):
            self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._descriptor is not None

    def _is_had(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            self._fcntl.flock(self._descriptor, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            self.close()  # there are no such locks here
            return False
        return True
