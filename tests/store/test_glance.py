"""What a shell is offered of a database: little of it, quickly, and whatever state it is in."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.store import glance, queries
from queuectl.store.glance import MOST, REACH


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue.init(tmp_path / "queuectl.db")
    yield made
    made.close()


def change(queue: Queue, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(queue.home.database)) as connection:
        connection.execute(sql, values)
        connection.commit()


def fill(queue: Queue, count: int) -> None:
    """Completed jobs with the ids 1 to ``count``."""
    change(
        queue,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO jobs (id, command, cwd, max_retries, state, due, created_at, updated_at) "
        "SELECT i, 'command ' || i, '/', 3, 'completed', 1, 1, 1 FROM n",
        count,
    )


def common(names: list[str]) -> str:
    """What all of them begin with."""
    low, high = min(names), max(names)
    return next((low[:i] for i, each in enumerate(low) if high[i : i + 1] != each), low)


def found(queue: Queue, prefix: str = "", *states: str, without: tuple[str, ...] = ()) -> list[str]:
    return [job.id for job in glance.ids(queue.home.database, prefix, states, without)]


def test_the_newest_come_first_with_their_commands(queue: Queue) -> None:
    queue.enqueue("make all", id="build")
    queue.enqueue("x" * 5000, id="long")
    assert glance.ids(queue.home.database, "") == [("long", "x" * 200), ("build", "make all")]
    assert glance.ids(queue.home.database, "b") == [("build", "make all")]
    assert found(queue, without=("long",)) == ["build"]


@pytest.mark.parametrize("prefix", ["B", "build1", "%", "b_", "[", "\n", "ä", "~", "'", "\udc80"])
def test_what_no_id_begins_with_finds_nothing(queue: Queue, prefix: str) -> None:
    queue.enqueue("true", id="build")
    assert found(queue, prefix) == []


def test_only_jobs_in_the_states_that_are_asked_for(queue: Queue) -> None:
    queue.enqueue("true", id="waits")
    queue.enqueue("true", id="gone")
    queue.cancel("gone")
    assert found(queue, "", "pending", "processing") == ["waits"]
    assert found(queue, "", "cancelled", "dead") == ["gone"]
    assert found(queue, "", "dead") == []


def test_of_many_both_ends_are_told_so_that_no_shell_completes_what_all_of_the_newest_begin_with(queue: Queue) -> None:
    fill(queue, 12_345)
    ids = found(queue)
    assert len(ids) == MOST
    assert ids[0] == "12345"
    assert common(ids) == ""
    # The newest that begin with 12 are 12345, 12344 …
    assert common(found(queue, "12")) == "12"
    assert len(found(queue, "12")) == MOST
    assert "12" in found(queue, "12")
    assert sorted(found(queue, "777")) == ["777", *(f"777{digit}" for digit in range(10))]


def test_a_job_far_behind_is_found_by_its_beginning(queue: Queue) -> None:
    fill(queue, 20_000)
    change(queue, "UPDATE jobs SET state = 'dead' WHERE id = '4711'")
    assert found(queue, "", "dead") == ["4711"]
    change(queue, "UPDATE jobs SET state = 'dead' WHERE seq > 15000")
    assert found(queue, "47", "dead") == ["4711"]
    assert found(queue, "4712", "dead") == []


def test_names_of_groups_batches_and_schedules(queue: Queue) -> None:
    fill(queue, 3000)
    change(queue, "UPDATE jobs SET batch = 'night' WHERE seq % 2")
    change(queue, "UPDATE jobs SET batch = 'day' WHERE seq % 3 = 0")
    change(queue, "INSERT INTO groups (name) VALUES ('gpu'), ('net'), ('')")
    for name in ("gpu", "green", "default"):
        queue.enqueue("true", group=name)
    change(queue, "INSERT INTO schedules (name, expression, job) VALUES ('nightly', '0 3 * * *', '{}')")
    path = queue.home.database
    assert glance.batches(path, "") == ["day", "night"]
    assert glance.batches(path, "n") == ["night"]
    assert glance.groups(path, "") == ["gpu", "green", "net"]
    assert glance.groups(path, "g") == ["gpu", "green"]
    assert glance.schedules(path, "ni") == ["nightly"]
    assert glance.schedules(path, "x") == []


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("newest", "SCAN jobs"),
        ("newest_in_state", "jobs_by_state"),
        ("first_ids", "sqlite_autoindex_jobs_1"),
        ("last_ids", "sqlite_autoindex_jobs_1"),
        ("commands", "PRIMARY KEY"),
        ("groups", "PRIMARY KEY"),
        ("groups_in_use", "jobs_by_group"),
        ("schedules", "PRIMARY KEY"),
        ("batches", "jobs_by_batch"),
    ],
)
def test_each_look_goes_by_an_index_and_sorts_nothing(queue: Queue, query: str, index: str) -> None:
    sql = queries.load("glance.sql")[query]
    values = dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    with closing(sqlite3.connect(queue.home.database)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any(index in step for step in plan), plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
    assert "LIMIT :reach" in sql or query == "commands"


def test_every_look_is_looked_at() -> None:
    assert len(queries.load("glance.sql")) == 9
    assert REACH <= 1000


def test_whatever_lies_there_is_no_trouble(queue: Queue, tmp_path: Path) -> None:
    queue.enqueue("true", id="build")
    (tmp_path / "broken").write_bytes(b"no database" * 1000)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for name in ("broken", "empty", "fifo", "missing", ".", "a\nb"):
        assert glance.ids(str(tmp_path / name), "") == []
        assert glance.groups(str(tmp_path / name), "") == []


def test_a_locked_database_is_not_waited_for(queue: Queue) -> None:
    queue.enqueue("true", id="build")
    queue.close()
    with closing(sqlite3.connect(queue.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert found(queue) == ["build"], "a writer disturbs no reader"
        other.execute("ROLLBACK")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE jobs SET priority = 1")
        assert found(queue) == []
