"""More workers than processors: while these have more than enough to do, some of those whose jobs are short rest a little.

Short jobs come to their ends no sooner by being begun in great numbers at once: each waits for a processor, whose caches
hold what others need, and none of them is short any more. So a worker beyond the first ones leaves the next jobs to others
for a moment, as long as it finds the processors taken, and these others at work. Workers whose jobs take longer, or wait
for something else than a processor, do not rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from queuectl import files
from queuectl.clock import SYSTEM_CLOCK, Clock
from queuectl.hand import SHORT

_BUSY = 3
"""Processes for each processor that run or could, from which on all processors are taken."""
_TIRELESS = 2
"""Workers for each processor that never rest: while some start processes, others wait for a turn to write."""
_FIRST_REST, _LONGEST_REST = 0.2, 0.8
"""Seconds; each rest is twice as long as the one before, as long as nothing changes."""
_AWAKE = 1.0
"""Seconds without a rest after one in which the others did less than the worker alone would have done."""


def usable_processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ready_processes() -> int:
    """Processes of the machine that run or could; 0 where the system does not tell."""
    # As in "0.20 0.18 0.12 1/80 11206".
    ready, slash, _ = (files.read_small("/proc/loadavg") or "").partition("/")
    return int(ready.split()[-1]) if slash else 0


class Crowd:
    """Tells a worker, by its number, whether it is in the way of others."""

    def __init__(
        self,
        number: int,
        *,
        clock: Clock = SYSTEM_CLOCK,
        processors: int | None = None,
        ready: Callable[[], int] = ready_processes,
    ) -> None:
        self._clock = clock
        self._ready = ready
        if processors is None:
            processors = usable_processors()
        self._enough = _BUSY * processors
        self._is_tireless = number <= _TIRELESS * processors
        self._rest = 0.0
        self._awake_until = 0.0
        self._seq = 0
        self._took = 0.0

    def rest(self, took: float = 0.0, seq: int = 0) -> float:
        """Seconds for which to claim nothing after job ``seq``, which took some seconds, or at first; 0 for not to rest."""
        if (
            self._is_tireless
            or took > SHORT
            or self._clock.monotonic() < self._awake_until
            or self._ready() <= self._enough
        ):
            self._rest = 0.0
        else:
            self._rest = min(max(_FIRST_REST, 2 * self._rest), _LONGEST_REST)
        self._seq, self._took = seq, took
        return self._rest

    def go_on(self, seq: int) -> None:
        """Note which job comes next: those between it and the last one are what others did meanwhile, or most of it."""
        if self._rest and self._took and (seq - self._seq) * self._took < self._rest:
            self._awake_until = self._clock.monotonic() + _AWAKE
