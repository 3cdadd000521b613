"""Thread mode: one process runs several workers, and each has a keeper, a small process that runs its jobs.

Threads of one process could not tell whose orphans it adopts; a keeper can, for it is the
subreaper of one job at a time. Supervisors fork keepers (they have one thread) and hand their
sockets on to the threads.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable
from multiprocessing.connection import Connection

from queuectl import slot
from queuectl.inbox import Inbox
from queuectl.link import READY
from queuectl.model import Outcome
from queuectl.runner import ABANDON, Assignment, LocalRunner, Order, Orders


class KeeperRunner:
    """Has a keeper run the attempts; ``descriptor`` is the socket to it. ``note`` is the slot it writes.

    ``successor`` returns the descriptor of the keeper that the supervisor sent in the place of a
    dead one, once; None when none came.
    """

    _keeper: Connection[object, object]
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
            self._keeper.send(task)
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
                self._keeper.send((task.seq, task.number, order))
            if self._told.poll(0):
                outcome = self._keeper.recv()
                assert isinstance(outcome, Outcome)
                return outcome

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
        self._keeper = Connection(descriptor)
        # A look by the connection itself would make one of these each time.
        self._told = select.poll()
        self._told.register(descriptor, select.POLLIN)
        self._is_ready = False
        self._is_lost = False


def keep(descriptor: int, note: slot.Slot, signals: Inbox) -> None:
    """A keeper's life: run what comes over the socket until its other end closes."""
    connection: Connection[object, object] = Connection(descriptor)
    runner = LocalRunner(note)
    news = select.poll()
    news.register(signals, select.POLLIN)
    news.register(connection, select.POLLIN)
    # The other end is gone: there is nobody to tell, and the supervisor has heard of it.
    with contextlib.suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            task = connection.recv()
            if isinstance(task, Assignment):  # and no order that came after its attempt had ended
                connection.send(runner.run(task, _OrdersFrom(connection, signals, news, task)))


class _OrdersFrom:
    """Orders as a keeper hears them from its thread; the thread's death is one of them.

    ``news`` polls both the signals and the connection.
    """

    is_abandoned = False

    def __init__(
        self, connection: Connection[object, object], signals: Inbox, news: select.poll, task: Assignment
    ) -> None:
        self._task = task
        self._news = news
        self._connection = connection
        self._signals = signals
        self._alone = False

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> Order | None:
        assert not also, "a keeper waits for nothing else"
        ready = {descriptor for descriptor, _ in self._news.poll(None if timeout is None else 1000 * max(0.0, timeout))}
        if self._signals.fileno() in ready:
            self._signals.take()
        if self._alone or self._connection.fileno() not in ready:
            return None
        try:
            said = self._connection.recv()
        except (EOFError, OSError):
            self._alone = True
            self._news.unregister(self._connection)
            return ABANDON
        assert isinstance(said, tuple)
        seq, number, order = said
        assert isinstance(order, Order)
        # One that was sent in the moment in which the attempt before ended is not for this one.
        return order if (seq, number) == (self._task.seq, self._task.number) else None
