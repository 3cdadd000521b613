"""When schedules are due: across daylight-saving changes, after downtime, and in words that people type."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies

from queuectl import InvalidInput
from queuectl.clock import EPOCH, LATEST, SECOND, timestamp
from queuectl.schedule import (
    MISSES,
    ONCE,
    SKIP,
    TOLERANCE,
    Schedule,
    expression_of,
    following,
    job_id_of,
    job_of,
    new_schedule,
    schedule_name,
    turn,
    upcoming,
    zone_name,
)

MINUTE = 60 * SECOND


def at(text: str) -> int:
    return timestamp(text)


def local(slot: int, zone: str) -> str:
    return (EPOCH + timedelta(microseconds=slot)).astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z")


def slots(expression: str, zone: str, after: str, most: int) -> list[str]:
    found: list[str] = []
    slot = following(expression, zone, at(after))
    while slot is not None and len(found) < most:
        found.append(local(slot, zone))
        slot = following(expression, zone, slot)
    return found


CHANGES = {
    "a skipped hour: as soon as it is over": (
        ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00Z"),
        ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"],
    ),
    "a skipped hour: what comes after it anyhow comes once": (
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00Z"),
        ["29 03:00 +0200", "29 03:30 +0200", "30 02:00 +0200"],
    ),
    "a doubled hour: the first time": (
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z"),
        ["25 02:30 +0200", "26 02:30 +0100"],
    ),
    "a doubled hour, looked at from between both": (
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15Z"),
        ["26 02:30 +0100"],
    ),
    "every half hour, where one is skipped": (
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z"),
        ["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"],
    ),
    "every half hour, where one is doubled": (
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00Z"),
        ["25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"],
    ),
    "midnight is skipped": (
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00Z"),
        ["06 01:00 -0300", "07 00:00 -0300"],
    ),
    "midnight is doubled": (("0 0 * * *", "America/Havana", "2026-10-31T12:00Z"), ["01 00:00 -0400", "02 00:00 -0500"]),
    "a shift by half an hour, forward": (
        ("*/20 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z"),
        ["04 02:40 +1100", "05 02:00 +1100"],
    ),
    "a shift by half an hour, back": (
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00Z"),
        ["05 01:45 +1100", "05 01:45 +1030", "05 02:45 +1030"],
    ),
    "a day that there never was": (
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00Z"),
        ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_slots_where_clocks_change(name: str) -> None:
    (expression, zone, after), expected = CHANGES[name]
    assert slots(expression, zone, after, len(expected)) == expected


def test_the_29th_of_february() -> None:
    found = following("0 12 29 2 *", "Europe/Berlin", at("2096-03-01"))
    assert found == at("2104-02-29T11:00Z"), "2100 has none"
    assert following("0 0 31 * *", "UTC", at("2026-01-31")) == at("2026-03-31")
    assert following("0 0 L 2 *", "UTC", at("2026-03-01")) == at("2027-02-28")


@pytest.mark.parametrize(
    ("expression", "after", "slot"),
    [
        ("*/5 * * * *", "2026-11-25T04:00:00Z", "2026-11-25T04:05:00Z"),
        ("*/5 * * * *", "2026-11-25T04:04:59.999999Z", "2026-11-25T04:05:00Z"),
        ("0 9 * * mon-fri", "2026-11-27T12:00Z", "2026-11-30T09:00Z"),
        ("0 9 * jan 5L", "2026-11-27T12:00Z", "2027-01-29T09:00Z"),
        ("0 9 * * mon#2", "2026-11-27T12:00Z", "2026-12-14T09:00Z"),
        ("0 9 13 * fri", "2026-11-20T12:00Z", "2026-11-27T09:00Z"),
        ("15 * * * * *", "2026-11-27T12:00Z", "2026-11-27T12:00:15Z"),
    ],
)
def test_expressions(expression: str, after: str, slot: str) -> None:
    assert following(expression, "UTC", at(after)) == at(slot)


def test_time_comes_to_an_end() -> None:
    assert following("* * * * *", "UTC", LATEST) is None
    assert following("30 2 * * *", "Europe/Berlin", LATEST) is None
    assert following("0 0 29 2 *", "UTC", at("9996-03-01")) is None


# A rule that is written down the long way, to compare with.

ZONES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/Santiago": ("2026-04-05", "2026-09-06"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "Asia/Kathmandu": ("2026-01-01", "2026-06-01"),
}
HOURS = strategies.sampled_from(["*", "*/2", "0", "1", "2", "3", "0-2", "23"])
MINUTES = strategies.sampled_from(["*", "*/20", "0", "15", "30", "45", "59", "0,30"])


def values(field: str, most: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, most, int(field[2:] or 1)))
    first, dash, last = field.partition("-")
    return set(range(int(first), int(last) + 1)) if dash else {int(each) for each in field.split(",")}


@cache
def moments(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, int, int]]:
    """Every minute from ``begin`` to before ``end``, in UTC, and which minute and hour a clock shows then."""
    place = ZoneInfo(zone)
    each = [begin + number * timedelta(minutes=1) for number in range((end - begin) // timedelta(minutes=1))]
    return [(moment, shown.minute, shown.hour) for moment in each for shown in [moment.astimezone(place)]]


def expected(minute: str, hour: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The slots from ``begin`` to before ``end``, in UTC: every minute is looked at."""
    minutes, hours, place = values(minute, 60), values(hour, 24), ZoneInfo(zone)
    found = set()
    if "*" in minute + hour:
        found.update(moment for moment, m, h in moments(zone, begin, end) if m in minutes and h in hours)
    else:
        wall = begin.replace(tzinfo=None) - timedelta(days=1)
        while wall < end.replace(tzinfo=None) + timedelta(days=1):
            if wall.minute in minutes and wall.hour in hours:
                real = wall
                while (
                    real.replace(tzinfo=place).astimezone(timezone.utc).astimezone(place).replace(tzinfo=None) != real
                ):
                    real += timedelta(minutes=1)
                found.add(real.replace(tzinfo=place).astimezone(timezone.utc))
            wall += timedelta(minutes=1)
    return (moment for moment in sorted(found) if begin <= moment < end)


@given(
    minute=MINUTES,
    hour=HOURS,
    zone=strategies.sampled_from(list(ZONES)),
    second_change=strategies.booleans(),
    start=strategies.integers(0, 40 * 3600),
)
def test_slots_are_those_that_the_long_way_finds(
    minute: str, hour: str, zone: str, second_change: bool, start: int
) -> None:
    begin = datetime.fromisoformat(ZONES[zone][second_change]).replace(tzinfo=timezone.utc) - timedelta(hours=26)
    end = begin + timedelta(hours=52)
    after = begin + timedelta(seconds=start)
    wanted = [each for each in expected(minute, hour, zone, begin, end) if each > after]
    found: list[datetime] = []
    slot = following(f"{minute} {hour} * * *", zone, (after - EPOCH) // timedelta(microseconds=1))
    while slot is not None and EPOCH + timedelta(microseconds=slot) < end:
        found.append(EPOCH + timedelta(microseconds=slot))
        slot = following(f"{minute} {hour} * * *", zone, slot)
    assert found == wanted


# What is run of what has passed


@pytest.mark.parametrize("missed", MISSES)
def test_a_slot_that_is_seen_in_time_is_run(missed: str) -> None:
    due = at("2026-11-25T04:00Z")
    found = turn("*/5 * * * *", "UTC", missed, due, due + TOLERANCE, due + TOLERANCE)
    assert found == (due, due, due + 5 * MINUTE)


def test_of_missed_slots_the_last_is_run_or_none() -> None:
    """A machine that was asleep for three days."""
    due, now = at("2026-11-22T03:00Z"), at("2026-11-25T08:30Z")
    last, coming = at("2026-11-25T03:00Z"), at("2026-11-26T03:00Z")
    assert turn("0 3 * * *", "UTC", ONCE, due, now, now) == (last, last, coming)
    assert turn("0 3 * * *", "UTC", SKIP, due, now, now) == (None, last, coming)


def test_a_slot_in_time_is_run_though_others_were_missed() -> None:
    due, now = at("2026-11-22T03:00Z"), at("2026-11-25T08:30:20Z")
    last = at("2026-11-25T08:30Z")
    for missed in MISSES:
        assert turn("*/5 * * * *", "UTC", missed, due, now, now) == (last, last, last + 5 * MINUTE)


def test_a_slot_at_which_all_workers_were_busy_is_not_missed() -> None:
    due, now = at("2026-11-25T03:00Z"), at("2026-11-25T05:00Z")
    coming = at("2026-11-26T03:00Z")
    assert turn("0 3 * * *", "UTC", SKIP, due, now, due - 1) == (due, due, coming)
    assert turn("0 3 * * *", "UTC", SKIP, due, now, due) == (due, due, coming)
    assert turn("0 3 * * *", "UTC", SKIP, due, now, due + 1) == (None, due, coming)


def test_the_last_of_very_many_slots_is_found_at_once() -> None:
    due, now = at("2006-11-25T03:00Z"), at("2026-11-25T08:30:00.5Z")
    last = at("2026-11-25T08:30Z")
    assert turn("* * * * * *", "Europe/Berlin", ONCE, due, now, now) == (last, last, last + SECOND)
    assert turn("* * * * * SUN", "UTC", ONCE, due, now, now)[1] == at("2026-11-22T23:59:59Z")


# Ids


def test_the_run_of_a_slot_is_called_by_its_time() -> None:
    assert job_id_of("nightly", at("2026-11-25T04:00Z")) == "nightly-20261125T0400Z"
    assert job_id_of("n", at("2026-11-25T04:00:05Z")) == "n-20261125T040005Z"
    assert job_id_of("n", at("2026-10-25T00:30Z")) != job_id_of("n", at("2026-10-25T01:30Z")), "02:30 in Berlin, twice"


def test_a_run_has_all_that_its_schedule_says() -> None:
    made = new_schedule("n" * 64, "@daily", {"command": "true", "cwd": "/", "timeout": "10m"}, max_retries=5, now=0)
    job = job_of(made.job, made.name, at("2026-11-25T00:00Z"))
    assert (job.command, job.cwd, job.timeout, job.max_retries) == ("true", "/", 600, 5)
    assert job.run_at == at("2026-11-25T00:00Z")
    assert len(job.id or "") < 128


def test_a_schedule_does_not_depend_on_where_it_was_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        made = new_schedule("n", "@daily", {"command": "true", "env": None}, max_retries=3, now=0)
    assert made.job == {"command": "true", "cwd": str(directory), "max_retries": 3}


def test_a_run_takes_along_what_was_set_when_its_schedule_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "user")
    fields = {"command": "true", "cwd": "/", "env": {"A": "b"}, "export": "WHO"}
    made = new_schedule("n", "@daily", fields, max_retries=3, now=0)
    for later in ("worker", None):
        monkeypatch.setenv("WHO", later) if later else monkeypatch.delenv("WHO")
        job = job_of(made.job, made.name, at("2026-11-25T00:00Z"))
        assert (job.export, job.env) == ({"WHO": "user"}, {"A": "b"})


# What people type


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("  */5   *\t* * * ", "*/5 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Hourly", "0 * * * *"),
        ("0 0 * jan-mar,DEC sun", "0 0 * jan-mar,DEC sun"),
        ("0 0 LW * *", "0 0 LW * *"),
    ],
)
def test_good_expressions(typed: str, read: str) -> None:
    assert expression_of(typed) == read


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "give five fields"),
        (None, "give five fields"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 * * fri-mon", "bad day-of-week"),
        ("0 0 30 2 *", "never comes true: there is no such day"),
        ("0 0 31 4,6 *", "never comes true: there is no such day"),
        ("@reboot", "is not known"),
        ("L/L * * * *", "bad minute"),
        ("* * * * \N{SUPERSCRIPT TWO}L", "."),
        ("1" * 5000 + " * * * *", "too long"),
        ("1" * 490 + " * * * *", "bad minute"),
        ("a\0b * * * *", "bad minute"),
    ],
)
def test_bad_expressions(typed: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        expression_of(typed)


@given(strategies.lists(strategies.text("0123456789*/-,L#W@MONJAN ", max_size=6), min_size=5, max_size=6))
def test_whatever_is_typed_is_understood_or_refused(fields: list[str]) -> None:
    try:
        read = expression_of(" ".join(fields))
        following(read, "Europe/Berlin", at("2026-11-25"))
    except InvalidInput:
        return


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "Europe", "../../etc/passwd", "/etc/localtime", "a\0b", "UTC+1", "\udcff"]
)
def test_bad_zones(zone: str) -> None:
    with pytest.raises(InvalidInput, match="no time zone"):
        zone_name(zone)


def test_good_zones() -> None:
    assert [zone_name(each) for each in ("UTC", "Europe/Berlin", "Etc/GMT+5")] == ["UTC", "Europe/Berlin", "Etc/GMT+5"]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 65, "é", "a\n", None])
def test_bad_names(name: object) -> None:
    with pytest.raises(InvalidInput, match="name"):
        schedule_name(name)


@pytest.mark.parametrize("key", ["id", "delay", "run_at", "next_run_at", "after", "unique"])
def test_what_is_for_one_job_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key} is for a single job"):
        new_schedule("n", "@daily", {"command": "true", key: "1"}, max_retries=3, now=0)


def test_bad_words_and_jobs() -> None:
    for words, says in (({"overlap": "maybe"}, "overlap"), ({"missed": "twice"}, "missed"), ({"zone": "X"}, "zone")):
        with pytest.raises(InvalidInput, match=says):
            new_schedule("n", "@daily", {"command": "true"}, max_retries=3, now=0, **words)
    with pytest.raises(InvalidInput, match="unknown key"):
        new_schedule("n", "@daily", {"command": "true", "tiemout": 1}, max_retries=3, now=0)
    with pytest.raises(InvalidInput, match="needs a command"):
        new_schedule("n", "@daily", {}, max_retries=3, now=0)


# What is shown


def schedule(**fields: object) -> Schedule:
    usual = dict.fromkeys(Schedule._fields) | {"name": "n", "expression": "30 2 * * *", "zone": "Europe/Berlin"}
    return Schedule(**{**usual, **fields})  # type: ignore[arg-type]


def test_the_next_five_times_are_in_the_schedules_zone() -> None:
    found = upcoming(schedule(next_slot="2026-10-24T00:30:00.000000Z"), at("2026-10-23T12:00Z"))
    assert [each.isoformat() for each in found] == [
        "2026-10-24T02:30:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
        "2026-10-27T02:30:00+01:00",
        "2026-10-28T02:30:00+01:00",
    ]
    later = upcoming(schedule(next_slot="2026-10-24T00:30:00.000000Z"), at("2026-10-27T12:00Z"))
    assert later[0].isoformat() == "2026-10-28T02:30:00+01:00", "those that nobody has seen yet are past"


def test_what_is_paused_has_no_next_time() -> None:
    assert upcoming(schedule(paused=True), 0) == []
    assert upcoming(schedule(), 0) == []
