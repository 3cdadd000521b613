"""More workers than processors: while these have more than enough to do, some of those whose jobs are short rest a little.

Short jobs come to their ends no sooner by being begun in great numbers at once: each waits for a processor, whose caches
hold what others need, and none of them is short any more. So a worker beyond the first ones leaves the next jobs to others
for a moment, as long as it finds the processors taken, and these others at work. Workers whose jobs take longer, or wait
for something else than a processor, do not rest.
"""

from __future__ import annotations

import os

from queuectl.clock import SYSTEM_CLOCK, Clock
from queuectl.hand import SHORT

_BUSY = 3
"""Processes for each processor of the machine that run or could: with more than that, all processors are taken. While
workers are started, one for each is enough: to start them is what takes the processors."""
_TIRELESS = 2
"""Workers for each processor that they may use, that never rest: while some start processes, others wait for a turn to write."""
_NAP = 0.2
"""Seconds after which who rests looks whether a processor has nothing to do."""
_FIRST_REST, _LONGEST_REST = 2 * _NAP, 8 * _NAP
"""Seconds; each rest is twice as long as the one before, as long as nothing changes."""
_AWAKE = 1.0
"""Seconds without a rest after one in which the others did less than the worker alone would have done."""


class Machine:
    """What this machine has, and has to do; tests hand in others."""

    _load: int | None = None
    """A descriptor that tells anew with each look."""

    def processors(self) -> int:
        """All of its processors."""
        return os.cpu_count() or 1

    def usable_processors(self) -> int:
        """Those that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.processors()

    def ready_processes(self) -> int:
        """Processes that run or could, on all processors; 0 where the system does not tell."""
        try:
            if self._load is None:
                self._load = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
            told = os.pread(self._load, 128, 0)  # such as "0.20 0.18 0.12 1/80 11206"
        except OSError:
            return 0
        return int(told.partition(b"/")[0].rpartition(b" ")[2])


MACHINE = Machine()


class Crowd:
    """Tells a worker, by its number, whether it is in the way of others."""

    def __init__(self, number: int, *, clock: Clock = SYSTEM_CLOCK, machine: Machine = MACHINE) -> None:
        self._clock = clock
        self._machine = machine
        self._is_tireless = number <= _TIRELESS * machine.usable_processors()
        self._rest = 0.0
        self._rested_since = 0.0
        self._awake_until = 0.0
        self._seq = 0
        self._took = 0.0

    def rest_at_first(self) -> float:
        """Seconds for which to claim nothing at first; 0 for not to rest."""
        return self._begin(busy=1)

    def rest(self, took: float, seq: int) -> float:
        """Seconds for which to claim nothing after job ``seq``, which took some seconds; 0 for not to rest."""
        self._seq, self._took = seq, took
        if took > SHORT or self._clock.monotonic() < self._awake_until:
            self._rest = 0.0
            return 0.0
        return self._begin(_BUSY)

    def _begin(self, busy: int) -> float:
        if self._is_tireless or self._machine.ready_processes() <= busy * self._machine.processors():
            self._rest = 0.0
        else:
            self._rest = min(max(_FIRST_REST, 2 * self._rest), _LONGEST_REST)
            self._rested_since = self._clock.monotonic()
        return min(self._rest, _NAP)

    def rest_on(self) -> float:
        """Seconds for which to claim nothing still; 0 when the rest is over, or a processor has nothing to do."""
        # Whoever looks is one of those that run.
        if self._machine.ready_processes() <= max(1, self._machine.processors() - 1):
            return 0.0
        left = round(self._rested_since + self._rest - self._clock.monotonic(), 3)
        return min(max(0.0, left), _NAP)

    def go_on(self, seq: int) -> None:
        """Note which job comes next: those between it and the last one are what others did meanwhile, or most of it."""
        rested = self._clock.monotonic() - self._rested_since
        if self._rest and self._took and (seq - self._seq) * self._took < rested:
            self._awake_until = self._clock.monotonic() + _AWAKE
