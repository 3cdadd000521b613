"""Words to the service manager that started us, by systemd's protocol: datagrams to ``NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket

VARIABLE = "NOTIFY_SOCKET"

_PATIENCE = 5.0
"""Seconds that a manager may be too busy to listen."""
_MICROSECONDS = 1_000_000


class Notifier:
    """Tells the manager at ``address`` how far we are; nobody, where there is none."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    @classmethod
    def take(cls) -> Notifier:
        """The manager that the environment names. No process that we start inherits it: jobs must not speak for us."""
        return cls(os.environ.pop(VARIABLE, None))

    def ready(self, status: str) -> None:
        """What was to be started is there."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self, seconds: float) -> None:
        """We end, and need at most so many seconds, whatever the manager was told before it started us."""
        self._tell("STOPPING=1", "STATUS=stopping", f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is no file's, but a name that the kernel keeps.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that went away is no reason to stop working.
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(_PATIENCE)
            line.sendto("\n".join(lines).encode(), os.fsencode(address))
