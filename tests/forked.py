"""Commands of queuectl that start quickly: a server that has imported the program forks a process for each.

To import it takes longer than all that most tests do with it. How it starts by itself is for other tests.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_COMMANDS = (
    *("completion", "config", "cron", "dlq", "doctor", "enqueue", "groups", "jobs", "logs", "prune", "queue"),
    *("reasons", "waiting", "waitingjobs", "workers"),
)
_PARTS = ("api", "doctor", "launch", "schedule", "shutdown", "store.following", "store.schedules", "waiting")
_OTHERS = (
    *("click._textwrap", "cronsim", "difflib", "encodings.unicode_escape", "filelock", "pwd", "setproctitle"),
    *("pkgutil", "shlex", "tempfile"),  # for a process to be forked, and for this module
)
_CONTEXT.set_forkserver_preload(
    [
        *_OTHERS,
        *(f"queuectl.{name}" for name in _PARTS),
        *(f"queuectl.cli.{name}" for name in _COMMANDS),
        "tests.warm",  # last: it finds all there
    ]
)


def be_ready() -> None:
    """Start the server, unless it runs. All commands inherit what it is started under, and not what a test changes."""
    forkserver.ensure_running()


def with_variables(variables: Mapping[str, str]) -> Callable[[], None]:
    """What a process does first that shall have these variables and no others."""
    return functools.partial(_have, dict(variables))


def _have(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def words_of(line: str) -> list[str] | None:
    """The arguments of a shell's line that is one command of queuectl and nothing that needs a shell; None otherwise."""
    if re.search(r"""[^\w '\"./:,=@%+-]""", line) or not line.startswith("queuectl "):
        return None
    return shlex.split(line)[1:]


class Command:
    """A command that runs in a process of its own, which calls ``prepare`` first.

    It is watched, signalled and waited for as what ``subprocess.Popen`` starts.
    """

    def __init__(self, directory: Path, arguments: Sequence[str], prepare: Callable[[], None] | None = None) -> None:
        self.arguments = arguments
        # Not in the queue's directory, which may be full, or gone by the end.
        self._said = Path(tempfile.mkdtemp(prefix="queuectl-said-"))
        self._out, self._err = self._said / "out", self._said / "err"
        self._done: subprocess.CompletedProcess[str] | None = None
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=_live,
            args=(str(directory), (str(self._out), str(self._err)), prepare, arguments),
            daemon=True,  # whatever becomes of the test, it does not outlive the tests
        )
        self.process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        pid = self.process.pid
        assert pid is not None
        return pid

    def poll(self) -> int | None:
        """Its exit status; None as long as it runs."""
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it said; it is killed when it takes longer than ``timeout`` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout, self.errors())
        return self._end()

    def errors(self) -> str:
        """What it said to standard error so far."""
        if self._done is not None:
            return self._done.stderr
        return self._err.read_text() if self._err.exists() else ""

    def kill(self) -> None:
        """End it, in whatever state it is."""
        self.process.kill()
        self.process.join()
        self._end()

    def _end(self) -> subprocess.CompletedProcess[str]:
        """Keep what it said, and no file."""
        if self._done is None:
            status, told = self.process.exitcode, self._out.read_text() if self._out.exists() else ""
            self._done = subprocess.CompletedProcess(self.arguments, status or 0, told, self.errors())
            shutil.rmtree(self._said, ignore_errors=True)
        return self._done


def _live(directory: str, output: Sequence[str], prepare: Callable[[], None] | None, arguments: Sequence[str]) -> None:
    """Be a command of queuectl, whose stdout and stderr go to two files."""
    from queuectl import cli

    os.chdir(directory)
    for target, path in zip((1, 2), output, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), target)
    if prepare is not None:
        prepare()
    sys.exit(cli.run(arguments))
