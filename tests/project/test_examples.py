"""The examples run, and end well."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from farm import Farm
from unit.support import HandClock

from queuectl import Queue
from queuectl.clock import SECOND, SYSTEM_CLOCK

PIPELINE = Path(__file__).resolve().parents[2] / "examples" / "pipeline"


@pytest.mark.long
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
    code, told = at_a_terminal(script, env)
    assert code == 0, told
    script_of_a_night = shlex.quote(str(PIPELINE / "nightly.sh"))
    assert f"$ queuectl cron add nightly '30 2 * * *' --replace --max-retries 0 -- sh {script_of_a_night} " in told, (
        told
    )
    mended = shlex.join(
        ["queuectl", "edit", "pack-page-042", "--command", f"gzip -nkf '{farm.directory}/out/page-042.sorted'"]
    )
    assert "$ " + mended.replace("'\"'\"'", "'\\''") + "\r\n" in told, told
    assert "needs job pack-page-042, which did not complete" in told, told
    assert told.endswith("900 jobs completed, 300 files packed and checked, nothing left running\r\n")
    assert len(list((farm.directory / "out").glob("*.gz"))) == 300
    farm.queue.enqueue("true", id="mine")
    refused = execute(script, env)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "holds jobs" in refused.stderr
    farm.queue.cancel("mine")
    farm.queue.prune(0)
    a_few = {"page-001", "page-042", "page-300"}
    for page in (farm.directory / "in").iterdir():
        if page.stem not in a_few:
            page.unlink()
    (nightly,) = farm.queue.schedules()
    for hour in (2, 3):
        at_another_time(farm, nightly.name, hour)
        drained = execute([str(program), "--db", farm.home.database, "worker-run", "--count", "2", "--drain"], env)
        assert drained.returncode == 0, drained.stderr
    jobs = {job.id: job for job in farm.queue.jobs()}
    nights = [job_id for job_id in jobs if job_id.startswith("nightly-")]
    assert [night[-5:] for night in nights] == ["0230Z", "0330Z"]
    for night in nights:
        stages = {f"{stage}-{page}-{night}" for page in a_few for stage in ("sort", "pack", "check")}
        assert {job.id for job in farm.queue.jobs(batch=night)} == stages
    assert {job.state for job in jobs.values()} == {"completed"}, {job.id: job.reason for job in jobs.values()}
    assert len(jobs) == 2 * (1 + 9)


def at_a_terminal(words: list[str], env: dict[str, str]) -> tuple[int | None, str]:
    """Run it as whoever tries it does, but without a hand at the keys; its exit code, and what stood on the screen."""
    env = {**env, "TERM": "xterm-256color", "NO_COLOR": "1"}
    process = pexpect.spawn(words[0], words[1:], env=env, dimensions=(50, 200), encoding="utf-8", timeout=280)
    with process:
        process.expect(pexpect.EOF)
    return process.exitstatus, process.before


def execute(words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=280, check=False)


def at_another_time(farm: Farm, name: str, hour: int) -> None:
    """Have a schedule begin a day ago, so that one slot of it, at another hour than before, is due now."""
    (former,) = farm.queue.remove_schedules(name)
    yesterday = Queue(farm.home.database, clock=HandClock(SYSTEM_CLOCK.now() - 86_400 * SECOND))
    yesterday.add_schedule(name, f"30 {hour} * * *", **former.job)
    yesterday.close()
