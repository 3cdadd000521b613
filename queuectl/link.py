"""What a supervisor and its workers say to each other: single bytes over a socket pair each.

The end of file says that the other side died. A keeper's replacement comes with a descriptor.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Collection
from dataclasses import dataclass

from queuectl.clock import SYSTEM_CLOCK, Clock
from queuectl.inbox import Inbox
from queuectl.runner import ABANDON, HAND_BACK, HAND_BACK_NOW, Order

STOP = b"s"
"""No new claims; finish what runs."""
END_GENTLY = b"t"
"""End what runs, with its grace, and hand it back."""
END_NOW = b"k"
"""End what runs at once, and hand it back."""
LOOK_FOR_CANCEL = b"c"
NEW_KEEPER = b"n"
"""Comes with a descriptor: what the last keeper left has been ended, here is the next one."""
READY = b"r"
"""A worker's first word."""
BEAT = b"b"
DRAINED = b"d"
"""A worker's last word: nothing is left to do."""
FAREWELL = b"q"
"""A worker's last word: it stopped as it was told. One that ends without a last word died."""
SPOILT = b"x"
"""A worker's last word: the database is damaged, and a drain does not wait until it is mended."""

HEARTBEAT = 10.0
"""Seconds between two signs of life, and the longest sleep: the wall clock may jump."""
LEASE = 30.0
"""Seconds without a sign of life after which a worker counts as hung."""


@dataclass(frozen=True)
class Pace:
    """How often a worker gives a sign of life, and after how long a silence it counts as hung; in seconds."""

    heartbeat: float = HEARTBEAT
    lease: float = LEASE


USUAL_PACE = Pace()


class WorkerLink:
    """A worker's end. ``signals`` wakes it at a child's death, where it has children."""

    def __init__(
        self,
        line: socket.socket,
        signals: Inbox | None = None,
        clock: Clock = SYSTEM_CLOCK,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._line = line
        self._signals = signals
        self._clock = clock
        self._heartbeat = heartbeat
        self._beat_at = clock.monotonic() + heartbeat
        self._is_orphan = False
        self.stopping = False
        self.order: Order | None = None
        self.may_be_cancelled = False
        self.new_keepers: list[int] = []
        line.setblocking(False)
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self._signals_at = -1
        if signals is not None:
            self._signals_at = signals.fileno()
            self._poll.register(self._signals_at, select.POLLIN)

    def tell(self, message: bytes) -> None:
        """Send a message to the supervisor."""
        # Its death is seen when we listen; a full line has signs of life enough in it.
        with contextlib.suppress(OSError):
            self._line.send(message)

    def listen(self, timeout: float | None, also: Collection[int] = ()) -> set[int]:
        """Wait for a message, a signal, or one of the descriptors ``also``; at most to the next heartbeat.

        Returns those of ``also`` that are ready.
        """
        left = self._beat_at - self._clock.monotonic()
        for descriptor in also:
            self._poll.register(descriptor, select.POLLIN)
        try:
            found = self._poll.poll(1000 * max(0.0, left if timeout is None else min(left, timeout)))
        finally:
            for descriptor in also:
                self._poll.unregister(descriptor)
        ready = {descriptor for descriptor, _ in found}
        if self._signals is not None and self._signals_at in ready:
            self._signals.take()
        if ready and not self._is_orphan and self._line.fileno() in ready:
            self._hear()
        self._give_sign_of_life()
        return ready.intersection(also)

    def newest_keeper(self) -> int | None:
        """The descriptor of the newest keeper that the supervisor sent, once; None when it sent none."""
        keepers, self.new_keepers = self.new_keepers, []
        for stale in keepers[:-1]:
            os.close(stale)
        return keepers[-1] if keepers else None

    def close(self, last_word: bytes) -> None:
        """Say the last word and hang up."""
        self.tell(last_word)
        self._line.close()

    def _give_sign_of_life(self) -> None:
        if self._clock.monotonic() >= self._beat_at:
            self._beat_at = self._clock.monotonic() + self._heartbeat
            self.may_be_cancelled = True
            self.tell(BEAT)

    def _hear(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._line, 256, 16)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self.new_keepers += descriptors
        if not data:
            self._is_orphan, self.stopping, self.order = True, True, ABANDON
            self._poll.unregister(self._line)
        if STOP in data or END_GENTLY in data or END_NOW in data:
            self.stopping = True
        if LOOK_FOR_CANCEL in data:
            self.may_be_cancelled = True
        if END_NOW in data:
            self.order = self.order or HAND_BACK_NOW
            self.order = HAND_BACK_NOW if self.order.gently else self.order
        elif END_GENTLY in data:
            self.order = self.order or HAND_BACK
