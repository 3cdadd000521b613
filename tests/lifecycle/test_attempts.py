"""How attempts end, and what is told of them."""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from farm import Farm, assert_books_balance, eventually

from queuectl import Conflict


def outcomes(farm: Farm, job_id: str) -> list[str | None]:
    """The outcomes of all attempts of a job, oldest first."""
    return [attempt.outcome for attempt in farm.queue.attempts(job_id)]


def seconds_between(earlier: str | None, later: str | None) -> float:
    """Seconds from one ISO time to another."""
    assert earlier is not None
    assert later is not None
    first, second = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (earlier, later))
    return (second - first).total_seconds()


def test_every_way_to_end(farm: Farm, mode: str) -> None:
    farm.queue.enqueue_many(
        [
            {"id": "ok", "command": "true"},
            {"id": "bad", "command": "exit 7", "max_retries": 0},
            {"id": "shot", "command": "kill -SEGV $$", "max_retries": 0},
            {"id": "late", "command": f"sleep {farm.token}", "timeout": 0.2, "max_retries": 0},
            {"id": "nowhere", "command": "true", "cwd": "/no/such/directory", "max_retries": 0},
            {"id": "nodir", "command": "true", "cwd": "/etc/passwd", "max_retries": 0},
        ]
    )
    farm.start(2, mode)
    assert farm.queue.wait(timeout=60) is False
    told = {}
    for job in farm.queue.jobs():
        (attempt,) = farm.queue.attempts(job.id)
        assert (job.outcome, job.exit_code, job.signal) == (attempt.outcome, attempt.exit_code, attempt.signal)
        told[job.id] = (job.state, attempt.outcome, attempt.exit_code, attempt.signal)
        assert job.attempts == 1
        assert job.next_run_at is None
    assert told == {
        "ok": ("completed", "succeeded", 0, None),
        "bad": ("dead", "failed", 7, None),
        "shot": ("dead", "signaled", None, 11),
        "late": ("dead", "timed_out", None, 15),
        "nowhere": ("dead", "not_started", None, None),
        "nodir": ("dead", "not_started", None, None),
    }
    assert farm.queue.get("nowhere").reason == "no such directory: /no/such/directory"
    assert farm.survivors() == []
    assert_books_balance(farm.queue)


def test_retries_back_off_and_end_in_the_dead_letter_queue(farm: Farm, mode: str) -> None:
    for key, value in (("backoff_base", "0.5"), ("backoff_max", "0.4"), ("max_retries", "2")):
        assert farm.run("config", "set", key, value).returncode == 0
    farm.queue.enqueue("exit 1", id="j")
    farm.start(1, mode)
    farm.queue.wait(["j"], timeout=60)
    assert farm.queue.get("j").state == "dead"
    attempts = farm.queue.attempts("j")
    assert [attempt.outcome for attempt in attempts] == ["failed"] * 3
    # 0.5 ** 1 is capped at 0.4, 0.5 ** 2 is 0.25: never sooner, by the wall clock that was stored.
    assert seconds_between(attempts[0].ended_at, attempts[1].started_at) >= 0.39
    assert seconds_between(attempts[1].ended_at, attempts[2].started_at) >= 0.24
    assert farm.queue.get("j").attempts == 3
    farm.queue.retry_dead("j")
    farm.queue.wait(["j"], timeout=60)
    assert [attempt.number for attempt in farm.queue.attempts("j")] == [1, 2, 3, 4, 5, 6]
    assert farm.queue.get("j").attempts == 3
    assert_books_balance(farm.queue)


def test_a_retry_can_succeed(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0.1")
    farm.queue.enqueue("echo $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 3", id="j")
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60)
    assert outcomes(farm, "j") == ["failed", "failed", "succeeded"]
    assert Path(farm.home.log("j")).read_text() == "1\n2\n3\n"


def test_jobs_do_not_start_before_their_time(farm: Farm) -> None:
    farm.start(1)
    delayed = farm.queue.enqueue("true", delay=0.7)
    (delay_over,) = [delayed.next_run_at]
    assert farm.queue.wait([delayed.id], timeout=60)
    (attempt,) = farm.queue.attempts(delayed.id)
    assert delay_over is not None
    assert attempt.started_at >= delay_over


def test_a_job_becomes_due_while_others_are_busy(farm: Farm) -> None:
    """The worker that watches for the next scheduled job gets busy: another must watch then."""
    farm.start(2)
    eventually(farm.ready)
    farm.queue.enqueue("true", id="soon", delay=1.5)
    farm.queue.enqueue("sleep 8", id="long")
    eventually(lambda: farm.queue.get("soon").state == "completed", patience=6)
    farm.stop("--now")


def test_timeouts_of_job_and_setting(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "job_timeout", "0.3")
    farm.queue.enqueue_many(
        [
            {"id": "by-setting", "command": f"sleep {farm.token}", "max_retries": 0},
            {"id": "none", "command": "sleep 1", "timeout": 0, "max_retries": 0},
            {"id": "longer", "command": "sleep 1", "timeout": "20s", "max_retries": 0},
        ]
    )
    farm.start(3, mode)
    farm.queue.wait(timeout=60)
    assert [(job.id, job.outcome) for job in farm.queue.jobs()] == [
        ("by-setting", "timed_out"),
        ("none", "succeeded"),
        ("longer", "succeeded"),
    ]


def test_a_job_that_heeds_sigterm_has_its_grace(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "kill_grace", "20")
    program = "trap 'sleep 0.3; echo cleaned up; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    farm.queue.enqueue(program, id="j", timeout=3, max_retries=0)
    farm.start(1, mode)
    farm.queue.wait(["j"], timeout=60)
    (attempt,) = farm.queue.attempts("j")
    assert (attempt.outcome, attempt.exit_code) == ("timed_out", 9)
    # The shell may tell between the two that its sleep was terminated.
    lines = Path(farm.home.log("j")).read_text().splitlines()
    assert (lines[0], lines[-1]) == ("ready", "cleaned up")


def test_what_is_told_of_an_attempt(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.3: pass'"
    hog = f"{sys.executable} -c 'x = bytearray(200 << 20); x[::4096] = bytes(len(x[::4096]))'"
    farm.queue.enqueue(f"({burn}) & ({burn}); wait", id="burner")
    farm.queue.enqueue(hog, id="hog")
    farm.queue.enqueue("true", id="small")
    slices = 'printf "<%s>" $QUEUECTL_ATTEMPT; head -c $((QUEUECTL_ATTEMPT * 1000)) /dev/zero | tr "\\0" x; exit 1'
    farm.queue.enqueue(slices, id="slices", max_retries=2)
    farm.start(2, mode)
    farm.queue.wait(timeout=90)
    (burner,), (big,), (small,) = (farm.queue.attempts(name) for name in ("burner", "hog", "small"))
    assert burner.cpu_seconds is not None
    assert burner.cpu_seconds >= 0.6
    assert big.max_rss_bytes is not None
    assert big.max_rss_bytes > 200 << 20
    assert small.max_rss_bytes is None
    log = Path(farm.home.log("slices")).read_bytes()
    end = 0
    for attempt in farm.queue.attempts("slices"):
        assert attempt.log_offset == end
        assert attempt.log_bytes is not None
        end += attempt.log_bytes
        text = log[attempt.log_offset : end]
        assert text == f"<{attempt.number}>".encode() + b"x" * (1000 * attempt.number)
    assert end == len(log)


def test_output_keeps_its_order(farm: Farm) -> None:
    farm.queue.enqueue("for i in $(seq 200); do echo o$i; echo e$i >&2; done", id="j")
    farm.start(1)
    farm.queue.wait(["j"], timeout=60)
    assert Path(farm.home.log("j")).read_text().split() == [f"{c}{i}" for i in range(1, 201) for c in "oe"]


@pytest.mark.parametrize("when", ["waiting", "running", "in back-off"])
def test_cancel(farm: Farm, mode: str, when: str) -> None:
    farm.run("config", "set", "kill_grace", "0.3")
    if when == "waiting":
        farm.queue.enqueue("true", id="j")
        farm.queue.cancel("j")
        farm.start(1, mode)
    elif when == "running":
        farm.start(1, mode)
        farm.queue.enqueue(f"trap '' TERM; echo up; sleep {farm.token}; sleep {farm.token}", id="j")
        log = Path(farm.home.log("j"))
        eventually(lambda: log.exists() and log.read_text() == "up\n")
        assert farm.run("cancel", "--wait", "j").returncode == 0
    else:
        farm.start(1, mode)
        farm.queue.enqueue("exit 1", id="j", max_retries=9)
        eventually(lambda: farm.queue.get("j").next_run_at)
        farm.queue.cancel("j")
    assert farm.queue.get("j").state == "cancelled"
    assert farm.survivors() == []
    # The worker works on, and does not touch the cancelled job.
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0
    assert farm.queue.get("j").state == "cancelled"
    assert_books_balance(farm.queue)


def test_a_missing_log_directory_is_made_again(farm: Farm) -> None:
    os.rmdir(farm.home.logs)
    farm.start(1)
    farm.queue.enqueue("echo hi", id="j")
    assert farm.queue.wait(["j"], timeout=60)
    assert Path(farm.home.log("j")).read_text() == "hi\n"


def test_a_time_given_is_kept(farm: Farm, mode: str) -> None:
    farm.start(2, mode)
    moment = datetime.now(timezone.utc) + timedelta(seconds=1)
    assert farm.queue.enqueue("true", id="j", run_at=moment.isoformat()).next_run_at is not None
    assert farm.queue.wait(["j"], timeout=60)
    (attempt,) = farm.queue.attempts("j")
    assert seconds_between(moment.isoformat(), attempt.started_at) >= 0


def test_a_directory_that_may_not_be_entered(plain_farm: Farm) -> None:
    closed = plain_farm.directory / "closed"
    closed.mkdir()
    plain_farm.run("enqueue", "--id", "j", "--max-retries", "0", "--cwd", str(closed), "--", "true")
    closed.chmod(0)
    plain_farm.start(1)
    plain_farm.queue.wait(["j"], timeout=60)
    closed.chmod(0o700)
    job = plain_farm.queue.get("j")
    assert (job.state, job.outcome) == ("dead", "not_started")
    assert job.reason == f"directory cannot be entered: {closed}"


def test_a_job_that_cuts_its_log_short(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("echo $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 1 || : > /proc/self/fd/1; exit 1", id="j")
    farm.start(1, mode)
    farm.queue.wait(["j"], timeout=60)
    assert [attempt.log_bytes for attempt in farm.queue.attempts("j")] == [2, 0, 0, 0]
    assert farm.run("logs", "j").returncode == 0


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_a_cancel_does_not_die_with_its_worker(farm: Farm, mode: str, victim: str) -> None:
    """What was confirmed holds: the job is not run again, though it had retries left."""
    farm.run("config", "set", "kill_grace", "60")
    supervisor = farm.start(2, mode)
    farm.queue.enqueue(f"trap '' TERM; echo up; sleep {farm.token}; sleep {farm.token}", id="j")
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and log.read_text() == "up\n")
    farm.queue.cancel("j")
    for pid in farm.workers() if victim == "worker" else [supervisor]:
        os.kill(pid, signal.SIGKILL)
    farm.queue.wait(["j"], timeout=60)
    assert farm.queue.get("j").state == "cancelled"
    assert len(farm.queue.attempts("j")) == 1
    assert farm.survivors() == []


def test_cancels_while_workers_go_from_job_to_job(farm: Farm, mode: str) -> None:
    go = farm.directory / "go"
    farm.queue.enqueue_many([{"command": f"until test -e {go}; do sleep 0.01; done"}] * 2)
    ids = farm.queue.add_many([{"command": "echo $QUEUECTL_JOB_ID >> ran", "cwd": str(farm.directory)}] * 150)
    farm.start(2, mode)
    go.touch()
    cancelled = []
    for job_id in reversed(ids):
        try:
            farm.queue.cancel(job_id)
        except Conflict:  # it has ended
            continue
        cancelled.append(job_id)
        if len(cancelled) % 10 == 0:
            eventually(lambda: farm.queue.counts()["completed"] > len(cancelled) // 15)
    farm.queue.wait(timeout=60)
    states = {job.id: job.state for job in farm.queue.jobs()}
    assert {states[job_id] for job_id in cancelled} == {"cancelled"}
    assert {states[job_id] for job_id in set(ids) - set(cancelled)} <= {"completed"}
    ran = (farm.directory / "ran").read_text().split()
    assert len(ran) == len(set(ran))
    assert_books_balance(farm.queue)
