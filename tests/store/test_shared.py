"""A connection that threads share: one at a time has it, none waits for ever, and each finds it sound."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from farm import PATIENCE
from store.backends import T0, add, claim
from unit.support import in_child, in_threads

from queuectl import Queue, StoreBusy, StoreError
from queuectl.store.connection import Connections
from queuectl.store.sqlite import SQLiteStore

THREADS = 4


@pytest.fixture
def path(tmp_path: Path) -> str:
    """An empty queue's database, which nobody has open."""
    queue = Queue.init(tmp_path / "home" / "q.db")
    queue.close()
    return queue.home.database


@pytest.fixture
def connections(path: str) -> Iterator[Connections]:
    made = Connections(path, PATIENCE, synchronous="NORMAL", shared=True)
    yield made
    made.close()


@pytest.fixture
def impatient(path: str) -> Iterator[Connections]:
    """What nobody waits for for long."""
    made = Connections(path, 0.2, shared=True)
    yield made
    made.close()


def while_in_use(connections: Connections, does: Callable[[], None]) -> None:
    """Do something while another thread has the connection."""
    has_it, may_end = threading.Event(), threading.Event()

    def use() -> None:
        with connections.using():
            has_it.set()
            may_end.wait(PATIENCE)

    thread = threading.Thread(target=use)
    thread.start()
    assert has_it.wait(PATIENCE)
    try:
        does()
    finally:
        may_end.set()
        thread.join()


def test_all_threads_have_the_same_connection_one_at_a_time(connections: Connections) -> None:
    seen: set[int] = set()
    inside: list[int] = []

    def use() -> None:
        for _ in range(50):
            with connections.transaction() as connection, connections.using() as again:
                assert connection is again
                seen.add(id(connection))
                inside.append(0)
                connection.execute("SELECT count(*) FROM jobs").fetchone()
                assert len(inside) == 1
                inside.pop()

    in_threads(*[use] * THREADS)
    assert len(seen) == 1


def test_who_waits_too_long_for_another_thread_is_told_as_by_sqlite(impatient: Connections) -> None:
    def use() -> None:
        for use in (impatient.using, impatient.transaction, impatient.snapshot):
            with pytest.raises(StoreBusy, match="is locked by another program"), use():
                pytest.fail("another thread has it")

    while_in_use(impatient, use)
    with impatient.transaction():
        pass


def test_a_locked_database_keeps_no_thread_longer_than_any_other(path: str) -> None:
    """One after the other, they would wait for half a minute."""
    store = SQLiteStore(path, 1, shared=True)
    store.counts()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    told: list[str] = []

    def write() -> None:
        with pytest.raises(StoreBusy) as caught:
            add(store, "a")
        told.append(str(caught.value))

    threads = [threading.Thread(target=write, daemon=True) for _ in range(64)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 10
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    assert len(told) == len(threads)
    assert set(told) == {f"the database {path} is locked by another program"}
    other.close()
    add(store, "a")
    assert store.counts()["pending"] == 1
    store.close()


def test_what_is_to_be_on_disk_is_no_matter_of_other_threads(connections: Connections) -> None:
    """No other thread changes how the connection writes, from the moment in which that is set to the end."""
    outside: list[object] = []
    within: list[object] = []

    def synchronous(connection: sqlite3.Connection) -> object:
        return connection.execute("PRAGMA synchronous").fetchone()[0]

    def write() -> None:
        for _ in range(100):
            with connections.durable_transaction() as connection:
                within.append(synchronous(connection))
            with connections.using() as connection:
                outside.append(synchronous(connection))

    in_threads(*[write] * THREADS)
    full, normal = 2, 1
    assert set(within) == {full}
    assert set(outside) == {normal}


def test_who_cannot_wait_waits_for_no_other_thread_either(connections: Connections) -> None:
    def use() -> None:
        began = time.monotonic()
        with pytest.raises(StoreBusy), connections.prompt_transaction():
            pytest.fail("another thread has it")
        assert time.monotonic() - began < PATIENCE / 4

    while_in_use(connections, use)
    with connections.prompt_transaction():
        pass


def test_a_cancel_is_seen_while_another_thread_waits_to_write(path: str) -> None:
    """Or a job would run on for as long as another program writes."""
    store = SQLiteStore(path, PATIENCE, shared=True)
    add(store, "a")
    claimed = claim(store)
    assert store.cancel(["a"], T0)
    seen: list[bool] = []
    while_in_use(store._connections, lambda: seen.append(store.is_cancel_requested(claimed, patiently=False)))
    assert seen == [True]
    store.close()


def test_a_look_for_a_cancel_leaves_nothing_open(path: str) -> None:
    """What a process has open of a damaged database keeps its next connections from finding that it was restored."""
    store = SQLiteStore(path, PATIENCE)
    add(store, "a")
    claimed = claim(store)
    store.close()
    assert not store.is_cancel_requested(claimed, patiently=False)
    assert [name for name in os.listdir("/dev/fd") if os.path.realpath(f"/dev/fd/{name}").startswith(path)] == []


def test_that_one_thread_cannot_wait_is_no_matter_of_others(connections: Connections) -> None:
    patience: set[int] = set()

    def write() -> None:
        for _ in range(100):
            with contextlib.suppress(StoreBusy), connections.prompt_transaction() as connection:
                assert connection.execute("PRAGMA busy_timeout").fetchone()[0] == 0
            with connections.transaction() as connection:
                patience.add(connection.execute("PRAGMA busy_timeout").fetchone()[0])

    in_threads(*[write] * THREADS)
    assert patience == {500 * PATIENCE}


def test_a_connection_that_was_spoilt_is_opened_anew_for_all(connections: Connections) -> None:
    with connections.using() as former:
        pass
    with pytest.raises(StoreError, match="is damaged"), connections.transaction():
        raise sqlite3.DatabaseError("database disk image is malformed")

    def use() -> None:
        with connections.transaction() as connection:
            assert connection is not former

    in_threads(*[use] * THREADS)
    use()


def test_a_thread_that_ends_leaves_the_connection_to_the_others(connections: Connections) -> None:
    seen: list[sqlite3.Connection] = []

    def use() -> None:
        with connections.transaction() as connection:
            seen.append(connection)

    in_threads(use)
    use()
    assert seen[0] is seen[1]


def test_forks_beside_threads_that_share_a_connection(path: str) -> None:
    store = SQLiteStore(path, PATIENCE, shared=True)
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            store.counts()

    threads = [threading.Thread(target=use) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            in_child(partial(add, store, f"of-child-{number}"))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert store.counts()["pending"] == 10
    store.close()
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    other.close()
