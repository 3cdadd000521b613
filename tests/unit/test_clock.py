"""Durations and times: what is read, what is refused, and what is printed."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import InvalidInput, clock
from queuectl.clock import SECOND, after, human, iso, seconds, timestamp

LATEST = timestamp("9999-12-31")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-0.0, 0),
        (90, 90),
        (1.5, 1.5),
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("3h", 10_800),
        ("2d", 172_800),
        ("1.5h", 5400),
        (".5", 0.5),
        ("5.", 5),
        (" 7 s ", 7),
        ("4M", 240),
        ("36500d", clock.MAX_DURATION),
        (clock.MAX_DURATION, clock.MAX_DURATION),
    ],
)
def test_durations(value: object, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, None, [], {}, b"5", object()),
        *(
            "",
            " ",
            "s",
            "5x",
            "5 minutes",
            "1h30m",
            "-5",
            "+5",
            "1e3",
            "0x10",
            "1_000",
            "nan",
            "inf",
            "5\0",
            "٣",
            "1,5",
        ),
        *(-1, -0.001, float("nan"), float("inf"), float("-inf"), 1e400, 10**30, -(10**30), 10**5000),
        *("36501d", "9" * 400, clock.MAX_DURATION + 1),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) or value < 10**40 else "huge",
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^delay: ") as caught:
        seconds(value, "delay")
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_a_refusal_is_short_however_long_the_value() -> None:
    for read in (seconds, timestamp):
        with pytest.raises(InvalidInput) as caught:
            read("x" * 100_000)
        assert len(str(caught.value)) < 200


def micros(*parts: Any) -> int:
    return int(datetime(*parts, tzinfo=timezone.utc).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T08:00:00Z", micros(2030, 1, 31, 8)),
        ("2030-01-31T08:00:00", micros(2030, 1, 31, 8)),
        ("2030-01-31 08:00", micros(2030, 1, 31, 8)),
        ("2030-01-31t08:00:05z", micros(2030, 1, 31, 8, 0, 5)),
        (" 2030-01-31 ", micros(2030, 1, 31)),
        ("2030-01-31T08:00:00+02:00", micros(2030, 1, 31, 6)),
        ("2030-01-31T08:00:00+0200", micros(2030, 1, 31, 6)),
        ("2030-01-31T08:00:00-02", micros(2030, 1, 31, 10)),
        ("2030-01-31T08:00:00 +05:30", micros(2030, 1, 31, 2, 30)),
        ("2030-01-31T08:00:00.5Z", micros(2030, 1, 31, 8) + 500_000),
        ("2030-01-31T08:00:00.000001Z", micros(2030, 1, 31, 8) + 1),
        ("2030-01-31T08:00:00.123456789Z", micros(2030, 1, 31, 8) + 123_456),
        ("2030-01-31T08:00:00,250+00:00", micros(2030, 1, 31, 8) + 250_000),  # as date -Ins prints it
        ("2028-02-29", micros(2028, 2, 29)),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("9999-12-31", LATEST),
    ],
)
def test_times(text: str, expected: int) -> None:
    """The table holds on Python 3.10 too, whose ``fromisoformat`` reads far less."""
    assert timestamp(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, 5, 1.5, True, [], b"2030-01-31"),
        *("", "now", "tomorrow", "2030", "2030-01", "2030-1-31", "20300131", "30-01-31", "2030/01/31"),
        *("2030-13-01", "2030-02-30", "2029-02-29", "2030-01-00", "2030-01-31T", "2030-01-31T8:00", "2030-01-31T25:00"),
        *("2030-01-31T08:60", "2030-01-31T08:00:60", "2030-01-31T08:00.5", "2030-01-31T08:00:00.", "2030-01-31T08"),
        *("2030-01-31T08:00:00+25:00", "2030-01-31T08:00:00 UTC", "2030-01-31T08:00:00Z\0", "２０３０-01-31"),
        *("1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00", "9999-12-31T00:00:01Z", "0000-01-01", "0001-01-01"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59", "10000-01-01", "+2030-01-31"),
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^run_at: ") as caught:
        timestamp(value, "run_at")
    assert "\n" not in str(caught.value)


@given(st.integers(0, LATEST))
def test_what_is_printed_is_read_again(moment: int) -> None:
    text = iso(moment)
    assert text is not None
    assert timestamp(text) == moment
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)


@given(st.lists(st.integers(0, LATEST), max_size=20))
def test_printed_times_sort_as_the_times_do(moments: list[int]) -> None:
    assert sorted(map(iso, moments)) == [iso(moment) for moment in sorted(moments)]  # type: ignore[type-var]


@given(st.text(max_size=40) | st.from_regex(r"[0-9T:Z+. -]{0,40}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (seconds, timestamp):
        with contextlib.suppress(InvalidInput):
            assert read(text) >= 0


@given(st.integers(0, LATEST), st.floats(0, clock.MAX_DURATION))
def test_what_comes_after_can_be_printed(now: int, delay: float) -> None:
    moment = after(now, delay)
    assert now <= moment <= LATEST
    assert iso(moment)


def test_no_time_is_no_text() -> None:
    assert iso(None) is None


def test_the_real_clocks() -> None:
    real = clock.SYSTEM_CLOCK
    assert abs(real.now() / SECOND - datetime.now(timezone.utc).timestamp()) < 60
    first = real.monotonic()
    assert real.monotonic() >= first


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (12.9, "12s"),
        (59.99, "59s"),
        (60, "1m 00s"),
        (185, "3m 05s"),
        (3599, "59m 59s"),
        (7800, "2h 10m"),
        (86_399, "23h 59m"),
        (4 * 86_400 + 3 * 3600, "4d 03h"),
    ],
)
def test_durations_for_people(duration: float, text: str) -> None:
    assert human(duration) == text
