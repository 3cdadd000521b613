"""Connections to the database: one a thread and process, or one that threads share, checked at each use."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

from queuectl.errors import StoreBusy, StoreError
from queuectl.store import failures, forks, schema
from queuectl.store.turns import Turns

Identity = tuple[int, int]

_LONGEST_TIMEOUT = 2_000_000.0
"""Seconds (23 days). SQLite counts milliseconds in 31 bits, and takes what overflows them for no timeout."""

_TRIES = 10
_PAUSE = 0.02
"""Seconds between two tries to open a connection."""

_inherited: list[forks.Opened] = []
"""What a child got from a parent that forked amid a transaction. To close it would break the parent's locks."""


class Connections:
    """Hands every thread its own connection, or all the same one, one thread at a time, and a new one after a fork.

    Those that write take turns by a lock on the directory ``turns``, where one is given. A ``shared`` connection never
    finds its pages stale because another thread wrote. One half of ``busy_timeout`` is then for the other threads, and the
    rest for other programs: however many threads wait, none waits longer. Only for threads that nothing interrupts.
    """

    def __init__(
        self,
        path: str,
        busy_timeout: float,
        *,
        synchronous: str = "FULL",
        turns: str | None = None,
        shared: bool = False,
    ) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: queuectl needs 3.35 or newer")
        self.path = path
        self._busy_timeout = min(busy_timeout / 2 if shared else busy_timeout, _LONGEST_TIMEOUT)
        self._synchronous = synchronous
        self._turns = turns
        self._local: Any = SimpleNamespace() if shared else threading.local()
        self._in_use = threading.RLock() if shared else None
        self._numbers = itertools.count()

    def using(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection, for as long as the block runs. Errors of SQLite become ``StoreError``.

        Raises :class:`StoreError` when the file at the path is no longer the one that was opened.
        """
        return self._use()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; rolled back when the block raises."""
        return self._use("BEGIN IMMEDIATE", takes_turns=True)

    @contextmanager
    def durable_transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when it ends, and so is all before it, also where others here need not be."""
        with self.using() as connection:  # until the end: it may be another thread's, too
            connection.execute("PRAGMA synchronous = FULL")
            try:
                with self.transaction() as within:
                    yield within
            finally:
                with self.using() as again:
                    again.execute(f"PRAGMA synchronous = {self._synchronous}")

    @contextmanager
    def prompt_transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that begins at once. Raises ``StoreBusy`` where somebody else writes."""
        with self._use(patiently=False) as connection:  # until the end, as above
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                with self._use("BEGIN IMMEDIATE", takes_turns=True, patiently=False) as within:
                    yield within
            finally:
                with self.using() as again:
                    again.execute(f"PRAGMA busy_timeout = {round(1000 * self._busy_timeout)}")

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]:
        """A read of one moment."""
        return self._use("BEGIN")

    @contextmanager
    def _use(
        self, begin: str | None = None, *, takes_turns: bool = False, patiently: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """A use of the connection, a transaction where it begins with something.

        An interrupt may come between any two steps. So nothing stands outside of the block; and when it comes just
        before the block is left, it is left as the generator is freed. One generator for all: there are some uses a
        job, and each layer takes as long as a statement.
        """
        visitor = forks.Visitor()
        opened: forks.Opened | None = None
        number = 0
        is_held = False
        try:
            forks.enter(visitor)
            if self._in_use is not None:
                is_held = self._in_use.acquire(timeout=self._busy_timeout if patiently else 0)
                if not is_held:
                    raise self._busy()
            opened = self._opened()
            if begin is not None:
                if opened.connection.in_transaction:
                    # Of one that was interrupted, while somebody keeps the interrupt, and with it all that it met.
                    opened.connection.execute("ROLLBACK")
                opened.transactions = number = opened.transactions + 1
                if takes_turns:
                    opened.turns.take(patiently=patiently)
                opened.connection.execute(begin)
            yield opened.connection
            if begin is not None:
                opened.connection.execute("COMMIT")
        except BaseException as error:
            self._fail(error, opened, number)
            raise
        finally:
            if takes_turns and opened is not None:
                opened.turns.give_back()
            if is_held and self._in_use is not None:
                self._in_use.release()
            forks.leave(visitor)

    def _fail(self, error: BaseException, opened: forks.Opened | None, number: int) -> None:
        """Leave a use of a connection in which something went wrong. Raises :class:`StoreError` for an error of SQLite."""
        try:
            # A use within this one closes a connection that it finds spoilt.
            is_ours = opened is not None and opened.transactions == number and not opened.is_closed
            if opened is not None and is_ours and opened.connection.in_transaction:
                opened.connection.execute("ROLLBACK")
        except failures.ERRORS as another:
            error = another
        if isinstance(error, failures.ERRORS):
            if failures.spoils_connection(error):
                self._close_opened()
            raise failures.explain(error, self.path) from error

    def version(self) -> int:
        """Changes whenever something was changed, through this connection or another."""
        with self.using() as connection:
            others: int = connection.execute("PRAGMA data_version").fetchone()[0]
            # Another connection counts from the start again.
            number: int = self._local.number
            return (number << 64) + others + connection.total_changes

    def close(self) -> None:
        """Close this thread's connection, or the shared one, which nobody uses now. Whatever lies at the path when it is used next is the database."""
        with forks.held_off():
            self._close_opened()
            self._local.__dict__.clear()

    def _opened(self) -> forks.Opened:
        """This thread's connection, opened when there is none. Only for where forks are held off."""
        opened: forks.Opened | None = getattr(self._local, "opened", None)
        if opened is not None and opened.is_closed:
            opened = None
        if opened is not None and opened.pid != os.getpid():
            opened.turns.close()
            _inherited.append(opened)
            opened = None
        if opened is None:
            connection, identity = self._open()
            opened = forks.Opened(connection, Turns(self._turns, eager=self._synchronous != "FULL"))
            self._local.opened, self._local.identity, self._local.number = opened, identity, next(self._numbers)
        elif file_identity(self.path) != self._local.identity:
            raise self._lost()
        return opened

    def _close_opened(self) -> None:
        """Have the next use open a connection anew, to the same file."""
        opened: forks.Opened | None = getattr(self._local, "opened", None)
        if opened is not None and opened.pid == os.getpid():
            opened.close()

    def _busy(self) -> StoreError:
        """What the thread meets that has the connection: transactions of our own take no such time."""
        return StoreBusy(f"the database {self.path} is locked by another program")

    def _lost(self) -> StoreError:
        return StoreError(f"the database {self.path} was deleted or replaced while it was in use")

    def _open(self) -> tuple[sqlite3.Connection, Identity]:
        """Open a connection, in some tries: for a moment, the files that root's SQLite makes beside it are root's."""
        tries = 1
        while True:
            try:
                return self._try_to_open()
            except failures.ERRORS as error:
                if tries == _TRIES or not failures.refuses_to_open(error):
                    raise
            time.sleep(_PAUSE)
            tries += 1

    def _try_to_open(self) -> tuple[sqlite3.Connection, Identity]:
        before = file_identity(self.path)
        if before != getattr(self._local, "identity", before):
            raise self._lost()
        if before is None:
            raise StoreError(f"the database {self.path} is gone")
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
            # A copy made by VACUUM INTO is a queue in another journal mode.
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            if file_identity(self.path) != before:
                raise StoreError(f"the database {self.path} was replaced while it was opened")
        except BaseException:
            connection.close()
            raise
        return connection, before


def file_identity(path: str) -> Identity | None:
    """Which file lies at a path; None when none does."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
