"""What ``worker-stop`` says at a terminal while it waits."""

from __future__ import annotations

from pathlib import Path

import pexpect
from farm import Farm, eventually
from terminal.test_look import at_terminal


def test_a_stop_says_at_once_what_it_waits_for_and_until_when(farm: Farm) -> None:
    for job_id in ("j", "k"):
        farm.queue.enqueue(f"echo up; until test -e {farm.directory}/enough-{job_id}; do sleep 0.05; done", id=job_id)
    farm.start(2)
    eventually(lambda: farm.queue.counts()["processing"] == 2)
    first = at_terminal(farm.queue, "worker-stop", "--timeout", "5m")
    first.expect_exact(
        "queuectl: waiting for 2 jobs, for 5m 00s at most; 'queuectl worker-stop --now' ends them at once"
    )
    (farm.directory / "enough-k").touch()
    eventually(lambda: farm.queue.get("k").ended)
    second = at_terminal(farm.queue, "worker-stop")
    second.expect_exact("queuectl: waiting for job j, for 30s at most; 'queuectl worker-stop --now' ends it at once")
    second.sendintr()
    second.expect_exact("queuectl: interrupted; the workers go on stopping")
    second.expect(pexpect.EOF)
    second.close()
    assert second.exitstatus == 130
    (farm.directory / "enough-j").touch()
    first.expect_exact("queuectl: the workers have stopped")
    first.expect(pexpect.EOF)
    first.close()
    assert Path(farm.home.log("j")).read_text() == "up\n"


def test_a_stop_that_waits_for_nothing_says_nothing_more(farm: Farm) -> None:
    farm.start(1)
    process = at_terminal(farm.queue, "worker-stop")
    process.expect(pexpect.EOF)
    assert process.before.splitlines() == ["queuectl: the workers have stopped"]
