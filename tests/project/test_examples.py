"""The examples run, and end well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from farm import Farm

PIPELINE = Path(__file__).resolve().parents[2] / "examples" / "pipeline"


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("gzip") is None, reason="there is no gzip")
def test_the_pipeline(farm: Farm) -> None:
    program = farm.directory / "bin" / "queuectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m queuectl "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(PIPELINE.parents[1])
    script = ["sh", str(PIPELINE / "run.sh"), str(farm.directory)]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs job pack-page-042, which did not complete" in done.stdout
    assert done.stdout.endswith("900 jobs completed, 300 files packed and checked, nothing left running\n")
    assert len(list((farm.directory / "out").glob("*.gz"))) == 300
