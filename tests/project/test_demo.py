"""``make demo`` tells its story, fails loudly when a claim is not so, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from farm import eventually
from readme import ROOT

pytestmark = pytest.mark.timeout(300)

_LONG = 200.0
"""Seconds that a demo may take on a very busy machine. It only decides how long a failure takes."""
FEW = "import sys; sys.path.insert(0, sys.argv[1]); import demo; demo.FILES = 4; sys.exit(demo.main())"
"""The demo with fewer files than it usually takes."""
DOUBTED = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
import demo

demo.FILES = 4
prove = demo.prove

def doubt(directory, sources):
    prove(directory, sources)
    checksum = directory / f"{sources[0].name}.sha256"
    true = checksum.read_text()
    checksum.write_text("0")
    refused(directory, sources, "the checksum of")
    checksum.write_text(true)
    process = subprocess.Popen(["setsid", "sleep", "7799.75"])
    refused(directory, sources, "nothing is left running: [")
    process.kill()
    process.wait()
    print("No doubt is left.")

def refused(directory, sources, claim):
    try:
        prove(directory, sources)
    except demo.Wrong as wrong:
        assert claim in str(wrong), wrong
    else:
        raise AssertionError(f"this is not looked at: {claim}")

demo.prove = doubt
sys.exit(demo.main())
"""
"""The same, and its claims are checked once more when they are not so."""


class Stage:
    """Where a demo plays: ``queuectl`` on the PATH, perhaps tampered with, and a directory for what is temporary."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.printed = directory / "printed"
        self.tamper()

    def tamper(self, *lines: str) -> None:
        """Run these lines of shell before each command of queuectl."""
        program = self.directory / "bin" / "queuectl"
        program.parent.mkdir(exist_ok=True)
        true = f'exec {shlex.quote(sys.executable)} -m queuectl "$@"'
        program.write_text("\n".join(["#!/bin/sh", f"export PYTHONPATH={shlex.quote(str(ROOT))}", *lines, true, ""]))
        program.chmod(0o755)

    def open(self, program: str = FEW) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
        environment["PATH"] = f"{self.directory / 'bin'}:{environment['PATH']}"
        environment["TMPDIR"] = str(self.temporary)
        with self.printed.open("wb") as printed:
            return subprocess.Popen(
                [sys.executable, "-c", program, str(ROOT / "scripts")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.printed.read_text()

    def left(self) -> list[str]:
        """What is left of a demo: its processes, and its files."""
        return [*map(str, self.processes()), *map(str, self.temporary.iterdir())]

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._plays_here(process)]

    def _plays_here(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("TMPDIR") == str(self.temporary)
        except psutil.Error:
            return False


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for process in made.processes():
        process.kill()


def test_the_story_holds_and_no_claim_is_taken_on_trust(stage: Stage) -> None:
    assert stage.open(DOUBTED).wait(_LONG) == 0, stage.text()
    assert "No doubt is left." in stage.text()
    assert "Proved: 8 jobs, 11 attempts, 4 of them retries;" in stage.text()
    assert stage.left() == []


def test_it_fails_loudly(stage: Stage) -> None:
    stage.tamper('case "$1 $2" in "config set") exit 1;; esac')
    assert stage.open().wait(_LONG) == 1, stage.text()
    assert "THE DEMO FAILED: queuectl config ended with 1, not 0" in stage.text()
    assert "All of it held" not in stage.text()
    assert stage.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_it_cleans_up_when_it_is_stopped(stage: Stage, number: signal.Signals) -> None:
    demo = stage.open()
    eventually(lambda: "$ queuectl wait" in stage.text(), "workers run", _LONG)
    demo.send_signal(number)
    assert demo.wait(_LONG) == 128 + number, stage.text()
    assert "Traceback" not in stage.text()
    assert stage.left() == []
