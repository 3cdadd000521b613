"""Rows of the database as the model's values."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from queuectl.clock import iso
from queuectl.errors import StoreError
from queuectl.model import ANY_FAILURE, ENDED, PENDING, Attempt, Claim, Job, RetryPolicy, Slot

if TYPE_CHECKING:
    from queuectl.schedule import Schedule

T = TypeVar("T")

READY, SCHEDULED, BACK_OFF, HELD_BACK, PLACE_NEEDED = range(5)
"""The lanes: why a pending job waits."""


def _checked(build: Callable[[sqlite3.Row], T]) -> Callable[[sqlite3.Row], T]:
    """Damage that SQLite did not notice: what a row holds is no value of ours."""

    @wraps(build)
    def checked(row: sqlite3.Row) -> T:
        try:
            return build(row)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise StoreError("the database is damaged: restore it from a backup") from error

    return checked


@_checked
def job_from(row: sqlite3.Row) -> Job:
    """A row of ``jobs`` as a job."""
    state = row["state"]
    env, export = variables_of(row)
    return Job(
        id=row["id"],
        command=row["command"],
        state=state,
        attempts=row["attempts"],
        max_retries=row["max_retries"],
        created_at=_time(row["created_at"]),
        updated_at=_time(row["updated_at"]),
        next_run_at=iso(row["next_run_at"]),
        timeout=row["timeout"],
        cwd=row["cwd"],
        env=env,
        worker=row["worker"],
        started_at=None if state == PENDING else iso(row["started_at"]),
        ended_at=iso(row["ended_at"]) if state in ENDED else None,
        outcome=row["outcome"],
        exit_code=row["exit_code"],
        signal=row["signal"],
        reason=row["reason"],
        cancel_requested=bool(row["cancel_requested"]),
        priority=row["priority"],
        group=row["group_name"],
        unique=row["unique_key"],
        held=bool(row["held"]),
        blockers=row["blockers"],
        batch=row["batch"],
        **policy_of(row)._asdict(),
        export=tuple(export),
    )


@_checked
def claim_from(row: sqlite3.Row) -> Claim:
    """A row of ``jobs`` that was just claimed, or is held, as its claim."""
    env, export = variables_of(row)
    return Claim(
        seq=row["seq"],
        id=row["id"],
        number=row["starts"],
        attempts=row["attempts"],
        max_retries=row["max_retries"],
        command=row["command"],
        cwd=row["cwd"],
        env={**export, **env} if export else env,
        timeout=row["timeout"],
        worker=row["worker"],
        started_at=row["started_at"],
        policy=policy_of(row),
    )


@_checked
def attempt_from(row: sqlite3.Row) -> Attempt:
    """A row of ``attempts`` as an attempt that ended."""
    return Attempt(
        number=row["number"],
        started_at=_time(row["started_at"]),
        ended_at=iso(row["ended_at"]),
        outcome=row["outcome"],
        exit_code=row["exit_code"],
        signal=row["signal"],
        reason=row["reason"],
        worker=row["worker"],
        cpu_seconds=row["cpu_seconds"],
        max_rss_bytes=row["max_rss_bytes"],
        log_offset=row["log_offset"],
        log_bytes=row["log_bytes"],
        leftover=tuple(_parsed(row["leftover"])) if row["leftover"] else (),
    )


@_checked
def running_attempt(row: sqlite3.Row) -> Attempt:
    """The attempt that a processing job is in."""
    return Attempt(
        number=row["starts"],
        started_at=_time(row["started_at"]),
        ended_at=None,
        outcome=None,
        exit_code=None,
        signal=None,
        reason=None,
        worker=row["worker"],
        cpu_seconds=None,
        max_rss_bytes=None,
        log_offset=None,
        log_bytes=None,
        leftover=(),
    )


@_checked
def schedule_from(row: sqlite3.Row) -> Schedule:
    """A row of ``schedules``, with its last job's id and state, as a schedule."""
    from queuectl.schedule import Schedule

    return Schedule(
        name=row["name"],
        expression=row["expression"],
        zone=row["zone"],
        overlap=row["overlap"],
        missed=row["missed"],
        paused=bool(row["paused"]),
        job=_without_values(_parsed(row["job"])),
        last_slot=iso(row["last_slot"]),
        next_slot=iso(row["next_slot"]),
        last_job=row["last_id"],
        last_state=row["last_state"],
        note=row["note"],
    )


def _without_values(job: Any) -> Any:
    """What a schedule's jobs are made of, with the names alone of what they take along."""
    if isinstance(job, dict) and isinstance(job.get("export"), dict):
        return {**job, "export": list(job["export"])}
    return job


@_checked
def slot_from(row: sqlite3.Row) -> Slot:
    """The name and the next slot of a schedule."""
    return Slot(row["name"], _time(row["next_slot"]))


def variables_of(row: sqlite3.Row) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that a row of ``jobs`` names, and those that it took along."""
    found = _parsed(row["env"]) if row["env"] else {}
    # An object; a pair of objects where any were taken along.
    env, export = found if isinstance(found, list) else (found, {})
    return env, export


def variables_text(env: Mapping[str, str], export: Mapping[str, str]) -> str | None:
    """As :func:`variables_of` reads them; None where there are none."""
    if export:
        return as_json([dict(env), dict(export)])
    return as_json(dict(env)) if env else None


def policy_of(row: sqlite3.Row) -> RetryPolicy:
    """What a row of ``jobs`` says about retries."""
    return RetryPolicy(**_parsed(row["retry_policy"])) if row["retry_policy"] else ANY_FAILURE


def policy_text(policy: RetryPolicy) -> str:
    """As :func:`policy_of` reads it."""
    return as_json({name: value for name, value in policy._asdict().items() if value is not None})


def as_json(value: object) -> str:
    """A value as the database has it where it keeps, or is handed, more than a text or a number."""
    import json  # a command that needs none starts faster without

    return json.dumps(value)


def _parsed(text: str) -> Any:
    import json

    return json.loads(text)


def _time(micros: int | None) -> str:
    text = iso(micros)
    if text is None:
        raise ValueError("a time is missing")
    return text
