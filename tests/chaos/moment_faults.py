"""Kills at the moments that matter: as an attempt begins or ends, as workers start, are replaced, or stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from random import Random

from ground import Ground
from operators import start, stop_gently, stop_now
from process_faults import kill_all, kill_keeper, kill_supervisor, kill_worker, send, sole

_PATIENCE = 1.5
"""Seconds that a moment is waited for."""

_KILLS: tuple[Callable[[Ground, Random], None], ...] = (kill_worker, kill_keeper, kill_supervisor, kill_all)


def kill_as_an_attempt_begins(ground: Ground, random: Random) -> None:
    """Between claim, spawn and note."""
    _await_evidence(ground, "*.began")
    random.choice(_KILLS)(ground, random)


def kill_as_an_attempt_ends(ground: Ground, random: Random) -> None:
    """Between the end of its first process, that of the rest, and the outcome's storing."""
    _await_evidence(ground, "*.done")
    time.sleep(random.choice((0.0, 0.0, random.uniform(0.0, 0.03))))
    random.choice(_KILLS)(ground, random)


def _await_evidence(ground: Ground, pattern: str) -> None:
    former = set(ground.evidence.directory.glob(pattern))
    deadline = time.monotonic() + _PATIENCE
    while set(ground.evidence.directory.glob(pattern)) <= former and time.monotonic() < deadline:
        time.sleep(0.001)


def kill_during_a_start(ground: Ground, random: Random) -> None:
    """While the supervisor puts right what was left, or its workers become ready."""
    kill_all(ground, random)
    starter = threading.Thread(target=start, args=(ground, Random(random.random())))
    starter.start()
    _await_supervisor(ground)
    time.sleep(random.uniform(0.0, 0.4))
    random.choice((kill_supervisor, kill_all))(ground, random)
    starter.join()


def _await_supervisor(ground: Ground) -> None:
    deadline = time.monotonic() + _PATIENCE
    while ground.supervisor() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def kill_during_a_stop(ground: Ground, random: Random) -> None:
    """While running jobs finish, or are ended."""
    verb = random.choice((stop_gently, stop_now))
    stopper = threading.Thread(target=verb, args=(ground, Random(random.random())))
    stopper.start()
    time.sleep(random.uniform(0.2, 1.0))
    random.choice((kill_worker, kill_keeper, kill_supervisor))(ground, random)
    stopper.join()


def kill_in_a_row(ground: Ground, random: Random) -> None:
    """Workers and keepers, one after the other, also while they are being replaced."""
    for _ in range(random.randint(3, 8)):
        random.choice((kill_worker, kill_keeper))(ground, random)
        time.sleep(random.uniform(0.0, 0.15))


def signal_during_a_start(ground: Ground, random: Random) -> None:
    """A stop that comes while workers start."""
    starter = threading.Thread(target=start, args=(ground, Random(random.random())))
    starter.start()
    _await_supervisor(ground)
    time.sleep(random.uniform(0.0, 0.3))
    send(random.choice((signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)), sole(ground.supervisor()))
    starter.join()
