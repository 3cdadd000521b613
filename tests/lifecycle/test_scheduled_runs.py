"""Schedules with real workers: slots become jobs in time, each once, also while workers are killed."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from pathlib import Path

from farm import PATIENCE, Farm, assert_books_balance, eventually
from unit.support import HandClock

from queuectl import Job, Queue
from queuectl.clock import SECOND, SYSTEM_CLOCK, timestamp

EVERY_SECOND = "* * * * * *"


def completed(farm: Farm) -> list[Job]:
    return farm.queue.jobs("completed")


def slot_of(job: Job) -> int:
    """The time in the id of a run, in microseconds."""
    text = job.id.rsplit("-", 1)[1]
    moment = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15].rstrip('Z') or '00'}Z"
    return timestamp(moment)


def test_idle_workers_wake_for_each_slot(farm: Farm, mode: str) -> None:
    farm.start(2, mode)
    farm.queue.add_schedule("tick", EVERY_SECOND, "echo $QUEUECTL_JOB_ID >> ran", cwd=str(farm.directory))
    eventually(lambda: len(completed(farm)) >= 3)
    farm.queue.pause_schedules("tick")
    farm.queue.wait(timeout=PATIENCE)
    jobs = farm.queue.jobs()
    slots = [slot_of(job) for job in jobs]
    assert slots == sorted(set(slots))
    assert all(timestamp(job.created_at) >= slot for job, slot in zip(jobs, slots, strict=True))
    late = [timestamp(job.created_at) - slot for job, slot in zip(jobs, slots, strict=True)]
    assert min(late) < SECOND, "they sleep until the slot, and not until they look again anyhow"
    assert sorted((farm.directory / "ran").read_text().split()) == sorted(job.id for job in jobs)
    assert_books_balance(farm.queue)


def test_a_slot_that_was_missed_is_made_up_for_at_the_next_start(farm: Farm, mode: str) -> None:
    long_ago = Queue(farm.home.database, clock=HandClock(SYSTEM_CLOCK.now() - 3 * 86_400 * SECOND))
    long_ago.add_schedule("hourly", "@hourly", "true", cwd="/")
    long_ago.close()
    assert farm.run("worker-run", "--count", "2", "--mode", mode, "--drain").returncode == 0
    (job,) = farm.queue.jobs()
    assert job.state == "completed"
    assert 0 <= SYSTEM_CLOCK.now() - slot_of(job) < 2 * 3600 * SECOND, "the last of those that were missed"


def test_a_run_has_the_retry_policy_and_the_batch_of_its_schedule(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    long_ago = Queue(farm.home.database, clock=HandClock(SYSTEM_CLOCK.now() - 86_400 * SECOND))
    options = {"max_retries": 2, "batch": "nights", "cwd": "/"}
    long_ago.add_schedule("again", "@hourly", "exit 75", retry_on="75", **options)
    long_ago.add_schedule("once", "@hourly", "exit 76", no_retry_on="70-80", **options)
    long_ago.close()
    assert farm.run("worker-run", "--count", "2", "--mode", mode, "--drain").returncode == 0
    ran = {job.id.split("-")[0]: job for job in farm.queue.jobs("dead", batch="nights")}
    assert {name: job.attempts for name, job in ran.items()} == {"again": 3, "once": 1}


def test_no_run_while_one_goes_on(farm: Farm, mode: str) -> None:
    go = farm.directory / "go"
    farm.queue.add_schedule("s", EVERY_SECOND, f"until test -e {go}; do sleep 0.02; done", cwd="/")
    farm.start(2, mode)
    eventually(lambda: any("was skipped" in (each.note or "") for each in farm.queue.schedules()))
    assert len(farm.queue.jobs()) == 1
    go.touch()
    eventually(lambda: len(completed(farm)) >= 2)


def test_each_slot_once_while_workers_are_killed(farm: Farm, mode: str) -> None:
    farm.queue.add_schedule(
        "s", EVERY_SECOND, "echo $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT >> ran", cwd=str(farm.directory), overlap="allow"
    )
    farm.start(3, mode)
    for number in range(1, 4):
        eventually(lambda: len(completed(farm)) >= number)  # noqa: B023
        killed = eventually(farm.workers)[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in farm.workers() and farm.workers() and farm.ready())  # noqa: B023
    farm.queue.remove_schedules("s")
    farm.queue.wait(timeout=PATIENCE)
    ran = Counter((farm.directory / "ran").read_text().splitlines())
    assert max(ran.values()) == 1, "no attempt runs twice"
    assert {line.split()[0] for line in ran} == {job.id for job in farm.queue.jobs()}
    assert_books_balance(farm.queue)


def test_of_many_due_at_once_all_are_run(farm: Farm, mode: str) -> None:
    long_ago = Queue(farm.home.database, clock=HandClock(SYSTEM_CLOCK.now() - 86_400 * SECOND))
    for number in range(60):
        long_ago.add_schedule(f"s{number}", "@hourly", "true", cwd="/")
    long_ago.close()
    farm.start(2, mode)
    eventually(lambda: len(completed(farm)) >= 60)


def test_workers_go_on_when_a_schedule_is_broken(farm: Farm, mode: str) -> None:
    farm.queue.add_schedule("bad", EVERY_SECOND, "true", cwd="/")
    farm.queue.add_schedule("good", EVERY_SECOND, "true", cwd="/")
    direct = sqlite3.connect(farm.home.database)
    direct.execute("UPDATE schedules SET zone = 'Mars/Base' WHERE name = 'bad'")
    direct.commit()
    direct.close()
    farm.start(1, mode)
    eventually(lambda: len(completed(farm)) >= 2)
    assert all(job.id.startswith("good-") for job in farm.queue.jobs())
    assert "schedule bad is paused: no time zone 'Mars/Base'" in Path(farm.home.run, "supervisor.log").read_text()
