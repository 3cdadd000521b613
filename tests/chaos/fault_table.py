"""The table of faults. What is dealt, and when, follows from the seed alone; whom it hits, from what lives then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import file_faults as files
import moment_faults as moments
import process_faults as processes
from ground import Ground
from operators import start, start_twice, stop_gently, stop_now, stop_with_timeout


@dataclass(frozen=True)
class Fault:
    """A fault: ``deal`` does it, and undoes what would last, before it returns."""

    name: str
    weight: int
    deal: Callable[[Ground, Random], None]


@dataclass(frozen=True)
class Planned:
    """A fault, the second of the round at which it is dealt, and the seed of its own draws."""

    at: float
    fault: Fault
    seed: int


def plan(seed: int, duration: float, mean_gap: float = 0.5) -> list[Planned]:
    """What happens in a round, and when."""
    random = Random(seed)
    weights = [fault.weight for fault in TABLE]
    planned: list[Planned] = []
    at = random.uniform(0.5, 1.5)
    while at < duration:
        planned.append(Planned(at, random.choices(TABLE, weights)[0], random.getrandbits(32)))
        at += min(4 * mean_gap, random.expovariate(1 / mean_gap))
    return planned


TABLE: tuple[Fault, ...] = (
    Fault("kill a worker", 6, processes.kill_worker),
    Fault("kill a keeper", 4, processes.kill_keeper),
    Fault("kill the supervisor", 4, processes.kill_supervisor),
    Fault("kill everything", 3, processes.kill_all),
    Fault("kill everything, leave stale PID files", 2, processes.kill_all_and_leave_stale_pids),
    Fault("kill a job's process", 4, processes.kill_job_process),
    Fault("kill a command", 4, processes.kill_command),
    Fault("kill as an attempt begins", 6, moments.kill_as_an_attempt_begins),
    Fault("kill as an attempt ends", 6, moments.kill_as_an_attempt_ends),
    Fault("kill during a start", 3, moments.kill_during_a_start),
    Fault("kill during a stop", 3, moments.kill_during_a_stop),
    Fault("kill one after the other", 2, moments.kill_in_a_row),
    Fault("a signal during a start", 2, moments.signal_during_a_start),
    Fault("stop a worker", 3, processes.stop_worker),
    Fault("stop a keeper", 2, processes.stop_keeper),
    Fault("stop one, kill the supervisor", 2, processes.stop_and_kill),
    Fault("stop a job's process for a while", 2, processes.stop_job_process),
    Fault("stop the supervisor for a while", 3, processes.pause_supervisor),
    Fault("storm of signals", 2, processes.storm),
    Fault("one worker more or fewer", 2, processes.more_or_fewer),
    Fault("end the supervisor by signals", 3, processes.end_supervisor),
    Fault("lock the database", 4, files.lock_database),
    Fault("tidy the database up", 2, files.checkpoint),
    Fault("remove a log", 3, files.remove_log),
    Fault("remove job_logs/", 1, files.remove_logs),
    Fault("remove a FIFO", 2, files.remove_fifo),
    Fault("break the settings for a while", 2, files.break_settings),
    Fault("worker-start", 3, start),
    Fault("worker-start twice at once", 2, start_twice),
    Fault("worker-stop", 2, stop_gently),
    Fault("worker-stop --timeout", 2, stop_with_timeout),
    Fault("worker-stop --now", 2, stop_now),
)
