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
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from queuectl import recall, slot
from queuectl.clock import Instant
from queuectl.home import Home
from queuectl.inbox import Inbox
from queuectl.model import Outcome
from queuectl.runner import ABANDON, Assignment, LocalRunner, Order, Series, WorkerOrders

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
RUN = "run"
"""To a keeper, with a :class:`~queuectl.runner.Series`: run these. It reports once none of them runs any more. A report has
what ended since the last one, as pairs of when it began and its outcome, and since when another runs, or None."""
HOLD = "hold"
"""To a keeper: begin none of the series any more. Where one of it runs, this is answered by a report."""
ORDER = "order"
"""To a keeper, with the two numbers of an attempt: an order for this one."""


class KeeperRunner:
    """Has a keeper run the attempts; ``descriptor`` is the socket to it. ``note`` is the slot it writes.

    ``successor`` returns the descriptor of the keeper that the supervisor sent in the place of a
    dead one, once; None when none came.
    """

    _keeper: Line
    _told: select.poll
    _is_ready: bool
    _is_lost: bool
    _series: Series
    """What the keeper was given last, and has not told the end of."""

    def __init__(self, descriptor: int, note: str, successor: Callable[[], int | None]) -> None:
        self._note = note
        self._successor = successor
        self._ended: deque[tuple[float, Outcome]] = deque()
        self._running_since: float | None = None
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

    @property
    def next_began(self) -> float | None:
        """As :attr:`queuectl.runner.Runner.next_began`."""
        return self._ended[0][0] if self._ended else self._running_since

    def run(self, task: Assignment, orders: WorkerOrders, series: Callable[[], Series]) -> Outcome:
        if not self._ended:
            try:
                self._await(task, orders, series)
            except (EOFError, OSError):
                self._outlive_keeper(orders)
        _, outcome = self._ended.popleft()
        return outcome

    def close(self) -> None:
        """Let the keeper go."""
        self._keeper.close()

    def _await(self, task: Assignment, orders: WorkerOrders, series: Callable[[], Series]) -> None:
        """Wait for the end of an attempt, which has begun or is to begin now, and perhaps of those that follow it."""
        if self._running_since is None:
            self._series = series()
            if orders.is_called:
                del self._series.tasks[1:]
            tasks, claimed, *terms = self._series
            self._keeper.send((RUN, list(map(tuple, tasks)), tuple(claimed), *terms))
            if len(self._series.tasks) > 1:
                self._await_any(orders)
        if not self._ended:
            self._await_last(task, orders)

    def _await_any(self, orders: WorkerOrders) -> None:
        """Wait for a report. Until there is one, nobody here knows which attempt runs, so none can be ended."""
        is_held, is_told = False, False
        while not is_told:
            if orders.is_called and not is_held:
                self._keeper.send((HOLD,))
                is_held = True
            is_told = orders.attend(self._keeper.fileno())
        self._take_report()

    def _await_last(self, task: Assignment, orders: WorkerOrders) -> None:
        """Wait for the end of the attempt that runs; none follows it without being asked for."""
        while True:
            order = orders.wait(None, (self._keeper.fileno(),))
            if order is not None:
                self._keeper.send((ORDER, task.seq, task.number, order.outcome, order.gently))
            if self._told.poll(0):
                self._take_report()
                return

    def _take_report(self) -> None:
        ended, self._running_since = self._keeper.recv()
        self._ended.extend((began, Outcome(*outcome)) for began, outcome in ended)
        # What has not begun by now does not begin by itself.
        del self._series.tasks[: len(ended)], self._series.tasks[self._running_since is not None :]

    def _outlive_keeper(self, orders: WorkerOrders) -> None:
        """The keeper died: what it ran last has ended once the supervisor sends another. The slot tells what it had begun."""
        self._is_ready, self._is_lost = False, True
        first, *others = self._series.tasks
        begun = [first, *takewhile(lambda task: slot.names(self._note, task.seq, task.number), others)]
        self._series.tasks[:] = begun[-1:]
        self._ended.extend(map(self._found, begun[:-1]))
        if self._ended:
            self._running_since, _ = self._found(begun[-1])
            return
        while (descriptor := self._successor()) is None and not orders.is_abandoned:
            orders.wait(None)
        if descriptor is not None:
            self._keeper.close()
            self._welcome(descriptor)
        self._running_since = None
        self._ended.append(self._found(first))

    def _found(self, task: Assignment) -> tuple[float, Outcome]:
        """When an attempt of a dead keeper began, and how it ended."""
        ended = slot.ended(self._note, task.seq, task.number, task.log, "its keeper process died")
        return self._series.claimed.monotonic(ended.began_at or task.began_at), ended.outcome

    def _welcome(self, descriptor: int) -> None:
        self._keeper = Line(descriptor)
        # A look by the connection itself would make one of these each time.
        self._told = select.poll()
        self._told.register(descriptor, select.POLLIN)
        self._is_ready = False
        self._is_lost = False


def keep(descriptor: int, note: slot.Slot, signals: Inbox, home: Home) -> None:
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
            kind, *said = line.recv()
            if kind == RUN:  # anything else came after what it was for had ended
                tasks, claimed, *terms = said
                series = Series([Assignment(*task) for task in tasks], Instant(*claimed), *terms)
                _KeptSeries(series, line, signals, news).run(runner, home)


class _KeptSeries:
    """A series as its keeper runs it, and the orders that its thread sends meanwhile; the thread's death is one of them.

    ``news`` polls both the signals and the line.
    """

    def __init__(self, series: Series, line: Line, signals: Inbox, news: select.poll) -> None:
        self._series = series
        self._line = line
        self._signals = signals
        self._news = news
        self._task = series.tasks[0]
        self._running_since: float | None = None
        self._ended: list[tuple[float, tuple[Any, ...]]] = []
        self._is_held = False
        self._alone = False

    def run(self, runner: LocalRunner, home: Home) -> None:
        """Run one after the other, as long as nothing speaks against the next; then report. Raises :class:`OSError`."""
        first, *others = self._series.tasks
        self._run(runner, first, self._series.claimed.at)
        for task in others:
            began = time.monotonic()
            if not self._may_begin_another(home, began):
                break
            self._run(runner, task._replace(began_at=self._series.claimed.wall_clock(began)), began)
        self._line.send((self._ended, None))

    def _may_begin_another(self, home: Home, now: float) -> bool:
        return (
            self.wait(0) is None
            and not self._is_held
            and now < self._series.until
            and recall.mark(home) == self._series.mark
        )

    def _run(self, runner: LocalRunner, task: Assignment, began: float) -> None:
        self._task, self._running_since = task, began
        outcome = runner.run(task, self)
        self._running_since = None
        self._ended.append((began, tuple(outcome)))

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> Order | None:
        """As :meth:`queuectl.runner.Orders.wait`."""
        assert not also, "a keeper waits for nothing else"
        ready = {descriptor for descriptor, _ in self._news.poll(None if timeout is None else 1000 * max(0.0, timeout))}
        if self._signals.fileno() in ready:
            self._signals.take()
        if self._alone or self._line.fileno() not in ready:
            return None
        try:
            return self._hear()
        except (EOFError, OSError):
            self._alone = self._is_held = True
            self._news.unregister(self._line.fileno())
            return ABANDON

    def _hear(self) -> Order | None:
        kind, *said = self._line.recv()
        if kind == HOLD:
            self._is_held = True
            if self._running_since is not None:
                self._line.send((self._ended, self._running_since))
                self._ended = []
            return None
        seq, number, outcome, gently = said
        # One that was sent in the moment in which the attempt before ended is not for this one.
        return Order(outcome, gently) if (seq, number) == (self._task.seq, self._task.number) else None
