"""The disk of a queue is full: commands say so, workers wait, and nothing is lost or run twice.

Jobs note what they did on another disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually
from faults.mounts import SmallDisk, small_disk
from faults.said import Foreground


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def farm(disk: SmallDisk) -> Iterator[Farm]:
    farm = Farm(disk.path)
    yield farm
    (disk.path / "ballast").unlink(missing_ok=True)
    farm.clean_up()


def errors_of(farm: Farm, *arguments: str) -> tuple[int, list[str]]:
    """A command's exit code, and the lines it said."""
    done = farm.run(*arguments)
    return done.returncode, done.stderr.splitlines()


def let_pass(seconds: float) -> None:
    """Let some rounds of whatever repeats go by."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until)


def lines_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def assert_sound(farm: Farm) -> None:
    """The database is whole, and its accounts balance."""
    with sqlite3.connect(farm.home.database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    assert_books_balance(farm.queue)


def test_nothing_is_accepted_on_a_full_disk(farm: Farm, disk: SmallDisk) -> None:
    kept = farm.queue.enqueue("true").id
    disk.fill()
    jobs = Path("/dev/shm") / farm.token
    jobs.write_text('{"command": "true"}\n' * 3000)
    try:
        for arguments in (("enqueue", "--", "true"), ("enqueue", "--job-file", str(jobs)), ("cancel", kept)):
            code, lines = errors_of(farm, *arguments)
            assert (code, len(lines)) == (5, 1), lines
            assert "disk is full" in lines[0]
    finally:
        jobs.unlink()
    assert [job.id for job in farm.queue.jobs(state="pending")] == [kept]
    disk.make_room()
    assert farm.run("enqueue", "--", "true").returncode == 0
    assert len(farm.queue.jobs()) == 2
    assert_sound(farm)


def test_nothing_can_be_opened_on_a_full_disk(farm: Farm, disk: SmallDisk) -> None:
    """Nobody has the database open: there is no room even for what SQLite needs to read it."""
    farm.queue.close()
    disk.fill()
    for arguments in (("enqueue", "--", "true"), ("worker-start", "--count", "1"), ("worker-run", "--count", "1")):
        code, lines = errors_of(farm, *arguments)
        assert (code, len(lines)) == (5, 1), lines
        assert "disk is full" in lines[0]
    disk.make_room()
    assert farm.queue.counts()["pending"] == 0
    assert farm.run("worker-status").returncode == 3


def test_workers_that_are_started_on_a_full_disk(farm: Farm, disk: SmallDisk, mode: str) -> None:
    """Here the database can be read, and nothing written."""
    farm.queue.enqueue("true")
    disk.fill()
    for command in ("worker-start", "worker-run"):
        code, lines = errors_of(farm, command, "--count", "1", "--mode", mode)
        assert code in (1, 5), lines
        assert len(lines) == 1, lines
        assert "No space left" in lines[0] or "full" in lines[0]
    assert farm.run("worker-status").returncode == 3


def test_workers_wait_for_room_to_claim(farm: Farm, disk: SmallDisk, mode: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    farm.queue.enqueue("true", id="first")
    farm.queue.cancel("first")
    with contextlib.closing(sqlite3.connect(farm.home.database, isolation_level=None)) as reader:
        # As long as somebody reads what is in SQLite's log, that is not begun anew: there is no room in it from before.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        workers = Foreground(farm, "--count", "2", "--mode", mode)
        ids = farm.queue.add_many([{"command": f"echo $QUEUECTL_JOB_ID >> {ran}", "delay": 3}] * 4)
        eventually(lambda: disk.fill() or workers.said("waiting for it"))
        let_pass(1.3)
        assert workers.said("waiting for it") <= 2, "once a worker"
        assert workers.said("can be used again") == 0
        assert lines_of(ran) == []
        disk.make_room()
        assert farm.queue.wait(ids, timeout=PATIENCE)
    assert sorted(lines_of(ran)) == ids
    assert workers.said("disk is full") <= 2
    assert_sound(farm)


def test_what_a_database_log_would_take_is_more_than_there_is(farm: Farm, mode: str) -> None:
    """Of what 1,000 attempts write there, the disk holds half: early enough it goes into the database, and is written over."""
    assert farm.run("config", "set", "backoff_base", "0").returncode == 0
    farm.queue.add_many([{"command": "false", "max_retries": 99}] * 10)
    farm.queue.close()
    done = farm.run("worker-run", "--drain", "--count", "2", "--mode", mode, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert [job.attempts for job in farm.queue.jobs(state="dead")] == [100] * 10
    assert_sound(farm)


def test_outcomes_wait_for_room(farm: Farm, disk: SmallDisk, mode: str, tmp_path: Path) -> None:
    """The jobs run once, for all that their outcomes cannot be stored for a while."""
    begun, ran, go = tmp_path / "begun", tmp_path / "ran", tmp_path / "go"
    job = f"echo up >> {begun}; until test -e {go}; do sleep 0.02; done; echo $QUEUECTL_JOB_ID >> {ran}"
    farm.queue.enqueue_many([{"command": job}] * 6)
    workers = Foreground(farm, "--count", "2", "--mode", mode)
    eventually(lambda: len(lines_of(begun)) == 2)
    disk.fill()
    go.touch()
    eventually(lambda: workers.said("waiting for it") == 2, "both have an outcome that finds no room")
    let_pass(1.3)
    assert workers.said("waiting for it") == 2, "once a worker"
    assert workers.said("can be used again") == 0
    assert sorted(lines_of(ran)) == ["1", "2"]
    assert farm.queue.counts()["processing"] == 2
    disk.make_room()
    assert farm.queue.wait(timeout=PATIENCE)
    assert sorted(lines_of(ran)) == ["1", "2", "3", "4", "5", "6"]
    assert all(len(farm.queue.attempts(job.id)) == 1 for job in farm.queue.jobs())
    assert_sound(farm)


def test_a_job_that_fills_the_disk_with_its_log(farm: Farm, disk: SmallDisk, mode: str) -> None:
    """It hears of it as every program does, and what it makes of it is its outcome."""
    workers = Foreground(farm, "--count", "1", "--mode", mode)
    farm.queue.enqueue_many(
        [
            {"id": "j", "command": "head -c 30000000 /dev/zero || exit 7", "max_retries": 0},
            {"id": "next", "command": "true"},
        ]
    )
    eventually(lambda: workers.said("waiting for it"))
    assert workers.said("No space left") == 0, "it is the job's to say so"
    log = Path(farm.home.log("j"))
    kept = log.stat().st_size
    assert 0 < kept < 30_000_000
    os.truncate(log, 100_000)
    assert not farm.queue.wait(timeout=PATIENCE)
    (attempt,) = farm.queue.attempts("j")
    assert (attempt.outcome, attempt.exit_code) == ("failed", 7)
    assert farm.queue.get("next").state == "completed"
    assert_sound(farm)


def test_workers_that_die_on_a_full_disk_are_replaced(farm: Farm, disk: SmallDisk, mode: str, tmp_path: Path) -> None:
    """Their successors find no room for a PID file: one line a try, and fewer and fewer tries."""
    ran = tmp_path / "ran"
    workers = Foreground(farm, "--count", "1", "--mode", mode)
    # Nothing gives room back: neither the database's log, which we keep open, nor the PID file of the dead.
    farm.queue.counts()
    os.link(farm.home.worker_pid(1), disk.path / "kept")
    disk.fill()
    (worker,) = farm.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: workers.said("cannot work: cannot write") >= 2)
    let_pass(1.5)
    assert workers.said("cannot work: cannot write") <= 5, "fewer and fewer tries"
    assert workers.said("Traceback") == 0
    assert workers.said("supervisor.state") <= 1
    disk.make_room()
    farm.queue.enqueue(f"echo up >> {ran}")
    assert farm.queue.wait(timeout=PATIENCE)
    assert lines_of(ran) == ["up"]


def test_a_job_of_a_worker_that_died_on_a_full_disk_runs_again(
    farm: Farm, disk: SmallDisk, mode: str, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 && echo up >> {ran} || sleep {farm.token}", id="j")
    workers = Foreground(farm, "--count", "1", "--mode", mode)
    eventually(lambda: farm.queue.counts()["processing"] == 1 and farm.survivors())
    disk.fill()
    (worker,) = farm.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: workers.said("cannot record what dead workers ran"))
    let_pass(1.5)
    assert workers.said("cannot record what dead workers ran") == 1
    assert farm.survivors() == []
    disk.make_room()
    assert farm.queue.wait(timeout=PATIENCE)
    assert lines_of(ran) == ["up"]
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    assert_sound(farm)


def await_slot(farm: Farm) -> None:
    """Wait until the worker needs no new file any more but for logs: a thread is ready before its keeper is."""
    slot = Path(farm.home.slot("worker-1"))
    eventually(lambda: slot.exists() and slot.stat().st_size)


def test_a_job_waits_for_room_for_its_log(farm: Farm, disk: SmallDisk, mode: str) -> None:
    """A file system may have room, and not for one more file. That costs a job none of its attempts."""
    workers = Foreground(farm, "--count", "1", "--mode", mode)
    await_slot(farm)
    disk.use_up_names()
    farm.queue.enqueue("echo up", id="j", max_retries=0)
    farm.queue.enqueue("echo up", id="gone")
    eventually(lambda: workers.said("cannot open its log"))
    let_pass(1.2)
    assert workers.said("cannot open its log") == 1
    farm.queue.cancel("j")
    eventually(lambda: farm.queue.get("j").state == "cancelled")
    disk.make_room_for_names()
    assert farm.queue.wait(["gone"], timeout=PATIENCE)
    assert Path(farm.home.log("gone")).read_text() == "up\n"
    assert_sound(farm)


@pytest.mark.parametrize("how", [(), ("--now",)])
def test_workers_can_be_stopped_on_a_full_disk(farm: Farm, disk: SmallDisk, mode: str, how: tuple[str, ...]) -> None:
    workers = Foreground(farm, "--count", "2", "--mode", mode)
    disk.fill()
    code, lines = errors_of(farm, "worker-stop", *how)
    assert code == 0, lines
    assert workers.process.wait(PATIENCE).returncode in (0, 128 + signal.SIGQUIT)


@pytest.mark.parametrize("how", [(), ("--now",)])
def test_an_outcome_outlives_a_stop_on_a_full_disk(
    farm: Farm, disk: SmallDisk, mode: str, how: tuple[str, ...], tmp_path: Path
) -> None:
    """What it was is recorded by the next start, and the job does not run again."""
    begun, ran, go = tmp_path / "begun", tmp_path / "ran", tmp_path / "go"
    farm.run("config", "set", "stop_timeout", "1")
    job = f"echo up >> {begun}; until test -e {go}; do sleep 0.02; done; echo $QUEUECTL_JOB_ID >> {ran}; exit"
    farm.queue.enqueue_many([{"id": "good", "command": job}, {"id": "bad", "command": f"{job} 3", "max_retries": 0}])
    workers = Foreground(farm, "--count", "2", "--mode", mode)
    eventually(lambda: len(lines_of(begun)) == 2)
    disk.fill()
    go.touch()
    eventually(lambda: workers.said("waiting for it") == 2, "both have an outcome that finds no room")
    asked_at = time.monotonic()
    assert errors_of(farm, "worker-stop", *how) == (0, ["queuectl: the workers have stopped"])
    assert time.monotonic() - asked_at < 15, "well before workers that do not end would be killed"
    workers.process.wait(PATIENCE)
    assert list(Path(farm.home.run).glob("*.pid")) == []
    disk.make_room()
    farm.start(1, mode)
    assert not farm.queue.wait(timeout=PATIENCE)
    assert sorted(lines_of(ran)) == ["bad", "good"]
    outcomes = [[each.outcome for each in farm.queue.attempts(name)] for name in ("good", "bad")]
    assert outcomes == [["succeeded"], ["failed"]]
    farm.stop()
    assert_sound(farm)


def test_a_job_that_never_got_room_for_its_log_is_handed_back(farm: Farm, disk: SmallDisk, mode: str) -> None:
    """By a stop that finds no room either: it costs none of its attempts."""
    workers = Foreground(farm, "--count", "1", "--mode", mode)
    await_slot(farm)
    (disk.path / "ballast").touch()
    farm.queue.enqueue("true", id="j", max_retries=0, delay=2)
    eventually(lambda: disk.use_up_names() or workers.said("cannot open its log"))
    disk.fill()
    assert errors_of(farm, "worker-stop", "--now")[0] == 0
    disk.make_room()
    disk.make_room_for_names()
    farm.start(1, mode)
    assert farm.queue.wait(timeout=PATIENCE)
    assert [each.outcome for each in farm.queue.attempts("j")] == ["released", "succeeded"]
    assert farm.queue.get("j").attempts == 1
    assert_sound(farm)


def test_a_stop_that_needs_room_says_so(farm: Farm, disk: SmallDisk) -> None:
    Foreground(farm, "--count", "1")
    disk.fill()
    code, lines = errors_of(farm, "worker-stop", "--timeout", "5")
    assert (code, len(lines)) == (1, 1), lines
    assert "without --timeout" in lines[0]
    assert farm.run("worker-status").returncode == 0
