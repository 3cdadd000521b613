"""Processes and all that descends from them: start, reap, signal, and end to the last one.

This process is a *subreaper* (prctl(2)): whatever a descendant leaves behind by ``setsid``, a
double fork or a death comes back as a child of ours. So ``waitpid`` raising ECHILD proves that
nothing is left. Where the system has no subreapers (macOS), what left the tree is found by its
session and process group only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from queuectl import forkexec, processes
from queuectl.processes import Process

_PR_SET_CHILD_SUBREAPER = 36
HAS_SUBREAPER = sys.platform == "linux"

_EMPTY_LOOKS = 3

Unit = tuple[int, int]
"""A process: its PID and its start time."""


def become_subreaper() -> None:
    """Adopt the orphans among our descendants. Raises :class:`OSError` where that is refused."""
    if HAS_SUBREAPER:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def spawn(arguments: list[bytes], cwd: bytes, environment: list[bytes], output: int, null: int) -> int:
    """Start a program in its own session; returns its PID, which is ours to reap.

    ``environment`` has entries ``NAME=value``. ``output`` becomes its stdout and stderr, ``null`` its stdin, and it
    inherits nothing else: all other descriptors of ours close themselves. The signals that Python ignores are at
    their defaults again. Raises :class:`OSError`.

    Not ``posix_spawn``: it has no directory, and glibc's leaves signals 32 and 33 ignored in what it starts.
    """
    return forkexec.start(arguments, cwd, environment, null, output)


@dataclass
class Usage:
    """What reaped processes used up. ``max_rss`` is in bytes, of the largest one."""

    cpu_seconds: float = 0.0
    max_rss: int = 0
    _own_peak: int = 0

    def clear(self) -> None:
        """Count from nothing again."""
        self.cpu_seconds, self.max_rss = 0.0, 0

    def add(self, usage: resource.struct_rusage) -> None:
        """Count one more reaped process."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.max_rss = max(self.max_rss, usage.ru_maxrss * _RSS_UNIT)

    @property
    def max_rss_bytes(self) -> int | None:
        """The peak, or None where it is no more than our own: a child starts out with our memory."""
        if self.max_rss > self._own_peak:  # which only grows: below what it was once needs no other look
            self._own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
        return self.max_rss if self.max_rss > self._own_peak else None


_RSS_UNIT = 1024 if sys.platform == "linux" else 1


@dataclass
class Family:
    """All descendants of this process, but for ``known`` children, which do not count.

    ``abandoned`` are processes that could not be ended; they, and what descends from them, do not
    count any more either.
    """

    known: Callable[[], Collection[int]] = tuple
    statuses: dict[int, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    abandoned: set[Unit] = field(default_factory=set)
    is_childless: bool = False
    """Whether the last :meth:`reap` proved that there is nothing left; what has no child gets none but by starting it."""
    _strangers_reaped: int = 0

    def reap(self) -> None:
        """Collect every child that has ended: its status, by PID, and what it used up."""
        self.is_childless = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.is_childless = True
                return
            if pid == 0:
                return
            self.statuses[pid] = status
            self._strangers_reaped += pid not in self.known()
            self.usage.add(usage)

    @property
    def is_gone(self) -> bool:
        """Whether, after a :meth:`reap`, nothing that counts is left."""
        if self.is_childless:
            return True
        return bool(self.abandoned or self.known()) and self._looks_empty()

    def _looks_empty(self) -> bool:
        """Whether repeated looks find no member. Where children remain, nothing proves it outright.

        A look takes a moment, and what re-forks faster is never the one that is looked for; but it
        leaves something to reap at each step.
        """
        for _ in range(_EMPTY_LOOKS):
            reaped = self._strangers_reaped
            if self.members():
                return False
            self.reap()
            if self._strangers_reaped != reaped:
                return False
        return True

    def members(self) -> list[Process]:
        """The living descendants that count, parents before their children."""
        return self._members_in(processes.table())

    def _members_in(self, table: Mapping[int, Process]) -> list[Process]:
        children = processes.children_by_parent(table)
        generation = [child for child in children.get(os.getpid(), []) if self._counts(child)]
        found: list[Process] = []
        while generation:
            found += generation
            generation = [
                child for parent in generation for child in children.get(parent.pid, []) if self._counts(child)
            ]
        return found

    def _counts(self, process: Process) -> bool:
        return (process.pid, process.started) not in self.abandoned and process.pid not in self.known()

    def ask_to_end(self) -> None:
        """Send SIGTERM to every member, and wake those that are stopped, so that they hear it."""
        for process in self.members():
            processes.send_signal(process.pid, process.started, signal.SIGTERM)
            processes.send_signal(process.pid, process.started, signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL to every member: one round, for they may fork meanwhile.

        A process that re-forks without pause is another one by the end of a look at all. It falls to
        us with each step, so our children are killed in the moment in which they are seen, and
        with their process groups, which the kernel does at one stroke. What we may not signal
        shows up in the end as abandoned.
        """
        seen: dict[int, Process] = {}
        for process in processes.newest_first():
            seen[process.pid] = process
            if process.parent == os.getpid() and not process.is_zombie and self._counts(process):
                _kill_with_group(process)
        for process in self._members_in(seen):
            if process.parent != os.getpid():
                processes.send_signal(process.pid, process.started, signal.SIGKILL)

    def abandon(self) -> tuple[str, ...]:
        """Give up on the members that are left; their names, for a person."""
        left = self.members()
        self.abandoned |= {(process.pid, process.started) for process in left}
        return tuple(processes.describe(process.pid) for process in left)


def _kill_with_group(child: Process) -> None:
    """Kill a child of ours, which nobody else reaps, so that its PID is no stranger's, and its group."""
    with contextlib.suppress(OSError):
        os.kill(child.pid, signal.SIGKILL)
    if child.group != os.getpgrp():
        with contextlib.suppress(OSError):
            os.killpg(child.group, signal.SIGKILL)
