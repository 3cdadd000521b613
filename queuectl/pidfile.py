"""PID files, and who a PID is: a number alone may be a stranger's by now."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from queuectl import files, processes


class Identity(NamedTuple):
    """A process, told from all that had or will have its PID.

    ``started`` is in clock ticks since boot, as :class:`queuectl.processes.Process` has it.
    """

    pid: int
    started: int
    boot: str
    namespace: str
    told_by: int | None = None
    """Who wrote it down, as a user id; None when nobody did. It does not matter to whom this names."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self[:4] == other[:4]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:4])

    @property
    def is_here(self) -> bool:
        """Whether its PID means the same to us: this boot, this PID namespace."""
        return self.boot == boot_id() and self.namespace == pid_namespace()

    @property
    def lives(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        process = processes.look(self.pid) if self.is_here else None
        return (
            process is not None
            and process.started == self.started
            and not process.is_zombie
            and self.may_name(process.pid)
        )

    def may_name(self, pid: int) -> bool:
        """Whether who wrote this down may have a process signalled by us.

        We, root, and whoever the process belongs to may. In a directory that others can write, anybody
        could name a process of ours, or have root end one of somebody else's.
        """
        return self.told_by in (None, 0, os.geteuid()) or self.told_by == processes.owner(pid)


def myself() -> Identity:
    """The identity of this process."""
    return of(os.getpid())


def of(pid: int) -> Identity:
    """The identity of a running process."""
    return Identity(pid, processes.start_time(pid) or 0, boot_id(), pid_namespace())


def write(path: str, identity: Identity, role: str) -> None:
    """Write a PID file: PID, start time, boot id, PID namespace, role, one a line."""
    lines = (identity.pid, identity.started, identity.boot, identity.namespace, role)
    files.write_atomically(path, "".join(f"{line}\n" for line in lines))


def read(path: str) -> Identity | None:
    """Who a PID file names; None when it is missing or not what ``write`` makes."""
    content, owner = files.read_signed(path) or ("", 0)
    lines = content.splitlines()
    try:
        return Identity(int(lines[0]), int(lines[1]), lines[2], lines[3], owner)
    except (IndexError, ValueError):
        return None


@functools.cache
def boot_id() -> str:
    """Differs from boot to boot."""
    text = files.read_small("/proc/sys/kernel/random/boot_id")
    if text:
        return text.strip()
    import psutil  # outside of Linux

    return f"boot-{int(psutil.boot_time())}"


def pid_namespace() -> str:
    """Names the PID namespace of this process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "-"
