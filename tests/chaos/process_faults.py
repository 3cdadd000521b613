"""Faults that hit processes: kills, stops and signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ground import Ground

from queuectl import pidfile, processes
from queuectl.processes import Process


def send(number: int, targets: Sequence[Process]) -> None:
    """Signal those of them that live."""
    for process in targets:
        processes.send_signal(process.pid, process.started, number)


def one_of(found: Sequence[Process], random: Random) -> Sequence[Process]:
    """One that is drawn, where there is any."""
    return [random.choice(found)] if found else []


def sole(process: Process | None) -> Sequence[Process]:
    """The one, where there is one."""
    return [] if process is None else [process]


# --- kills


def kill_worker(ground: Ground, random: Random) -> None:
    """``kill -9`` of a worker; in thread mode, of the process of all."""
    send(signal.SIGKILL, one_of(ground.workers(), random))


def kill_keeper(ground: Ground, random: Random) -> None:
    """``kill -9`` of the process that runs a thread's jobs."""
    send(signal.SIGKILL, one_of(ground.keepers(), random))


def kill_supervisor(ground: Ground, random: Random) -> None:
    """``kill -9`` of the supervisor alone."""
    send(signal.SIGKILL, sole(ground.supervisor()))


def kill_all(ground: Ground, random: Random) -> None:
    """``kill -9`` of supervisor, workers and keepers, as nearly at one stroke as signals allow."""
    victims = [*sole(ground.supervisor()), *ground.keepers(), *ground.workers()]
    # Stopped first, nobody can react to the death of another.
    send(signal.SIGSTOP, victims)
    random.shuffle(victims)
    send(signal.SIGKILL, victims)


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
        send(signal.SIGKILL, [process])


def kill_command(ground: Ground, random: Random) -> None:
    """``kill -9`` of a command while it enqueues, cancels, starts or stops."""
    running = ground.running_commands()
    if running:
        random.choice(running).kill()


# --- stops


def stop_worker(ground: Ground, random: Random) -> None:
    """SIGSTOP of a worker: it holds its job and does nothing."""
    send(signal.SIGSTOP, one_of(ground.workers(), random))


def stop_keeper(ground: Ground, random: Random) -> None:
    """SIGSTOP of a keeper."""
    send(signal.SIGSTOP, one_of(ground.keepers(), random))


def stop_and_kill(ground: Ground, random: Random) -> None:
    """A worker or a keeper is stopped, and before anybody has seen it the supervisor is killed."""
    supervisor = sole(ground.supervisor())
    send(signal.SIGSTOP, supervisor)
    send(signal.SIGSTOP, one_of([*ground.workers(), *ground.keepers()], random))
    send(signal.SIGKILL, supervisor)


def stop_job_process(ground: Ground, random: Random) -> None:
    """SIGSTOP of a process of a job, which then does not end by itself unless it has a timeout; and SIGCONT."""
    found = ground.job_processes()
    if found:
        process, _, _ = random.choice(found)
        send(signal.SIGSTOP, [process])
        time.sleep(random.uniform(0.2, 2.0))
        send(signal.SIGCONT, [process])


def pause_supervisor(ground: Ground, random: Random) -> None:
    """SIGSTOP of the supervisor, and SIGCONT some seconds later; perhaps one of its own dies meanwhile."""
    supervisor = sole(ground.supervisor())
    send(signal.SIGSTOP, supervisor)
    time.sleep(random.uniform(0.1, 2.0))
    if random.random() < 0.5:
        send(signal.SIGKILL, one_of([*ground.workers(), *ground.keepers()], random))
    time.sleep(random.uniform(0.1, 1.0))
    send(signal.SIGCONT, supervisor)


# --- signals


def storm(ground: Ground, random: Random) -> None:
    """Harmless signals to the supervisor, as fast as they go."""
    supervisor = sole(ground.supervisor())
    for _ in range(random.randint(5, 60)):
        send(random.choice((signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU)), supervisor)


def more_or_fewer(ground: Ground, random: Random) -> None:
    """One worker more, or one fewer."""
    send(random.choice((signal.SIGTTIN, signal.SIGTTOU)), sole(ground.supervisor()))


def end_supervisor(ground: Ground, random: Random) -> None:
    """TERM, perhaps a second one while the first is heeded, or QUIT."""
    supervisor = sole(ground.supervisor())
    for number in random.choice(((signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGQUIT))):
        send(number, supervisor)
        time.sleep(random.uniform(0.0, 0.5))
