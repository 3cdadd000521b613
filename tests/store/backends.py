"""The databases that must pass the conformance tests, and words for what tests do with a store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import homes

from queuectl.clock import SECOND, timestamp
from queuectl.model import Claim, NewJob, Outcome
from queuectl.retry import judge
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore

T0 = 1_800_000_000 * SECOND
"""When tests begin, in microseconds."""


def memory() -> str | None:
    """Where files are in memory, if there is room; SQLite syncs to disk at every commit, and there that costs nothing."""
    directory = "/dev/shm"
    if os.access(directory, os.W_OK) and shutil.disk_usage(directory).free > 1 << 30:
        return directory
    return None


class Backend(Protocol):
    """An empty database that any number of stores may be opened on, also in other processes."""

    def open(self) -> Store: ...


class SQLiteBackend:
    def __init__(self, directory: Path) -> None:
        self.path = str(homes.copy(directory))

    def open(self) -> Store:
        return SQLiteStore(self.path, 30)


BACKENDS: dict[str, Callable[[Path], Backend]] = {"sqlite": SQLiteBackend}


def job(job_id: str | None = None, **fields: Any) -> NewJob:
    return NewJob(**{"command": "true", "cwd": "/", "id": job_id, **fields})


def add(store: Store, *ids: str, now: int = T0, **fields: Any) -> list[str]:
    """Add a job for each id, with three retries unless told otherwise."""
    return list(store.add([job(each, **fields) for each in ids], now, 3))


def claim(store: Store, now: int = T0, worker: str = "w") -> Claim:
    """Claim a job; there must be one."""
    claimed = store.claim(worker, now)
    assert claimed is not None
    return claimed


def finish(store: Store, claimed: Claim, kind: str = "succeeded", now: int = T0, **details: Any) -> bool:
    """Record an outcome as a worker does; whether it was recorded."""
    verdict = judge(kind, claimed.attempts, claimed.max_retries, 2, 86_400)
    recorded, following, _ = store.finish(claimed, Outcome(kind, **details), verdict, now, now)
    assert following is None
    return recorded


def fail_to_death(store: Store, job_id: str, now: int = T0) -> None:
    """Use up the retries of the only job that can run; it was added with none."""
    claimed = claim(store, now)
    assert claimed.id == job_id
    assert finish(store, claimed, "failed", now, exit_code=1)
    assert store.get(job_id).state == "dead"


def after(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def micros(text: str | None) -> int:
    assert text is not None
    return timestamp(text)
