"""The schedules in one SQLite file: kept by users, run by whichever worker sees first that a slot is due."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from queuectl import schedule
from queuectl.clock import SECOND, iso
from queuectl.errors import Conflict, InvalidInput, NoSuchSchedule, did_you_mean, named
from queuectl.model import PENDING, PROCESSING, NewJob
from queuectl.schedule import NewSchedule, Schedule
from queuectl.store.connection import Connections
from queuectl.store.rows import schedule_from

Add = Callable[[sqlite3.Connection, NewJob, int], int]
"""Adds a job in a transaction that is open, at a time; returns its seq."""


class SQLiteSchedules:
    """As :class:`~queuectl.store.base.Schedules`, through the connections of a store."""

    def __init__(self, connections: Connections, sql: Mapping[str, str], add: Add) -> None:
        self._connections = connections
        self._sql = sql
        self._add = add

    def put(self, new: NewSchedule, now: int, *, replace: bool = False) -> Schedule:
        with self._connections.transaction() as connection:
            former = self._rows(connection, [new.name])
            if former and not replace:
                raise Conflict(f"schedule {new.name} exists already: replace it with --replace, or remove it first")
            row = former[0] if former else None
            values = {**new._asdict(), "job": json.dumps(new.job), "next_slot": _next_slot(new, row, now)}
            connection.execute(self._sql["put_schedule"], values)
            return schedule_from(self._rows(connection, [new.name])[0])

    def all(self) -> list[Schedule]:
        with self._connections.using() as connection:
            return [schedule_from(row) for row in self._rows(connection, None)]

    def remove(self, names: Sequence[str]) -> list[Schedule]:
        with self._connections.transaction() as connection:
            found = self._required(connection, names)
            connection.execute(self._sql["remove_schedules"], {"names": json.dumps(list(names))})
            return [schedule_from(row) for row in found]

    def pause(self, names: Sequence[str]) -> list[Schedule]:
        with self._connections.transaction() as connection:
            self._required(connection, names)
            connection.execute(self._sql["pause_schedules"], {"names": json.dumps(list(names))})
            return [schedule_from(row) for row in self._rows(connection, names)]

    def resume(self, names: Sequence[str], now: int) -> list[Schedule]:
        with self._connections.transaction() as connection:
            for row in self._required(connection, names):
                if row["paused"]:
                    upcoming = schedule.following(row["expression"], row["zone"], _latest(row, now))
                    connection.execute(self._sql["resume_schedule"], {"name": row["name"], "next_slot": upcoming})
            return [schedule_from(row) for row in self._rows(connection, names)]

    def run(self, name: str, now: int) -> str:
        with self._connections.transaction() as connection:
            (row,) = self._required(connection, [name])
            job = schedule.job_of(json.loads(row["job"]), row["name"], now - now % SECOND)
            if not _may_overlap(row):
                raise Conflict(f"schedule {name}: its last job, {row['last_id']}, is still {row['last_state']}")
            if connection.execute(self._sql["has_id"], (job.id,)).fetchone() is not None:
                raise Conflict(f"schedule {name}: job {job.id} is there already")
            seq = self._add(connection, job, now)
            connection.execute(self._sql["note_run"], {"name": name, "job": seq})
            return str(job.id)

    def _required(self, connection: sqlite3.Connection, names: Sequence[str]) -> list[sqlite3.Row]:
        rows = self._rows(connection, names)
        missing = sorted(set(names) - {row["name"] for row in rows})
        if missing:
            known = [row["name"] for row in self._rows(connection, None)]
            hint = did_you_mean(missing[0], known) if len(missing) == 1 else ""
            raise NoSuchSchedule(f"no schedule {named(', '.join(missing))}{hint}")
        return rows

    def _rows(self, connection: sqlite3.Connection, names: Sequence[str] | None) -> list[sqlite3.Row]:
        known = None if names is None else json.dumps([name for name in names if "\0" not in name])
        return connection.execute(self._sql["schedules"], {"names": known}).fetchall()


def _next_slot(new: NewSchedule, former: sqlite3.Row | None, now: int) -> int | None:
    """Where a schedule begins. In the place of one with the same times, it goes on where that one is."""
    if former is not None:
        if former["paused"]:
            return None
        if (former["expression"], former["zone"]) == (new.expression, new.zone):
            slot: int | None = former["next_slot"]
            return slot
    return schedule.following(new.expression, new.zone, _latest(former, now))


def _latest(row: sqlite3.Row | None, now: int) -> int:
    """After which time slots are new: those that were dealt with stay so when the clock is set back."""
    return now if row is None or row["last_slot"] is None else max(now, row["last_slot"])


def fire(connection: sqlite3.Connection, sql: Mapping[str, str], add: Add, now: int, since: int) -> None:
    """Make the jobs of the slots that are due, in the transaction that is open, and go on to the next slots.

    ``since`` is when the caller, a worker, began to be busy. Nothing that is wrong with a schedule may keep a
    worker from its work: such a schedule is paused, with a note.
    """
    for row in connection.execute(sql["due_slots"], {"now": now}).fetchall():
        try:
            turn = schedule.turn(row["expression"], row["zone"], row["missed"], row["next_slot"], now, since)
            job: NewJob | None = None
            note: str | None = f"slot {iso(turn.last)} was missed"
            if turn.run is not None:
                job = schedule.job_of(json.loads(row["job"]), row["name"], turn.run)
                note = _objection(connection, sql, row, job)
        except (InvalidInput, ValueError, TypeError) as error:
            import logging  # commands that only look start faster without

            logging.getLogger(__name__).error("schedule %s is paused: %s", row["name"], error)
            connection.execute(sql["pause_faulty"], {"name": row["name"], "note": f"paused by itself: {error}"})
            continue
        seq = add(connection, job, now) if job is not None and note is None else None
        values = {"name": row["name"], "last": turn.last, "following": turn.following, "job": seq, "note": note}
        connection.execute(sql["pass_slots"], values)


def _objection(connection: sqlite3.Connection, sql: Mapping[str, str], row: sqlite3.Row, job: NewJob) -> str | None:
    """Why a slot is not to be run; None when it is."""
    if not _may_overlap(row):
        return f"{job.id} was skipped: {row['last_id']} is still {row['last_state']}"
    if connection.execute(sql["has_id"], (job.id,)).fetchone() is not None:
        return f"{job.id} was there already"
    return None


def _may_overlap(row: sqlite3.Row) -> bool:
    """Whether nothing that the schedule made last is in the way of another job."""
    return bool(row["overlap"] != schedule.SKIP or row["last_state"] not in (PENDING, PROCESSING))
