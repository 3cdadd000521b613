"""Supervisor and workers killed at one stroke: every command that meets their jobs says so, and what helps."""

from __future__ import annotations

import json

import pytest
from farm import Farm, eventually
from lifecycle.test_containment import kill_all

from queuectl.cli.summary import PUT_RIGHT, QUEUE_IS_PAUSED, pause_of_groups

ID = "left"


@pytest.fixture
def left(farm: Farm) -> Farm:
    """A queue with a job that is processing, and nobody who looks after it."""
    farm.queue.enqueue(f"sleep {farm.token}", id=ID, max_retries=3)
    farm.start(1)
    eventually(farm.survivors, "the job runs")
    kill_all(farm)
    eventually(lambda: not json.loads(farm.run("worker-status", "--json").stdout)["running"])
    return farm


def test_whoever_looks_is_told(left: Farm) -> None:
    told = left.run("status").stdout
    assert f"none running, but 1 job is processing: its worker is gone; {PUT_RIGHT}" in told
    assert f"processing, but its worker is gone: {PUT_RIGHT}" in left.run("show", ID).stdout
    assert json.loads(left.run("show", ID, "--json").stdout)["state"] == "processing"
    assert json.loads(left.run("status", "--json").stdout)["jobs"]["processing"] == 1


def test_whoever_wants_something_is_told(left: Farm) -> None:
    refused = left.run("retry", ID)
    assert refused.returncode == 4
    assert refused.stderr == (
        f"queuectl: error: job {ID} is processing, not ended, but its worker is gone: {PUT_RIGHT}\n"
    )
    done = left.run("cancel", ID)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "queuectl: 1 job cancelled, still ending",
        f"queuectl: nobody is left to end what is processing: {PUT_RIGHT}",
    ]
    left.start(1)
    left.queue.wait([ID], timeout=30)
    job = left.queue.get(ID)
    assert (job.state, job.reason) == ("cancelled", "cancelled while it ran")
    assert [(each.outcome, each.reason) for each in left.queue.attempts(ID)] == [
        ("crashed", "its worker and its supervisor died")
    ]
    assert "state      cancelled: cancelled while it ran\n" in left.run("show", ID).stdout


def test_whoever_follows_its_log_is_told(left: Farm) -> None:
    following = left.launch("logs", "-f", ID)
    eventually(
        lambda: "no workers are running: start them with 'queuectl worker-start'" in following.errors(), "a hint"
    )
    left.run("cancel", ID)
    left.start(1)
    assert following.wait().returncode == 0


def test_who_waits_in_vain_is_told_of_a_pause(farm: Farm) -> None:
    farm.start(1)
    farm.queue.set_group("other", 1)
    for groups, said in ((("g", "other"), pause_of_groups(["g"])), ((), QUEUE_IS_PAUSED)):
        farm.queue.enqueue("true", group="g", delay=3600)
        farm.queue.pause(*groups)
        waiting = farm.launch("wait")
        eventually(waiting.errors, "a hint")
        assert waiting.errors() == f"queuectl: {said}\n"
        farm.queue.resume()
        farm.queue.cancel(*(job.id for job in farm.queue.jobs("pending")))
        assert waiting.wait().returncode == 1


def test_nothing_of_it_is_said_while_workers_run(farm: Farm) -> None:
    farm.queue.enqueue(f"sleep {farm.token}", id=ID)
    farm.start(1)
    eventually(farm.survivors, "the job runs")
    said = [farm.run(*words.split()) for words in ("status", f"show {ID}", f"retry {ID}", f"cancel {ID}")]
    assert [done.returncode for done in said] == [0, 0, 4, 0]
    assert not any("gone" in done.stdout + done.stderr or "nobody" in done.stderr for done in said)
