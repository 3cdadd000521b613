"""The table of faults. What is dealt, and when, follows from the seed alone; whom it hits, from what lives then."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ground import Ground
from operators import start, start_twice, stop_gently, stop_now, stop_with_timeout

from queuectl import pidfile, processes
from queuectl.processes import Process


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


def plan(seed: int, duration: float, mean_gap: float = 0.8) -> list[Planned]:
    """What happens in a round, and when."""
    random = Random(seed)
    weights = [fault.weight for fault in TABLE]
    planned: list[Planned] = []
    at = random.uniform(0.5, 1.5)
    while at < duration:
        planned.append(Planned(at, random.choices(TABLE, weights)[0], random.getrandbits(32)))
        at += min(4 * mean_gap, random.expovariate(1 / mean_gap))
    return planned


def _send(number: int, targets: Sequence[Process]) -> None:
    for process in targets:
        processes.send_signal(process.pid, process.started, number)


def _one_of(found: Sequence[Process], random: Random) -> Sequence[Process]:
    return [random.choice(found)] if found else []


def _sole(process: Process | None) -> Sequence[Process]:
    return [] if process is None else [process]


# --- kills


def kill_worker(ground: Ground, random: Random) -> None:
    """``kill -9`` of a worker; in thread mode, of the process of all."""
    _send(signal.SIGKILL, _one_of(ground.workers(), random))


def kill_keeper(ground: Ground, random: Random) -> None:
    """``kill -9`` of the process that runs a thread's jobs."""
    _send(signal.SIGKILL, _one_of(ground.keepers(), random))


def kill_supervisor(ground: Ground, random: Random) -> None:
    """``kill -9`` of the supervisor alone."""
    _send(signal.SIGKILL, _sole(ground.supervisor()))


def kill_all(ground: Ground, random: Random) -> None:
    """``kill -9`` of supervisor, workers and keepers, as nearly at one stroke as signals allow."""
    victims = [*_sole(ground.supervisor()), *ground.keepers(), *ground.workers()]
    # Stopped first, nobody can react to the death of another.
    _send(signal.SIGSTOP, victims)
    random.shuffle(victims)
    _send(signal.SIGKILL, victims)


def kill_all_and_leave_stale_pids(ground: Ground, random: Random) -> None:
    """As before; what is left names, as after a reboot, PIDs that are strangers' now: here, our own."""
    kill_all(ground, random)
    stranger = pidfile.of(os.getpid())
    other_start = pidfile.Identity(stranger.pid, stranger.started - 1, stranger.boot, stranger.namespace)
    other_boot = pidfile.Identity(stranger.pid, stranger.started, "another-boot", stranger.namespace)
    if not ground.is_running():
        pidfile.write(ground.home.worker_pid(97), other_start, "worker")
        pidfile.write(ground.home.worker_pid(98), other_boot, "worker")
        Path(ground.home.worker_pid(99)).write_text("not a number\n")


def kill_job_process(ground: Ground, random: Random) -> None:
    """``kill -9`` of a process of a job, not always its first."""
    found = ground.job_processes()
    if found:
        process, job_id, number = random.choice(found)
        ground.ledger.killed.add((job_id, number))
        _send(signal.SIGKILL, [process])


def kill_command(ground: Ground, random: Random) -> None:
    """``kill -9`` of a command while it enqueues, cancels, starts or stops."""
    running = ground.running_commands()
    if running:
        pid = random.choice(running)
        # A child that nobody has waited for yet keeps its PID; else it is gone, which start time 0 is not.
        processes.send_signal(pid, processes.start_time(pid) or 0, signal.SIGKILL)


# --- stops


def stop_worker(ground: Ground, random: Random) -> None:
    """SIGSTOP of a worker: it holds its job and does nothing."""
    _send(signal.SIGSTOP, _one_of(ground.workers(), random))


def stop_keeper(ground: Ground, random: Random) -> None:
    """SIGSTOP of a keeper."""
    _send(signal.SIGSTOP, _one_of(ground.keepers(), random))


def stop_and_kill(ground: Ground, random: Random) -> None:
    """A worker or a keeper is stopped, and before anybody has seen it the supervisor is killed."""
    supervisor = _sole(ground.supervisor())
    _send(signal.SIGSTOP, supervisor)
    _send(signal.SIGSTOP, _one_of([*ground.workers(), *ground.keepers()], random))
    _send(signal.SIGKILL, supervisor)


def stop_job_process(ground: Ground, random: Random) -> None:
    """SIGSTOP of a process of a job, which then does not end by itself unless it has a timeout; and SIGCONT."""
    found = ground.job_processes()
    if found:
        process, _, _ = random.choice(found)
        _send(signal.SIGSTOP, [process])
        time.sleep(random.uniform(0.2, 2.0))
        _send(signal.SIGCONT, [process])


def pause_supervisor(ground: Ground, random: Random) -> None:
    """SIGSTOP of the supervisor, and SIGCONT some seconds later; perhaps one of its own dies meanwhile."""
    supervisor = _sole(ground.supervisor())
    _send(signal.SIGSTOP, supervisor)
    time.sleep(random.uniform(0.1, 2.0))
    if random.random() < 0.5:
        _send(signal.SIGKILL, _one_of([*ground.workers(), *ground.keepers()], random))
    time.sleep(random.uniform(0.1, 1.0))
    _send(signal.SIGCONT, supervisor)


# --- signals


def storm(ground: Ground, random: Random) -> None:
    """Harmless signals to the supervisor, as fast as they go."""
    supervisor = _sole(ground.supervisor())
    for _ in range(random.randint(5, 60)):
        _send(
            random.choice((signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU)), supervisor
        )


def more_or_fewer(ground: Ground, random: Random) -> None:
    """One worker more, or one fewer."""
    _send(random.choice((signal.SIGTTIN, signal.SIGTTOU)), _sole(ground.supervisor()))


def end_supervisor(ground: Ground, random: Random) -> None:
    """TERM, perhaps a second one while the first is heeded, or QUIT."""
    supervisor = _sole(ground.supervisor())
    for number in random.choice(((signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGQUIT))):
        _send(number, supervisor)
        time.sleep(random.uniform(0.0, 0.5))


# --- the files


def lock_database(ground: Ground, random: Random) -> None:
    """Another program holds the write lock."""
    connection = sqlite3.connect(ground.home.database, timeout=5, isolation_level=None)
    try:
        connection.execute(random.choice(("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE")))
        time.sleep(random.uniform(0.2, 2.5))
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        pass  # it was locked all the time
    finally:
        connection.close()


def checkpoint(ground: Ground, random: Random) -> None:
    """Another program tidies the database up."""
    connection = sqlite3.connect(ground.home.database, timeout=2, isolation_level=None)
    try:
        connection.execute(random.choice(("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "REINDEX")))
    except sqlite3.OperationalError:
        pass  # it was locked all the time
    finally:
        connection.close()


def remove_log(ground: Ground, random: Random) -> None:
    """The log of a job is removed, if one runs that of a running one."""
    running = [job_id for _, job_id, _ in ground.job_processes()]
    logs = sorted(path.stem for path in Path(ground.home.logs).glob("*.log"))
    if running or logs:
        job_id = random.choice(running or logs)
        Path(ground.home.log(job_id)).unlink(missing_ok=True)
        ground.ledger.note_removed(job_id, time.time())


def remove_logs(ground: Ground, random: Random) -> None:
    """``job_logs/`` is removed."""
    shutil.rmtree(ground.home.logs, ignore_errors=True)
    ground.ledger.note_removed(None, time.time())


def remove_fifo(ground: Ground, random: Random) -> None:
    """A FIFO in ``run/`` is removed."""
    Path(random.choice((ground.home.wake, ground.home.wake, ground.home.control))).unlink(missing_ok=True)


def break_settings(ground: Ground, random: Random) -> None:
    """The settings are no JSON for a while."""
    ground.write_settings("{ broken")
    _send(signal.SIGHUP, _sole(ground.supervisor()))
    time.sleep(random.uniform(0.1, 1.0))
    ground.write_settings()


TABLE: tuple[Fault, ...] = (
    Fault("kill a worker", 6, kill_worker),
    Fault("kill a keeper", 4, kill_keeper),
    Fault("kill the supervisor", 4, kill_supervisor),
    Fault("kill everything", 3, kill_all),
    Fault("kill everything, leave stale PID files", 2, kill_all_and_leave_stale_pids),
    Fault("kill a job's process", 4, kill_job_process),
    Fault("kill a command", 4, kill_command),
    Fault("stop a worker", 3, stop_worker),
    Fault("stop a keeper", 2, stop_keeper),
    Fault("stop one, kill the supervisor", 2, stop_and_kill),
    Fault("stop a job's process for a while", 2, stop_job_process),
    Fault("stop the supervisor for a while", 3, pause_supervisor),
    Fault("storm of signals", 2, storm),
    Fault("one worker more or fewer", 2, more_or_fewer),
    Fault("end the supervisor by signals", 3, end_supervisor),
    Fault("lock the database", 4, lock_database),
    Fault("tidy the database up", 2, checkpoint),
    Fault("remove a log", 3, remove_log),
    Fault("remove job_logs/", 1, remove_logs),
    Fault("remove a FIFO", 2, remove_fifo),
    Fault("break the settings for a while", 2, break_settings),
    Fault("worker-start", 3, start),
    Fault("worker-start twice at once", 2, start_twice),
    Fault("worker-stop", 2, stop_gently),
    Fault("worker-stop --timeout", 2, stop_with_timeout),
    Fault("worker-stop --now", 2, stop_now),
)
