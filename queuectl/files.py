"""Small files, written so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def write_durably(path: str, content: str) -> None:
    """Replace a file's content: on disk before this returns, private to its owner."""
    _move(write_beside(path, content, sync=True), path)
    sync_directory(os.path.dirname(path))


def write_atomically(path: str, content: str) -> None:
    """Replace a file's content at one stroke; not forced to disk (for what a reboot makes stale)."""
    _move(write_beside(path, content, sync=False), path)


def write_beside(path: str, content: str, *, sync: bool) -> str:
    """Write a private temporary file next to ``path`` and return its name."""
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:60]}.", dir=os.path.dirname(path))
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _move(temporary: str, path: str) -> None:
    try:
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (a rename is only on disk after this)."""
    handle = os.open(path or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_directory(path: str) -> None:
    """Make a directory that only its owner can enter; one that exists is left as it is."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, PRIVATE_DIRECTORY)
        sync_directory(os.path.dirname(path))


def make_private_directories(path: str) -> None:
    """Make a directory and those above it that are missing, all private and on disk (``makedirs`` does neither)."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_private_directories(parent)
    make_private_directory(path)


def read_small(path: str, limit: int = 65_536) -> str | None:
    """The content of a small text file; None when there is no such readable regular file.

    Neither follows a symlink nor blocks on a FIFO that somebody planted in its place.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a file; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
