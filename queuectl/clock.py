"""Time has one home: wall-clock microseconds for what is stored, monotonic seconds for deadlines.

Stored times are integers, microseconds since the Unix epoch in UTC. Deadlines and durations
are monotonic, so that a wall clock that jumps neither times out a job nor strands one.
"""

from __future__ import annotations

import math
import re
import time
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from queuectl.errors import InvalidInput, shown

SECOND = 1_000_000
"""Microseconds in a second."""

MAX_DURATION = 100 * 365 * 86_400.0
"""The longest duration that is accepted, in seconds (a hundred years)."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LATEST = int((datetime(9999, 12, 31, tzinfo=timezone.utc) - EPOCH).total_seconds()) * SECOND
"""The latest time that can be stored, in microseconds since the epoch."""

# Compiled when they are used first, as re does: a command that reads no time starts faster without.
_DURATION = r"(?ai)(\d+(?:\.\d*)?|\.\d+)\s*(|s|m|h|d)"
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = (
    r"(?ai)(\d{4}-\d{2}-\d{2})"
    r"(?:[T ](\d{2}:\d{2})(?:(:\d{2})(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|[+-]\d{2}(?::?\d{2})?)?"
)


class Clock:
    """The clocks of this machine; tests hand in others."""

    def now(self) -> int:
        """The wall-clock time, in microseconds since the epoch."""
        return time.time_ns() // 1000

    monotonic = staticmethod(time.monotonic)
    """Seconds on a clock that only goes forward."""


SYSTEM_CLOCK = Clock()


class Instant(NamedTuple):
    """A moment by both clocks, from which others are told: the wall clock may be set meanwhile."""

    on: int
    """Microseconds since the epoch."""
    at: float
    """Seconds of the monotonic clock."""

    def wall_clock(self, moment: float) -> int:
        """A moment of the monotonic clock in microseconds since the epoch."""
        return self.on + round((moment - self.at) * SECOND)

    def monotonic(self, micros: int) -> float:
        """The reverse of :meth:`wall_clock`."""
        return self.at + (micros - self.on) / SECOND


def seconds(value: object, what: str = "duration") -> float:
    """Read a duration: a number of seconds, or text such as ``90``, ``90s``, ``10m``, ``3h``, ``2d``.

    Raises :class:`InvalidInput` for anything negative, not finite, or longer than a hundred years.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidInput(f"{what}: {shown(value)} is not a duration (a number of seconds, or 90s, 10m, 3h, 2d)")
    if isinstance(value, str):
        match = re.fullmatch(_DURATION, value.strip())
        if match is None:
            raise InvalidInput(f"{what}: {shown(value)} is not a duration (a number of seconds, or 90s, 10m, 3h, 2d)")
        number = float(match[1]) * _UNIT_SECONDS[match[2].lower()]
    else:
        try:
            number = float(value)
        except OverflowError:
            raise InvalidInput(f"{what}: the number is too long (at most 36500d)") from None
    if not math.isfinite(number) or number > MAX_DURATION:
        raise InvalidInput(f"{what}: {shown(value)} is too long (at most 36500d)")
    if number < 0:
        raise InvalidInput(f"{what}: {shown(value)} is negative")
    return number


def timestamp(value: object, what: str = "time") -> int:
    """Read an ISO-8601 time into microseconds since the epoch; without an offset it is UTC.

    Raises :class:`InvalidInput` for what is no such time, or outside the years 1970 to 9999.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{what}: {shown(value)} is not a time (such as 2030-01-31T08:00:00Z)")
    match = re.fullmatch(_TIME, value.strip())
    if match is None:
        raise InvalidInput(f"{what}: {shown(value)} is not a time (such as 2030-01-31T08:00:00Z)")
    date, minutes, secs, fraction, offset = match.groups()
    text = f"{date}T{minutes or '00:00'}{secs or ':00'}{_offset(offset)}"
    try:
        moment = datetime.fromisoformat(text)
        micros = (moment - EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{what}: {shown(value)} is not a time: {error}") from error
    micros += int((fraction or "").ljust(6, "0")[:6])
    if not 0 <= micros <= LATEST:
        raise InvalidInput(f"{what}: {shown(value)} is outside the years 1970 to 9999")
    return micros


def _offset(text: str | None) -> str:
    if text is None or text in "zZ":
        return "+00:00"
    digits = text[1:].replace(":", "").ljust(4, "0")
    return f"{text[0]}{digits[:2]}:{digits[2:]}"


def iso(micros: int | None) -> str | None:
    """Microseconds since the epoch as ISO-8601 UTC with ``Z``; None stays None."""
    if micros is None:
        return None
    moment = EPOCH + timedelta(microseconds=micros)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def after(now: int, delay: float) -> int:
    """The time ``delay`` seconds after ``now``, never beyond what can be printed."""
    return min(now + round(delay * SECOND), LATEST)


def human(duration: float) -> str:
    """A duration for people: ``0.4s``, ``12s``, ``3m 05s``, ``2h 10m``, ``4d 03h``."""
    if duration < 10:
        return f"{duration:.1f}s"
    whole = int(duration)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"
