"""A farm whose commands start quickly: a server that has imported the program forks a process for each.

To import it takes longer than all that a test does with it.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import uuid
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from farm import PATIENCE, Farm
from trap import Trap, live

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["queuectl.launch", "queuectl.cli.workers", "queuectl.cli.queue"])


class Command:
    """A command of queuectl that runs, in a process of its own."""

    def __init__(self, directory: Path, arguments: tuple[str, ...], trap: Trap | None) -> None:
        self.arguments = arguments
        name = directory / f".said-{uuid.uuid4().hex}"
        self._out, self._err = name.with_suffix(".out"), name.with_suffix(".err")
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=live,
            args=(str(directory), (str(self._out), str(self._err)), trap, arguments),
            daemon=True,  # whatever becomes of the test, it does not outlive the tests
        )
        self.process.start()

    def wait(self, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it said; it is killed when it takes too long."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout, self._err.read_text())
        return subprocess.CompletedProcess(
            self.arguments, self.process.exitcode, self._out.read_text(), self._err.read_text()
        )

    def kill(self) -> None:
        """End it, in whatever state it is."""
        self.process.kill()
        self.process.join(PATIENCE)


class QuickFarm(Farm):
    """A farm whose commands are forked."""

    def __init__(self, directory: Path) -> None:
        self._launched: list[Command] = []
        super().__init__(directory)

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        return self.launch(*arguments).wait(timeout)

    def launch(self, *arguments: str, trap: Trap | None = None) -> Command:
        """Start a command, which may be one that dies in a trap."""
        command = Command(self.directory, arguments, trap)
        self._launched.append(command)
        return command

    def clean_up(self) -> None:
        for command in self._launched:
            command.kill()
        super().clean_up()
