"""Control groups (cgroup v2): the one mark that no process can shed without rights of its own.

Each worker lives in its own group, and so does all that its jobs start. While a supervisor
lives, the groups are not needed. Where worker and supervisor were killed at one stroke, the next
start ends what is left in them. A system without a writable cgroup v2 does without.
"""

from __future__ import annotations

import contextlib
import os
import signal

from queuectl import files
from queuectl.home import Home

_MOUNTS = "/proc/self/mountinfo"


class WorkerGroups:
    """The control groups of a queue's workers; inert where ``path`` is None."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    @classmethod
    def make(cls, home: Home) -> WorkerGroups:
        """Make the queue's group below our own, and note it in ``run/``."""
        files.remove(home.cgroup)
        parent = own_group()
        if parent is None:
            return cls(None)
        try:
            path = os.path.join(parent, _name_for(home))
            os.makedirs(path, exist_ok=True)
            probe = os.path.join(path, "probe")
            os.makedirs(probe, exist_ok=True)
            os.rmdir(probe)
            if not os.access(os.path.join(path, "cgroup.procs"), os.W_OK):
                return cls(None)
        except OSError:
            return cls(None)
        files.write_atomically(home.cgroup, f"{path}\n{os.stat(path).st_ino}\n")
        return cls(path)

    @classmethod
    def noted(cls, home: Home) -> WorkerGroups:
        """The groups of the last workers, as ``run/`` remembers them."""
        content, owner = files.read_signed(home.cgroup) or ("", 0)
        path, _, inode = content.rstrip("\n").rpartition("\n")
        try:
            status = os.stat(path)
        except OSError:
            return cls(None)
        # The same path is another group in another container, and after a reboot. And who could write
        # the note, but is neither we nor root, may have us kill what is in groups of their own only.
        is_theirs = str(status.st_ino) == inode and owner in (0, os.geteuid(), status.st_uid)
        return cls(path if is_theirs else None)

    def enter(self, worker: str) -> None:
        """Move this process into a worker's group; one that cannot is contained by other means."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                group = os.path.join(self.path, worker)
                os.makedirs(group, exist_ok=True)
                _write(os.path.join(group, "cgroup.procs"), "0")

    def members(self) -> set[int]:
        """The PIDs in all groups, zombies left out."""
        return {pid for group in self._groups() for pid in _pids(group)}

    def kill(self, spare: set[int]) -> None:
        """Send SIGKILL to all members but those that are spared."""
        for group in self._groups():
            pids = _pids(group)
            if not pids:
                continue
            if not pids & spare:
                with contextlib.suppress(OSError):
                    _write(os.path.join(group, "cgroup.kill"), "1")
                    continue
            for pid in pids - spare:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Remove the groups that are empty."""
        for group in self._groups():
            with contextlib.suppress(OSError):
                os.rmdir(group)

    def _groups(self) -> list[str]:
        """Every group below, the innermost first: a job may have made some of its own."""
        if self.path is None:
            return []
        return [folder for folder, _, _ in os.walk(self.path, topdown=False)]


def usable_parent() -> str | None:
    """The group below which workers can have theirs, tried out; None where there is none."""
    parent = own_group()
    if parent is None:
        return None
    try:
        probe = os.path.join(parent, f"queuectl-probe-{os.getpid()}")
        os.mkdir(probe)
        usable = os.access(os.path.join(probe, "cgroup.procs"), os.W_OK)
        os.rmdir(probe)
    except OSError:
        return None
    return parent if usable else None


def own_group() -> str | None:
    """The directory of the cgroup v2 that this process is in; None where there is none."""
    mount = _mount_point()
    if mount is None:
        return None
    for line in (files.read_small("/proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            path = os.path.normpath(mount + line[3:])
            return path if os.path.isdir(path) else mount
    return None


def _name_for(home: Home) -> str:
    """Differs from queue to queue, also where two containers have one at the same path."""
    status = os.stat(home.database)
    return f"queuectl-{status.st_dev:x}-{status.st_ino:x}"


def _mount_point() -> str | None:
    """Where cgroup v2 is mounted; it may be beside v1."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return None
    for line in lines:
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return fields.split()[4].encode().decode("unicode_escape")
    return None


def _pids(group: str) -> set[int]:
    try:
        with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:
            # 0 stands for a process of another PID namespace, which we cannot name.
            return {int(line) for line in file} - {0}
    except (OSError, ValueError):
        return set()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
