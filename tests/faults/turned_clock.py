"""A wall clock that is turned under running workers. The monotonic one is left alone, as when an administrator does it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from farm import Farm

from queuectl import Queue
from queuectl.clock import SECOND, Clock


class TurnedClock(Clock):
    """The wall clock as all processes of a test see it. It is turned by writing a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def turn(self, seconds: int) -> None:
        """Set the clock forward, or back."""
        self._offset += seconds
        beside = self.path.with_suffix(".new")
        beside.write_text(str(self._offset))
        beside.rename(self.path)

    def now(self) -> int:
        return super().now() + self._offset * SECOND


class TurnedFarm(Farm):
    """A farm all of whose commands, and workers, go by a clock that can be turned."""

    def __init__(self, directory: Path, clock: TurnedClock) -> None:
        self._clock = clock
        super().__init__(directory, copied=True)
        self.queue = Queue(self.home.database, clock=clock)

    def prepare(self) -> Callable[[], None]:
        return partial(_go_by, str(self._clock.path))


def _go_by(path: str) -> None:
    """Have this process, and what it forks, see a wall clock that is by so many seconds off as a file says."""
    real_time_ns = time.time_ns

    def offset() -> int:
        try:
            with open(path, encoding="ascii") as file:
                return int(file.read() or 0)
        except FileNotFoundError:  # nobody has turned the clock yet
            return 0

    time.time_ns = lambda: real_time_ns() + offset() * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9
