"""PID namespaces: a command that is PID 1 of a new one, as in a container, and a look into it from outside."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from farm import PATIENCE, closed_ancestor, eventually

from queuectl import processes

CHECKOUT = Path(__file__).resolve().parent.parent
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@functools.cache
def refusal() -> str:
    """Why no PID namespace can be made here; empty when it can."""
    if missing := [tool for tool in ("unshare", "nsenter") if shutil.which(tool) is None]:
        return f"{' and '.join(missing)} of util-linux missing"
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no PID namespace can be made: {done.stderr.strip()}" if done.returncode else ""


needs_namespaces = pytest.mark.skipif(bool(refusal()), reason=refusal())


class Namespace:
    """A command as PID 1 of a new PID namespace. What is left in it when this is closed is killed."""

    def __init__(self, command: Sequence[str], before: Sequence[str] = (), **options: Any) -> None:
        self.process = subprocess.Popen([*before, *_UNSHARE, *command], stdin=subprocess.DEVNULL, **options)
        """What made the namespace; it exits as its PID 1 does."""

    def init(self) -> int:
        """The PID that PID 1 has out here."""
        return int(eventually(self._find_init, "there is a PID 1"))

    def signal(self, number: int) -> None:
        """Signal PID 1, as a container engine does."""
        os.kill(self.init(), number)

    def run_inside(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in there, as ``docker exec`` does. Its orphans fall to PID 1."""
        enter = ["nsenter", f"--target={self.init()}", "--pid", "--mount", "--", "sh", "-c", script]
        return subprocess.run(enter, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def ends(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                for pid in children(self.process.pid):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def _find_init(self) -> int:
        assert self.process.poll() is None, f"ended with status {self.process.returncode}"
        return next((pid for pid in children(self.process.pid) if inner_pid(pid) == 1), 0)


@contextlib.contextmanager
def pid_1(command: Sequence[str], **options: Any) -> Iterator[Namespace]:
    """Run a command as PID 1 for as long as the context lasts."""
    namespace = Namespace(command, **options)
    try:
        yield namespace
    finally:
        namespace.close()


def children(pid: int) -> list[int]:
    """The PIDs of the children of a process, dead ones included."""
    return [process.pid for process in processes.table().values() if process.parent == pid]


def inner_pid(pid: int) -> int:
    """The PID that a process has in its own, the innermost namespace; 0 when it is gone."""
    return int(_status(pid, "NSpid").split()[-1])


def zombies_of(pid: int) -> list[int]:
    """The PIDs of the children of a process that are dead and not reaped."""
    return [process.pid for process in processes.table().values() if process.parent == pid and process.is_zombie]


def blocks(pid: int, number: int) -> bool:
    """Whether the main thread of a process blocks a signal."""
    return bool(int(_status(pid, "SigBlk"), 16) >> (number - 1) & 1)


def _status(pid: int, field: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "0"
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{field}:")), "0")


def shown_to_all() -> list[str]:
    """What to put before a command that takes on another user's rights, so that it finds Python and queuectl.

    They may lie in a directory that others cannot enter. In a mount namespace of its own, the command sees
    that directory open to all, and with nothing else in it.
    """
    shown = {path: closed for path in _needed() if (closed := closed_ancestor(path)) is not None}
    if not shown:
        return []
    spots = {path: f'"$spot"/{number}' for number, path in enumerate(shown)}
    script = [
        "set -e; spot=$(mktemp -d)",
        *(f"mkdir {spots[path]}; mount --bind {shlex.quote(path)} {spots[path]}" for path in shown),
        *(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(closed)}" for closed in sorted(set(shown.values()))),
        *(f"mkdir -p {shlex.quote(path)}; mount --bind {spots[path]} {shlex.quote(path)}" for path in shown),
        *(f"umount {spots[path]}; rmdir {spots[path]}" for path in shown),
        'rmdir "$spot"; exec "$@"',
    ]
    return ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh"]


def _needed() -> list[str]:
    """Where Python, its packages and queuectl are; none of them within another."""
    paths = {sys.base_prefix, sys.prefix, str(CHECKOUT)}
    return sorted(path for path in paths if not any(Path(other) in Path(path).parents for other in paths))
