"""What a worker runs, noted in a small file, so that a rescuer finds it after a ``kill -9``.

Where an attempt's log begins is noted before it is started, and stays noted after its end, when its
outcome may not be stored yet. A write of a few bytes into an open file takes the place of one more
transaction a job.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace

from queuectl import files, pidfile, processes
from queuectl.model import CRASHED, Outcome

_SIZE = 512


@dataclass(frozen=True)
class Running:
    """The attempt that a slot names: its first process, which leads its session, and where its log begins.

    ``pid`` is 0 before it was started, and once nothing of it is left.
    """

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
        # What the last one noted stays: a thread may be about to read what its dead keeper ran.
        former = read(path) or Running(0, 0, 0, 0, 0, "", "")
        self._descriptor = files.open_regular(path, os.O_WRONLY | os.O_CREAT)
        self._noted = replace(former, boot=pidfile.boot_id(), namespace=pidfile.pid_namespace(), told_by=None)
        # Takes the space on the disk now, not when a job has been started already.
        self.ended()

    def opened(self, seq: int, number: int, log_offset: int) -> None:
        """Note where the log of an attempt begins: by the time it can be noted what was started, it may be over."""
        self._note(replace(self._noted, pid=0, started=0, seq=seq, number=number, log_offset=log_offset))

    def started(self, pid: int) -> None:
        """Note which process leads the attempt."""
        self._note(replace(self._noted, pid=pid, started=processes.start_time(pid) or 0))

    def ended(self) -> None:
        """Note that nothing of the attempt is left."""
        self._note(replace(self._noted, pid=0, started=0))

    def _note(self, running: Running) -> None:
        self._noted = running
        os.pwrite(self._descriptor, json.dumps(vars(running)).encode().ljust(_SIZE), 0)


def read(path: str) -> Running | None:
    """What a slot names; None when it is unreadable."""
    content, owner = files.read_signed(path) or ("{}", 0)
    try:
        return Running(**{**json.loads(content), "told_by": owner})
    except (ValueError, TypeError):
        return None


def crashed(path: str, seq: int, number: int, log: str, reason: str) -> Outcome:
    """The outcome of an attempt that lost its worker, with the part of the log that it wrote.

    ``path`` is the slot that may name it. When it does not, the attempt was not started.
    """
    running = read(path)
    try:
        size = os.lstat(log).st_size
    except OSError:
        size = 0
    offset = running.log_offset if running is not None and (running.seq, running.number) == (seq, number) else size
    return Outcome(CRASHED, reason=reason, log_offset=offset, log_bytes=max(0, size - offset))
