"""What a worker runs, noted in a small file, so that a rescuer finds it after a ``kill -9``.

A write of a few bytes into an open file takes the place of one more transaction a job.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from queuectl import files, pidfile, processes
from queuectl.model import CRASHED, Outcome

_SIZE = 512


@dataclass(frozen=True)
class Running:
    """The attempt that a slot names: its first process, which leads its session, and where its log begins."""

    pid: int
    started: int
    seq: int
    number: int
    log_offset: int
    boot: str
    namespace: str
    told_by: int | None = None

    @property
    def identity(self) -> pidfile.Identity:
        """The job's first process."""
        return pidfile.Identity(self.pid, self.started, self.boot, self.namespace, self.told_by)


class Slot:
    """The note of one worker."""

    def __init__(self, path: str) -> None:
        self._descriptor = files.open_regular(path, os.O_WRONLY | os.O_CREAT)
        self._boot, self._namespace = pidfile.boot_id(), pidfile.pid_namespace()
        # Takes the space on the disk now, not when a job has been started already.
        self.idle()

    def running(self, pid: int, seq: int, number: int, log_offset: int) -> None:
        """Note what was just started."""
        started = processes.start_time(pid) or 0
        running = Running(pid, started, seq, number, log_offset, self._boot, self._namespace).__dict__
        self._write({name: value for name, value in running.items() if name != "told_by"})

    def idle(self) -> None:
        """Note that nothing of it is left."""
        self._write({})

    def _write(self, content: dict[str, Any]) -> None:
        os.pwrite(self._descriptor, json.dumps(content).encode().ljust(_SIZE), 0)


def read(path: str) -> Running | None:
    """What a slot names; None when nothing runs, or it is unreadable."""
    content, owner = files.read_signed(path) or ("{}", 0)
    try:
        return Running(**json.loads(content), told_by=owner)
    except (ValueError, TypeError):
        return None


def crashed(path: str, seq: int, number: int, log: str, reason: str) -> Outcome:
    """The outcome of an attempt that lost its worker, with the part of the log that it wrote.

    ``path`` is the slot that may name it. When it does not, the attempt was not started, or its
    worker died in the instant after: then the end of the log is all that can be said.
    """
    running = read(path)
    try:
        size = os.lstat(log).st_size
    except OSError:
        size = 0
    offset = running.log_offset if running is not None and (running.seq, running.number) == (seq, number) else size
    return Outcome(CRASHED, reason=reason, log_offset=offset, log_bytes=max(0, size - offset))
