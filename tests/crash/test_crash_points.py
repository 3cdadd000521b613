"""Kill a worker between every two steps that matter: each time the account balances."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually

LAUNCH = str(Path(__file__).with_name("launch.py"))
SUCCEEDED, CRASHED = ["succeeded"], ["crashed", "succeeded"]


@dataclass(frozen=True)
class Point:
    """A place in the program, and how the attempts of two jobs, run one after the other, are to end."""

    module: str
    function: str
    event: str = "return"
    first: Sequence[str] = ()
    second: Sequence[str] = ()


WORKER = {
    "as it begins": Point("queuectl.worker", "run", "call", SUCCEEDED, SUCCEEDED),
    "before a claim": Point("queuectl.worker", "_claim_now", "call", SUCCEEDED, SUCCEEDED),
    "in the transaction of a claim": Point("queuectl.store.sqlite", "_claim", "return", SUCCEEDED, SUCCEEDED),
    "claimed": Point("queuectl.worker", "_claim_now", "return", CRASHED, SUCCEEDED),
    "log opened": Point("queuectl.joblog", "open_for_append", "return", CRASHED, SUCCEEDED),
    "log noted": Point("queuectl.slot", "opened", "return", CRASHED, SUCCEEDED),
    "spawned": Point("queuectl.proctree", "spawn", "return", CRASHED, SUCCEEDED),
    "PID recorded": Point("queuectl.slot", "started", "return", CRASHED, SUCCEEDED),
    "first process ended": Point("queuectl.runner", "_wait_for_first_process", "return", CRASHED, SUCCEEDED),
    "the rest killed": Point("queuectl.runner", "_end_at_once", "return", CRASHED, SUCCEEDED),
    "end noted": Point("queuectl.runner", "_run", "return", CRASHED, SUCCEEDED),
    "log closed": Point("queuectl.runner", "run", "return", CRASHED, SUCCEEDED),
    "before its outcome is stored": Point("queuectl.worker", "_finish", "call", CRASHED, SUCCEEDED),
    "in the transaction of its outcome": Point("queuectl.store.sqlite", "_finish", "return", CRASHED, SUCCEEDED),
    "outcome stored, the next one claimed": Point("queuectl.store.sqlite", "finish", "return", SUCCEEDED, CRASHED),
    "after its last word": Point("queuectl.link", "close", "return", SUCCEEDED, SUCCEEDED),
}


class Stage:
    """A queue with two jobs, which tell what they did, and leave something behind."""

    def __init__(self, farm: Farm, mode: str) -> None:
        self.farm, self.mode = farm, mode
        self.flag = farm.directory / "struck"
        self.evidence = farm.directory / "evidence"
        farm.queue.change_setting("backoff_base", 0)

    def add_jobs(self, extra: str = "") -> None:
        """Each attempt writes when it begins and when it ends; its child would outlive it."""
        told = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT %s" >> {self.evidence}'
        command = "\n".join(
            (told % "begins", 'echo "output $QUEUECTL_ATTEMPT"', f"setsid sleep {self.farm.token} &", extra or ":")
        )
        for name in ("first", "second"):
            self.farm.queue.enqueue(f"{command}\n{told % 'ends'}", id=name, cwd=str(self.farm.directory))

    def run_until_struck(self, where: str, point: Point, victim: str = "self") -> int:
        """Run workers that drain, one of which is to die at a point; the supervisor's exit status."""
        launch = [sys.executable, LAUNCH, where, point.event, point.module, point.function, victim, str(self.flag)]
        process = subprocess.Popen(
            [*launch, "worker-run", "--count", "1", "--drain", "--mode", self.mode],
            cwd=self.farm.directory,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(PATIENCE)

    def outcomes(self, job_id: str) -> list[str | None]:
        return [attempt.outcome for attempt in self.farm.queue.attempts(job_id)]

    def assert_all_is_well(self) -> None:
        assert self.flag.exists(), "the point was never reached"
        eventually(lambda: not self.farm.survivors(), "nothing outlives its attempt")
        assert_books_balance(self.farm.queue)
        told = self.evidence.read_text().split("\n")
        for job in self.farm.queue.jobs():
            assert job.state == "completed", job
            attempts = self.farm.queue.attempts(job.id)
            assert f"{job.id} {attempts[-1].number} ends" in told
            log = Path(self.farm.home.log(job.id)).read_bytes()
            for attempt in attempts:
                begun = told.count(f"{job.id} {attempt.number} begins")
                assert begun <= 1, "it was started once"
                output = log[attempt.log_offset : (attempt.log_offset or 0) + (attempt.log_bytes or 0)]
                assert output in (b"", f"output {attempt.number}\n".encode())
                assert output or attempt.outcome != "succeeded"
        assert not list(Path(self.farm.home.run).glob("*.pid"))


@pytest.fixture
def stage(farm: Farm, mode: str) -> Stage:
    return Stage(farm, mode)


@pytest.mark.parametrize("name", WORKER)
def test_a_worker_dies(stage: Stage, name: str) -> None:
    point = WORKER[name]
    stage.add_jobs()
    assert stage.run_until_struck("below", point) == 0
    stage.assert_all_is_well()
    assert (stage.outcomes("first"), stage.outcomes("second")) == (point.first, point.second)


def test_a_point_that_is_never_reached_is_told(stage: Stage) -> None:
    stage.add_jobs()
    assert stage.run_until_struck("below", Point("queuectl.worker", "no_such_function")) == 0
    assert not os.path.lexists(stage.flag)
    with pytest.raises(AssertionError, match="never reached"):
        stage.assert_all_is_well()
