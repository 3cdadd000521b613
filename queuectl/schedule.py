"""Schedules: at which times one is due, and which of the times that have passed is run.

A *slot* is one such time, in microseconds since the epoch. Expressions are cron's, as the library cronsim reads them:
it knows what Debian's cron does about hours that daylight saving skips or doubles. What it needs is imported when a
time is worked out, and no sooner: a worker on a queue without schedules never does.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final, NamedTuple

from queuectl.clock import EPOCH, LATEST, SECOND, iso
from queuectl.errors import InvalidInput, shown
from queuectl.model import NewJob, environment, new_job

SKIP: Final = "skip"
ALLOW: Final = "allow"
ONCE: Final = "once"
OVERLAPS: Final = (SKIP, ALLOW)
MISSES: Final = (ONCE, SKIP)

TOLERANCE: Final = 60 * SECOND
"""How late a slot may be seen, in microseconds, by workers that were idle, and not count as missed."""
SHOWN: Final = 5
"""How many of the next slots a list shows."""

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LONGEST_EXPRESSION: Final = 500
_FIELDS: Final = "minute, hour, day of the month, month, day of the week"
_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_OF_ONE_JOB: Final = (
    *("id", "delay", "run_at", "next_run_at", "state", "attempts", "created_at", "updated_at"),
    *("after", "after_any", "unique", "if_exists"),
)
"""Keys of a job file that say something about one job only."""
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)


class NewSchedule(NamedTuple):
    """A schedule that was checked.

    ``job`` has the keys of a job file, and is complete: no setting and no worker's environment changes it later. Its
    ``export`` has the values, too.
    """

    name: str
    expression: str
    zone: str
    overlap: str
    missed: str
    job: Mapping[str, Any]


class Schedule(NamedTuple):
    """A schedule as the store knows it. Times are ISO-8601 UTC with ``Z``.

    ``job`` has the keys of a job file, ``export`` among them with the names alone: the values are for the jobs.
    ``last_slot`` is the last one that was dealt with, ``next_slot`` the one that comes next: None while the schedule
    is paused, or when there is none any more. ``last_job`` is the job that was made last, ``last_state`` its state.
    ``note`` tells why the last slot was not run, or why the schedule was paused by itself.
    """

    name: str
    expression: str
    zone: str
    overlap: str
    missed: str
    paused: bool
    job: Mapping[str, Any]
    last_slot: str | None
    next_slot: str | None
    last_job: str | None
    last_state: str | None
    note: str | None

    def as_dict(self) -> dict[str, Any]:
        """The schedule as JSON shows it."""
        return {**self._asdict(), "job": dict(self.job)}


class Turn(NamedTuple):
    """What to do when a slot is due: the slot to run, or None where all that have passed were missed, and the next.

    ``last`` is the last slot that has passed.
    """

    run: int | None
    last: int
    following: int | None


def new_schedule(
    name: str,
    expression: str,
    job: Mapping[str, Any],
    *,
    zone: str = "UTC",
    overlap: str = SKIP,
    missed: str = ONCE,
    max_retries: int,
    now: int,
) -> NewSchedule:
    """Check a schedule. ``max_retries`` is for a job that names none. Raises :class:`InvalidInput`."""
    known = NewSchedule(
        schedule_name(name),
        expression_of(expression),
        zone_name(zone),
        one_of(overlap, OVERLAPS, "overlap"),
        one_of(missed, MISSES, "missed"),
        _template(job, max_retries),
    )
    if following(known.expression, known.zone, now) is None:
        raise InvalidInput(_never(known.expression))
    return known


def schedule_name(value: object) -> str:
    """Check a schedule's name. Raises :class:`InvalidInput`."""
    if isinstance(value, str) and re.fullmatch(_NAME, value):
        return value
    raise InvalidInput(f"name {shown(value)} is not valid: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or a digit")


def expression_of(value: object) -> str:
    """Check an expression, and spell out a nickname such as ``@daily``. Raises :class:`InvalidInput`."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"expression {shown(value)} is none: give five fields ({_FIELDS}), such as '*/5 * * * *'")
    text = " ".join(value.split())
    if len(text) > _LONGEST_EXPRESSION:
        raise InvalidInput(f"expression {shown(value)} is too long (at most {_LONGEST_EXPRESSION} characters)")
    if text.startswith("@"):
        if text.lower() not in _NICKNAMES:
            raise InvalidInput(f"expression {shown(value)} is not known (there are {', '.join(_NICKNAMES)})")
        return _NICKNAMES[text.lower()]
    fields = len(text.split())
    if fields not in (5, 6):
        raise InvalidInput(
            f"expression {shown(value)} has {fields} {'field' if fields == 1 else 'fields'}, not five: {_FIELDS} "
            "(or six, with the second before them)"
        )
    try:
        _parsed(text, EPOCH)
    except InvalidInput:
        _refuse_missing_day(text)
        raise
    return text


def _refuse_missing_day(text: str) -> None:
    """Say what is wrong with the 30th of February: cronsim finds nothing better than a bad day."""
    fields = text.split()
    fields[-2] = "*"
    try:
        _parsed(" ".join(fields), EPOCH)
        _parsed(f"* * * {text.split()[-2]} *", EPOCH)
    except InvalidInput:
        return
    raise InvalidInput(_never(text))


def _never(text: str) -> str:
    return f"expression {shown(text)} never comes true: there is no such day"


def zone_name(value: object) -> str:
    """Check the name of a time zone. Raises :class:`InvalidInput`."""
    if not isinstance(value, str):
        raise InvalidInput(f"time zone {shown(value)} is not a name, such as Europe/Berlin")
    _zone(value)
    return value


def one_of(value: object, known: tuple[str, ...], what: str) -> str:
    """Check one of a few words. Raises :class:`InvalidInput`."""
    if value not in known:
        raise InvalidInput(f"{what}: {shown(value)} is none of {', '.join(known)}")
    return str(value)


def _template(job: Mapping[str, Any], max_retries: int) -> dict[str, Any]:
    """What each run is made of: the keys of a job file, with a directory that does not depend on where we are."""
    for key in job:
        if key in _OF_ONE_JOB and job[key] is not None:
            raise InvalidInput(f"{key} is for a single job: a schedule makes many")
    checked = new_job({key: value for key, value in job.items() if value is not None})
    given = {key: value for key, value in job.items() if value is not None}
    retries = max_retries if checked.max_retries is None else checked.max_retries
    if checked.env:
        given["env"] = dict(checked.env)
    if checked.export:
        given["export"] = dict(checked.export)
    return {**given, "cwd": checked.cwd, "max_retries": retries}


def job_of(template: Mapping[str, Any], name: str, slot: int) -> NewJob:
    """The run of a slot. Raises :class:`InvalidInput` when the template is damaged."""
    if not isinstance(template, Mapping):
        raise InvalidInput(f"its job is {shown(template)}, not an object")
    fields = {**template, "id": job_id_of(name, slot), "run_at": iso(slot)}
    taken = environment(fields.pop("export", {}), "export")
    return new_job(fields)._replace(export=taken)


def job_id_of(name: str, slot: int) -> str:
    """The id of a slot's run: it can only be there once. In UTC, since local time shows doubled hours twice."""
    moment = _moment(slot)
    seconds = f"{moment:%S}" if moment.second else ""
    return f"{name}-{moment:%Y%m%dT%H%M}{seconds}Z"


def turn(expression: str, zone: str, missed: str, due: int, now: int, since: int) -> Turn:
    """What to do at ``now`` about a slot that is ``due``, and those that have passed after it.

    There is one run for all of them, that of the last. It is missed when it is seen late, and nobody was at work
    ``since`` before it: while all workers are busy, a slot waits as any job does. Raises :class:`InvalidInput`.
    """
    last, upcoming = due, following(expression, zone, due)
    if upcoming is not None and upcoming <= now:
        last = _last_until(expression, zone, upcoming, now)
        upcoming = following(expression, zone, now)
    is_missed = now - last > TOLERANCE and last < since
    return Turn(None if is_missed and missed == SKIP else last, last, upcoming)


def _last_until(expression: str, zone: str, slot: int, now: int) -> int:
    """The last slot no later than ``now``, when ``slot`` is one of these: looked for by halves, as there may be millions."""
    # Between these, some slot follows the lower and none the upper that is no later than now.
    lower, upper = slot - SECOND, now
    while upper - lower > SECOND:
        middle = (lower + upper) // 2
        found = following(expression, zone, middle)
        if found is not None and found <= now:
            slot, lower = found, middle
        else:
            upper = middle
    return slot


def upcoming(schedule: Schedule, now: int, most: int = SHOWN) -> list[datetime]:
    """The next slots of a schedule that is not paused, in its zone. Raises :class:`InvalidInput`."""
    found: list[datetime] = []
    if schedule.paused or schedule.next_slot is None:
        return found
    moment = _micros(datetime.fromisoformat(schedule.next_slot.replace("Z", "+00:00")))
    slot: int | None = moment if moment > now else following(schedule.expression, schedule.zone, now)
    while slot is not None and len(found) < most:
        found.append(_moment(slot).astimezone(_zone(schedule.zone)))
        slot = following(schedule.expression, schedule.zone, slot)
    return found


def following(expression: str, zone: str, after: int) -> int | None:
    """The first slot later than ``after``; None when there is none in the next fifty years.

    What names both minute and hour runs once a day: when the hour is skipped, as soon as it is over; when it is
    doubled, the first time. What has a ``*`` for one of them runs whenever the clock shows such a time. Raises
    :class:`InvalidInput` for an expression or a zone that is not known.
    """
    moment, place = _moment(after), _zone(zone)
    try:
        for found in _slots(expression, place, moment):
            slot = _micros(found)
            if slot > LATEST:
                return None
            # One in the first pass of a doubled hour may come, when the search begins in the second.
            if slot > after:
                return slot
    except OverflowError:
        return None  # beyond the year 9999
    return None


def _slots(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    simulated = _parsed(expression, after.astimezone(zone))
    return simulated if simulated.fixup_tz is not None else _slots_by_offset(expression, zone, after)


def _slots_by_offset(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """The next slot of an expression with a ``*``: each stretch of time with one offset from UTC is looked at by itself.

    cronsim walks by whole hours, and loses its way where a zone shifts by half an hour (Australia/Lord_Howe).
    """
    begin = after
    while True:
        offset = timezone(begin.astimezone(zone).utcoffset() or timedelta())
        found = next(_parsed(expression, after.astimezone(offset)), None)
        if found is None:
            return
        change = _first_change(zone, begin, found)
        if change is None:
            yield found
            return
        begin, after = change, change - _SECOND


def _first_change(zone: tzinfo, begin: datetime, end: datetime) -> datetime | None:
    """When a zone's offset from UTC first changes later than ``begin``, and no later than ``end``."""
    if zone is timezone.utc:
        return None
    begin, end = begin.astimezone(timezone.utc).replace(microsecond=0), end.astimezone(timezone.utc)
    offset = begin.astimezone(zone).utcoffset()
    while begin < end:
        # No zone changes twice within a day.
        upper = min(begin + _DAY, end)
        if upper.astimezone(zone).utcoffset() != offset:
            break
        begin = upper
    else:
        return None
    while upper - begin > _SECOND:
        middle = begin + (upper - begin) // _SECOND // 2 * _SECOND
        begin, upper = (middle, upper) if middle.astimezone(zone).utcoffset() == offset else (begin, middle)
    return upper


def _parsed(expression: str, after: datetime) -> Any:
    """The slots of an expression, as cronsim tells them. Raises :class:`InvalidInput`."""
    try:
        from cronsim import CronSim

        return CronSim(expression, after)
    except ImportError as error:
        raise InvalidInput(f"schedules need the Python package cronsim: {error}") from error
    except Exception as error:  # a program of others, which here and there asserts what a user typed
        raise InvalidInput(f"expression {shown(expression)}: {str(error).lower() or 'is not understood'}") from error


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(f"no time zone {shown(name)} (it is UTC, or one such as Europe/Berlin)") from error


def _moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    return (moment.astimezone(timezone.utc) - EPOCH) // timedelta(microseconds=1)
