"""SQLite's errors in a user's words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl.errors import StoreBusy, StoreDamaged, StoreError
from queuectl.home import DATABASE_NAME

DAMAGED = "is damaged: restore it from a backup, or save what 'sqlite3 FILE .recover' finds"

LONGEST_PATH = 504
"""Bytes of a path that SQLite opens on Unix: 512, less those of what it appends for a journal."""

_FULL = "cannot grow: the disk is full"
_SHARED_MEMORY = 32_768
"""Bytes that SQLite's ``-shm`` file grows by at least. Without room for it, not even a read is possible."""

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite fails with; the second is of damage that it quotes in its own message."""

_UNOPENED = "unable to open"
_PASSING = (
    ("locked", "is locked by another program"),
    ("busy", "is locked by another program"),
    ("full", _FULL),
)
_DAMAGING = ("malformed", "decode", "unsupported file format", "not a database")
_SPOILING = (
    ("readonly", "is read-only"),
    ("malformed", DAMAGED),
    ("decode", DAMAGED),
    ("unsupported file format", DAMAGED),
    ("not a database", "is not a database"),
    (_UNOPENED, "cannot be opened"),
    ("disk i/o", "cannot be read or written (disk I/O error)"),
)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn an error of SQLite into a :class:`StoreError` that names the database and the reason."""
    try:
        yield
    except ERRORS as error:
        raise explain(error, path) from error


def spoils_connection(error: Exception) -> bool:
    """Whether a connection that met this error may never work again, even once the cause is mended.

    It keeps the damaged pages that it has read, and that it could open its files for reading only.
    """
    said = str(error).lower()
    return any(sign in said for sign, _ in _SPOILING)


def refuses_to_open(error: Exception) -> bool:
    """Whether SQLite could not open the database, or one of its files beside it."""
    return _UNOPENED in str(error).lower()


def explain(error: sqlite3.Error | UnicodeDecodeError, path: str) -> StoreError:
    """The :class:`StoreError` that says what SQLite's error means for the database at ``path``."""
    if isinstance(error, UnicodeDecodeError):
        return StoreDamaged(f"the database {path} {DAMAGED}")
    said = str(error).lower()
    for sign, reason in (*_PASSING, *_SPOILING):
        if sign in said:
            kind = StoreBusy if sign in ("locked", "busy") else StoreDamaged if sign in _DAMAGING else StoreError
            return kind(f"the database {path} {_looked_at(path, sign) or reason}")
    return StoreError(f"the database {path}: {error}")


def _looked_at(path: str, sign: str) -> str | None:
    """What SQLite's message leaves out, where a look at the file tells."""
    if os.path.isdir(path):
        return f"is a directory: name the file in it, such as {os.path.join(path, DATABASE_NAME)}"
    if not os.path.exists(path):
        return "is gone"
    if not os.access(path, os.R_OK):
        return f"cannot be read: permission denied{_permit('r', path)}"
    if sign == "readonly":
        return _unwritable_beside(path)
    if sign == _UNOPENED:
        return _why_not_opened(path)
    return _FULL if sign == "disk i/o" and _is_full(path) else None


def _why_not_opened(path: str) -> str | None:
    if excess := too_long(path, LONGEST_PATH):
        return f"cannot be opened: its path is {excess}"
    directory = os.path.dirname(path)
    if not os.access(directory, os.W_OK):
        # Even to read it, SQLite must make files beside it.
        return f"cannot be opened: {directory} is read-only{_permit('w', directory)}"
    return _FULL if _is_full(path) else None


def _unwritable_beside(path: str) -> str | None:
    """What keeps a database read-only: itself, one of SQLite's files beside it, which has the permissions that it once
    had, or the directory, where SQLite cannot make these.
    """
    if not os.access(path, os.W_OK):
        return f"is read-only{_permit('w', path)}"
    for beside in (f"{path}-wal", f"{path}-shm", os.path.dirname(path)):
        if os.path.exists(beside) and not os.access(beside, os.W_OK):
            return f"is read-only: {beside} may not be written{_permit('w', beside)}"
    return None


def _permit(right: str, path: str) -> str:
    """The command that gives us a right, as the end of a message; empty where we cannot give it to ourselves."""
    try:
        is_ours = os.stat(path).st_uid == os.geteuid()
        if not is_ours or os.statvfs(path).f_flag & os.ST_RDONLY:
            return ""
    except OSError:
        return ""
    import shlex

    return f": 'chmod u+{right} {shlex.quote(path)}' mends that"


def too_long(name: str, most: int) -> str:
    """By how much a path or a name is too long for SQLite, in words; empty when it is not."""
    excess = len(os.fsencode(name)) - most
    return f"{excess} byte{'s' * (excess != 1)} too long for SQLite, which takes {most}" if excess > 0 else ""


def _is_full(path: str) -> bool:
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _SHARED_MEMORY
