"""How SQLite finds what a query asks for: by an index, or by reading a million jobs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steps import steps_of

from queuectl import Queue
from queuectl.store import queries
from queuectl.store.sqlite import SQLiteStore

LANES = ["jobs_scheduled", "jobs_in_back_off"]
SLOTS = "schedules_due"
BY_NAME = ["PRIMARY KEY"]
BY_ID = ["sqlite_autoindex_jobs_1"]
BY_NUMBER = ["PRIMARY KEY"]

INDEXES = {
    "first_ready": ["jobs_ready", *LANES, SLOTS, *BY_NUMBER],
    "claim": BY_NUMBER,
    "ready_ahead": ["jobs_ready"],
    "is_any_ahead": ["jobs_by_state"],
    "begin": BY_NUMBER,
    "unbegun": BY_NUMBER,
    "give_back": BY_NUMBER,
    "is_work_ready": ["jobs_ready", *LANES, SLOTS],
    "restart_back_offs": ["jobs_in_back_off"],
    "promote": [*LANES, *BY_NUMBER],
    "running": BY_NUMBER,
    "finish": BY_NUMBER,
    "put_back": BY_NUMBER,
    "is_cancel_requested": BY_NUMBER,
    "attempts": BY_NUMBER,
    "next_due": [*LANES, SLOTS],
    "next_slot": [SLOTS],
    "due_slots": [SLOTS, *BY_NUMBER],
    "pass_slots": BY_NAME,
    "pause_faulty": BY_NAME,
    "note_run": BY_NAME,
    "schedules": BY_NUMBER,
    "remove_schedules": BY_NAME,
    "pause_schedules": BY_NAME,
    "resume_schedule": BY_NAME,
    "next_scheduled": LANES,
    "oldest_waiting": ["jobs_ready", *LANES, *BY_NUMBER],
    "has_work_left": ["jobs_ready", *LANES, "jobs_by_state"],
    "claimed_by": ["jobs_by_state"],
    "list_by_state": ["jobs_by_state"],
    "ids_in_states": ["jobs_by_state"],
    "counts": ["jobs_by_state"],
    "count_scheduled": ["jobs_scheduled"],
    "counts_held_back": ["jobs_held_back"],
    "dead_last": ["jobs_by_state"],
    "retried_next": ["jobs_in_back_off"],
    "ended_since": ["jobs_by_state"],
    "get": BY_ID,
    "has_id": BY_ID,
    "states_of": BY_ID,
    "cancel_waiting": BY_ID,
    "cancel_running": BY_ID,
    "revive": BY_ID,
    "is_any_old": ["jobs_ended"],
    "old_jobs": ["jobs_ended"],
    "note_old_logs": BY_NUMBER,
    "old_logs": BY_ID,
    "count_old_jobs": ["jobs_ended"],
    "count_old_dependents": ["jobs_ended", *BY_NUMBER],
    "forsake": BY_NUMBER,
    "forsaken": BY_ID,
    "spare": BY_NUMBER,
    "delete_attempts": BY_NUMBER,
    "delete_jobs": BY_NUMBER,
    "hold": BY_ID,
    "release": BY_ID,
    "seqs_of": BY_ID,
    "named": BY_NUMBER,
    "id_of": BY_NUMBER,
    "keys_in_use": [*BY_ID, "jobs_once"],
    "holder_of_key": ["jobs_once"],
    "let_go": BY_NUMBER,
    "leave_place": BY_NUMBER,
    "edit": BY_NUMBER,
    "queue_up": BY_NUMBER,
    "places_of": ["jobs_placed"],
    "next_in_line": ["jobs_waiting_for_a_place"],
    "last_placed": ["jobs_placed"],
    "swap_place": BY_NUMBER,
    "free_waiting": ["jobs_waiting_for_a_place"],
    "give_places_back": ["jobs_placed"],
    "free_placed": ["jobs_placed"],
    "restrict_running": ["jobs_by_state"],
    "restrict_waiting": ["jobs_ready"],
    "counted_ready": ["jobs_ready", "jobs_scheduled", "jobs_in_back_off"],
    "groups": ["jobs_by_group"],
    "depend": BY_ID,
    "count_blockers": BY_NUMBER,
    "hold_blocked": BY_NUMBER,
    "doom": BY_NUMBER,
    "unblock": BY_NUMBER,
    "unmet_needs": BY_NUMBER,
    "needed_by": BY_NUMBER,
    "to_retry_first": BY_NUMBER,
    "has_doomed": BY_NUMBER,
    "doomed_by": BY_NUMBER,
    "list_by_batch": ["jobs_by_batch"],
    "ids_in_batch": ["jobs_by_batch"],
    "counts_of_batch": ["jobs_by_batch"],
    "has_batch": ["jobs_by_batch"],
    "forget_output": [*BY_ID, *BY_NUMBER],
}
"""What each query finds its rows by."""

IN_ORDER = {"list_all", "newest"}
"""They read the jobs in the order of enqueue, and stop."""
UNPLANNED = {"add", "add_attempt", "last_seq", "put_schedule"}
"""They put a row in, or read a table of one row."""
OF_OLD_LOGS = {"count_old_logs", "forget_old_logs"}
"""They read no jobs."""
OF_GROUPS = {"is_restricted", "set_limit", "set_paused", "paused_groups", "limited_groups", "remove_group", "is_paused"}
OF_NEEDS = {
    "delete_needs",
    "delete_dependents",
    "depend_no_more",
    "dependencies_within",
    "needs_itself",
    "dependents_of",
}
"""They read no jobs; of the dependencies, those of some jobs."""
THOROUGH = {"contradictions", "stranded", "logged", "is_named"}
"""They are for a doctor, who reads everything, and for who names a group in which nothing waits or runs."""

SORTING = {"next_scheduled", "oldest_waiting", "ids_in_states", "groups", "doom", "unblock", "counts_of_batch",
           "to_retry_first"}  # fmt: skip
"""These sort: the first of two lanes, the first of each priority, ids of which each is put back anyhow, or may be named,
and the groups.
Or they group: what jobs need, by job; a batch, by state."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database of a queue with a few hundred jobs of all kinds, as workers leave it: nobody runs ANALYZE."""
    queue = Queue.init(tmp_path / "queuectl.db")
    queue.close()
    fill(Path(queue.home.database), 50)
    return Path(queue.home.database)


def fill(path: Path, each: int) -> None:
    """Make so many jobs of each kind. The scheduled ones come first, so that whoever looks for others passes them."""
    connection = sqlite3.connect(path)
    kinds = {
        "scheduled": ("pending", 1),
        "waiting": ("pending", 2),
        "completed": ("completed", None),
        "dead": ("dead", None),
        "cancelled": ("cancelled", None),
        "ready": ("pending", 0),
    }
    for name, (state, lane) in kinds.items():
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO jobs (id, command, cwd, max_retries, state, lane, due, created_at, updated_at) "
            "SELECT ? || i, 'true', '/', 3, ?, ?, 1000000 + i, 1, 1 FROM n",
            (each, name, state, lane),
        )
    connection.execute("UPDATE jobs SET batch = 'night' WHERE state = 'dead'")
    connection.commit()
    connection.close()


def fill_anew(path: Path, each: int) -> None:
    """Have so many jobs of each kind, and no others."""
    change = sqlite3.connect(path)
    change.execute("DELETE FROM jobs")
    change.commit()
    change.close()
    fill(path, each)


def plan_of(path: Path, name: str) -> list[str]:
    sql = queries.load()[name]
    values = (1,) if "?" in sql and ":" not in sql else dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    connection = sqlite3.connect(path)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    connection.close()
    return plan


def test_every_query_is_looked_at() -> None:
    assert set(queries.load()) == INDEXES.keys() | IN_ORDER | UNPLANNED | OF_OLD_LOGS | OF_GROUPS | OF_NEEDS | THOROUGH


@pytest.mark.parametrize("name", INDEXES)
def test_the_plan_of_a_query(path: Path, name: str) -> None:
    plan = plan_of(path, name)
    for index in INDEXES[name]:
        assert any(re.search(rf"\b{index}\b", step) for step in plan), plan
    whole = [
        step
        for step in plan
        if re.search(r"(SCAN|SEARCH) (jobs|attempts)", step) and "INDEX" not in step and "PRIMARY KEY" not in step
    ]
    assert not whole, f"reads a whole table: {plan}"
    assert name in SORTING or not [step for step in plan if "TEMP B-TREE" in step], f"sorts: {plan}"


OF_EACH_JOB = ("running", "add_attempt", "finish", "put_back", "first_ready", "claim",
               "leave_place", "places_of", "next_in_line", "last_placed", "swap_place")  # fmt: skip


@pytest.mark.parametrize("name", OF_EACH_JOB)
def test_what_each_job_asks_makes_no_table(path: Path, name: str) -> None:
    """A table that SQLite makes for one statement, of what it returns or of the values of an ``IN``, costs it as much again.

    What a CHECK, or the condition of an index, makes counts too.
    """
    sql = queries.load()[name]
    connection = sqlite3.connect(path)
    program = [row[1] for row in connection.execute(f"EXPLAIN {sql}", dict.fromkeys(re.findall(r":(\w+)", sql), 1))]
    connection.close()
    assert {"OpenRead", "OpenWrite"}.intersection(program), program
    assert not [step for step in program if step in ("OpenEphemeral", "OpenAutoindex", "SorterOpen")], program


@pytest.mark.parametrize("name", sorted(IN_ORDER))
def test_jobs_are_read_in_order(path: Path, name: str) -> None:
    assert plan_of(path, name) == ["SCAN jobs"], "in the order of the table, and without sorting"
    assert "LIMIT" in queries.load()[name]


LOOKS: dict[str, Callable[[SQLiteStore], object]] = {
    "list --limit": lambda store: store.jobs((), 20),
    "list --batch --limit": lambda store: store.jobs((), 20, "night"),
    "list --state --limit": lambda store: store.jobs(("pending", "dead"), 20),
    "show": lambda store: (store.get("dead7"), store.attempts("dead7")),
    "wait": lambda store: store.states(["dead7", "ready7"]),
    "oldest_waiting": lambda store: store._read("oldest_waiting", {"now": 1 << 40}),
    "next_scheduled": lambda store: store._read("next_scheduled", {"now": 1}),
    "next_due": lambda store: store.next_due(),
    "newest": lambda store: store.newest(),
    "is_drained": lambda store: store.is_drained(1),
    "claims": lambda store: store.claims(),
    "glance": lambda store: store.glance(1, 20, count=False),
    "claim": lambda store: store.claim("worker-1", 1),
}


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(str(path), 30)
    yield opened
    opened.close()


def test_more_jobs_make_no_look_longer(path: Path, store: SQLiteStore) -> None:
    """But for the counts: these read an index, of the completed jobs' part not even that."""
    few = {name: steps_of(store, look) for name, look in LOOKS.items()}
    fill_anew(path, 4000)
    many = {name: steps_of(store, look) for name, look in LOOKS.items()}
    assert all(many[name] <= few[name] + 10 for name in LOOKS), (few, many)


def test_what_ended_lately_is_looked_for_among_a_few(path: Path, store: SQLiteStore) -> None:
    fill_anew(path, 600)
    few = steps_of(store, lambda store: store.ended_since(0))
    fill_anew(path, 4000)
    assert steps_of(store, lambda store: store.ended_since(0)) <= few + 10


def test_completed_jobs_are_not_counted_one_by_one(path: Path, store: SQLiteStore) -> None:
    before = steps_of(store, lambda store: store.overview(1))
    change = sqlite3.connect(path)
    change.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
        "INSERT INTO jobs (id, command, cwd, max_retries, state, due, created_at, updated_at) "
        "SELECT 'more' || i, 'true', '/', 3, 'completed', 1, 1, 1 FROM n"
    )
    change.commit()
    change.close()
    assert steps_of(store, lambda store: store.overview(1)) <= before + 10
    assert store.counts() == {"pending": 150, "processing": 0, "completed": 9050, "dead": 50, "cancelled": 50}


def test_a_prune_passes_what_it_keeps(path: Path, store: SQLiteStore) -> None:
    """However many jobs may come back with what they need: it looks at none of them again and again."""

    def steps(kept: int) -> int:
        fill_anew(path, kept)
        change = sqlite3.connect(path)
        change.execute("UPDATE jobs SET doomed = 1 WHERE state = 'cancelled'")
        change.commit()
        change.close()
        return steps_of(store, lambda store: store.prune(("cancelled", "completed"), 2, 50, list))

    assert steps(4000) <= steps(50) + 10
    assert store.counts()["cancelled"] == 50
