"""Turns of writers: they spare them SQLite's long sleeps, and nothing relies on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import eventually

from queuectl import Queue
from queuectl.store.turns import Turns

HOLD = "import fcntl, os, sys, time; d = os.open(sys.argv[1], 0); fcntl.flock(d, fcntl.LOCK_EX); print(flush=True); time.sleep(60)"


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[tuple[Turns, Turns]]:
    """The turns of two connections."""
    both = Turns(str(tmp_path)), Turns(str(tmp_path))
    yield both
    for each in both:
        each.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has its turn, and does not give it back."""
    (tmp_path / "run").mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_one_has_its_turn_at_a_time(turns: tuple[Turns, Turns]) -> None:
    first, second = turns
    assert first.take()
    had = threading.Event()

    def wait() -> None:
        while not second.take():
            pass
        had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not had.wait(0.1)
    first.give_back()
    assert had.wait(10)
    thread.join()
    assert not first.take()
    second.close()
    assert first.take()


def test_a_writer_that_is_stopped_holds_nobody_up_for_long(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    queue = Queue.init(tmp_path / "queuectl.db")
    holder.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    for _ in range(3):
        queue.enqueue("true")
    assert time.monotonic() - begun < 30
    assert queue.counts()["pending"] == 3
    queue.close()


def test_a_turn_ends_with_its_holder(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    turns = Turns(str(tmp_path / "run"))
    assert not turns.take()
    holder.kill()
    eventually(turns.take)
    turns.close()


def test_where_there_are_no_such_locks_everybody_goes_on(tmp_path: Path) -> None:
    for directory in (None, str(tmp_path / "missing"), str(Path(__file__))):
        turns = Turns(directory)
        assert not turns.take()
        turns.give_back()
        turns.close()


def test_a_transaction_takes_its_turn_and_gives_it_back(tmp_path: Path) -> None:
    queue = Queue.init(tmp_path / "queuectl.db")
    other = Turns(queue.home.run)
    connections = queue._store()._connections  # type: ignore[attr-defined]
    with connections.transaction() as connection:
        assert not other.take()
        assert connection.in_transaction
    assert other.take()
    other.give_back()
    with pytest.raises(KeyboardInterrupt), connections.transaction():
        raise KeyboardInterrupt
    assert other.take()
    other.give_back()
    with connections.using(), connections.snapshot():
        assert other.take()
    other.close()
    queue.close()


def test_a_child_has_no_part_in_its_parents_turn(tmp_path: Path) -> None:
    """What is forked amid a transaction inherits the opening of the file: it must not keep the turn."""
    queue = Queue.init(tmp_path / "queuectl.db")
    other = Turns(queue.home.run)
    reader, writer = os.pipe()
    with queue._store()._connections.transaction():  # type: ignore[attr-defined]
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    assert other.take()
    os.close(writer)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    other.close()
    queue.close()
