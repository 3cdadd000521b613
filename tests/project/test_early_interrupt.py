"""An interrupt that comes before there is anybody to answer it ends the program as it ends any other: quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from readme import ROOT

HOOK = """
import os, sys

class Interrupted:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ.get("INTERRUPT_AT") and os.environ.pop("INTERRUPT_AT"):
            os.kill(os.getpid(), 2)

sys.meta_path.insert(0, Interrupted)
"""
"""Sends the program an interrupt in the moment in which it begins to import something."""

SCRIPT = "import sys; sys.argv[0] = 'queuectl'; from queuectl.__main__ import main; sys.exit(main())"
"""What an installer makes of the entry point."""

WAYS = {
    "launcher": [str(ROOT / "bin" / "queuectl")],
    "script": [sys.executable, "-c", SCRIPT],
    "module": [sys.executable, "-m", "queuectl"],
}


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        *((way, moment) for way in WAYS for moment in ("queuectl.cli", "click", "queuectl.cli.queue")),
        ("script", "typing"),
        *(("launcher", moment) for moment in ("typing", "queuectl.__main__", "queuectl")),
    ],
)
def test_an_early_interrupt_ends_it_without_a_word(tmp_path: Path, way: str, moment: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUECTL_", "COVERAGE_"))}
    done = subprocess.run(
        [*WAYS[way], "status"],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": f"{tmp_path}:{ROOT}", "INTERRUPT_AT": moment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answered = moment == "queuectl.cli.queue"
    assert (done.returncode, done.stdout, done.stderr) == (130 if answered else -signal.SIGINT, "", "")
