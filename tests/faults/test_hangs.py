"""Workers that hang: they are killed, what they ran is ended, and only then does the job run again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually

from queuectl import cgroup
from queuectl.clock import SYSTEM_CLOCK
from queuectl.model import Outcome
from queuectl.retry import Verdict
from queuectl.store.sqlite import open_store

_IMPATIENT = """
import sys
from queuectl import launch
from queuectl.home import at
from queuectl.link import Pace
sys.exit(launch.run(at("queuectl.db"), 1, sys.argv[1], pace=Pace(heartbeat=0.2, lease=2.0)))
"""

LEASE = 6.0
"""Seconds of silence after which one of many workers counts as hung: six tries of one, and much less than one of all."""
_MANY = f"""
import sys
from queuectl import host, launch
from queuectl.home import at
from queuectl.link import Pace
host.STORE_PATIENCE = 1.0
sys.exit(launch.run(at("queuectl.db"), int(sys.argv[1]), sys.argv[2], pace=Pace(heartbeat=0.2, lease={LEASE})))
"""


@pytest.fixture
def freezer(farm: Farm) -> Iterator[Path]:
    """A control group whose processes hold still, and can be killed, without anybody being told of it."""
    own = cgroup.own_group()
    group = Path(own or "/nowhere", f"queuectl-test-{farm.token}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs a writable cgroup v2: {error}")
    try:
        if not (group / "cgroup.freeze").exists():
            pytest.skip("this cgroup v2 cannot freeze")
        yield group
    finally:
        (group / "cgroup.freeze").write_text("0")
        eventually(lambda: (group / "cgroup.procs").read_text() == "")
        group.rmdir()


@pytest.fixture
def impatient(farm: Farm, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor with one worker, for which 2 seconds are a long silence."""
    farm.run("config", "set", "backoff_base", "0")
    process = subprocess.Popen([sys.executable, "-c", _IMPATIENT, mode], cwd=farm.directory, stderr=subprocess.DEVNULL)
    try:
        eventually(farm.ready)
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


def nothing_of(farm: Farm) -> str:
    """Fails where a process of the attempt before still lives: it looks for a program, not for its own shell."""
    return f"grep -aqs '^sleep.{farm.token}' /proc/[0-9]*/cmdline && exit 9; exit 0"


def test_a_worker_that_hangs_past_its_lease(
    farm: Farm, impatient: subprocess.Popen[bytes], freezer: Path, mode: str
) -> None:
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || {{ echo up; sleep {farm.token}; }}; {nothing_of(farm)}", id="j")
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and "up" in log.read_text())
    (worker,) = farm.workers()
    (freezer / "cgroup.procs").write_text(str(worker))
    (freezer / "cgroup.freeze").write_text("1")
    assert farm.queue.wait(["j"], timeout=60)
    first, second = farm.queue.attempts("j")
    assert (first.outcome, second.outcome) == ("crashed", "succeeded")
    assert first.ended_at is not None
    assert first.ended_at <= second.started_at
    assert farm.survivors() == []
    told = Path(farm.home.supervisor_log).read_text()
    assert "worker-1 gave no sign of life for 2 seconds: killing it" in told
    assert farm.workers() != [worker]
    assert_books_balance(farm.queue)


def test_a_worker_that_only_works_long_is_left_alone(farm: Farm, impatient: subprocess.Popen[bytes]) -> None:
    """A job that runs for much longer than the lease is no hang: its worker gives signs of life."""
    workers = farm.workers()
    farm.queue.enqueue("sleep 5", id="j")
    assert farm.queue.wait(["j"], timeout=60)
    assert len(farm.queue.attempts("j")) == 1
    assert farm.workers() == workers


@pytest.mark.parametrize("deaf", [False, True])
def test_the_tree_of_a_stopped_worker_is_gone_before_its_job_runs_again(farm: Farm, mode: str, deaf: bool) -> None:
    farm.run("config", "set", "backoff_base", "0")
    trap = "trap '' TERM HUP INT; " if deaf else ""
    first = f"echo up; {trap}setsid sleep {farm.token} & sleep {farm.token}"
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || {{ {first}; }}; {nothing_of(farm)}", id="j", max_retries=1)
    farm.start(1, mode)
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and "up" in log.read_text())
    os.kill(farm.workers()[0], signal.SIGSTOP)
    assert farm.queue.wait(["j"], timeout=60), farm.queue.get("j").reason
    assert [each.outcome for each in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    assert_books_balance(farm.queue)


def test_the_fence_holds_off_a_worker_whose_job_was_given_on(farm: Farm, mode: str) -> None:
    """It wakes in between and ends its attempt: neither the one that was recorded nor the next is touched."""
    farm.queue.enqueue("echo up; until test -e go; do sleep 0.05; done; exit 0", id="j", cwd=farm.directory)
    farm.start(1, mode)
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and "up" in log.read_text())
    store = open_store(farm.home, 5.0)
    try:
        (claim,) = store.claims()
        now = SYSTEM_CLOCK.now()
        outcome = Outcome("crashed", reason="a test took it away", log_offset=0, log_bytes=0)
        assert store.finish(claim, outcome, Verdict("pending", 3600), now, now)[0]
    finally:
        store.close()
    before = farm.queue.get("j")
    (farm.directory / "go").touch()
    told = Path(farm.home.supervisor_log)
    eventually(lambda: "was given on, its outcome (succeeded) is void" in told.read_text())
    assert farm.queue.get("j") == before
    (attempt,) = farm.queue.attempts("j")
    assert (attempt.outcome, attempt.reason) == ("crashed", "a test took it away")
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0, "the worker goes on"


def test_no_worker_counts_as_hung_that_waits_for_a_locked_database(farm: Farm, mode: str) -> None:
    """However many there are: those that wait in one process do not wait one after the other."""
    workers = 16
    with subprocess.Popen([sys.executable, "-c", _MANY, str(workers), mode], cwd=farm.directory) as process:
        try:
            eventually(farm.ready)
            before = farm.workers()
            farm.queue.enqueue_many([{"command": "true", "delay": 3}] * workers)
            other = sqlite3.connect(farm.home.database, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            told = Path(farm.home.supervisor_log)
            eventually(lambda: told.read_text().count("is locked by another program; waiting for it") == workers)
            until = time.monotonic() + 1.5 * LEASE
            eventually(lambda: time.monotonic() > until)
            other.execute("COMMIT")
            other.close()
            assert farm.queue.wait(timeout=PATIENCE)
            assert "gave no sign of life" not in told.read_text()
            assert farm.workers() == before
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE)
    assert [job.attempts for job in farm.queue.jobs()] == [1] * workers
    assert_books_balance(farm.queue)
