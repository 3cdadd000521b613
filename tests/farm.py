"""Waiting with a deadline, and a queue with real workers in a directory of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import homes
from forked import Command, be_ready

from queuectl import Queue, cgroup, control, pidfile, processes

PATIENCE = 30.0
"""Seconds until a condition counts as never coming true. It only decides how long a failure takes."""

_Process = TypeVar("_Process", Command, "subprocess.Popen[bytes]")

IS_ROOT = os.geteuid() == 0
NOBODY = 65534


def eventually(condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
    """Wait until a condition holds, and return its value; fail loudly at the deadline."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not come true in {patience:g} s: {what or condition}"
        time.sleep(0.01)
    return value


class Farm:
    """A queue in a directory of its own, its workers, and a token by which its jobs' processes are known.

    Its commands are forked from a server; ``unprivileged`` ones have no rights at all. The queue is made by such a
    command, or is a copy of one that was made elsewhere (``copied``).
    """

    def __init__(self, directory: Path, unprivileged: bool = False, *, copied: bool = False) -> None:
        self.directory = directory
        self.unprivileged = unprivileged
        self.token = f"7{uuid.uuid4().int % 10**8:08d}.25"
        """A number of seconds that nothing else on the machine sleeps for."""
        self._foreground: list[Command | subprocess.Popen[bytes]] = []
        self._launched: list[Command] = []
        be_ready()
        if copied:
            homes.copy(directory, NOBODY if unprivileged else None)
        else:
            self.run("init")
        self.queue = Queue(directory / "queuectl.db")
        self.home = self.queue.home

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run a command of queuectl in the directory; assert on the result yourself."""
        return Command(self.directory, arguments, self.prepare()).wait(timeout)

    def prepare(self) -> Callable[[], None] | None:
        """What a process that is forked does before it becomes a command."""
        return become_nobody if self.unprivileged else None

    def launch(self, *arguments: str, prepare: Callable[[], None] | None = None) -> Command:
        """Start a command, in a process that calls ``prepare`` first, and do not wait for it."""
        command = Command(self.directory, arguments, prepare)
        self._launched.append(command)
        return command

    def start(self, count: int = 1, mode: str = "process", *more: str) -> int:
        """Start detached workers; returns the supervisor's PID."""
        done = self.run("worker-start", "--count", str(count), "--mode", mode, *more)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def foreground(self, *arguments: str, prepare: Callable[[], None] | None = None) -> Command:
        """Run ``worker-run``, in a process that calls ``prepare`` first, and return once its workers are ready."""
        both = partial(in_turn, [step for step in (prepare, self.prepare()) if step is not None])
        return self._await_ready(Command(self.directory, ("worker-run", *arguments), both))

    def foreground_program(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """As :meth:`foreground`, of the program as a shell starts it. That takes ten times as long."""
        command = [sys.executable, "-m", "queuectl", "worker-run", *arguments]
        return self._await_ready(subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, **options))

    def _await_ready(self, process: _Process) -> _Process:
        self._foreground.append(process)
        eventually(lambda: process.poll() is not None or self.ready(), "workers are ready")
        return process

    def ready(self) -> bool:
        """Whether every worker that was asked for waits for work or works."""
        told = control.status(self.home)
        workers = told["workers"]
        return (
            bool(workers)
            and len(workers) == told["supervisor"].get("count")
            and all(worker["state"] != "starting" for worker in workers)
        )

    def workers(self) -> list[int]:
        """The PIDs in the workers' PID files."""
        found = map(pidfile.read, map(str, sorted(Path(self.home.run).glob("worker-*.pid"))))
        return [identity.pid for identity in found if identity is not None]

    def supervisor(self) -> int:
        """The PID in the supervisor's PID file."""
        identity = pidfile.read(self.home.supervisor_pid)
        assert identity is not None
        return identity.pid

    def stop(self, *arguments: str) -> None:
        """Stop the workers."""
        done = self.run("worker-stop", *arguments)
        assert done.returncode == 0, done.stderr

    def survivors(self) -> list[str]:
        """The command lines of living processes that carry the token."""
        return processes_with(self.token)

    def clean_up(self) -> None:
        """End what a failed test left, so that it does not disturb the next."""
        for command in self._launched:
            command.kill()
        for process in self._foreground:
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)
        if control.is_running(self.home) and not self._stops_now():
            supervisor = pidfile.read(self.home.supervisor_pid)
            if supervisor is not None and supervisor.lives:
                os.kill(supervisor.pid, signal.SIGQUIT)
            eventually(lambda: not control.is_running(self.home))
        for process in self._foreground:
            process.wait(PATIENCE)
        self.queue.close()
        for pid in pids_with(self.token):
            os.kill(pid, signal.SIGKILL)
        # What a killed supervisor leaves, the next start removes; after a test there is none.
        cgroup.WorkerGroups.noted(self.home).remove()

    def _stops_now(self) -> bool:
        try:
            return self.run("worker-stop", "--now").returncode == 0
        except (OSError, EOFError):  # the server could not fork: the user has too many processes
            return False


def in_turn(steps: Sequence[Callable[[], None]]) -> None:
    """Several that a process does before it becomes a command."""
    for step in steps:
        step()


def measuring(command: Sequence[str]) -> list[str]:
    """A command that runs another, and prints to stderr how much memory that took at most (KiB), and nothing else there.

    A process counts what its parent had at the time of the fork as its own: so that must be small.
    """
    measure = "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:], stderr=-3); "
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(status)"
    return [sys.executable, "-c", measure, *command]


def as_nobody(command: list[str]) -> list[str]:
    """The command that runs another with no rights at all. Only root may.

    Where this Python lies in a directory that others cannot enter, it is shown to the command, and
    to it alone, in a mount namespace.
    """
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    closed = closed_ancestor(sys.base_prefix)
    if closed is None:
        return [*drop, *command]
    show = (
        'spot=$(mktemp -d) && mount --bind "$1" "$spot" && mount -t tmpfs -o mode=755 tmpfs "$2" && '
        'mkdir -p "$1" && mount --bind "$spot" "$1" && umount "$spot" && rmdir "$spot" && shift 2 && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", show, "sh", sys.base_prefix, closed, *drop, *command]


def become_nobody() -> None:
    """As :func:`as_nobody`, for this process itself, which has one thread."""
    closed = closed_ancestor(sys.base_prefix)
    if closed is not None:
        _system("unshare", _NEW_MOUNTS)
        _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
        spot = tempfile.mkdtemp()
        _mount(sys.base_prefix, spot, flags=_MS_BIND)
        _mount("tmpfs", closed, "tmpfs", options="mode=755")
        os.makedirs(sys.base_prefix)
        _mount(spot, sys.base_prefix, flags=_MS_BIND)
        _system("umount", spot.encode())
        os.rmdir(spot)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _system("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)  # or /proc would still show it as root's


_NEW_MOUNTS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_PR_SET_DUMPABLE = 4


def _mount(source: str, target: str, kind: str = "none", flags: int = 0, options: str = "") -> None:
    _system("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def _system(call: str, *arguments: bytes | int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), call)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{call} failed: {os.strerror(ctypes.get_errno())}")


def closed_ancestor(path: str) -> str | None:
    """The topmost directory above a path that others cannot enter; None when there is none."""
    for directory in (*reversed(Path(path).parents), Path(path)):
        if not directory.stat().st_mode & 0o001:
            return str(directory)
    return None


def pids_with(token: str) -> list[int]:
    """The living processes (no zombies) whose command line carries a token, but for this one."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in line and not ((process := processes.look(int(name))) is None or process.is_zombie):
            found.append(int(name))
    return found


def processes_with(token: str) -> list[str]:
    """As ``pids_with``, for a person: PID and command line."""
    lines = []
    for pid in pids_with(token):
        try:
            lines.append(f"{pid}: {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
        except OSError:
            continue
    return lines


def assert_books_balance(queue: Queue, ids: Sequence[str] | None = None) -> None:
    """Every job ended exactly one way or waits; its attempts are numbered without gaps and never overlap."""
    for job in queue.jobs():
        if ids is not None and job.id not in ids:
            continue
        attempts = queue.attempts(job.id)
        assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1)), job
        ended = [attempt for attempt in attempts if attempt.ended_at is not None]
        assert len(attempts) - len(ended) == (job.state == "processing"), job
        for earlier, later in zip(ended, attempts[1:], strict=False):
            assert earlier.ended_at is not None
            assert earlier.started_at <= earlier.ended_at <= later.started_at, (earlier, later)
        succeeded = [attempt for attempt in ended if attempt.outcome == "succeeded"]
        assert len(succeeded) == (job.state == "completed"), (job, attempts)
        if job.state == "dead":
            charged = [attempt for attempt in ended if attempt.outcome != "released"]
            assert len(charged) >= job.max_retries + 1, (job, attempts)
