"""Which job comes first, and which is the only one of its key, with real workers in both modes."""

from __future__ import annotations

import sys
from pathlib import Path

from farm import PATIENCE, Farm, assert_books_balance, eventually


def test_one_worker_takes_the_highest_priority_first(farm: Farm, mode: str) -> None:
    ran = farm.directory / "ran"
    command = f"echo $QUEUECTL_JOB_ID >> {ran}"
    priorities = {"usual": 0, "low": -5, "high": 7, "higher": 8, "also-usual": 0, "also-high": 7}
    farm.queue.add_many([{"id": name, "command": command, "priority": number} for name, number in priorities.items()])
    farm.start(1, mode)
    assert farm.queue.wait(timeout=PATIENCE)
    assert ran.read_text().split() == ["higher", "high", "also-high", "usual", "also-usual", "low"]


def test_a_job_that_runs_is_not_replaced(farm: Farm, mode: str) -> None:
    gate = farm.directory / "gate"
    farm.queue.enqueue(f"until test -e {gate}; do sleep 0.02; done", id="first", unique="k", max_retries=0)
    farm.start(1, mode)
    eventually(lambda: farm.queue.get("first").state == "processing")
    late = farm.run("enqueue", "--id", "second", "--unique", "k", "--if-exists", "replace", "--command", "true")
    assert (late.returncode, late.stdout) == (4, "")
    assert late.stderr == "queuectl: error: job first with the key 'k' is processing\n"
    gate.touch()
    assert farm.queue.wait(["first"], timeout=PATIENCE)
    assert [(job.id, job.attempts) for job in farm.queue.jobs()] == [("first", 1)]
    assert_books_balance(farm.queue)


def test_a_key_is_held_over_all_retries_and_free_once_its_job_is_dead(farm: Farm, mode: str) -> None:
    farm.queue.change_setting("backoff_base", 0)
    # Each attempt asks for the key that its own job has, and its log is what it was told.
    ask = f"'{sys.executable}' -m queuectl --db '{farm.home.database}' enqueue --unique k --command true"
    farm.queue.enqueue(f"{ask}; exit 1", id="first", unique="k", max_retries=2)
    farm.start(1, mode)
    assert not farm.queue.wait(["first"], timeout=PATIENCE)
    assert Path(farm.home.log("first")).read_text() == "first\n" * 3
    assert [job.id for job in farm.queue.jobs()] == ["first"]
    after = farm.queue.enqueue("true", unique="k")
    assert after.id != "first"
    assert farm.queue.wait([after.id], timeout=PATIENCE)
    assert_books_balance(farm.queue)


def test_of_eight_that_enqueue_one_key_at_once_one_has_it(farm: Farm, mode: str) -> None:
    gate, ran = farm.directory / "gate", farm.directory / "ran"
    command = f"until test -e {gate}; do sleep 0.02; done; echo $QUEUECTL_JOB_ID >> {ran}"
    farm.start(2, mode)
    launched = [farm.launch("enqueue", "--unique", "k", "--command", command) for _ in range(8)]
    told = [each.wait(PATIENCE) for each in launched]
    assert [each.returncode for each in told] == [0] * 8, [each.stderr for each in told]
    (job,) = farm.queue.jobs()
    assert {each.stdout for each in told} == {f"{job.id}\n"}
    gate.touch()
    assert farm.queue.wait(timeout=PATIENCE)
    assert ran.read_text().split() == [job.id]
    assert_books_balance(farm.queue)
