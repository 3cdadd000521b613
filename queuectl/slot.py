"""What a worker runs, and ran last, noted in a small file, so that a rescuer finds it after a ``kill -9``.

Where an attempt's log begins is noted before it is started. How it ended is noted once nothing of it is
left, and stays noted: the outcome may not be stored yet, and cannot be while the disk is full or the
database locked. A write of a few bytes into an open file, which has its place on the disk already, takes
the place of one more transaction a job.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from queuectl import files, pidfile, processes
from queuectl.model import CRASHED, OUTCOMES, Outcome
from queuectl.processes import Process

PLACES = 4
"""Attempts that are noted, by turns: the one that runs, and those before it, whose outcomes may not be stored yet. So no
worker claims more jobs at once."""
_SIZE = 4096
"""What each has of the file, a page: a write within it reaches the file whole or not at all, whenever we are killed. Its
first line counts: what follows is the rest of a longer one."""
_SHORT, _FEW = 256, 8
"""Letters of a reason and of a name, and names: what is noted at most of an outcome that is too long."""


class Running(NamedTuple):
    """An attempt that a slot names: its first process, which leads its session, and where its log begins.

    ``pid`` is 0 before it was started, and once nothing of it is left. That process started between
    ``not_before`` and ``started``, in clock ticks since boot; nobody else had its PID then, or has had
    since, for as long as it lives.
    """

    pid: int
    not_before: int
    started: int
    seq: int
    number: int
    log_offset: int
    boot: str
    namespace: str
    outcome: dict[str, Any] | None = None
    """How it ended, once nothing of it is left: an :class:`~queuectl.model.Outcome` as JSON has it."""
    ended_at: int = 0
    """When it did, in microseconds since the epoch."""
    began_at: int = 0
    """When it began: the database may not know yet."""
    told_by: int | None = None

    def told(self) -> dict[str, Any]:
        """What a slot has of it."""
        return {name: value for name, value in self._asdict().items() if name != "told_by"}

    @property
    def is_here(self) -> bool:
        """Whether its PID means the same to us: this boot, this PID namespace."""
        return self._identity.is_here

    def may_name(self, pid: int) -> bool:
        """As :meth:`queuectl.pidfile.Identity.may_name`."""
        return self._identity.may_name(pid)

    def is_first(self, process: Process) -> bool:
        """Whether a process is the job's first one."""
        return process.pid == self.pid and self.not_before <= process.started <= self.started

    def is_of(self, process: Process) -> bool:
        """Whether a process is the job's first one, or one of the session that this led.

        As long as a session has members, its number is no new process's PID. So where somebody else
        has that PID, this is the session of a stranger.
        """
        if process.session != self.pid or process.started < self.not_before:
            return self.is_first(process)
        leader = processes.look(self.pid)
        return leader is None or self.is_first(leader)

    @property
    def _identity(self) -> pidfile.Identity:
        return pidfile.Identity(self.pid, self.started, self.boot, self.namespace, self.told_by)


class Slot:
    """The note of one worker."""

    def __init__(self, path: str) -> None:
        former = read(path)
        self._descriptor = files.open_regular(path, os.O_WRONLY | os.O_CREAT)
        self._here = f'"boot": {json.dumps(pidfile.boot_id())}, "namespace": {json.dumps(pidfile.pid_namespace())}'
        # The next attempt makes room by dropping the oldest.
        newest = max(former, key=lambda each: (each.not_before, each.began_at), default=None)
        self._place = 0 if newest is None else former.index(newest)
        for place in range(PLACES):
            # What the last one noted stays: a thread may be about to read what its dead keeper ran. Nothing of that lives.
            noted = json.dumps(former[place]._replace(pid=0).told()) if place < len(former) else ""
            # Takes the space on the disk now, not when a job has been started already.
            os.pwrite(self._descriptor, f"{noted}\n".encode().ljust(_SIZE), place * _SIZE)

    def opened(self, seq: int, number: int, log_offset: int, began_at: int) -> None:
        """Note where the log of an attempt begins: by the time it can be noted what was started, it may be over."""
        self._place = (self._place + 1) % PLACES
        self._not_before = processes.ticks()
        self._attempt = (
            f'"seq": {seq}, "number": {number}, "log_offset": {log_offset}, "began_at": {began_at}, {self._here}'
        )
        self._note()

    def started(self, pid: int) -> None:
        """Note which process leads the attempt: it was started between the last call and this one."""
        # To look it up would take longer, since it has just begun to run.
        self._note(pid, processes.ticks())

    def ended(self, outcome: Outcome, ended_at: int) -> None:
        """Note that nothing of the attempt is left, and how it ended."""
        text, letters = _as_json(outcome), _SHORT
        while len(text) > _SIZE // 2:  # one letter may take six
            names = tuple(name[:letters] for name in outcome.leftover[:_FEW])
            text = _as_json(outcome._replace(reason=(outcome.reason or "")[:letters] or None, leftover=names))
            letters //= 2
        try:  # noqa: SIM105  # with each job: a context manager takes as long again
            self._note(outcome=text, ended_at=ended_at)
        except OSError:
            pass  # a file system that copies what it writes may have no room for it: then the worker alone knows

    def _note(self, pid: int = 0, started: int = 0, outcome: str = "null", ended_at: int = 0) -> None:
        """Write a :class:`Running` as JSON; ``outcome`` is JSON already."""
        # Three times a job: a general encoder would take longer than the write.
        text = (
            f'{{"pid": {pid}, "not_before": {self._not_before}, "started": {started}, {self._attempt}, '
            f'"outcome": {outcome}, "ended_at": {ended_at}}}\n'
        )
        os.pwrite(self._descriptor, text.encode(), self._place * _SIZE)


def _as_json(outcome: Outcome) -> str:
    """What ``json.dumps(outcome._asdict())`` returns, which takes five times as long."""
    kind, exit_code, number, reason, cpu_seconds, max_rss_bytes, log_offset, log_bytes, leftover = outcome
    return (
        f'{{"kind": "{kind}", "exit_code": {_number(exit_code)}, "signal": {_number(number)}, '
        f'"reason": {"null" if reason is None else json.dumps(reason)}, '
        f'"cpu_seconds": {_number(cpu_seconds)}, "max_rss_bytes": {_number(max_rss_bytes)}, '
        f'"log_offset": {_number(log_offset)}, "log_bytes": {_number(log_bytes)}, '
        f'"leftover": {json.dumps(leftover) if leftover else "[]"}}}'
    )


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)


def read(path: str) -> list[Running]:
    """The attempts that a slot names; none when it is unreadable."""
    content, owner = files.read_signed(path) or ("", 0)
    pages = (content[place * _SIZE : (place + 1) * _SIZE] for place in range(PLACES))
    return [running for page in pages if (running := _running(page, owner)) is not None]


def _running(page: str, owner: int) -> Running | None:
    try:
        return Running(**{**json.loads(page.partition("\n")[0]), "told_by": owner})
    except (ValueError, TypeError):
        return None


class Ended(NamedTuple):
    """How an attempt ended that its worker did not record.

    ``at`` and ``began_at`` are in microseconds. The former is None where it is not known, the latter where the slot does
    not name the attempt.
    """

    outcome: Outcome
    at: int | None = None
    began_at: int | None = None


def ended(path: str, seq: int, number: int, log: str, reason: str) -> Ended:
    """How an attempt ended that lost its worker: as was noted, or else ``crashed``, with the part of the log it wrote.

    ``path`` is the slot that may name it. When it does not, the attempt was not started. Nothing of it
    may live any more.
    """
    running = _find(path, seq, number)
    if running is None:
        size = _size(log)
        return Ended(Outcome(CRASHED, reason=reason, log_offset=size, log_bytes=0))
    outcome = _outcome(running) if _may_tell(path, running) else None
    if outcome is not None:
        return Ended(outcome, running.ended_at, running.began_at)
    offset = running.log_offset
    crashed = Outcome(CRASHED, reason=reason, log_offset=offset, log_bytes=max(0, _size(log) - offset))
    return Ended(crashed, None, running.began_at)


def names(path: str, seq: int, number: int) -> bool:
    """Whether a slot names an attempt: then its log has been opened, and was emptied if it is the first one."""
    return _find(path, seq, number) is not None


def _find(path: str, seq: int, number: int) -> Running | None:
    return next((each for each in read(path) if (each.seq, each.number) == (seq, number)), None)


def _outcome(running: Running) -> Outcome | None:
    try:
        outcome = Outcome(**{**(running.outcome or {}), "leftover": tuple((running.outcome or {})["leftover"])})
    except (TypeError, KeyError, ValueError):
        return None
    return outcome if outcome.kind in OUTCOMES and isinstance(running.ended_at, int) else None


def _may_tell(path: str, running: Running) -> bool:
    """Whether who wrote it may tell what came of our jobs: we, root, and whose directory it is may."""
    return running.told_by in (0, os.geteuid(), os.stat(os.path.dirname(path)).st_uid)


def _size(log: str) -> int:
    try:
        return os.lstat(log).st_size
    except OSError:
        return 0
