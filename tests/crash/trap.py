"""Kill one process of queuectl, or stop it, once, where a function of its own is entered or left.

A profiler's hook does it, so that the program has no places made for tests, and every function is one.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from dataclasses import dataclass
from types import FrameType

from queuectl import hand


@dataclass(frozen=True)
class Trap:
    """A function, and what happens when it is entered (``call``) or left (``return``).

    ``where`` is ``launched`` for the process that is launched, which is the supervisor of ``worker-run``,
    or ``below`` for all that descends from it. It kills itself, or, ``with_supervisor``, both at one stroke, or
    else sends itself another ``signal``. The trap is set as long as the file ``bait`` exists; it is removed then,
    so that there is one only.
    """

    where: str
    event: str
    module: str
    function: str
    bait: str
    with_supervisor: bool = False
    signal: int = signal.SIGKILL
    ahead_for: float | None = None
    """Seconds for which workers hold what they claimed ahead, which they do, however slow the machine is."""

    def set(self) -> None:
        """Have this process, and those that it forks, fall into the trap."""
        if self.ahead_for is not None:
            hand.LONGEST, hand.SHORT = self.ahead_for, math.inf
        launched = os.getpid()

        def look(frame: FrameType, seen: str, argument: object) -> None:
            if seen != self.event or frame.f_code.co_name != self.function:
                return
            if frame.f_globals.get("__name__") != self.module:
                return
            if (os.getpid() == launched) != (self.where == "launched"):
                return
            try:
                os.unlink(self.bait)
            except FileNotFoundError:
                return
            if self.with_supervisor:
                os.kill(launched, signal.SIGKILL)
            os.kill(os.getpid(), self.signal)

        threading.setprofile(look)
        sys.setprofile(look)


def lay_bait(path: str) -> None:
    """Have this process make the bait once it has asked a supervisor to stop: no round before then is meant."""

    def look(frame: FrameType, seen: str, argument: object) -> None:
        if seen == "return" and frame.f_code.co_name == "write_request":
            sys.setprofile(None)
            with open(path, "x"):
                pass

    sys.setprofile(look)
