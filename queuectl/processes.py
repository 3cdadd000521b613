"""The processes of this machine: a look at one or at all, and a signal that reaches no stranger."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

UNKILLABLE_WAIT = 10.0
"""Seconds that a process which SIGKILL does not end is waited for."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process as it was seen. ``started`` is in clock ticks since boot; with the PID it is unique.

    It is field 22 of ``/proc/PID/stat`` (proc(5)), which no change of the wall clock moves.
    """

    pid: int
    parent: int
    group: int
    session: int
    started: int
    is_zombie: bool


def ticks() -> int:
    """Now, as :attr:`Process.started` counts."""
    if sys.platform == "linux":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * _TICKS_PER_SECOND // 1_000_000_000
    return round(time.time() * 100)


def look(pid: int) -> Process | None:
    """One process; None when there is none with this PID."""
    return _from_proc(pid) if sys.platform == "linux" else _from_psutil(pid)


def newest_first() -> Iterator[Process]:
    """All processes that can be seen; each is looked at in the moment in which it is returned.

    They come by descending PID: the newest first, but for the time after PIDs have wrapped around.
    """
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if sys.platform == "linux" else _pids()
    for pid in sorted(pids, reverse=True):
        if (process := look(pid)) is not None:
            yield process


def table() -> dict[int, Process]:
    """All processes that can be seen, by PID."""
    return {process.pid: process for process in newest_first()}


def children_by_parent(processes: Mapping[int, Process]) -> dict[int, list[Process]]:
    """The living children of each process, by its PID."""
    found: dict[int, list[Process]] = {}
    for process in processes.values():
        if not process.is_zombie:
            found.setdefault(process.parent, []).append(process)
    return found


def descendants(ancestors: Collection[int], processes: Mapping[int, Process]) -> set[int]:
    """The PIDs of all that descends from some processes."""
    children = children_by_parent(processes)
    found: set[int] = set()
    generation = list(ancestors)
    while generation:
        generation = [child.pid for pid in generation for child in children.get(pid, ()) if child.pid not in found]
        found.update(generation)
    return found


def start_time(pid: int) -> int | None:
    """When a process started; None when there is none with this PID."""
    process = look(pid)
    return None if process is None else process.started


def owner(pid: int) -> int | None:
    """The user id whose rights a process has; None when there is none with this PID."""
    try:
        if sys.platform != "linux":
            return _owner_from_psutil(pid)
        # Not the owner of /proc/PID, which is root for a program that changed its user.
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[2]) for line in file if line.startswith(b"Uid:")), None)
    except OSError:
        return None


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal the process that started then, and no stranger that has its PID by now; whether it was sent."""
    import signal  # here, and psutil below: the commands that only look start faster without

    # Gone already, or not ours to signal: the caller looks again.
    with contextlib.suppress(OSError):
        if not hasattr(os, "pidfd_open"):
            if start_time(pid) == started:
                os.kill(pid, number)
                return True
            return False
        descriptor = os.pidfd_open(pid)
        try:
            # Whoever has the PID now keeps it, for us, as long as we hold the descriptor.
            if start_time(pid) == started:
                signal.pidfd_send_signal(descriptor, number)
                return True
        finally:
            os.close(descriptor)
    return False


def describe(pid: int) -> str:
    """A process for a person: ``1234 (sleep, user root)``."""
    import psutil

    try:
        process = psutil.Process(pid)
        return f"{pid} ({process.name()}, user {process.username()})"
    except psutil.Error:
        return str(pid)


def _from_proc(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The second field is the program's name, which may hold blanks and parentheses.
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20:
        return None
    # A process whose first thread has ended shows as a zombie, too, as long as others of it run.
    is_zombie = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), is_zombie)


def _pids() -> list[int]:
    import psutil

    return list(psutil.pids())


def _owner_from_psutil(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).uids().effective)
    except psutil.Error:
        return None


def _from_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            return Process(
                pid, process.ppid(), os.getpgid(pid), os.getsid(pid), round(process.create_time() * 100), is_zombie
            )
    except (psutil.Error, OSError):
        return None
