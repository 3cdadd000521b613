"""What can go wrong, one class per exit code of the command line.

Every error that queuectl raises on purpose is a :class:`QueueError`. Its text is one clear
line that says what is wrong and, where there is something to do about it, what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class QueueError(Exception):
    """The operation failed."""

    exit_code: ClassVar[int] = 1


class InvalidInput(QueueError, ValueError):
    """A value, a job or a setting is not acceptable; nothing was changed."""

    exit_code = 2


class NotFound(QueueError, LookupError):
    """There is no such job, schedule or queue."""

    exit_code = 3


class NoSuchJob(NotFound):
    """No job has this id."""


class NoSuchGroup(NotFound):
    """No group has this name."""


class NoSuchSchedule(NotFound):
    """No schedule has this name."""


class NoSuchBatch(NotFound):
    """No job has this label."""


class NoSuchQueue(NotFound):
    """There is no queue here."""


class Conflict(QueueError):
    """The id exists, the job is in the wrong state, or workers already run."""

    exit_code = 4


class JobExists(Conflict):
    """A job has this id already, or two in one batch have."""


class StoreError(QueueError):
    """The database cannot be used: locked, full, read-only, corrupt, newer, or gone."""

    exit_code = 5


class StoreDamaged(StoreError):
    """The database is damaged, or what lies there is none: only a person can mend that."""


class StoreBusy(StoreError):
    """Another process kept the database locked for longer than ``busy_timeout``."""


class WaitTimeout(QueueError, TimeoutError):
    """``wait`` ran out of time; the jobs go on."""

    exit_code = 124


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The end of a message about a mistyped name: the ones that are close; empty when none is."""
    close = closest(name.lower(), known)
    return f": did you mean {' or '.join(close)}?" if close else ""


def closest(name: str, known: Sequence[str], most: int = 3, alike: float = 0.55) -> list[str]:
    """Which of the known names are like one, the most alike first; ``alike`` is from 0 to 1."""
    import difflib

    return difflib.get_close_matches(name, known, most, alike)


def named(name: str) -> str:
    """A name that a user gave, for an error's text: as it is, unless nobody would see it, and cut short."""
    return name[:130] if name.strip() else repr(name[:130])


def shown(value: object) -> str:
    """A value for an error's text, as JSON has it but for the quotes, and cut short."""
    import json  # here and elsewhere: most commands read and write none, and start faster without

    is_plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    try:
        text = repr(value) if is_plain else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"this {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
