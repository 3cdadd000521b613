"""Locks on files that the kernel keeps for a process, and lets go of when it dies."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from queuectl import files
from queuectl.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from filelock import FileLock

_MISSING = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""What a file system answers that has no locks; NFS without its lock service, the last."""


def take(path: str, patience: float) -> FileLock:
    """Lock a file, and make it where there is none; the lock is held until it is released.

    Raises :class:`StoreBusy` when another process holds it for longer than ``patience`` seconds,
    :class:`StoreError` where the file system has no locks, and :class:`OSError` for anything else.
    """
    from filelock import FileLock, Timeout  # most commands never lock, and start faster without

    # A file that merely exists is no lock: it outlives a crash, and keeps nobody out who takes it for stale.
    lock = FileLock(path, timeout=patience, mode=files.PRIVATE_FILE, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreBusy(f"{path} is held by another process") from error
    except OSError as error:
        if are_missing(error):
            raise StoreError(
                f"the file system of {os.path.dirname(path)} has no locks ({error.strerror}): "
                "a queue must lie on one that has, such as a local disk"
            ) from error
        raise
    return lock


def are_missing(error: OSError) -> bool:
    """Whether a lock was refused because the file system has none."""
    return error.errno in _MISSING
