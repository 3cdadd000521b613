"""Jobs that were checked and wait to be added together: any number of them in little memory."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from queuectl.errors import StoreError
from queuectl.model import Columns, InPieces, NewJob, jobs_in, pieces

_IN_MEMORY = 10_000
_SIZE = 8
"""Bytes that tell how long a piece is."""


class Spool(InPieces):
    """Takes in all of ``jobs`` at once, and gives them back in their order, as often as it is asked.

    Beyond ten thousand they go to a file that has no name any more, in the system's directory for temporary
    files. Raises :class:`StoreError` when that cannot be written, and what ``jobs`` raises.
    """

    def __init__(self, jobs: Iterable[NewJob]) -> None:
        self._first: list[Columns] = []
        self._count = 0
        self._file: BinaryIO | None = None
        for piece in pieces(jobs):
            self._count += len(piece["command"])
            if self._count <= _IN_MEMORY:
                self._first.append(piece)
            else:
                self._write(piece)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[NewJob]:
        return chain.from_iterable(map(jobs_in, self.pieces()))

    def __contains__(self, job: object) -> bool:
        return any(each == job for each in self)

    def pieces(self) -> Iterator[Columns]:
        return chain(self._first, self._read())

    def _write(self, piece: Columns) -> None:
        import tempfile  # imports much, and few commands come here

        # What is read by nobody else, and never outlives us, needs no lasting format.
        content = marshal.dumps(piece)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="queuectl-")  # noqa: SIM115, it is open as long as we live
            self._file.write(len(content).to_bytes(_SIZE, "big") + content)
            self._file.flush()
        except OSError as error:
            where = tempfile.tempdir or "a directory for temporary files"
            raise StoreError(f"cannot keep the jobs in {where} until all are read: {error.strerror}") from error

    def _read(self) -> Iterator[Columns]:
        offset = 0
        while self._file is not None and (size := os.pread(self._file.fileno(), _SIZE, offset)):
            content = os.pread(self._file.fileno(), int.from_bytes(size, "big"), offset + _SIZE)
            offset += _SIZE + len(content)
            yield marshal.loads(content)  # nosec B302  # only we can write there
