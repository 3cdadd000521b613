"""The FIFOs: a byte wakes, nobody ever waits, and nothing planted in their place does harm."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.support import in_child

from queuectl import Queue, QueueError, wake
from queuectl.home import Home


@pytest.fixture
def home(queue: Queue) -> Home:
    return queue.home


@pytest.fixture
def idle(home: Home) -> Iterator[int]:
    """The descriptor that a worker waits on."""
    wake.make_fifo(home.wake)
    descriptor = wake.open_fifo(home.wake)
    yield descriptor
    os.close(descriptor)


def is_ready(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_a_byte_for_each_job(home: Home, idle: int) -> None:
    assert not is_ready(idle)
    wake.workers(home, 3)
    assert is_ready(idle)
    assert wake.drain(idle) == 3
    assert wake.drain(idle) == 0
    assert not is_ready(idle)


def test_no_job_no_byte(home: Home, idle: int) -> None:
    wake.workers(home, 0)
    assert not is_ready(idle)


def test_never_more_bytes_than_there_can_be_workers(home: Home, idle: int) -> None:
    wake.workers(home, 1_000_000)
    assert wake.drain(idle) == 512


def test_bytes_are_passed_on(home: Home, idle: int) -> None:
    wake.pass_on(idle, 0)
    wake.pass_on(idle, -1)
    assert not is_ready(idle)
    wake.pass_on(idle, 2)
    assert wake.drain(idle) == 2


def test_the_supervisor_has_a_fifo_of_its_own(home: Home, idle: int) -> None:
    wake.make_fifo(home.control)
    control = wake.open_fifo(home.control)
    wake.supervisor(home)
    assert wake.drain(control) == 1
    assert not is_ready(idle)
    os.close(control)


def test_a_full_fifo_blocks_nobody(home: Home, idle: int) -> None:
    def write() -> None:
        for _ in range(1000):
            wake.workers(home, 512)
        wake.pass_on(idle, 512)

    in_child(write)
    assert is_ready(idle)


def test_without_a_reader_nothing_happens(home: Home) -> None:
    in_child(lambda: wake.workers(home, 5))
    wake.make_fifo(home.wake)
    in_child(lambda: wake.workers(home, 5))
    descriptor = wake.open_fifo(home.wake)
    assert not is_ready(descriptor)
    os.close(descriptor)


def test_it_is_private_and_made_once(home: Home) -> None:
    wake.make_fifo(home.wake)
    inode = os.stat(home.wake).st_ino
    wake.make_fifo(home.wake)
    status = os.stat(home.wake)
    assert (status.st_ino, stat.S_IMODE(status.st_mode)) == (inode, 0o600)


@pytest.mark.parametrize("planted", ["file", "symlink to a file", "symlink to a fifo", "directory", "nothing behind"])
def test_what_was_planted_in_its_place_is_neither_followed_nor_filled(home: Home, place: Path, planted: str) -> None:
    target = place / "target"
    path = Path(home.wake)
    match planted:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "nothing behind":
            path.symlink_to(target)
        case "symlink to a file":
            target.write_text("precious")
            path.symlink_to(target)
        case _:
            os.mkfifo(target)
            path.symlink_to(target)
    reader = os.open(target, os.O_RDONLY | os.O_NONBLOCK) if planted.endswith("fifo") else None

    def use() -> None:
        wake.workers(home, 5)
        assert Queue(home.database).enqueue("true").state == "pending"
        with pytest.raises(QueueError, match="is not a FIFO"):
            wake.make_fifo(home.wake)

    in_child(use)
    if reader is not None:
        assert not select.select([reader], [], [], 0)[0] or os.read(reader, 10) == b""
        os.close(reader)
    if planted.endswith("file"):
        assert path.read_text() == "precious"
    if planted == "nothing behind":
        assert not target.exists()


def test_a_fifo_that_cannot_be_opened_is_an_error(home: Home, place: Path) -> None:
    with pytest.raises(QueueError):
        wake.open_fifo(home.wake)
    Path(home.wake).symlink_to(place / "target")
    with pytest.raises(QueueError):
        wake.open_fifo(home.wake)
    with pytest.raises(QueueError):
        wake.make_fifo(f"{place}/missing/wake")


def test_whoever_enqueues_or_revives_wakes_workers(queue: Queue, idle: int) -> None:
    queue.enqueue_many([{"command": "true"}] * 3)
    assert wake.drain(idle) == 3
    queue.cancel("1", "2")
    assert wake.drain(idle) == 0
    queue.retry("1", "2")
    assert wake.drain(idle) == 2


def test_whoever_cancels_a_running_job_wakes_the_supervisor(queue: Queue) -> None:
    wake.make_fifo(queue.home.control)
    control = wake.open_fifo(queue.home.control)
    queue.enqueue_many([{"command": "true"}] * 2)
    queue._store().claim("w", queue._clock.now())
    queue.cancel("2")
    assert wake.drain(control) == 0
    queue.cancel("1")
    assert wake.drain(control) == 1
    os.close(control)
