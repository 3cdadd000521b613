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


class _Gate:
    """Lets any number of threads use their connections, but none while the process forks."""

    def __init__(self) -> None:
        self.opened: weakref.WeakSet[Opened] = weakref.WeakSet()
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._forks = 0

    def enter(self) -> int:
        """Returns the thread that entered, for whoever leaves in its place."""
        me = threading.get_ident()
        with self._changed:
            while self._forks and me not in self._inside:
                self._changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1
        return me

    def leave(self, who: int) -> None:
        with self._changed:
            self._inside[who] -= 1
            if not self._inside[who]:
                del self._inside[who]
                if self._forks:
                    self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread uses a connection, close all, and keep everybody out."""
        me = threading.get_ident()
        self._changed.acquire()
        self._forks += 1
        while self._inside.keys() - {me}:
            self._changed.wait()
        if me not in self._inside:
            for opened in list(self.opened):
                opened.close()

    def after_in_parent(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def after_in_child(self) -> None:
        """Begin afresh: of the threads, only this one is here."""
        self._changed = threading.Condition()
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
    who = enter()
    try:
        yield
    finally:
        leave(who)
