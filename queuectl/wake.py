"""Two FIFOs in ``run/``: a byte in one wakes an idle worker, a byte in the other the supervisor.

A byte carries nothing but «look again», and what there is to see is in the database or in a
file already when it is written. Nobody waits for a reader: without one, nothing is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from queuectl import files
from queuectl.errors import QueueError
from queuectl.home import Home

_MOST = 512
"""More bytes than there can be workers to wake."""


def workers(home: Home, count: int) -> None:
    """Tell idle workers that ``count`` jobs became ready."""
    if count > 0:
        _write(home.wake, min(count, _MOST))


def supervisor(home: Home) -> None:
    """Tell the supervisor that there is a request, or a cancel, to look at."""
    _write(home.control, 1)


def make_fifo(path: str) -> None:
    """Make a private FIFO unless there is one. Raises :class:`QueueError` for anything else in its place."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, files.PRIVATE_FILE)
        mode = os.lstat(path).st_mode
    except OSError as error:
        hint = "; a queue must lie on a file system that has FIFOs, such as a local disk" if _is_missing(error) else ""
        raise QueueError(f"cannot make the FIFO {path}: {error.strerror}{hint}") from error
    if not stat.S_ISFIFO(mode):
        raise QueueError(f"{path} is not a FIFO: remove it")


def _is_missing(error: OSError) -> bool:
    """Whether a file system answered that has no FIFOs (that it is not permitted, says FAT)."""
    return error.errno in (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def open_fifo(path: str) -> int:
    """A descriptor to poll; open for writing too, so that it never reports an end of file."""
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise QueueError(f"cannot open the FIFO {path}: {error.strerror}") from error


def drain(descriptor: int) -> int:
    """Take what is in a FIFO; how many bytes there were."""
    try:
        return len(os.read(descriptor, 4096))
    except BlockingIOError:
        return 0


def pass_on(descriptor: int, count: int) -> None:
    """Put bytes back that were meant for other workers."""
    if count > 0:
        # A full FIFO wakes everybody anyhow.
        with contextlib.suppress(BlockingIOError):
            os.write(descriptor, b"." * min(count, _MOST))


def _write(path: str, count: int) -> None:
    # No reader (ENXIO), no FIFO yet, or a full one: workers look at the database when they start.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"." * count)
        finally:
            os.close(descriptor)
