"""An interrupt may come between any two steps of a transaction: none leaves a lock, or half of what was written."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from farm import PATIENCE, eventually

from queuectl import Queue, StoreError
from queuectl.store import connection as watched
from queuectl.store import forks
from queuectl.store.connection import Connections

WATCHED = {contextlib.__file__, watched.__file__}
STEPS = 2000
"""More than a transaction has."""


class Interrupt:
    """Raises KeyboardInterrupt before one step of the connections' module, and of the context managers around it.

    Steps are instructions of Python, and its functions' beginnings; it looks for signals at some of these.
    """

    def __init__(self, step: int) -> None:
        self._left = step

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        frame.f_trace_opcodes = True
        self._left -= event in {"call", "opcode"}
        if self._left == 0:
            raise KeyboardInterrupt
        return self


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a table of two columns that must be equal."""
    queue = Queue.init(tmp_path / "home" / "q.db")
    queue.close()
    other = sqlite3.connect(queue.home.database)
    other.executescript("CREATE TABLE pairs (a, b); INSERT INTO pairs VALUES (0, 0)")
    other.close()
    return Path(queue.home.database)


@pytest.fixture
def connections(path: Path) -> Iterator[Connections]:
    made = Connections(str(path), 0, turns=str(path.parent / "run"))
    yield made
    made.close()


def advance(connections: Connections) -> None:
    with connections.transaction() as connection:
        connection.execute("UPDATE pairs SET a = a + 1")
        connection.execute("UPDATE pairs SET b = b + 1")


def interrupted(connections: Connections, step: int) -> KeyboardInterrupt | None:
    """Advance, interrupted at a step; None when it was through before."""
    before = sys.gettrace()
    sys.settrace(Interrupt(step))
    try:
        advance(connections)
    except KeyboardInterrupt as interrupt:
        return interrupt
    finally:
        sys.settrace(before)
    return None


def test_an_interrupt_at_any_step_leaves_no_lock_and_nothing_half_written(path: Path, connections: Connections) -> None:
    advance(connections)
    other = sqlite3.connect(path, timeout=0)
    steps = 0
    while interrupted(connections, steps + 1) is not None:
        steps += 1
        assert other.execute("SELECT a = b FROM pairs").fetchone() == (1,)
        other.executescript("BEGIN IMMEDIATE; COMMIT")
        assert not forks._gate.threads_inside(), "the next fork would have a child inherit connections"
    other.close()
    assert 100 < steps < STEPS


def test_who_keeps_an_interrupt_can_go_on(connections: Connections) -> None:
    """An interactive Python keeps the last exception, and with it whatever its steps hold."""
    advance(connections)
    for step in range(1, STEPS):
        kept = interrupted(connections, step)
        advance(connections)
        if kept is None:
            break
        del kept
        with connections.snapshot() as connection:
            assert connection.execute("SELECT a = b FROM pairs").fetchone()[0]
    else:
        pytest.fail("it never got through")


@pytest.mark.parametrize("comes", ["before", "while it waits"])
def test_a_fork_goes_on_after_a_visitor_that_could_not_leave(comes: str) -> None:
    gate, inside, leaving = forks._Gate(), threading.Event(), threading.Event()

    def use() -> None:
        lost, good = forks.Visitor(), forks.Visitor()
        gate.enter(lost)
        if comes == "before":
            del lost
        gate.enter(good)
        inside.set()
        leaving.wait(PATIENCE)
        gate.leave(good)

    def fork() -> None:
        gate.before_fork()
        gate.after_in_parent()

    user, forker = threading.Thread(target=use), threading.Thread(target=fork, daemon=True)
    user.start()
    assert inside.wait(PATIENCE)
    forker.start()
    eventually(lambda: gate._forks)
    leaving.set()
    for thread in (user, forker):
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_connection_that_was_spoilt_within_a_use_is_told_of_as_it_is(connections: Connections) -> None:
    with pytest.raises(StoreError, match="is damaged"), connections.snapshot(), connections.using():
        raise sqlite3.DatabaseError("database disk image is malformed")
    advance(connections)
