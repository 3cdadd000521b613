"""A job's output: one file a job, appended to by each attempt, that cannot fill the disk."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import sys

from queuectl import files

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own block size (stat(2))

logger = logging.getLogger(__name__)


def open_for_append(path: str, *, fresh: bool = False) -> JobLog:
    """Open a job's log for one more attempt. Makes ``job_logs/`` when somebody removed it. Raises :class:`OSError`.

    What is there before the first attempt, for which it is ``fresh``, is of a job of this name that was removed.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    try:
        descriptor = files.open_regular(path, flags)
    except FileNotFoundError:
        files.make_private_directory(os.path.dirname(path))
        descriptor = files.open_regular(path, flags)
    os.set_blocking(descriptor, True)
    return JobLog(path, descriptor, fresh=fresh)


class JobLog:
    """The log of an attempt that runs. ``start`` is the offset at which its output begins."""

    def __init__(self, path: str, descriptor: int, *, fresh: bool = False) -> None:
        self.path = path
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        if fresh and status.st_size:
            os.ftruncate(descriptor, 0)
            status = os.fstat(descriptor)
        self.start = status.st_size
        self._blocks_before = status.st_blocks
        self._can_punch = True

    def written(self) -> int:
        """Bytes that the attempt wrote, those that were dropped again among them; 0 if it cut the file shorter."""
        return max(0, os.fstat(self.descriptor).st_size - self.start)

    def keep_below(self, limit: int) -> None:
        """Give disk back when the attempt's output takes more than ``limit`` bytes; 0 for no limit.

        The middle is punched out: the beginning and the end stay.
        """
        status = os.fstat(self.descriptor)
        taken = (status.st_blocks - self._blocks_before) * _BLOCK
        if not limit or taken <= limit or not self._can_punch:
            return
        block = status.st_blksize or 4096
        first = -(-(self.start + limit // 2) // block) * block
        last = (status.st_size - limit // 4) // block * block
        if first < last:
            self._punch(first, last - first)

    def _punch(self, offset: int, length: int) -> None:
        try:
            punch_hole(self.descriptor, offset, length)
        except OSError as error:
            self._can_punch = False
            logger.warning("log_max_bytes does not hold for %s: %s", self.path, error.strerror)

    def close(self) -> None:
        """Close the descriptor; the file stays."""
        os.close(self.descriptor)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give the disk space of a range back; it reads as zeros from then on. Raises :class:`OSError`."""
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(descriptor, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
