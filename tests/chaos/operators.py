"""Starters and stoppers of workers, and one who starts them again when nobody else does."""

from __future__ import annotations

import threading
import time
from random import Random

from ground import Answer, Ground

MODES = {"process": ("process",), "thread": ("thread",), "both": ("process", "thread")}
WORKERS = 3

_STOP_PATIENCE = 12.0
"""Seconds that a stop may take beyond its time-out and grace: a locked database, and two busy cores."""
_KILL_GRACE = 0.5
_STOP_TIMEOUT = 2.0

_BROKEN_SETTINGS, _CONFLICT, _DATABASE = 2, 4, 5


def draw_start(ground: Ground, random: Random) -> tuple[str, ...]:
    """Arguments of a start: mode and number of workers."""
    return ("--mode", random.choice(MODES[ground.mode]), "--count", str(random.randint(2, WORKERS + 1)))


def start(ground: Ground, random: Random) -> None:
    """Start workers, sometimes in the foreground, and then sometimes to drain the queue."""
    chance = random.random()
    if chance < 0.75:
        _check_start(ground, ground.run("worker-start", *draw_start(ground, random)))
    else:
        drain = ("--drain",) if chance < 0.85 else ()
        ground.run_foreground("worker-run", *draw_start(ground, random), *drain)


def start_twice(ground: Ground, random: Random) -> None:
    """Two at one moment: at most one may come through while a supervisor lives."""
    commands = [("worker-start", *draw_start(ground, random)) for _ in range(2)]
    threads = [threading.Thread(target=lambda c=c: _check_start(ground, ground.run(*c))) for c in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _check_start(ground: Ground, answer: Answer) -> None:
    # 1: the supervisor was killed before its workers were ready.
    if answer.status > 0 and answer.status not in (1, _BROKEN_SETTINGS, _CONFLICT, _DATABASE):
        ground.ledger.complain(f"worker-start ended with {answer.status}: {answer.complaint.strip()}")


def stop_gently(ground: Ground, random: Random) -> None:
    """Stop, with the time that the settings give."""
    _stop(ground, _STOP_TIMEOUT)


def stop_with_timeout(ground: Ground, random: Random) -> None:
    """Stop, with a time-out."""
    timeout = random.choice((0.0, 0.3, 1.0))
    _stop(ground, timeout, "--timeout", str(timeout))


def stop_now(ground: Ground, random: Random) -> None:
    """Stop at once."""
    _stop(ground, 0.0, "--now")


def _stop(ground: Ground, timeout: float, *arguments: str) -> None:
    begun = time.monotonic()
    answer = ground.run("worker-stop", *arguments)
    took = time.monotonic() - begun
    if answer.status > 0 and answer.status not in (_BROKEN_SETTINGS, _DATABASE):
        ground.ledger.complain(f"worker-stop ended with {answer.status}: {answer.complaint.strip()}")
    if took > timeout + _KILL_GRACE + _STOP_PATIENCE:
        ground.ledger.complain(f"worker-stop {' '.join(arguments)} took {took:.1f} s")


class Caretaker(threading.Thread):
    """Starts workers when none has run for a while: a queue that stands still proves nothing."""

    def __init__(self, ground: Ground, random: Random, over: threading.Event) -> None:
        super().__init__(name="caretaker", daemon=True)
        self._ground, self._random, self._over = ground, random, over

    def run(self) -> None:
        idle_looks = 0
        while not self._over.wait(0.2):
            self._ground.reap_foreground()
            idle_looks = 0 if self._ground.is_running() else idle_looks + 1
            if idle_looks >= 3:
                _check_start(self._ground, self._ground.run("worker-start", *draw_start(self._ground, self._random)))
                idle_looks = 0
