"""Queues' homes for tests to which it is all the same how a queue is made: copies of one that the program made."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from queuectl import Queue

Kind = tuple[str, int, bytes | None]
"""A path within a home, its permissions, and what is in it; None for a directory."""


@cache
def _made() -> tuple[Kind, ...]:
    """What the program makes where nothing is."""
    with tempfile.TemporaryDirectory(prefix="queuectl-made-") as directory:
        Queue.init(Path(directory) / "queuectl.db").close()
        return tuple(
            (
                str(path.relative_to(directory)),
                path.stat().st_mode & 0o7777,
                None if path.is_dir() else path.read_bytes(),
            )
            for path in sorted(Path(directory).rglob("*"))
        )


def copy(directory: Path, owner: int | None = None) -> Path:
    """Lay a home with an empty queue down in a directory, which is made when it is missing; the database's path.

    It is as ``queuectl init`` would leave it, and belongs to the user ``owner``, where one is given.
    """
    if not directory.is_dir():
        directory.mkdir(0o700)
    for name, permissions, content in _made():
        path = directory / name
        if content is None:
            path.mkdir()
        else:
            with path.open("xb") as file:
                file.write(content)
        path.chmod(permissions)
        if owner is not None:
            os.chown(path, owner, owner)
    return directory / "queuectl.db"
