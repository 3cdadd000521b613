"""Memory that is freed and soon wanted again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD = -1
"""``M_TRIM_THRESHOLD`` of mallopt(3)."""
_KEPT = 1 << 20
"""Bytes: SQLite takes and frees some 100 KiB with each transaction."""


def keep_freed() -> None:
    """Have the C library keep up to a mebibyte that is free, and not give it back to the system at once.

    Where it ends by chance near the top of the heap, as by default it may, each transaction gets a hundred pages
    anew, and each is a fault and is zeroed: as much as a third of the time that a worker takes for a job. Other C
    libraries than glibc have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
