"""One attempt of one job: start it, watch it, and end all that it started. No database here."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from queuectl import joblog, slot
from queuectl.clock import SYSTEM_CLOCK, Clock, Instant, human
from queuectl.model import (
    CRASHED,
    FAILED,
    NOT_STARTED,
    RELEASED,
    SIGNALED,
    STOPPED,
    SUCCEEDED,
    TIMED_OUT,
    Claim,
    Outcome,
)
from queuectl.processes import UNKILLABLE_WAIT
from queuectl.proctree import Family, spawn
from queuectl.settings import Settings

logger = logging.getLogger(__name__)

_LOG_CHECK = 0.2
_ROOM_CHECK = 0.5
_STILL_THERE = 0.02


class Assignment(NamedTuple):
    """What a runner needs to know about an attempt. Durations are seconds, 0 for no limit.

    ``began_at`` is in microseconds since the epoch.
    """

    job_id: str
    seq: int
    number: int
    began_at: int
    command: str
    cwd: str
    env: dict[str, str]
    timeout: float
    kill_grace: float
    log: str
    log_max_bytes: int


def assignment(claim: Claim, settings: Settings, log: str, database: str) -> Assignment:
    """The attempt that a claim stands for, under the settings in force now."""
    own = {
        "QUEUECTL_JOB_ID": claim.id,
        "QUEUECTL_ATTEMPT": str(claim.number),
        "QUEUECTL_MAX_RETRIES": str(claim.max_retries),
        "QUEUECTL_QUEUE": database,
    }
    return Assignment(
        job_id=claim.id,
        seq=claim.seq,
        number=claim.number,
        began_at=claim.started_at or 0,
        command=claim.command,
        cwd=claim.cwd,
        env={**claim.env, **own},
        timeout=settings.job_timeout if claim.timeout is None else claim.timeout,
        kill_grace=settings.kill_grace,
        log=log,
        log_max_bytes=settings.log_max_bytes,
    )


@dataclass(frozen=True)
class Order:
    """That an attempt is to end before its time, as ``outcome``; gently, with a grace, or at once."""

    outcome: str
    gently: bool


CANCEL = Order(STOPPED, gently=True)
HAND_BACK = Order(RELEASED, gently=True)
HAND_BACK_NOW = Order(RELEASED, gently=False)
ABANDON = Order(CRASHED, gently=False)
"""Nobody is there any more to hear of the outcome."""


class Orders(Protocol):
    """Where a runner hears of what happens outside of it."""

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> Order | None:
        """Return at a child's end, at an order, when one of ``also`` is readable, or after ``timeout`` seconds.

        Each order is returned once.
        """


class WorkerOrders(Orders, Protocol):
    """The orders of a worker, which has other things to see to while it waits."""

    @property
    def is_abandoned(self) -> bool:
        """Whether the supervisor died."""

    @property
    def is_called(self) -> bool:
        """Whether there is something for :meth:`wait` to hear of, or to see to."""

    def attend(self, descriptor: int | None = None) -> bool:
        """Sleep until there is news, and see to nothing of it; returns whether ``descriptor`` is readable."""


class Series(NamedTuple):
    """Attempts that may follow each other at once, each on the same conditions."""

    tasks: list[Assignment]
    claimed: Instant
    until: float
    """When the last of them may begin, in seconds of the monotonic clock."""
    mark: int
    """What :func:`queuectl.recall.mark` returned when they were claimed: once it differs, none may begin any more."""


class Runner(Protocol):
    """Runs one attempt at a time."""

    @property
    def is_ready(self) -> bool:
        """Whether it can run an attempt now."""

    @property
    def signs(self) -> tuple[int, ...]:
        """The descriptors to watch when it is not ready."""

    @property
    def next_began(self) -> float | None:
        """When the next attempt of a series began, in seconds of the monotonic clock; None where it has not."""

    def run(self, task: Assignment, orders: WorkerOrders, series: Callable[[], Series]) -> Outcome:
        """Run an attempt to its end; when this returns, nothing of it is left.

        Attempts that follow it in its ``series`` may have begun by then. They are the next to be run, in their order.
        """


class LocalRunner:
    """Runs attempts as children of this process, which must be a subreaper with no other children."""

    def __init__(self, note: slot.Slot, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._note = note
        self._clock = clock
        self._family = Family()
        self._environment = _Environment(os.environb)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    is_ready = True
    signs: tuple[int, ...] = ()
    next_began = None

    def run(self, task: Assignment, orders: Orders, series: Callable[[], Series] | None = None) -> Outcome:
        try:
            log = self._open_log(task, orders)
        except OSError as error:
            return self._unopened(task, NOT_STARTED, f"cannot open its log {task.log}: {error.strerror}")
        if isinstance(log, Order):
            return self._unopened(task, log.outcome, _ORDERED[log.outcome])
        try:
            self._note.opened(task.seq, task.number, log.start, task.began_at)
            return self._noted(self._run(task, orders, log))
        finally:
            log.close()

    def _unopened(self, task: Assignment, kind: str, reason: str) -> Outcome:
        """The outcome of an attempt that came to no log."""
        self._note.opened(task.seq, task.number, 0, task.began_at)
        return self._noted(Outcome(kind, reason=reason))

    def _noted(self, outcome: Outcome) -> Outcome:
        self._note.ended(outcome, self._clock.now())
        return outcome

    def _open_log(self, task: Assignment, orders: Orders) -> joblog.JobLog | Order:
        """The open log; on a full disk wait for room, for the job is not to blame, until an order ends that."""
        is_told = False
        while True:
            try:
                return joblog.open_for_append(task.log, fresh=task.number == 1)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if not is_told:
                    logger.error("job %s waits: cannot open its log: %s", task.job_id, error.strerror)
                is_told = True
            order = orders.wait(_ROOM_CHECK)
            if order is not None:
                return order

    def _run(self, task: Assignment, orders: Orders, log: joblog.JobLog) -> Outcome:
        started = self._clock.monotonic()
        self._family.statuses.clear()
        self._family.usage.clear()
        try:
            pid = self._spawn(task, log)
        except OSError as error:
            return Outcome(NOT_STARTED, reason=_why_not_started(task, error), log_offset=log.start, log_bytes=0)
        self._note.started(pid)
        attempt = _Attempt(
            task, self._family, orders, log, self._clock, pid, started + task.timeout if task.timeout else None
        )
        return attempt.watch()

    def _spawn(self, task: Assignment, log: joblog.JobLog) -> int:
        """What users gave is UTF-8, whatever the locale that the workers were started in."""
        arguments = [b"/bin/sh", b"-c", task.command.encode()]
        return spawn(arguments, task.cwd.encode(), self._environment.with_own(task.env), log.descriptor, self._null)


class _Environment:
    """What jobs inherit, as entries ``NAME=value``: there are many, and they are the same for each job."""

    def __init__(self, inherited: Mapping[bytes, bytes]) -> None:
        self._inherited = {name: name + b"=" + value for name, value in inherited.items()}
        self._entries = list(self._inherited.values())

    def with_own(self, variables: Mapping[str, str]) -> list[bytes]:
        """All entries for a job; its own variables win."""
        own = {name.encode(): f"{name}={value}".encode() for name, value in variables.items()}
        if self._inherited.keys().isdisjoint(own):
            return [*self._entries, *own.values()]
        return list({**self._inherited, **own}.values())


class _Attempt:
    """A started attempt, until nothing of it is left."""

    def __init__(
        self,
        task: Assignment,
        family: Family,
        orders: Orders,
        log: joblog.JobLog,
        clock: Clock,
        pid: int,
        deadline: float | None,
    ) -> None:
        self.task, self.family, self.orders, self.log, self.clock = task, family, orders, log, clock
        self.pid, self.deadline = pid, deadline
        self.order: Order | None = None
        self.ended_by: Order | None = None
        self.timed_out = False

    def watch(self) -> Outcome:
        self._wait_for_first_process()
        # What comes from now on may hasten the end; it does not change what it was.
        self.ended_by = self.order
        if self.timed_out or (self.order is not None and self.order.gently):
            self._end_gently()
        leftover = self._end_at_once()
        return self._outcome(leftover, self.log.keep_below(self.task.log_max_bytes))

    @property
    def _first_ended(self) -> bool:
        return self.pid in self.family.statuses

    def _wait_for_first_process(self) -> None:
        """Until it ends by itself, its time is up, or somebody wants it ended."""
        check = _LOG_CHECK if self.task.log_max_bytes else None
        left = None if self.deadline is None else self.deadline - self.clock.monotonic()
        while True:
            # A child that has ended already wakes us here.
            self._listen(check if left is None else left if check is None else min(left, check))
            self.family.reap()
            if self._first_ended:
                self.order = None  # it came too late to have ended anything
                return
            if self.order is not None:
                return
            if self.deadline is not None:
                left = self.deadline - self.clock.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
            self.log.keep_below(self.task.log_max_bytes)

    def _end_gently(self) -> None:
        """Ask all to end, and give them ``kill_grace`` seconds, unless somebody wants it at once."""
        deadline = self.clock.monotonic() + self.task.kill_grace
        self.family.ask_to_end()
        while not self.family.is_gone and not (self.order is not None and not self.order.gently):
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return
            self._listen(min(left, 1.0))
            self.log.keep_below(self.task.log_max_bytes)
            self.family.reap()

    def _end_at_once(self) -> tuple[str, ...]:
        """Kill what is left, round after round, for it may fork meanwhile; names of what cannot be killed."""
        if self.family.is_childless:
            return ()
        deadline = self.clock.monotonic() + UNKILLABLE_WAIT
        self.family.reap()
        while not self.family.is_gone:
            if self.clock.monotonic() > deadline:
                return self.family.abandon()
            self.family.kill()
            self.family.reap()
            if not self.family.is_gone:
                self._listen(_STILL_THERE)
                self.family.reap()
        return ()

    def _listen(self, timeout: float | None) -> None:
        order = self.orders.wait(timeout)
        if order is not None and (self.order is None or not order.gently):
            self.order = order if self.order is None else Order(self.order.outcome, gently=False)

    def _outcome(self, leftover: tuple[str, ...], log_bytes: int) -> Outcome:
        status = self.family.statuses.get(self.pid)
        code = None if status is None or not os.WIFEXITED(status) else os.WEXITSTATUS(status)
        number = None if status is None or not os.WIFSIGNALED(status) else os.WTERMSIG(status)
        kind, reason = self._kind(code, number)
        return Outcome(
            kind,
            exit_code=code,
            signal=number,
            reason=reason,
            cpu_seconds=round(self.family.usage.cpu_seconds, 6),
            max_rss_bytes=self.family.usage.max_rss_bytes,
            log_offset=self.log.start,
            log_bytes=log_bytes,
            leftover=leftover,
        )

    def _kind(self, code: int | None, number: int | None) -> tuple[str, str | None]:
        if self.ended_by is not None:
            return self.ended_by.outcome, _ORDERED[self.ended_by.outcome]
        if self.timed_out:
            return TIMED_OUT, f"still ran after its time of {human(self.task.timeout)}"
        if code == 0:
            return SUCCEEDED, None
        if code is not None:
            return FAILED, f"exit code {code}"
        return SIGNALED, f"ended by {_signal_name(number or 0)}"


_ORDERED = {
    STOPPED: "cancelled while it ran",
    RELEASED: "handed back: the workers were stopped",
    CRASHED: "its supervisor died",
}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _why_not_started(task: Assignment, error: OSError) -> str:
    if not os.path.isdir(task.cwd):
        return f"no such directory: {task.cwd}" if not os.path.lexists(task.cwd) else f"not a directory: {task.cwd}"
    if not os.access(task.cwd, os.X_OK):
        return f"directory cannot be entered: {task.cwd}"
    return f"could not be started: {error.strerror}"
