"""The database is locked, read-only, damaged, deleted or replaced under running workers.

Each says so once, waits and goes on, or all stop with exit code 5; and nothing ever takes the place of a lost queue.
"""

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
from faults.altered import AlteredFarm
from faults.said import Foreground

from queuectl import Queue, wake

WORKERS = 2
TRIES = 1.2
"""Seconds in which workers, and the supervisor, try a database twice."""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[AlteredFarm]:
    """A farm whose workers wait for a locked database no longer than they wait between two tries."""
    home = tmp_path / "home"
    home.mkdir()
    farm = AlteredFarm(home, copied=True)
    farm.alter(queuectl__host__STORE_PATIENCE=0.2, queuectl__supervisor__STORE_PATIENCE=0.2)
    farm.queue.change_setting("backoff_base", 0)
    yield farm
    farm.clean_up()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """What jobs wait for."""
    return tmp_path / "go"


def let_pass(seconds: float) -> None:
    """Let some rounds of whatever repeats go by."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until)


def start(farm: Farm, mode: str) -> Foreground:
    return Foreground(farm, "--count", str(WORKERS), "--mode", mode)


def add_jobs(farm: Farm, go: Path, delay: float = 4) -> None:
    """One that runs until it may end, and one that is due in a while: an outcome to store, and a claim to make."""
    farm.queue.enqueue(f"until test -e {go}; do sleep 0.02; done", id="running")
    eventually(lambda: farm.queue.get("running").state == "processing")
    farm.queue.enqueue("true", id="due", delay=delay)


def assert_waited_for(workers: Foreground, reason: str) -> None:
    """All tell the reason, and they tell it once, however often they try."""
    eventually(lambda: workers.said("waiting for it") == WORKERS, f"{WORKERS} workers wait")
    let_pass(TRIES)
    assert workers.said("waiting for it") == WORKERS, workers.lines()
    assert workers.said(reason) == WORKERS
    assert workers.said("can be used again") == 0


def assert_goes_on(farm: Farm, workers: Foreground) -> None:
    """Every job is run, and once."""
    assert farm.queue.wait(timeout=PATIENCE)
    assert {job.id: job.attempts for job in farm.queue.jobs()} == {"running": 1, "due": 1}
    eventually(lambda: workers.said("can be used again") == WORKERS)
    assert workers.said("waiting for it") == WORKERS
    assert workers.said("Traceback") == 0
    assert_sound(farm)


def assert_sound(farm: Farm) -> None:
    connection = sqlite3.connect(farm.home.database)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    assert_books_balance(farm.queue)


# Locked


@pytest.fixture
def other(farm: Farm) -> Iterator[sqlite3.Connection]:
    """Another program that uses the database."""
    connection = sqlite3.connect(farm.home.database, isolation_level=None)
    yield connection
    connection.close()


def test_workers_wait_for_a_locked_database(farm: Farm, other: sqlite3.Connection, mode: str, go: Path) -> None:
    workers = start(farm, mode)
    add_jobs(farm, go)
    other.execute("BEGIN IMMEDIATE")
    go.touch()
    assert_waited_for(workers, "is locked by another program")
    assert farm.run("status").returncode == 0, "it can be read"
    other.execute("COMMIT")
    assert_goes_on(farm, workers)


def test_a_worker_that_dies_while_the_database_is_locked(farm: Farm, other: sqlite3.Connection, mode: str) -> None:
    workers = start(farm, mode)
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || sleep {farm.token}", id="j")
    eventually(farm.survivors)
    other.execute("BEGIN IMMEDIATE")
    for pid in farm.workers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: workers.said("cannot record what dead workers ran"))
    let_pass(TRIES)
    assert workers.said("is locked by another program; waiting for it") == 1, workers.lines()
    assert farm.survivors() == []
    other.execute("COMMIT")
    assert farm.queue.wait(timeout=PATIENCE)
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    assert_sound(farm)


# Read-only


def test_workers_that_begin_on_a_read_only_database(plain_farm: Farm, mode: str, go: Path) -> None:
    """Those that have it open can write on. Those that take a dead one's place cannot."""
    farm = plain_farm
    workers = start(farm, mode)
    former = farm.workers()
    farm.queue.counts()  # opens a connection that can write on
    database = Path(farm.home.database)
    database.chmod(0o400)
    for pid in former:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(farm.workers()) == len(former) and not {*farm.workers()} & {*former} and farm.ready())
    farm.queue.enqueue_many([{"command": "true"}] * WORKERS)
    eventually(lambda: workers.said("mends that; waiting for it"))
    let_pass(TRIES)
    assert workers.said("is read-only") <= WORKERS, workers.lines()
    assert farm.queue.counts()["pending"] == WORKERS
    for end in ("", "-wal"):  # SQLite gives an empty log the permissions of the database
        Path(f"{database}{end}").chmod(0o600)
    assert farm.queue.wait(timeout=PATIENCE)
    assert workers.said("is read-only") <= WORKERS
    assert workers.said("Traceback") == 0
    assert_sound(farm)


# Damaged


class Damage:
    """Damage to a database that can be undone. All is read and written as by another program."""

    def __init__(self, farm: Farm, whole: bool) -> None:
        self._path = farm.home.database
        # Only what is not in the write-ahead log is read from the file.
        script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"
        subprocess.run([sys.executable, "-c", script, self._path], check=True)
        self._intact = subprocess.run(["cat", self._path], capture_output=True, check=True).stdout
        spared = 0 if whole else 4096
        self._write(self._intact[:spared] + b"\xa5" * (len(self._intact) - spared))

    def undo(self) -> None:
        self._write(self._intact)

    def _write(self, content: bytes) -> None:
        # In this process, to close the file would drop SQLite's locks.
        subprocess.run(["dd", f"of={self._path}", "conv=notrunc"], input=content, capture_output=True, check=True)


@pytest.mark.parametrize("whole", [False, True], ids=["pages", "all"])
def test_workers_wait_for_a_damaged_database_to_be_restored(farm: Farm, mode: str, go: Path, whole: bool) -> None:
    workers = start(farm, mode)
    add_jobs(farm, go)
    farm.queue.close()
    damage = Damage(farm, whole)
    go.touch()
    assert_waited_for(workers, "is not a database" if whole else "is damaged")
    done = farm.run("enqueue", "--", "true")
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1), done
    damage.undo()
    assert_goes_on(farm, workers)


def test_workers_on_a_damaged_database_can_be_stopped(farm: Farm, mode: str, go: Path) -> None:
    """The next start refuses it, and records what ran once it is restored."""
    workers = start(farm, mode)
    add_jobs(farm, go)
    farm.queue.close()
    damage = Damage(farm, whole=False)
    go.touch()
    eventually(lambda: workers.said("is damaged"))
    assert farm.run("worker-stop", "--now").returncode == 0
    assert workers.process.wait(PATIENCE).returncode == 128 + signal.SIGQUIT
    done = farm.run("worker-start", "--count", "1", "--mode", mode)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1), done
    assert "is damaged" in done.stderr
    damage.undo()
    farm.start(1, mode)
    assert farm.queue.wait(timeout=PATIENCE)
    assert_sound(farm)


def test_a_drain_does_not_wait_for_a_damaged_database(farm: Farm, mode: str, go: Path) -> None:
    """Nobody may be there to mend it; what ended meanwhile is recorded once it is restored, and does not run again."""
    ran = go.with_name("ran")
    farm.queue.enqueue(f"until test -e {go}; do sleep 0.02; done; echo $QUEUECTL_ATTEMPT >> {ran}", id="running")
    workers = Foreground(farm, "--drain", "--count", "2", "--mode", mode)
    eventually(lambda: farm.queue.get("running").state == "processing")
    farm.queue.close()
    damage = Damage(farm, whole=False)
    go.touch()
    assert workers.process.wait(PATIENCE).returncode == 5
    assert workers.said("is damaged") <= WORKERS, workers.lines()
    assert workers.said("Traceback") == 0
    damage.undo()
    assert farm.run("worker-run", "--drain", "--count", "1", "--mode", mode).returncode == 0
    assert [attempt.outcome for attempt in farm.queue.attempts("running")] == ["succeeded"]
    assert ran.read_text() == "1\n"
    assert_sound(farm)


def test_a_drain_does_not_wait_when_its_last_worker_died_on_a_damaged_database(farm: Farm, mode: str) -> None:
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || sleep {farm.token}", id="j")
    workers = Foreground(farm, "--drain", "--count", "1", "--mode", mode)
    eventually(farm.survivors)
    farm.queue.close()
    damage = Damage(farm, whole=False)
    for pid in farm.workers():
        os.kill(pid, signal.SIGKILL)
    assert workers.process.wait(PATIENCE).returncode == 5
    assert farm.survivors() == []
    damage.undo()
    assert farm.run("worker-run", "--drain", "--count", "1", "--mode", mode).returncode == 0
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    assert_sound(farm)


# Lost


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_idle_workers_leave_a_lost_database(farm: Farm, mode: str, tmp_path: Path, how: str) -> None:
    """They run nothing of the queue that is there now, and make none where there is none."""
    workers = start(farm, mode)
    farm.queue.close()
    database = Path(farm.home.database)
    if how == "replaced":
        replacement = Queue.init(tmp_path / "new" / "queuectl.db")
        replacement.enqueue("true", id="new")
        replacement.close()
        os.replace(replacement.home.database, database)
    else:
        database.unlink()
    wake.workers(farm.home, WORKERS)
    eventually(lambda: workers.said("was deleted or replaced while it was in use; waiting for it"))
    let_pass(TRIES)
    workers.process.send_signal(signal.SIGHUP)  # it would look by itself, but not so soon
    assert workers.process.wait(PATIENCE).returncode == 5
    assert workers.said("was deleted or replaced while workers ran: stopping") == 1
    assert workers.said("was deleted or replaced") <= WORKERS + 1, workers.lines()
    assert workers.said("Traceback") == 0
    if how == "replaced":
        assert farm.queue.get("new").state == "pending"
        assert_sound(farm)
        return
    for command in (("worker-start", "--count", "1"), ("enqueue", "--", "true"), ("list",)):
        done = farm.run("--db", str(database), *command)
        assert done.returncode == (3 if command == ("list",) else 5), done
    assert not database.exists()
