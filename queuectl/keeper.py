"""Thread mode: one process runs several workers, and each has a keeper, a small process that runs its jobs.

Threads of one process could not tell whose orphans it adopts; a keeper can, for it is the
subreaper of one job at a time. Supervisors fork keepers (they have one thread) and hand their
sockets on to the threads.
"""

from __future__ import annotations

import contextlib
import marshal
import select
import socket
from collections.abc import Callable
from typing import Any

from queuectl import slot
from queuectl.inbox import Inbox
from queuectl.model import Outcome
from queuectl.runner import ABANDON, Assignment, LocalRunner, Order, Orders

_LENGTH = 4
"""Bytes that tell how long a message is."""


class Line:
    """One end of what a thread and its keeper say to each other: tuples of plain values, each after its length.

    Both are of one program, forked: what :mod:`marshal` writes the other reads, and in a quarter of the time that
    :mod:`pickle` takes, twice a job. A connection of :mod:`multiprocessing` would do the same, and take as long to
    import as two keepers take to start. No more is read than the message: the rest must show in a poll.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self.fileno = self._socket.fileno
        self.close = self._socket.close

    def send(self, message: tuple[Any, ...]) -> None:
        """Raises :class:`OSError` when the other end is gone."""
        content = marshal.dumps(message)
        self._socket.sendall(len(content).to_bytes(_LENGTH, "big") + content)

    def recv(self) -> Any:
        """Wait for a message. Raises :class:`EOFError` or :class:`OSError` when the other end is gone."""
        length = int.from_bytes(self._take(_LENGTH), "big")
        return marshal.loads(self._take(length))  # nosec B302  # from our own parent or child

    def _take(self, size: int) -> bytes:
        """So many bytes; a long message comes in pieces."""
        taken = self._socket.recv(size)
        while len(taken) < size:
            piece = self._socket.recv(size - len(taken))
            if not piece:
                raise EOFError
            taken += piece
        return taken


READY = ("ready",)
"""A keeper's first word: it may be given work."""


class KeeperRunner:
    """Has a keeper run the attempts; ``descriptor`` is the socket to it. ``note`` is the slot it writes.

    ``successor`` returns the descriptor of the keeper that the supervisor sent in the place of a
    dead one, once; None when none came.
    """

    _keeper: Line
    _told: select.poll
    _is_ready: bool
    _is_lost: bool

    def __init__(self, descriptor: int, note: str, successor: Callable[[], int | None]) -> None:
        self._note = note
        self._successor = successor
        self._welcome(descriptor)

    @property
    def is_ready(self) -> bool:
        """Whether there is a keeper that has said its first word. One that died before takes no job with it."""
        descriptor = self._successor()
        if descriptor is not None:
            self._keeper.close()
            self._welcome(descriptor)
        try:
            while not self._is_lost and self._told.poll(0):
                self._is_ready = self._keeper.recv() == READY
        except (EOFError, OSError):
            self._is_ready, self._is_lost = False, True
        return self._is_ready

    @property
    def signs(self) -> tuple[int, ...]:
        """A lost keeper tells nothing more: the supervisor sends another over the worker's line."""
        return () if self._is_lost else (self._keeper.fileno(),)

    def run(self, task: Assignment, orders: Orders) -> Outcome:
        try:
            self._keeper.send(tuple(task))
            return self._await_outcome(task, orders)
        except (EOFError, OSError):
            return self._outlive_keeper(task, orders)

    def close(self) -> None:
        """Let the keeper go."""
        self._keeper.close()

    def _await_outcome(self, task: Assignment, orders: Orders) -> Outcome:
        while True:
            order = orders.wait(None, (self._keeper.fileno(),))
            if order is not None:
                self._keeper.send((task.seq, task.number, order.outcome, order.gently))
            if self._told.poll(0):
                return Outcome(*self._keeper.recv())

    def _outlive_keeper(self, task: Assignment, orders: Orders) -> Outcome:
        """The keeper died: what it ran has ended once the supervisor sends another."""
        self._is_ready, self._is_lost = False, True
        while (descriptor := self._successor()) is None and not orders.is_abandoned:
            orders.wait(None)
        if descriptor is not None:
            self._keeper.close()
            self._welcome(descriptor)
        return slot.ended(self._note, task.seq, task.number, task.log, "its keeper process died").outcome

    def _welcome(self, descriptor: int) -> None:
        self._keeper = Line(descriptor)
        # A look by the connection itself would make one of these each time.
        self._told = select.poll()
        self._told.register(descriptor, select.POLLIN)
        self._is_ready = False
        self._is_lost = False


def keep(descriptor: int, note: slot.Slot, signals: Inbox) -> None:
    """A keeper's life: run what comes over the socket until its other end closes."""
    line = Line(descriptor)
    runner = LocalRunner(note)
    news = select.poll()
    news.register(signals, select.POLLIN)
    news.register(descriptor, select.POLLIN)
    # The other end is gone: there is nobody to tell, and the supervisor has heard of it.
    with contextlib.suppress(EOFError, OSError):
        line.send(READY)
        while True:
            said = line.recv()
            if len(said) == len(Assignment._fields):  # and no order that came after its attempt had ended
                task = Assignment(*said)
                line.send(tuple(runner.run(task, _OrdersFrom(line, signals, news, task))))


class _OrdersFrom:
    """Orders as a keeper hears them from its thread; the thread's death is one of them.

    ``news`` polls both the signals and the line.
    """

    is_abandoned = False

    def __init__(self, line: Line, signals: Inbox, news: select.poll, task: Assignment) -> None:
        self._task = task
        self._news = news
        self._line = line
        self._signals = signals
        self._alone = False

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> Order | None:
        assert not also, "a keeper waits for nothing else"
        ready = {descriptor for descriptor, _ in self._news.poll(None if timeout is None else 1000 * max(0.0, timeout))}
        if self._signals.fileno() in ready:
            self._signals.take()
        if self._alone or self._line.fileno() not in ready:
            return None
        try:
            seq, number, outcome, gently = self._line.recv()
        except (EOFError, OSError):
            self._alone = True
            self._news.unregister(self._line.fileno())
            return ABANDON
        # One that was sent in the moment in which the attempt before ended is not for this one.
        return Order(outcome, gently) if (seq, number) == (self._task.seq, self._task.number) else None
