"""Has workers give back jobs that they claimed ahead and that must wait now: by a file that grows.

A pause, a lower limit of a group, or a cancel holds from the moment in which it is confirmed; what was claimed ahead has not
begun then. A worker compares the file's size when it claimed with that before each start, which costs it one system call.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection

from queuectl import files
from queuectl.errors import StoreError
from queuectl.home import Home
from queuectl.store.base import Store

_PATIENCE = 1.0
"""Seconds for which jobs may be claimed ahead still. A tenth of one is enough, unless their worker is stopped or dead."""
_GLANCE = 0.005


def claims(home: Home) -> None:
    """Have workers begin nothing that is claimed ahead now. For after a change is on disk."""
    # Without run/ nobody works. Where the disk is full, a few jobs may start that were claimed some milliseconds ago.
    with contextlib.suppress(OSError):
        descriptor = _open(home)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)


def _open(home: Home) -> int:
    """The file, open to be appended to, and made where nobody has needed it yet."""
    flags = os.O_WRONLY | os.O_APPEND
    with contextlib.suppress(FileExistsError):
        # Only what we made ourselves is given away: what is there already may be anybody's, under another name.
        descriptor = files.open_regular(home.recall, flags | os.O_CREAT | os.O_EXCL)
        with contextlib.suppress(OSError):  # some file systems let nobody do this
            files.hand_over(descriptor, home.run)
        return descriptor
    return files.open_regular(home.recall, flags)


def wait(store: Store, groups: Collection[str]) -> None:
    """Wait, not for long, until no job of some groups (of any, when none is named) is claimed ahead."""
    until = time.monotonic() + _PATIENCE
    # The change is on disk: that nobody can tell how far workers are must not look as if it were not.
    with contextlib.suppress(StoreError):
        while store.is_any_ahead(groups) and time.monotonic() < until:
            time.sleep(_GLANCE)


def mark(home: Home) -> int:
    """What differs after each :func:`claims`."""
    try:
        return os.stat(home.recall).st_size
    except OSError:
        return -1
