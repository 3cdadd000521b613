"""The scripts that measure how fast it is still run. What they measure is no test's business."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from readme import ROOT

BENCH = ROOT / "bench"
SCRIPTS = sorted(BENCH.glob("*.py"))
NEEDS_A_PEER = {"huey_tasks"}


def run(*arguments: str) -> str:
    """Run Python in ``bench/``; what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=BENCH,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("script", "figures"), [("growth", 2), ("startup", 3), ("output", 2)])
def test_a_quick_run_prints_every_figure(script: str, figures: int) -> None:
    if not Path(sys.executable).with_name("queuectl").exists():
        pytest.skip("the console script is not installed beside this interpreter")
    lines = run(f"{script}.py", "--quick").splitlines()
    assert len(lines) == figures
    assert all("; to reach: " in line for line in lines)


def test_every_script_can_be_imported() -> None:
    names = [script.stem for script in SCRIPTS if script.stem not in {"__main__", *NEEDS_A_PEER}]
    assert len(names) > 10
    run("-c", f"import {', '.join(names)}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_script_says_what_it_is(script: Path) -> None:
    assert ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))


def test_every_row_is_run_and_explained() -> None:
    rows = [script.stem for script in SCRIPTS if "\ndef measure(" in script.read_text(encoding="utf-8")]
    whole = (BENCH / "__main__.py").read_text(encoding="utf-8")
    explained = (BENCH / "README.md").read_text(encoding="utf-8")
    assert len(rows) == 12
    assert [row for row in rows if f"import {row}\n" not in whole or f"`{row}.py`" not in explained] == []
