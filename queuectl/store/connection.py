"""Connections to the database: one a thread and process, checked at each use."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl.errors import StoreError
from queuectl.store import schema
from queuectl.store.failures import explain, explained

Identity = tuple[int, int]

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process. To close one here would break the parent's locks, so they are kept."""


class Connections:
    """Hands every thread its own connection, and a new one after a fork."""

    def __init__(self, path: str, busy_timeout: float, *, synchronous: str = "FULL") -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: queuectl needs 3.35 or newer")
        self.path = path
        self._busy_timeout = busy_timeout
        self._synchronous = synchronous
        self._local = threading.local()

    def get(self) -> sqlite3.Connection:
        """This thread's connection, opened when there is none.

        Raises :class:`StoreError` when the file at the path is no longer the one that was opened.
        """
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid != os.getpid():
            _inherited.append(connection)
            connection = None
        if connection is None:
            connection, self._local.identity = self._open()
            self._local.connection, self._local.pid = connection, os.getpid()
        elif _identity(self.path) != self._local.identity:
            raise StoreError(f"the database {self.path} was deleted or replaced while it was in use")
        return connection

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
        self._local.__dict__.clear()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; rolled back when the block raises."""
        connection = self.get()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read of one moment."""
        connection = self.get()
        with explained(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def _open(self) -> tuple[sqlite3.Connection, Identity]:
        before = _identity(self.path)
        if before is None:
            raise StoreError(f"the database {self.path} is gone")
        with explained(self.path):
            connection = sqlite3.connect(
                schema.uri(self.path),
                timeout=self._busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                schema.check(connection, self.path)
                if _identity(self.path) != before:
                    raise StoreError(f"the database {self.path} was replaced while it was opened")
            except BaseException:
                connection.close()
                raise
        return connection, before


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
