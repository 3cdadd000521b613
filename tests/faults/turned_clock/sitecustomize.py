"""Turns the wall clock of every Python that has this directory in PYTHONPATH: by so many seconds as a file says.

The monotonic clock is left alone, as it is when an administrator or a time server sets the clock.
"""

from __future__ import annotations

import os
import time

_PATH = os.environ.get("TURNED_CLOCK", "")
_real_time_ns = time.time_ns


def _offset() -> int:
    """Seconds; 0 when nobody has turned the clock yet."""
    try:
        with open(_PATH, encoding="ascii") as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


if _PATH:
    time.time_ns = lambda: _real_time_ns() + _offset() * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9
