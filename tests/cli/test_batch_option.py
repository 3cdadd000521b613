"""``--batch``: a label, and the commands that take it."""

from __future__ import annotations

import json

import pytest
from program import Bench

from queuectl import InvalidInput, NoSuchBatch, Queue


def enqueue(bench: Bench, *ids: str, batch: str = "night", **fields: object) -> None:
    bench.queue.enqueue_many([{"command": "true", "id": each, "batch": batch, **fields} for each in ids])


def state(bench: Bench, *ids: str) -> list[str]:
    return [bench.queue.get(each).state for each in ids]


def test_the_dependents_of_a_batch_come_back_with_it(bench: Bench) -> None:
    enqueue(bench, "sum", batch="sum")
    enqueue(bench, "report", batch="report", after="sum")
    bench.run("cancel", "--batch", "sum")
    refused = bench.run("retry", "--batch", "report")
    said = "job report needs job sum, which is cancelled: 'queuectl retry sum report --with-dependents' puts them back"
    assert (refused.code, refused.err) == (4, f"queuectl: error: {said}\n")
    assert bench.run("retry", "sum", "report", "--with-dependents").err == "queuectl: 2 jobs put back\n"
    bench.run("cancel", "--batch", "sum")
    assert bench.run("retry", "--batch", "sum", "--with-dependents").err == "queuectl: 2 jobs put back\n"
    bench.play("failed", exit_code=1)
    assert state(bench, "sum", "report") == ["pending", "pending"]
    bench.run("cancel", "sum")
    held = bench.run("retry", "sum", "--with-dependents", "--hold")
    assert held.err == "queuectl: 2 jobs put back, 1 of them held until 'queuectl release'\n"
    bench.run("cancel", "sum")
    assert bench.queue.retry("sum", with_dependents=True) == ["sum", "report"]


def test_the_label_is_kept_and_shown(bench: Bench) -> None:
    assert bench.run("enqueue", "--batch", "night.1", "--command", "true").out == "1\n"
    assert bench.queue.get("1").batch == "night.1"
    assert ["batch", "night.1"] in [line.split() for line in bench.run("show", "1").lines]
    assert json.loads(bench.run("show", "1", "--json").out)["batch"] == "night.1"
    assert json.loads(bench.run("list", "--json").out)[0]["batch"] == "night.1"


def test_a_job_file_names_batches_and_the_option_is_the_default(bench: Bench) -> None:
    content = b'{"command": "true", "batch": "own"}\n{"command": "true"}\n'
    assert bench.run("enqueue", "--batch", "all", "--job-file", "-", stdin=content).code == 0
    assert [job.batch for job in bench.queue.jobs()] == ["own", "all"]


def test_list(bench: Bench) -> None:
    enqueue(bench, "a", "b", "c")
    enqueue(bench, "d", batch="day")
    bench.play("succeeded")
    assert [line.split()[0] for line in bench.run("list", "--batch", "night").lines] == ["ID", "a", "b", "c"]
    assert [job["id"] for job in json.loads(bench.run("list", "--batch", "night", "--json").out)] == ["a", "b", "c"]
    listed = bench.run("list", "--batch", "night", "--state", "queued,dead", "--limit", "1", "--json").out
    assert [job["id"] for job in json.loads(listed)] == ["b"]
    assert json.loads(bench.run("list", "--batch", "night", "--state", "dead", "--json").out) == []


def test_wait_tells_whether_all_of_it_completed(bench: Bench) -> None:
    enqueue(bench, "a", "b", max_retries=0)
    enqueue(bench, "c", batch="day")
    assert bench.run("wait", "--batch", "night", "--timeout", "0").code == 124
    bench.play("succeeded")
    bench.play("failed", exit_code=7)
    result = bench.run("wait", "--batch", "night")
    assert (result.code, result.out) == (1, "")
    assert result.err == "queuectl: not all completed: see 'queuectl list --batch night --state dead,cancelled'\n"
    bench.run("retry", "b")
    assert bench.play("succeeded") == "c"
    assert bench.play("succeeded") == "b"
    result = bench.run("wait", "--batch", "night", "--json")
    assert result.code == 0
    assert json.loads(result.out)["jobs"]["completed"] == 2


def test_one_job_is_a_batch_too(bench: Bench) -> None:
    """The exit code of a batch is 1 at most, whatever is in it: a script need not know how many there are."""
    enqueue(bench, "a", max_retries=0)
    bench.play("failed", exit_code=7)
    assert bench.run("wait", "--batch", "night").code == 1


def test_cancel(bench: Bench) -> None:
    enqueue(bench, "a", "b", "c", max_retries=0)
    enqueue(bench, "d", batch="day")
    bench.play("failed", exit_code=1)
    result = bench.run("cancel", "--batch", "night")
    assert (result.code, result.out, result.err) == (0, "", "queuectl: 2 jobs cancelled\n")
    assert state(bench, *"abcd") == ["dead", "cancelled", "cancelled", "pending"]
    result = bench.run("cancel", "--batch", "night", "--wait")
    assert (result.code, result.err) == (0, "queuectl: 0 jobs cancelled\n")
    assert json.loads(bench.run("cancel", "--batch", "night", "--json").out) == []


def test_retry(bench: Bench) -> None:
    enqueue(bench, "a", "b", "c", max_retries=0)
    bench.play("succeeded")
    bench.play("failed", exit_code=1)
    bench.run("cancel", "c")
    result = bench.run("retry", "--batch", "night", "--json")
    assert [job["id"] for job in json.loads(result.out)] == ["b", "c"]
    assert state(bench, *"abc") == ["completed", "pending", "pending"]
    assert bench.run("retry", "--batch", "night").err == "queuectl: 0 jobs put back\n"


def test_hold_and_release(bench: Bench) -> None:
    enqueue(bench, "a", "b", "c", "d", max_retries=0)
    enqueue(bench, "e", batch="day")
    bench.play("succeeded")
    bench.claim()
    bench.run("hold", "c")
    assert bench.run("hold", "--batch", "night").err == "queuectl: 1 job held\n"
    assert [bench.queue.get(each).held for each in "abcde"] == [False, False, True, True, False]
    assert bench.run("hold", "--batch", "night").err == "queuectl: 0 jobs held\n"
    bench.run("hold", "e")
    result = bench.run("release", "--batch", "night", "--json")
    assert [job["id"] for job in json.loads(result.out)] == ["c", "d"]
    assert [bench.queue.get(each).held for each in "abcde"] == [False] * 4 + [True]
    assert bench.run("release", "--batch", "night").err == "queuectl: 0 jobs released\n"
    assert bench.claim().id == "c"


def test_what_is_put_back_held_is_released_as_it_was_put_back(bench: Bench) -> None:
    enqueue(bench, "a", "b")
    bench.run("cancel", "--batch", "night")
    assert (
        bench.run("retry", "--batch", "night", "--hold").err
        == "queuectl: 2 jobs put back, held until 'queuectl release'\n"
    )
    assert bench.run("release", "--batch", "night").err == "queuectl: 2 jobs released\n"
    assert bench.claim().id == "a"


@pytest.mark.parametrize("command", ["list", "wait", "cancel", "retry", "hold", "release"])
def test_mistakes(bench: Bench, command: str) -> None:
    enqueue(bench, "a")
    result = bench.run(command, "--batch", "nihgt")
    assert (result.code, result.out, result.err) == (3, "", "queuectl: error: no batch nihgt\n")
    assert bench.run(command, "--batch", "nihgt", "--json").out == ""
    assert bench.run(command, "--batch", "").code == 3
    if command != "list":
        assert bench.run(command, "--batch", "night", "a").code == 2
    assert state(bench, "a") == ["pending"]


@pytest.mark.parametrize("name", ["", "a b", "-x", "ä", "x" * 129])
def test_names_have_the_form_of_ids(bench: Bench, name: str) -> None:
    result = bench.run("enqueue", "--batch", name, "--command", "true")
    assert result.code == 2
    assert "--batch" in result.err
    assert "is not valid" in result.err
    with pytest.raises(InvalidInput, match="batch"):
        bench.queue.enqueue("true", batch=name)


def test_the_library(bench: Bench) -> None:
    queue: Queue = bench.queue
    enqueue(bench, "a", "b", max_retries=0)
    assert queue.enqueue("true", id="c", batch="day").batch == "day"
    assert [job.id for job in queue.jobs(batch="night", limit=1)] == ["a"]
    bench.play("succeeded")
    assert queue.counts(batch="night") == {"pending": 1, "processing": 0, "completed": 1, "dead": 0, "cancelled": 0}
    assert queue.cancel_batch("night") == ["b"]
    assert not queue.wait(batch="night")
    assert queue.retry_batch("night") == ["b"]
    assert queue.hold_batch("night") == ["b"]
    assert queue.release_batch("night") == ["b"]
    for look in (queue.cancel_batch, queue.retry_batch, queue.hold_batch, queue.release_batch):
        with pytest.raises(NoSuchBatch):
            look("unknown")
    with pytest.raises(NoSuchBatch):
        queue.counts(batch="unknown")
    with pytest.raises(NoSuchBatch):
        queue.wait(batch="unknown", timeout=0)
    with pytest.raises(InvalidInput, match="exclude"):
        queue.wait(["a"], batch="night")
