"""Workers claim short jobs several at once: nobody else may notice."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually
from unit.support import in_child

from queuectl.clock import SYSTEM_CLOCK
from queuectl.hand import LONGEST
from queuectl.store.sqlite import open_store

JOBS = 130
"""So many that some are left for others when one worker claims several."""
LONG = "18"
"""The id of a job that takes long, after short ones. On a machine that is fast enough, two are claimed ahead behind it."""


def add_short_ones(farm: Farm, count: int = JOBS) -> None:
    """Short jobs, whose ids are their numbers; one of them waits until it may end."""
    gate = Path(farm.directory, "gate")
    long = f"touch {gate}.reached; until test -e {gate}; do sleep 0.01; done"
    farm.queue.add_many([{"command": long if str(number) == LONG else "true"} for number in range(1, count + 1)])


def test_what_takes_long_keeps_nothing_from_others(farm: Farm, mode: str) -> None:
    add_short_ones(farm)
    farm.start(1, mode)
    eventually(Path(farm.directory, "gate.reached").exists)
    # It has begun, so at the latest after a tenth of a second all is as if it had been claimed alone.
    eventually(lambda: farm.queue.counts()["completed"] == int(LONG) - 1, "what ended is stored")
    eventually(lambda: farm.queue.counts()["processing"] == 1, "what has not begun is given back")
    (running,) = farm.queue.jobs("processing")
    assert running.id == LONG
    assert running.started_at is not None
    assert [attempt.outcome for attempt in farm.queue.attempts(LONG)] == [None]
    assert not any(farm.queue.attempts(job.id) or job.attempts for job in farm.queue.jobs("pending"))
    status = json.loads(farm.run("worker-status", "--json").stdout)
    assert [worker["job"] for worker in status["workers"]] == [LONG]
    farm.queue.cancel(LONG)
    assert farm.queue.wait(timeout=PATIENCE) is False
    assert farm.queue.counts() == {"pending": 0, "processing": 0, "completed": JOBS - 1, "dead": 0, "cancelled": 1}
    assert_books_balance(farm.queue)


def test_others_take_what_is_given_back(farm: Farm, mode: str) -> None:
    add_short_ones(farm)
    farm.start(2, mode)
    eventually(lambda: farm.queue.counts()["completed"] == JOBS - 1, "only one waits")
    Path(farm.directory, "gate").touch()
    assert farm.queue.wait(timeout=PATIENCE)
    assert all(len(farm.queue.attempts(job.id)) == job.attempts == 1 for job in farm.queue.jobs())


def claim_and_die(farm: Farm) -> None:
    store = open_store(farm.home, 5)
    assert len(store.settle([], SYSTEM_CLOCK.now(), next_for="worker-1", most=4).following) == 4
    store.close()


def test_what_a_dead_worker_had_not_begun_costs_nothing(farm: Farm) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.add_many([{"command": "true", "max_retries": 1}] * JOBS)
    in_child(lambda: claim_and_die(farm))
    farm.queue.cancel("2")
    done = farm.run("worker-run", "--count", "1", "--drain")
    assert done.returncode == 0
    assert "job 3: attempt 1 had not begun (released)" in done.stderr
    outcomes = [[attempt.outcome for attempt in farm.queue.attempts(each)] for each in "12345"]
    ahead = ["released", "succeeded"]
    assert outcomes == [["crashed", "succeeded"], [], ahead, ahead, ["succeeded"]]
    assert [farm.queue.get(each).attempts for each in "12345"] == [2, 0, 1, 1, 1]
    assert farm.queue.get("2").reason == "cancelled while it waited"
    handed_back, _ = farm.queue.attempts("3")
    assert (handed_back.log_offset, handed_back.log_bytes) == (0, 0), "it wrote nothing"
    assert_books_balance(farm.queue)


def test_what_had_not_begun_leaves_no_former_jobs_output_behind(farm: Farm) -> None:
    """A log that was there before the job is of a queue that is gone; one that is not may be all that is known of a start."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.add_many([{"command": "echo mine", "max_retries": 1}] * JOBS)
    for job_id in "12345":
        Path(farm.home.log(job_id)).write_text("former\n")
        if job_id != "4":
            os.utime(farm.home.log(job_id), (1_700_000_000, 1_700_000_000))
    in_child(lambda: claim_and_die(farm))
    assert farm.run("worker-run", "--count", "1", "--drain").returncode == 0
    logs = [Path(farm.home.log(job_id)).read_text() for job_id in "12345"]
    assert logs == ["mine\n", "mine\n", "mine\n", "former\nmine\n", "mine\n"]
    assert [attempt.log_offset for attempt in farm.queue.attempts("3")] == [0, 0]


def test_output_older_than_its_job_is_the_jobs_own_where_its_worker_noted_it(farm: Farm) -> None:
    """The clock was set back between the two."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue(f"echo $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2 || sleep {farm.token}", id="j")
    farm.start(1)
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and log.read_text() == "1\n" and farm.survivors())
    with contextlib.closing(sqlite3.connect(farm.home.database, isolation_level=None)) as connection:
        connection.execute("UPDATE jobs SET created_at = created_at + 3600000000")
    os.kill(farm.workers()[0], signal.SIGKILL)
    assert farm.queue.wait(["j"], timeout=PATIENCE)
    assert log.read_text() == "1\n2\n"
    assert [(each.log_offset, each.log_bytes) for each in farm.queue.attempts("j")] == [(0, 2), (2, 2)]


def test_what_was_claimed_with_a_job_that_kills_its_worker(farm: Farm, mode: str) -> None:
    """What ended before it is not run again, and what was to come after it costs nothing."""
    farm.run("config", "set", "backoff_base", "0")
    ran = farm.directory / "ran"
    commands = [f"echo $QUEUECTL_JOB_ID >> {ran}"] * JOBS
    commands[int(LONG) - 1] += "; test $QUEUECTL_ATTEMPT = 2 || { kill -9 $PPID; sleep 60; }"
    farm.queue.add_many([{"command": each, "max_retries": 1} for each in commands])
    farm.start(1, mode)
    assert farm.queue.wait(timeout=PATIENCE)
    jobs = [str(number) for number in range(1, JOBS + 1)]
    assert sorted(ran.read_text().split()) == sorted([*jobs, LONG])
    for job in jobs:
        outcomes = [attempt.outcome for attempt in farm.queue.attempts(job)]
        if job == LONG:
            assert outcomes == ["crashed", "succeeded"]
        else:
            assert [each for each in outcomes if each != "released"] == ["succeeded"]
            assert farm.queue.get(job).attempts == 1
    assert_books_balance(farm.queue)


def test_what_was_claimed_with_a_job_that_is_cancelled(farm: Farm, mode: str) -> None:
    """It is ended at once, though nobody may know yet that it is the one that runs."""
    gate = farm.directory / "gate"
    commands = ["true"] * JOBS
    commands[int(LONG) - 1] = f"touch {gate}; exec sleep {farm.token}"
    farm.queue.add_many([{"command": each} for each in commands])
    farm.start(1, mode)
    eventually(gate.exists)
    farm.queue.cancel(LONG)
    assert farm.queue.wait(timeout=PATIENCE) is False
    assert farm.survivors() == []
    assert farm.queue.counts() == {"pending": 0, "processing": 0, "completed": JOBS - 1, "dead": 0, "cancelled": 1}
    assert all(len(farm.queue.attempts(job.id)) == 1 for job in farm.queue.jobs())
    assert_books_balance(farm.queue)


@pytest.mark.parametrize("how", [(), ("--now",)])
def test_a_stop_amid_jobs_that_were_claimed_together(farm: Farm, mode: str, how: tuple[str, ...]) -> None:
    """The one that runs ends by itself, or is ended; none is begun after it."""
    gate = farm.directory / "gate"
    commands = [f"touch {farm.directory}/after"] * JOBS
    commands[: int(LONG)] = ["true"] * int(LONG)
    until_told = f"until grep -qs stopping: {farm.home.supervisor_log}; do sleep 0.02; done; sleep 1"
    commands[int(LONG) - 1] = f"touch {gate}; {f'exec sleep {farm.token}' if how else until_told}"
    farm.queue.add_many([{"command": each} for each in commands])
    farm.start(1, mode)
    eventually(gate.exists)
    farm.stop(*how)
    assert not (farm.directory / "after").exists()
    assert farm.queue.get(LONG).state == ("pending" if how else "completed")
    assert [attempt.outcome for attempt in farm.queue.attempts(LONG)] == ["released" if how else "succeeded"]
    assert farm.queue.counts()["completed"] == int(LONG) - bool(how)
    assert_books_balance(farm.queue)


@pytest.mark.parametrize("count", [1, 3])
def test_a_stop_leaves_what_has_not_begun_as_it_was(farm: Farm, mode: str, count: int) -> None:
    farm.queue.add_many([{"command": "true"}] * 4000)
    farm.start(count, mode)
    eventually(lambda: farm.queue.counts()["completed"] > 40)
    farm.stop()
    jobs = farm.queue.jobs()
    assert {job.state for job in jobs} == {"completed", "pending"}, "it was stopped in the midst"
    for job in jobs:
        assert len(farm.queue.attempts(job.id)) == job.attempts == (job.state == "completed")
    assert_books_balance(farm.queue)


def test_times_are_those_of_each_job(farm: Farm, mode: str) -> None:
    """Attempts of one worker do not overlap, and take as long as they take."""
    farm.queue.add_many([{"command": "sleep 0.002"}] * JOBS)
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    attempts = [attempt for job in farm.queue.jobs() for attempt in farm.queue.attempts(job.id)]
    assert len(attempts) == JOBS
    assert all(attempt.ended_at is not None for attempt in attempts)
    spans = sorted((attempt.started_at, attempt.ended_at or "") for attempt in attempts)
    assert all(start < end for start, end in spans)
    assert {job.started_at for job in farm.queue.jobs()} == {start for start, _ in spans}
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_long_job_is_timed_out_in_time(farm: Farm, mode: str) -> None:
    """Though its worker has other things to settle while it runs, and nobody can write."""
    farm.run("config", "set", "kill_grace", "0")
    gate = Path(farm.directory, "gate")
    commands = ["true"] * JOBS
    commands[int(LONG) - 1] = f"touch {gate}; sleep {farm.token}"
    farm.queue.add_many([{"command": each, "timeout": 10 * LONGEST, "max_retries": 0} for each in commands])
    farm.start(1, mode)
    eventually(gate.exists)
    with contextlib.closing(sqlite3.connect(farm.home.database, isolation_level=None, timeout=PATIENCE)) as other:
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: not farm.survivors(), "it is ended though the database is locked")
        other.execute("ROLLBACK")
    farm.queue.wait(timeout=PATIENCE)
    assert farm.queue.get(LONG).outcome == "timed_out"
    assert farm.queue.counts()["completed"] == JOBS - 1
    assert_books_balance(farm.queue)
