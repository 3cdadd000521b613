"""Reading a job's log: one that may be huge, still grow, and have lost its middle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from queuectl.errors import QueueError

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Gap:
    """Bytes that were dropped to keep the log below ``log_max_bytes``."""

    size: int


class LogFile:
    """A job's log, open for reading. Only so much of it is in memory as one chunk takes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str) -> LogFile | None:
        """Open a log; None when there is none (yet). Raises :class:`QueueError`.

        Neither follows a symlink, nor blocks on a FIFO, which a job may have put in its place.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise QueueError(f"cannot read the log {path}: {reason}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise QueueError(f"cannot read the log {path}: it is not a regular file")
        return cls(descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Where the file ends now."""
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, end: int) -> Iterator[bytes | Gap]:
        """What stands between two offsets, piece by piece, with a :class:`Gap` for what was dropped."""
        position = start
        while position < end:
            data, hole = self._extent(position, end)
            if data > position:
                yield Gap(data - position)
            position = data
            while position < hole:
                chunk = os.pread(self._descriptor, min(_CHUNK, hole - position), position)
                if not chunk:
                    return
                position += len(chunk)
                yield chunk

    def last_lines(self, start: int, end: int, count: int) -> int:
        """The offset at which the last ``count`` lines between two offsets begin."""
        if count <= 0:
            return end
        wanted = count
        for first, last in reversed(self._extents(start, end)):
            position = last
            while position > first:
                size = min(_CHUNK, position - first)
                chunk = os.pread(self._descriptor, size, position - size)
                if position == end and chunk.endswith(b"\n"):
                    wanted += 1  # it closes the last line and does not begin another
                for index in _newlines_backwards(chunk):
                    wanted -= 1
                    if wanted == 0:
                        return position - size + index + 1
                position -= size
        return start

    def _extents(self, start: int, end: int) -> list[tuple[int, int]]:
        found = []
        position = start
        while position < end:
            data, hole = self._extent(position, end)
            if data < hole:
                found.append((data, hole))
            position = hole
        return found

    def _extent(self, position: int, end: int) -> tuple[int, int]:
        """Where the next data begins and ends."""
        try:
            data = os.lseek(self._descriptor, position, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: nothing but a hole up to the end. Anything else: the file system knows no holes.
            return (end, end) if error.errno == errno.ENXIO else (position, end)
        if data >= end:
            return end, end
        return data, min(os.lseek(self._descriptor, data, os.SEEK_HOLE), end)


def _newlines_backwards(chunk: bytes) -> Iterator[int]:
    index = len(chunk)
    while (index := chunk.rfind(b"\n", 0, index)) >= 0:
        yield index
