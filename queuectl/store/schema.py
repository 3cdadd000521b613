"""Making a database, bringing an older one up to date, and refusing what is none of ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl import files, locks
from queuectl.errors import StoreError
from queuectl.home import Home
from queuectl.store import queries
from queuectl.store.failures import LONGEST_PATH, explained, too_long

APPLICATION_ID = 0x51435431
"""Stands in the database's header and tells it from every other program's."""


_LONGEST_NAME = 255 - len("-journal")
"""Bytes of a file's name to which SQLite can append what it does."""


def latest() -> int:
    """The version of the schema that this program writes."""
    return queries.migrations()[-1][0]


def create(home: Home, busy_timeout: float, *, anew: bool) -> bool:
    """Make the queue's database, unless it exists; whether it was made.

    It is built beside its place and moved there whole, so that nobody ever sees half of it. Without
    ``anew``, raises :class:`StoreError` where the home shows that its database was lost.
    """
    if home.exists:
        return False
    home.check_sole_database()
    _check_lengths(home)
    home.make_directories()
    with locked(home, busy_timeout):
        home.check_sole_database()
        if home.exists:
            return False
        if not anew and home.shows_former_queue():
            raise StoreError(
                f"{home.database} is gone, but {home.directory} shows that a queue was there: "
                f"restore it, or start anew with 'queuectl init {home.database}'"
            )
        _build(home)
        home.mark()
        return True


def _check_lengths(home: Home) -> None:
    """Raise :class:`StoreError` where SQLite could not open the database, before anything is made."""
    for path in (home.database, _temporary(home)):
        if excess := too_long(path, LONGEST_PATH):
            raise StoreError(f"no queue can be made there: the path is {excess}: {path}")
    name = os.path.basename(home.database)
    if excess := too_long(name, _LONGEST_NAME):
        raise StoreError(f"no queue can be made there: the name is {excess}: {name}")


@contextmanager
def locked(home: Home, busy_timeout: float) -> Iterator[None]:
    """Keep others from making this home or writing its settings meanwhile."""
    try:
        files.make_private_directory(home.run)
        lock = locks.take(home.lock, busy_timeout)
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(f"cannot write in {home.directory}: {error.strerror or error}") from error


def _build(home: Home) -> None:
    temporary = _temporary(home)
    leftovers = [
        os.path.join(home.directory, os.path.basename(home.database) + end) for end in ("-wal", "-shm", "-journal")
    ]
    for path in (temporary, f"{temporary}-wal", f"{temporary}-shm", *leftovers):
        files.remove(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, files.PRIVATE_FILE))
    os.chmod(temporary, files.PRIVATE_FILE)
    with explained(temporary):
        connection = sqlite3.connect(uri(temporary), uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection)
        finally:
            connection.close()
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, home.database)
    files.sync_directory(home.directory)


def _temporary(home: Home) -> str:
    """Where a database is built."""
    return os.path.join(home.run, ".new.db")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that an open database is a queue, and bring it up to date.

    Raises :class:`StoreError` for another program's database, an empty file, or a newer version.
    """
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a queue's database")
    if version > latest():
        raise StoreError(
            f"{path} was written by a newer queuectl (schema {version}; this one knows {latest()}): upgrade queuectl"
        )
    if version < latest():
        migrate(connection)


def migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that a database lacks, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for number, script in queries.migrations():
            if number > version:
                for statement in _statements(script):
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(latest(), version)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def uri(path: str, mode: str = "rw") -> str:
    """The address of a database that must exist: SQLite never makes one by itself. To read only, ``mode`` is ``ro``."""
    escaped = "".join(f"%{byte:02x}" for byte in os.fsencode(path))  # every one: none means anything then
    return f"file:{escaped}?mode={mode}"


def _statements(script: str) -> list[str]:
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
