"""What dead workers left behind: found by every mark there is, ended, and only then given on."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import signal
import time
from collections.abc import Collection

from queuectl import files, pidfile, processes, settings, slot, wake
from queuectl.cgroup import WorkerGroups
from queuectl.clock import SECOND, SYSTEM_CLOCK, Clock, timestamp
from queuectl.errors import NoSuchJob
from queuectl.home import Home
from queuectl.model import CRASHED, RELEASED, Claim
from queuectl.pidfile import Identity
from queuectl.processes import UNKILLABLE_WAIT, Process
from queuectl.retry import verdict_on
from queuectl.settings import Settings
from queuectl.store.base import Store
from queuectl.store.connection import file_identity
from queuectl.store.sqlite import open_store

logger = logging.getLogger(__name__)

_OWN_PACE = 1.0
"""Seconds that workers without a supervisor get to end their jobs themselves."""
_ROUND = 0.02
_EMPTY_LOOKS = 3
_COARSE = 2.0
"""Seconds by which a file system's times are off at most."""


def put_right(home: Home) -> int:
    """End what dead workers left, and record their attempts; how many there were.

    The caller holds the supervisor's lock, so that nobody claims meanwhile.
    """
    current = settings.load(home.settings)
    store = open_store(home, current.busy_timeout)
    try:
        for name in end_all(home, was_working=bool(store.claims())):
            logger.error("a former worker left a process that cannot be ended: %s", name)
        rescued = rescue(home, store, current, SYSTEM_CLOCK, None, "its worker and its supervisor died")
        # A machine without a battery for its clock may have come up in the past.
        store.restart_back_offs(SYSTEM_CLOCK.now())
    finally:
        store.close()
    forget(home)
    return rescued


def rescue(home: Home, store: Store, current: Settings, clock: Clock, workers: Collection[str] | None, why: str) -> int:
    """Record the attempts of dead workers (all, when None); how many there were.

    Each is recorded as ``crashed``, or as it ended, where its worker noted that and could not store it; or else as
    ``released``, where it had not begun.
    Nothing of them may live any more. A job with retries left goes back in the queue.
    """
    rescued = 0
    for claim in store.claims(workers):
        if claim.number == 1 and not slot.names(home.slot(claim.worker), claim.seq, claim.number):
            _drop_former_log(home, store, claim)
        ended = slot.ended(home.slot(claim.worker), claim.seq, claim.number, home.log(claim.id), why)
        if claim.started_at is None and ended.began_at is None:  # it was claimed ahead, and nothing was started
            if store.is_cancel_requested(claim):
                wake.workers(home, store.settle([], clock.now(), unbegun=[claim]).ready)
                continue
            # Its number is used up: the next claim, which has another, is not ahead.
            ended = slot.Ended(ended.outcome._replace(kind=RELEASED, reason=f"handed back: {why}"))
        rescued += _record(store, claim, ended, current, clock, home, why)
    return rescued


def _drop_former_log(home: Home, store: Store, claim: Claim) -> None:
    """Remove a log that is older than its job: it is of one that had the id before, in a queue that is gone.

    The first attempt empties it before its slot names it. Where it came to nothing, the next would take it for its own.
    """
    path = home.log(claim.id)
    with contextlib.suppress(OSError, NoSuchJob):
        written_at = os.lstat(path).st_mtime
        if written_at + _COARSE < timestamp(store.get(claim.id).created_at) / SECOND:
            files.remove(path)


def _record(
    store: Store, claim: Claim, ended: slot.Ended, current: Settings, clock: Clock, home: Home, why: str
) -> bool:
    """Record how the attempt of a dead worker ended; False when somebody else did."""
    now, outcome = clock.now(), ended.outcome
    began_at = min(ended.began_at or now, now) if claim.started_at is None else claim.started_at
    begun = claim._replace(started_at=began_at)
    ended_at = now if ended.at is None else min(ended.at, now)
    finished = store.finish(begun, outcome, verdict_on(begun, outcome, current), ended_at, now)
    wake.workers(home, finished.ready)
    if finished.recorded:
        has_begun = claim.started_at is not None or ended.began_at is not None
        came_to = (
            "crashed" if outcome.kind == CRASHED else f"had {'ended' if has_begun else 'not begun'} ({outcome.kind})"
        )
        logger.warning("job %s: attempt %d %s: %s", claim.id, claim.number, came_to, why)
        for name in outcome.leftover:
            logger.error("job %s left a process that cannot be ended: %s", claim.id, name)
    return finished.recorded


def end_all(home: Home, was_working: bool) -> tuple[str, ...]:
    """End every process that a former supervisor's workers left; the names of what cannot be ended.

    ``was_working`` tells that jobs are claimed: then something may be left though ``run/`` shows nothing.
    The caller holds the supervisor's lock, so none of them is anybody's worker any more.
    """
    _let_workers_end(home)
    groups = WorkerGroups.noted(home)
    marks = _Marks(home, was_working)
    deadline = time.monotonic() + UNKILLABLE_WAIT
    empty_looks = 0
    while True:
        spare = _own_line()
        groups.kill(spare)
        left = marks.kill_bearers(spare) | groups.members() - spare
        # One look may miss what re-forks while it lasts.
        empty_looks = 0 if left else empty_looks + 1
        if empty_looks == _EMPTY_LOOKS or time.monotonic() > deadline:
            break
        if left or marks.may_bear:
            time.sleep(_ROUND)
    groups.remove()
    remove_pid_files(home)
    return tuple(processes.describe(pid) for pid in sorted(left))


def forget(home: Home) -> None:
    """Remove the notes about what workers ran, once nothing of it is left and all is recorded."""
    for path in _slots(home):
        files.remove(path)


def _let_workers_end(home: Home) -> None:
    """Workers notice their supervisor's death, end their jobs and record it; after a second they are killed."""
    deadline = time.monotonic() + _OWN_PACE
    while live_workers(home) and time.monotonic() < deadline:
        time.sleep(_ROUND)
    for identity in live_workers(home):
        processes.send_signal(identity.pid, identity.started, signal.SIGKILL)


def remove_pid_files(home: Home) -> None:
    """Remove the PID files of workers, none of which lives any more."""
    for path in _worker_pid_files(home):
        files.remove(path)


def live_workers(home: Home) -> list[Identity]:
    """The workers whose PID files name a process that lives."""
    named = map(pidfile.read, _worker_pid_files(home))
    return [identity for identity in named if identity is not None and identity.lives]


def _worker_pid_files(home: Home) -> list[str]:
    return glob.glob(os.path.join(glob.escape(home.run), "worker-*.pid"))


class _Marks:
    """Tells whether a process is of this queue's dead workers or their jobs, by all but control groups."""

    def __init__(self, home: Home, was_working: bool) -> None:
        noted = (running for path in _slots(home) for running in slot.read(path))
        self._noted = [running for running in noted if running.pid and running.is_here]
        self.may_bear = was_working or bool(_slots(home))
        # A keeper has no PID file, and one that was stopped does not end by itself: but its slot is open.
        self._written = (home.logs + os.sep, home.slot(""))
        self._variable = b"QUEUECTL_QUEUE=" + os.fsencode(home.database)
        self._database = home.database
        self._file = file_identity(home.database)

    def kill_bearers(self, spare: Collection[int]) -> set[int]:
        """Send SIGKILL to every process with a mark, and to all that descends from them; their PIDs.

        Each is killed in the moment in which it is seen: one that re-forks is another one soon.
        """
        if not self.may_bear:
            return set()
        seen: dict[int, Process] = {}
        marked: set[int] = set()
        for process in processes.newest_first():
            seen[process.pid] = process
            if process.pid not in spare and self._is_marked(process):
                processes.send_signal(process.pid, process.started, signal.SIGKILL)
                marked.add(process.pid)
        heirs = processes.descendants(marked, seen) - marked - set(spare)
        for pid in heirs:
            processes.send_signal(pid, seen[pid].started, signal.SIGKILL)
        return marked | heirs

    def _is_marked(self, process: Process) -> bool:
        return not process.is_zombie and (
            any(running.is_of(process) and running.may_name(process.pid) for running in self._noted)
            or self._carries_variable(process.pid)
            or self._writes_ours(process.pid)
        )

    def _carries_variable(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            return False
        return (
            self._variable in variables
            and any(each.startswith(b"QUEUECTL_JOB_ID=") for each in variables)
            and (
                # The same path may be another queue's in another container.
                file_identity(f"/proc/{pid}/root{self._database}") == self._file
            )
        )

    def _writes_ours(self, pid: int) -> bool:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                names = [entry.name for entry in entries if os.readlink(entry.path).startswith(self._written)]
            return any(_is_open_for_writing(pid, name) for name in names)
        except OSError:
            return False


def _is_open_for_writing(pid: int, descriptor: str) -> bool:
    for line in (files.read_small(f"/proc/{pid}/fdinfo/{descriptor}") or "").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _own_line() -> set[int]:
    """This process and its ancestors: whoever starts workers from within a job must not end itself."""
    line, pid = set(), os.getpid()
    while pid > 0 and pid not in line:
        line.add(pid)
        process = processes.look(pid)
        pid = process.parent if process else 0
    return line


def _slots(home: Home) -> list[str]:
    return glob.glob(os.path.join(glob.escape(home.run), "slot-*"))
