"""Looking at the workers of a queue from outside of them, and keeping them out.

The commands that only look start fast: what runs workers is imported by :mod:`queuectl.launch` alone, and what
stops them by :mod:`queuectl.shutdown`.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

from queuectl import files, locks, pidfile, settings
from queuectl.clock import iso
from queuectl.errors import Conflict, StoreBusy, StoreError
from queuectl.home import Home

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK_PATIENCE = 1.0
"""Seconds that a start waits for the lock: somebody who only looks holds it for an instant."""


def take_lock(home: Home) -> FileLock:
    """Become the only one who deals with this queue's workers. Raises :class:`Conflict` while another does."""
    try:
        lock = locks.take(home.supervisor_lock, _LOCK_PATIENCE)
        os.utime(home.supervisor_lock)
    except StoreBusy as error:
        if is_stopping(home):
            raise Conflict(
                f"workers that run here{_by_whom(home)} are stopping: 'queuectl worker-stop' waits until they are gone"
            ) from error
        raise Conflict(
            f"workers run here already{_by_whom(home)}: look with 'queuectl worker-status', "
            "end them with 'queuectl worker-stop'"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot lock {home.supervisor_lock}: {error.strerror}") from error
    return lock


def _by_whom(home: Home) -> str:
    identity = pidfile.read(home.supervisor_pid)
    return f" (supervisor {identity.pid})" if identity is not None else ""


def status(home: Home) -> dict[str, Any]:
    """What the supervisor and each worker do, as ``worker-status --json`` prints it."""
    if not is_running(home):
        return {"running": False, "supervisor": None, "workers": []}
    from queuectl.store.sqlite import open_store

    store = open_store(home, settings.load(home.settings).busy_timeout)
    try:
        held = {claim.worker: claim for claim in store.claims()}
    finally:
        store.close()
    supervisor, told = fleet(home)
    workers = []
    for worker in told:
        claim = held.get(worker["name"])
        workers.append(
            {
                "name": worker["name"],
                "pid": worker["pid"],
                "job": claim.id if claim else None,
                "attempt": claim.number if claim else None,
                "started_at": iso(claim.started_at) if claim else None,
                "state": "running" if claim else "idle" if worker["ready"] else "starting",
            }
        )
    return {"running": supervisor is not None, "supervisor": supervisor, "workers": workers}


def fleet(home: Home) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """What the supervisor tells about itself, and about each of its workers; None and nothing when none runs."""
    if not is_running(home):
        return None, []
    state = _told_state(home)
    return state, state.pop("workers", [])


def is_stopping(home: Home) -> bool:
    """Whether workers run that start no more jobs, since somebody wants them to end."""
    supervisor, _ = fleet(home)
    return bool(supervisor and supervisor.get("stopping"))


def _told_state(home: Home) -> dict[str, Any]:
    import json

    identity = pidfile.read(home.supervisor_pid)
    pid = identity.pid if identity is not None else None
    try:
        state = json.loads(files.read_small(home.supervisor_state, 1 << 20) or "{}")
    except ValueError:
        state = {}
    # A state that was left by a supervisor before this one says nothing.
    return state if isinstance(state, dict) and state.get("pid") == pid else {"pid": pid, "workers": []}


def is_running(home: Home) -> bool:
    """Whether a supervisor holds the lock: nothing else counts."""
    try:
        descriptor = os.open(home.supervisor_lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if not locks.are_missing(error):
            raise StoreError(f"cannot look at the lock {home.supervisor_lock}: {error.strerror}") from error
        # Nor could anybody take it there.
    finally:
        os.close(descriptor)
    return False
