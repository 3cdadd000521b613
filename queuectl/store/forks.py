"""Keeps the database's connections away from forks.

SQLite counts a file's locks once a process. A child that inherits the count of an open
connection takes locks for held that only its parent holds. When the parent then closes the
database, it removes the log that the child goes on writing to, and what the child confirmed is
lost (https://www.sqlite.org/howtocorrupt.html, 2.6). So no connection is open, and none in use, at
the moment of a fork; whoever needs one afterwards opens another.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl.store.turns import Turns


class Opened:
    """A connection that is closed before this process forks, and the turns of who writes with it."""

    def __init__(self, connection: sqlite3.Connection, turns: Turns) -> None:
        self.connection = connection
        self.turns = turns
        self.is_closed = False
        self.pid = os.getpid()
        self.transactions = 0
        _gate.opened.add(self)

    def close(self) -> None:
        self.is_closed = True
        self.connection.close()
        self.turns.close()

    def __del__(self) -> None:
        # Its thread has ended. The connection refers to itself: the garbage collector would come late.
        if self.pid == os.getpid():
            self.close()


class Visitor:
    """Who uses a connection: something of a thread that is gone when its use is over, however that ended."""

    __slots__ = ("__weakref__", "reference", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.reference = weakref.ref(self)


_GLANCE = 0.1
"""Seconds after which who waits looks again: an interrupt may have kept a visitor that is gone from telling."""


class _Gate:
    """Lets any number of threads use their connections, but none while the process forks."""

    def __init__(self) -> None:
        self.opened: weakref.WeakSet[Opened] = weakref.WeakSet()
        self._begin()
        self._inside: dict[int, set[weakref.ref[Visitor]]] = {}
        self._forks = 0

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def enter(self, visitor: Visitor) -> None:
        with self._lock:
            while self._forks and visitor.thread not in self.threads_inside():
                self._changed.wait(_GLANCE)
            self._inside.setdefault(visitor.thread, set()).add(visitor.reference)

    def leave(self, visitor: Visitor) -> None:
        """Nothing is wrong with one that did not come in, or left before."""
        with self._lock:
            inside = self._inside.get(visitor.thread, set())
            inside.discard(visitor.reference)
            if not inside or not any(reference() is not None for reference in inside):
                self._inside.pop(visitor.thread, None)
                if self._forks:
                    self._changed.notify_all()

    def threads_inside(self) -> set[int]:
        """The threads that use a connection. An interrupt may have kept a visitor that is gone from leaving."""
        return {
            thread
            for thread, visitors in self._inside.items()
            if any(reference() is not None for reference in visitors)
        }

    def before_fork(self) -> None:
        """Wait until no other thread uses a connection, close all, and keep everybody out."""
        me = threading.get_ident()
        self._lock.acquire()
        self._forks += 1
        while self.threads_inside() - {me}:
            self._changed.wait(_GLANCE)
        if me not in self.threads_inside():
            for opened in list(self.opened):
                opened.close()

    def after_in_parent(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._lock.release()

    def after_in_child(self) -> None:
        """Begin afresh: of the threads, only this one is here."""
        self._begin()
        self._forks = 0


_gate = _Gate()
os.register_at_fork(
    before=_gate.before_fork,
    after_in_parent=_gate.after_in_parent,
    after_in_child=_gate.after_in_child,
)


enter, leave = _gate.enter, _gate.leave
"""Between them no fork happens: there connections are used."""


@contextmanager
def held_off() -> Iterator[None]:
    """No fork happens while the block runs."""
    visitor = Visitor()
    try:
        enter(visitor)
        yield
    finally:
        leave(visitor)
