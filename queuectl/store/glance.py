"""A quick look at what a database names, for a shell that completes a word.

It changes nothing, hardly waits for anybody, and looks at a bounded number of rows. Whatever is
wrong with the database, there is just nothing to see.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, TypeVar

from queuectl.store import queries, schema

REACH = 1000
"""Rows that one query looks at."""
MOST = 50
"""Names that are told."""

_LONGEST_COMMAND = 200
_PATIENCE = 0.05
"""Seconds that a lock is waited for."""
_TIME = 0.1
"""Seconds that one query may take."""
_STEPS = 1000
"""Steps of SQLite between two looks at the time."""
_LAST = "~"
"""Comes after every character of an id."""

_Row = tuple[int, str]
_Answer = TypeVar("_Answer")


class Named(NamedTuple):
    """A job's id and the beginning of its command."""

    id: str
    command: str


def ids(path: str, prefix: str, states: Collection[str] = (), without: Collection[str] = ()) -> list[Named]:
    """The jobs whose ids begin with ``prefix``, the newest first; of some states only, at most ``MOST``.

    Where there are more, the first and the last by id are among them: what all of those begin with,
    all that there are begin with, so that a shell may complete it.
    """
    if not (prefix.isascii() and prefix.isprintable()):
        return []
    return _asked(path, lambda look: _ids(look, prefix, states, without))


def groups(path: str, prefix: str) -> list[str]:
    """The names of groups that begin with ``prefix``: those that were set up, and those that jobs name."""
    return sorted({*_names(path, "groups", prefix), *_names(path, "groups_in_use", prefix)})


def batches(path: str, prefix: str) -> list[str]:
    """The names of batches that begin with ``prefix``."""
    return _names(path, "batches", prefix)


def schedules(path: str, prefix: str) -> list[str]:
    """The names of schedules that begin with ``prefix``."""
    return _names(path, "schedules", prefix)


class _Look:
    """An open database, and a deadline for each query."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._deadline = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS)

    def rows(self, query: str, **values: object) -> list[tuple[int, str, str]]:
        self._deadline = time.monotonic() + _TIME
        return self._connection.execute(queries.load("glance.sql")[query], values).fetchall()


def _asked(path: str, question: Callable[[_Look], list[_Answer]]) -> list[_Answer]:
    """What a database answers; nothing, where there is none, or SQLite has to complain about something."""
    try:
        # A FIFO in its place would be waited for.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return []
        address = schema.uri(path, mode="ro")
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
        ) as connection:
            return question(_Look(connection))
    except (OSError, UnicodeError, sqlite3.Error):
        return []


def _ids(look: _Look, prefix: str, states: Collection[str], without: Collection[str]) -> list[Named]:
    recent, is_all = _recent(look, states)
    rows = [row for row in recent if row[1].startswith(prefix) and row[1] not in without]
    if len(rows) > MOST or not is_all:
        rows = _with_both_ends(look, rows, prefix, states, without)
    return _named(look, rows)


def _recent(look: _Look, states: Collection[str]) -> tuple[list[_Row], bool]:
    """The newest jobs, and whether these are all."""
    if states:
        parts = [look.rows("newest_in_state", state=state, reach=REACH) for state in states]
    else:
        parts = [look.rows("newest", reach=REACH)]
    rows = sorted(((row[0], row[1]) for part in parts for row in part), reverse=True)
    return rows, all(len(part) < REACH for part in parts)


def _with_both_ends(
    look: _Look, newest: list[_Row], prefix: str, states: Collection[str], without: Collection[str]
) -> list[_Row]:
    """The newest of those that match, and where there is room the first by id; the first and the last in any case."""
    both = [
        [
            (seq, job_id)
            for seq, job_id, state in look.rows(query, first=prefix, end=prefix + _LAST, reach=REACH)
            if (not states or state in states) and job_id not in without
        ]
        for query in ("first_ids", "last_ids")
    ]
    ends = [row for part in both for row in part[:1]]
    return list(dict.fromkeys([*[*newest, *both[0]][: MOST - len(ends)], *ends]))


def _named(look: _Look, rows: Iterable[_Row]) -> list[Named]:
    wanted = dict(rows)
    seqs = f"[{','.join(map(str, wanted))}]"
    commands = {row[0]: row[1] for row in look.rows("commands", seqs=seqs, length=_LONGEST_COMMAND)}
    return [Named(job_id, commands.get(seq, "")) for seq, job_id in wanted.items()]


def _names(path: str, query: str, prefix: str) -> list[str]:
    end = prefix + chr(sys.maxunicode)
    return _asked(path, lambda look: [str(row[0]) for row in look.rows(query, first=prefix, end=end, reach=MOST)])
