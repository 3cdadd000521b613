"""The wall clock jumps an hour, forward or back, under running workers: nothing is stranded, early, late or twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually
from faults.turned_clock import TurnedClock, TurnedFarm

from queuectl.clock import SECOND, timestamp
from queuectl.model import Attempt

HOUR = 3600


@pytest.fixture
def clock(tmp_path: Path) -> TurnedClock:
    return TurnedClock(tmp_path / "offset")


@pytest.fixture
def farm(clock: TurnedClock, tmp_path: Path) -> Iterator[Farm]:
    home = tmp_path / "home"
    home.mkdir()
    farm = TurnedFarm(home, clock)
    yield farm
    farm.clean_up()


def duration(attempt: Attempt) -> float:
    """Seconds that an attempt took by its own account."""
    return (timestamp(attempt.ended_at) - timestamp(attempt.started_at)) / SECOND


JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])


def test_the_clock_of_real_workers_is_turned(farm: Farm, clock: TurnedClock) -> None:
    """Or none of these tests would show anything."""
    farm.start(1)
    clock.turn(7 * HOUR)
    before = clock.now()
    farm.queue.enqueue("true", id="j")
    assert farm.queue.wait(["j"], timeout=PATIENCE)
    (attempt,) = farm.queue.attempts("j")
    assert before - 60 * SECOND < timestamp(attempt.started_at) < before + 600 * SECOND
    assert 0 <= duration(attempt) < 600


@JUMPS
def test_jobs_that_run_are_neither_ended_nor_given_on(farm: Farm, clock: TurnedClock, mode: str, jump: int) -> None:
    go, ran = farm.directory / "go", farm.directory / "ran"
    job = f"until test -e {go}; do sleep 0.02; done; echo $QUEUECTL_JOB_ID >> {ran}"
    farm.queue.enqueue_many([{"command": job, "timeout": 600}] * 4)
    farm.start(2, mode)
    eventually(lambda: farm.queue.counts()["processing"] == 2)
    clock.turn(jump)
    farm.queue.enqueue("true", id="noticed", max_retries=0)
    # Both clocks are looked at several times a second while jobs run.
    until = time.monotonic() + 0.7
    eventually(lambda: time.monotonic() > until)
    assert farm.queue.counts()["processing"] == 2
    go.touch()
    assert farm.queue.wait(timeout=PATIENCE)
    assert sorted(ran.read_text().split()) == ["1", "2", "3", "4"]
    for job_id in ("1", "2", "3", "4", "noticed"):
        (attempt,) = farm.queue.attempts(job_id)
        assert 0 <= duration(attempt) < 600, "measured by a clock that does not jump"
    assert_books_balance(farm.queue)


@JUMPS
def test_a_timeout_is_neither_early_nor_late(farm: Farm, clock: TurnedClock, mode: str, jump: int) -> None:
    timeout = 3.0
    farm.start(1, mode)
    before = time.monotonic()
    farm.queue.enqueue(f"echo up; sleep {farm.token}", id="j", timeout=timeout, max_retries=0)
    eventually(farm.survivors)
    clock.turn(jump)
    assert not farm.queue.wait(["j"], timeout=PATIENCE)
    assert time.monotonic() - before >= timeout
    (attempt,) = farm.queue.attempts("j")
    assert attempt.outcome == "timed_out"
    assert timeout * 0.99 <= duration(attempt) < 600


@JUMPS
def test_a_retry_in_back_off_is_not_stranded(farm: Farm, clock: TurnedClock, mode: str, jump: int) -> None:
    farm.run("config", "set", "backoff_base", "3")
    farm.run("config", "set", "backoff_max", "3")
    farm.start(2, mode)
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT -gt 2", id="j")
    eventually(lambda: farm.queue.get("j").state == "pending" and farm.queue.get("j").attempts == 1)
    clock.turn(jump)
    assert farm.queue.wait(["j"], timeout=PATIENCE)
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["failed", "failed", "succeeded"]
    assert_books_balance(farm.queue)


def test_a_clock_set_back_while_no_workers_ran(farm: Farm, clock: TurnedClock, mode: str) -> None:
    """As when a machine comes up without a battery for its clock."""
    farm.run("config", "set", "backoff_base", "3")
    farm.start(1, mode)
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 2", id="j")
    eventually(lambda: farm.queue.get("j").attempts == 1 and farm.queue.get("j").state == "pending")
    farm.stop("--now")
    clock.turn(-HOUR)
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain", timeout=PATIENCE).returncode == 0
    assert farm.queue.get("j").state == "completed"


def test_a_job_scheduled_for_a_time_starts_when_the_clock_shows_it(farm: Farm, clock: TurnedClock, mode: str) -> None:
    farm.start(1, mode)
    farm.queue.enqueue("true", id="later", delay=HOUR)
    farm.queue.enqueue("true", id="much-later", delay=3 * HOUR)
    clock.turn(HOUR)
    farm.queue.enqueue("true", id="noticed")
    assert farm.queue.wait(["later", "noticed"], timeout=PATIENCE)
    assert farm.queue.get("much-later").state == "pending"


def test_workers_can_be_stopped_and_started_under_a_jumping_clock(farm: Farm, clock: TurnedClock, mode: str) -> None:
    for jump in (HOUR, -2 * HOUR):
        farm.start(2, mode)
        clock.turn(jump)
        assert farm.run("worker-status").returncode == 0
        farm.queue.enqueue("true")
        farm.queue.wait(timeout=PATIENCE)
        farm.stop()
    assert farm.queue.counts()["completed"] == 2
    assert_books_balance(farm.queue)


def test_the_slots_that_a_clock_jumps_over_are_one_run(farm: Farm, clock: TurnedClock, mode: str) -> None:
    farm.start(1, mode)
    farm.queue.add_schedule("s", "* * * * *", "true", cwd="/")
    clock.turn(HOUR)
    farm.queue.enqueue("true", id="noticed")
    assert farm.queue.wait(["noticed"], timeout=PATIENCE)
    eventually(lambda: len(farm.queue.jobs()) >= 2)
    assert farm.queue.wait(timeout=PATIENCE)
    runs = [job.id for job in farm.queue.jobs() if job.id != "noticed"]
    assert len(runs) <= 2, "one for the hour, and one more if a minute went by"


def test_no_slot_comes_twice_when_the_clock_is_set_back(farm: Farm, clock: TurnedClock, mode: str) -> None:
    farm.start(1, mode)
    farm.queue.add_schedule("s", "* * * * * *", "true", cwd="/", overlap="allow")
    begun = clock.now()
    eventually(lambda: farm.queue.counts()["completed"] >= 2)
    clock.turn(-HOUR)
    farm.queue.enqueue("true", id="noticed")
    assert farm.queue.wait(["noticed"], timeout=PATIENCE)
    assert farm.queue.wait(timeout=PATIENCE)
    # Slots of the hour that comes again would be earlier than the first of all.
    (schedule,) = farm.queue.schedules()
    assert timestamp(schedule.next_slot) > begun
    ids = [job.id for job in farm.queue.jobs() if job.id != "noticed"]
    assert min(ids, key=lambda job_id: job_id.rstrip("Z")) == ids[0], "a full minute is told without its seconds"
