"""Signals as something to poll: handlers only note them, the loop acts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

HEEDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
)
"""What a supervisor heeds of what others send it."""


class Inbox:
    """Collects the signals of this process, in the order they came.

    ``fileno()`` is readable when there is something in it. Only the main thread can open one.
    Tests put signals in with :meth:`put`.
    """

    def __init__(self, signals: Iterable[int] = ()) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        for number in signals:
            signal.signal(number, _noted_by_the_wakeup_descriptor)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._reader

    def put(self, number: int) -> None:
        """Add a signal as if it had come."""
        # A full pipe holds more signals than anybody will look at one by one.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, bytes([number]))

    def take(self) -> list[int]:
        """All signals since the last time."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []


def _noted_by_the_wakeup_descriptor(number: int, frame: object) -> None:
    """Python writes the number into the wake-up descriptor; there is nothing left to do."""
