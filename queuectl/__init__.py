"""A durable job queue for shell commands, in one SQLite file."""

from __future__ import annotations

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    raise ImportError("queuectl needs Linux or macOS; Windows is not supported")

TYPE_CHECKING = False  # not from typing: whoever is interrupted while that is imported would see where
if TYPE_CHECKING:
    from typing import Any

    from queuectl.api import Queue
    from queuectl.errors import (
        Conflict,
        InvalidInput,
        JobExists,
        NoSuchGroup,
        NoSuchJob,
        NoSuchQueue,
        NoSuchSchedule,
        NotFound,
        QueueError,
        StoreBusy,
        StoreDamaged,
        StoreError,
        WaitTimeout,
    )
    from queuectl.model import Attempt, Job
    from queuectl.schedule import Schedule
    from queuectl.settings import Settings

_HOMES = {
    "Queue": "api",
    "Job": "model",
    "Attempt": "model",
    "Schedule": "schedule",
    "Settings": "settings",
    **dict.fromkeys(
        (
            "QueueError",
            "InvalidInput",
            "NotFound",
            "NoSuchBatch",
            "NoSuchJob",
            "NoSuchGroup",
            "NoSuchQueue",
            "NoSuchSchedule",
            "Conflict",
            "JobExists",
            "StoreError",
            "StoreBusy",
            "StoreDamaged",
            "WaitTimeout",
        ),
        "errors",
    ),
}

__all__ = [
    "Attempt",
    "Conflict",
    "InvalidInput",
    "Job",
    "JobExists",
    "NoSuchBatch",
    "NoSuchGroup",
    "NoSuchJob",
    "NoSuchQueue",
    "NoSuchSchedule",
    "NotFound",
    "Queue",
    "QueueError",
    "Schedule",
    "Settings",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "WaitTimeout",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: a command starts faster without the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module 'queuectl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"queuectl.{_HOMES[name]}"), name)
