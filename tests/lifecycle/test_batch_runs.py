"""A batch in the hands of workers: waited for, cancelled while it runs, and run again."""

from __future__ import annotations

from farm import Farm, eventually


def test_a_batch_is_cancelled_while_it_runs_and_runs_again(farm: Farm, mode: str) -> None:
    gate = farm.directory / "gate"
    command = f"test -e {gate} || exec sleep {farm.token}"
    farm.queue.enqueue_many([{"command": command, "batch": "night", "id": f"n{number}"} for number in range(4)])
    farm.queue.enqueue("true", id="other")
    farm.start(2, mode)
    eventually(lambda: farm.queue.counts(batch="night")["processing"] == 2)
    done = farm.run("cancel", "--batch", "night", "--wait")
    assert (done.returncode, done.stderr) == (0, "queuectl: 4 jobs cancelled\n")
    assert farm.queue.counts(batch="night")["cancelled"] == 4
    assert farm.survivors() == []
    assert farm.queue.wait(["other"], timeout=60), "it is not of the batch"
    assert farm.run("wait", "--batch", "night").returncode == 1
    gate.touch()
    assert farm.run("retry", "--batch", "night").returncode == 0
    assert farm.run("wait", "--batch", "night", "--timeout", "60").returncode == 0
    assert farm.queue.counts(batch="night")["completed"] == 4
