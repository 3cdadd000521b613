"""How workers are hosted, decided in one place: a process each, or threads of one process with a keeper each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from typing import Protocol

from queuectl import host
from queuectl.host import Terms
from queuectl.link import BEAT, DRAINED, FAREWELL, NEW_KEEPER, READY, SPOILT

_DYING = 3.0
"""Seconds that a process may take to die after it has let go of its descriptors."""


@dataclass(eq=False)
class Member:
    """A worker as its supervisor sees it. Times are monotonic seconds."""

    number: int
    pid: int = 0
    """The process that it lives in; 0 while it waits to be started (again)."""
    own_process: int = 0
    """The process that is its alone: itself, or its keeper; 0 once that has been reaped."""
    is_hosted: bool = False
    """Whether the process that it lives in, or lived in, has not been reaped yet."""
    line: socket.socket | None = None
    """None once it hung up."""
    hung_up_at: float = 0.0
    is_ready: bool = False
    last_word: bytes = b""
    started_at: float = 0.0
    heard_at: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    mends: int = 0
    mend_at: float = 0.0
    retiring: bool = False

    @property
    def name(self) -> str:
        """As it claims jobs."""
        return f"worker-{self.number}"

    @property
    def has_ended(self) -> bool:
        """Whether neither it nor its own process is there any more, though it was started."""
        return self.pid != 0 and self.line is None and self.own_process == 0

    @property
    def replaceable_at(self) -> float:
        """When one that has ended may be given on.

        A thread that hangs up died alone, or is the first sign that its process dies: none may be
        started in that.
        """
        return self.hung_up_at + _DYING if self.is_hosted and not self.last_word else 0.0

    def tell(self, message: bytes) -> None:
        """Send a message; a dead worker is noticed by its silence."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(message)

    def hear(self, now: float) -> None:
        """Take what the worker said."""
        assert self.line is not None
        try:
            said = self.line.recv(256)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self.line.close()
            self.line = None
            self.hung_up_at = now
            return
        self.heard_at = now
        self.is_ready = self.is_ready or READY in said or BEAT in said
        for word in (DRAINED, FAREWELL, SPOILT):
            if word in said:
                self.last_word = word


class Crew(Protocol):
    """Starts and ends the processes of workers. The supervisor alone forks, and has one thread."""

    def start(self, member: Member) -> None:
        """Start a worker."""

    def processes(self) -> set[int]:
        """The PIDs of all that this crew started and that were not reaped yet."""

    def reaped(self, pid: int, members: list[Member]) -> None:
        """Hear that a child has ended."""

    def maimed(self, members: list[Member]) -> list[Member]:
        """The living workers that lost a process which can be replaced under them."""

    def mend(self, member: Member) -> None:
        """Replace what a maimed worker lost. No orphans of it are left. Raises :class:`OSError`."""

    def kill(self, member: Member) -> None:
        """End the process that a worker lives in, at once."""

    def dismiss(self) -> None:
        """No worker will be started any more."""


class ProcessCrew:
    """A process for each worker."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._pids: set[int] = set()

    def start(self, member: Member) -> None:
        ours, theirs = _socket_pair()
        number = member.number
        member.pid = member.own_process = host.fork(
            lambda: host.run_worker(self.terms, number, theirs), member.name, {theirs.fileno()}
        )
        self._pids.add(member.pid)
        theirs.close()
        member.line, member.is_hosted = ours, True

    def processes(self) -> set[int]:
        return self._pids

    def reaped(self, pid: int, members: list[Member]) -> None:
        self._pids.discard(pid)
        _note_end(pid, members)

    def maimed(self, members: list[Member]) -> list[Member]:
        return []  # a worker that lost its process is dead

    def mend(self, member: Member) -> None:
        pass

    def kill(self, member: Member) -> None:
        _kill(member.own_process)

    def dismiss(self) -> None:
        pass


class ThreadCrew:
    """One process for all workers, a thread each, and a keeper process each."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._host = 0
        self._control: socket.socket | None = None
        self._keepers: dict[int, int] = {}
        """The number of the worker, by the PID of its keeper."""

    def start(self, member: Member) -> None:
        if self._control is None:
            self._start_host()
        assert self._control is not None
        ours, theirs = _socket_pair()
        keeper = self._start_keeper(member)
        with contextlib.suppress(OSError):  # the host's death is noticed by its silence
            socket.send_fds(self._control, [member.name.encode()], [theirs.fileno(), keeper.fileno()])
        theirs.close()
        keeper.close()
        member.pid, member.line, member.is_hosted = self._host, ours, True

    def _start_host(self) -> None:
        # Here and once, not in each process that is forked; workers that are processes start faster without.
        import queuectl.keeper  # noqa: F401

        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._host = host.fork(lambda: host.run_threads(self.terms, theirs), "workers", {theirs.fileno()})
        theirs.close()

    def _start_keeper(self, member: Member) -> socket.socket:
        ours, theirs = socket.socketpair()
        number, descriptor = member.number, theirs.fileno()
        member.own_process = host.fork(
            lambda: host.run_keeper(self.terms, number, descriptor), f"keeper of {member.name}", {descriptor}
        )
        self._keepers[member.own_process] = number
        theirs.close()
        return ours

    def processes(self) -> set[int]:
        return {self._host, *self._keepers} - {0}

    def reaped(self, pid: int, members: list[Member]) -> None:
        self._keepers.pop(pid, None)
        if pid == self._host:
            self._host = 0
            self.dismiss()
            for keeper in self._keepers:
                _kill(keeper)
        _note_end(pid, members)

    def maimed(self, members: list[Member]) -> list[Member]:
        return [
            member
            for member in members
            if member.line is not None
            and member.own_process == 0
            and member.pid == self._host != 0
            and not member.last_word
        ]

    def mend(self, member: Member) -> None:
        keeper = self._start_keeper(member)
        with contextlib.suppress(OSError):  # its death is noticed by its silence
            if member.line is not None:
                socket.send_fds(member.line, [NEW_KEEPER], [keeper.fileno()])
        keeper.close()

    def kill(self, member: Member) -> None:
        _kill(self._host)

    def dismiss(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


def _note_end(pid: int, members: list[Member]) -> None:
    """Note which members lost a process with this PID."""
    for member in members:
        if member.own_process == pid:
            member.own_process = 0
        if member.pid == pid:
            member.is_hosted = False


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def _kill(pid: int) -> None:
    if pid:
        # Our own child, not reaped yet: its PID is nobody else's.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
