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
        descriptor, status = files.open_and_look(path, flags)
    except FileNotFoundError:
        files.make_private_directory(os.path.dirname(path))
        descriptor, status = files.open_and_look(path, flags)
    os.set_blocking(descriptor, True)
    return JobLog(path, descriptor, _emptied(descriptor) if fresh and status.st_size else status)


def _emptied(descriptor: int) -> os.stat_result:
    os.ftruncate(descriptor, 0)
    return os.fstat(descriptor)


class JobLog:
    """The log of an attempt that runs. ``start`` is the offset at which its output begins."""

    def __init__(self, path: str, descriptor: int, status: os.stat_result) -> None:
        self.path = path
        self.descriptor = descriptor
        self.start = status.st_size
        self._blocks_before = status.st_blocks
        self._can_punch = True

    def keep_below(self, limit: int) -> int:
        """Give disk back when the attempt's output takes more than ``limit`` bytes; 0 for no limit.

        The middle is punched out: the beginning and the end stay. Returns how many bytes the attempt wrote, those
        that were dropped again among them; 0 if it cut the file shorter.
        """
        status = os.fstat(self.descriptor)
        taken = (status.st_blocks - self._blocks_before) * _BLOCK
        if limit and taken > limit and self._can_punch:
            self._drop_middle(status, limit)
        return max(0, status.st_size - self.start)

    def _drop_middle(self, status: os.stat_result, limit: int) -> None:
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
