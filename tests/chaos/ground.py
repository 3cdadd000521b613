"""The ground that a round is played on: a home, commands on it, and the processes that stand on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evidence import Evidence
from ledger import Ledger

from queuectl import Queue, cgroup, control, pidfile, processes
from queuectl.processes import Process

COMMAND_PATIENCE = 90.0
"""Seconds until a command counts as hung. The longest is a stop with all its margins."""

SETTINGS = (
    '{"backoff_base": 0.3, "backoff_max": 2, "kill_grace": 0.5, "stop_timeout": 2, '
    '"busy_timeout": 1, "log_max_bytes": 1048576}'
)


@dataclass(frozen=True)
class Answer:
    """What a command told. ``status`` is negative where a signal ended it."""

    arguments: tuple[str, ...]
    status: int
    output: str
    complaint: str


class Ground:
    """A queue in ``directory``, and all that can be known about its processes from outside.

    ``mode`` is that of its workers: ``process``, ``thread``, or ``both`` by turns.
    """

    def __init__(self, directory: Path, mode: str, ledger: Ledger) -> None:
        self.directory = directory
        self.mode = mode
        self.ledger = ledger
        self.evidence = Evidence(directory / "evidence")
        self.token = f"8{uuid.uuid4().int % 10**8:08d}.5"
        """A number of seconds that nothing else on the machine sleeps for."""
        self.evidence.prepare()
        self.queue = Queue.init(directory / "queue home" / "queuectl.db")
        self.home = self.queue.home
        self.write_settings()
        self._commands: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def write_settings(self, text: str = SETTINGS) -> None:
        """Put settings in place at one stroke: short times, so that a round sees many ends."""
        draft = self.directory / "settings.draft"
        draft.write_text(text)
        os.replace(draft, self.home.settings)

    # --- commands

    def run(self, *arguments: str, stdin: str = "") -> Answer:
        """Run a command of queuectl and hear what it tells. A traceback, or none in time, is a violation."""
        process = self._spawn(arguments, subprocess.PIPE)
        try:
            output, complaint = process.communicate(stdin, timeout=COMMAND_PATIENCE)
        except subprocess.TimeoutExpired:
            self.ledger.complain(f"'{' '.join(arguments)}' did not return in {COMMAND_PATIENCE:g} s")
            process.kill()
            output, complaint = process.communicate()
        finally:
            self._forget(process)
        if "Traceback" in complaint:
            self.ledger.complain(f"'{' '.join(arguments)}' told a traceback: {complaint.strip().splitlines()[-1]}")
        return Answer(arguments, process.returncode, output, complaint)

    def run_foreground(self, *arguments: str) -> subprocess.Popen[str]:
        """Run a command that goes on, with its output in a file."""
        return self._spawn(arguments, None)

    def _spawn(self, arguments: tuple[str, ...], pipe: int | None) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise SystemExit  # ends the user's or the dealer's thread without a word
            with open(self.directory / "foreground.log", "a") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "queuectl", "--db", self.home.database, *arguments],
                    stdin=pipe or subprocess.DEVNULL,
                    stdout=pipe or log,
                    stderr=pipe or log,
                    text=True,
                    cwd=self.directory,
                    env={**os.environ, "CHAOS_TOKEN": self.token},
                    start_new_session=True,
                )
            self._commands[process.pid] = process
        return process

    def _forget(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._commands.pop(process.pid, None)

    def reap_foreground(self) -> None:
        """Take the exit statuses of what ran in the foreground and has ended."""
        with self._lock:
            for pid, process in list(self._commands.items()):
                if process.stdout is None and process.poll() is not None:
                    del self._commands[pid]

    def end_foreground(self) -> None:
        """Stop what runs in the foreground: a start that still waits for the lock would take it after a stop."""
        with self._lock:
            left = [process for process in self._commands.values() if process.stdout is None]
        for process in left:
            process.terminate()
        for process in left:
            try:
                process.wait(COMMAND_PATIENCE)
            except subprocess.TimeoutExpired:
                self.ledger.complain(f"{process.args!r} did not end in {COMMAND_PATIENCE:g} s after SIGTERM")
        self.reap_foreground()

    def running_commands(self) -> list[subprocess.Popen[str]]:
        """The commands that somebody waits for, in the order of their start."""
        with self._lock:
            return [process for process in self._commands.values() if process.stdout is not None]

    # --- processes

    def supervisor(self) -> Process | None:
        """The living supervisor, as its PID file names it."""
        return _living(pidfile.read(self.home.supervisor_pid))

    def workers(self) -> list[Process]:
        """The living processes that have a worker's PID file."""
        named = [pidfile.read(str(path)) for path in sorted(Path(self.home.run).glob("worker-*.pid"))]
        return [process for process in map(_living, named) if process is not None]

    def keepers(self) -> list[Process]:
        """The keepers of the living supervisor."""
        supervisor = self.supervisor()
        if supervisor is None:
            return []
        children = processes.children_by_parent(processes.table()).get(supervisor.pid, [])
        return [child for child in children if b"queuectl: keeper" in _read(child.pid, "cmdline")]

    def job_processes(self) -> list[tuple[Process, str, int]]:
        """Processes that carry a job's environment, each with the job and the attempt."""
        found = []
        for process in processes.table().values():
            variables = dict(
                entry.split(b"=", 1) for entry in _read(process.pid, "environ").split(b"\0") if b"=" in entry
            )
            if not process.is_zombie and variables.get(b"QUEUECTL_QUEUE") == os.fsencode(self.home.database):
                job_id, number = variables.get(b"QUEUECTL_JOB_ID"), variables.get(b"QUEUECTL_ATTEMPT")
                if job_id and number:
                    found.append((process, job_id.decode(), int(number)))
        return sorted(found)

    def inhabitants(self) -> list[Process]:
        """Every living process of this round but the rig itself: by its token, or by what it has open."""
        return [
            process
            for process in processes.table().values()
            if process.pid != os.getpid() and not process.is_zombie and self._is_ours(process.pid)
        ]

    def _is_ours(self, pid: int) -> bool:
        mark = self.token.encode()
        if mark in _read(pid, "cmdline") or mark in _read(pid, "environ"):
            return True
        here = str(self.directory) + os.sep
        return any(target.startswith(here) for target in _open_files(pid))

    @property
    def has_groups(self) -> bool:
        """Whether control groups are there, which find what bears no other mark."""
        groups = cgroup.WorkerGroups.make(self.home)
        groups.remove()
        return groups.path is not None

    # --- the end

    def close(self) -> None:
        """End every process of this round, whatever state it is in. No command can be started any more."""
        with self._lock:
            self._closed = True
        deadline = time.monotonic() + 20
        while (left := self.inhabitants()) and time.monotonic() < deadline:
            for process in left:
                processes.send_signal(process.pid, process.started, signal.SIGKILL)
            time.sleep(0.05)
        self.reap_foreground()
        self.queue.close()
        cgroup.WorkerGroups.noted(self.home).remove()

    def is_running(self) -> bool:
        """Whether a supervisor holds the lock."""
        return control.is_running(self.home)


def describe(process: Process) -> str:
    """A process for a person: PID and command line."""
    line = _read(process.pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{process.pid} (parent {process.parent}): {line:.120}"


def _living(identity: pidfile.Identity | None) -> Process | None:
    process = processes.look(identity.pid) if identity is not None and identity.is_here else None
    if identity is None or process is None or process.started != identity.started or process.is_zombie:
        return None
    return process


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _open_files(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in ("cwd", *(f"fd/{each}" for each in names)):
        try:
            yield os.readlink(f"/proc/{pid}/{name}")
        except OSError:
            continue
