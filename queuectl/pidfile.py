"""PID files, and who a PID is: a number alone may be a stranger's by now."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from dataclasses import dataclass

import psutil

from queuectl import files


@dataclass(frozen=True)
class Identity:
    """A process, told from all that had or will have its PID.

    ``started`` is in clock ticks since boot (field 22 of ``/proc/PID/stat``, see proc(5)), which
    no change of the wall clock moves.
    """

    pid: int
    started: int
    boot: str
    namespace: str

    @property
    def is_here(self) -> bool:
        """Whether its PID means the same to us: this boot, this PID namespace."""
        return self.boot == boot_id() and self.namespace == pid_namespace()

    @property
    def lives(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        return self.is_here and start_time(self.pid) == self.started and not is_zombie(self.pid)


def myself() -> Identity:
    """The identity of this process."""
    return of(os.getpid())


def of(pid: int) -> Identity:
    """The identity of a running process."""
    return Identity(pid, start_time(pid) or 0, boot_id(), pid_namespace())


def write(path: str, identity: Identity, role: str) -> None:
    """Write a PID file: PID, start time, boot id, PID namespace, role, one a line."""
    lines = (identity.pid, identity.started, identity.boot, identity.namespace, role)
    files.write_atomically(path, "".join(f"{line}\n" for line in lines))


def read(path: str) -> Identity | None:
    """Who a PID file names; None when it is missing or not what ``write`` makes."""
    lines = (files.read_small(path) or "").splitlines()
    try:
        return Identity(int(lines[0]), int(lines[1]), lines[2], lines[3])
    except (IndexError, ValueError):
        return None


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process."""
    if sys.platform != "linux":
        try:
            return int(psutil.Process(pid).create_time() * 100)
        except psutil.Error:
            return None
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal the process that started then, and no stranger that has its PID by now; whether it was sent."""
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


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits to be reaped."""
    if sys.platform != "linux":
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False
    fields = stat_fields(pid)
    return fields is not None and fields[0] in (b"Z", b"X")


def stat_fields(pid: int) -> list[bytes] | None:
    """``/proc/PID/stat`` from field 3, the state, on; None when there is no such process.

    The second field is the program's name, which may hold blanks and parentheses.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return None


@functools.cache
def boot_id() -> str:
    """Differs from boot to boot."""
    text = files.read_small("/proc/sys/kernel/random/boot_id")
    return text.strip() if text else f"boot-{int(psutil.boot_time())}"


def pid_namespace() -> str:
    """Names the PID namespace of this process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "-"
