"""Looking a queue over: each check says in one line what it found, and what to do about it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from queuectl import cgroup, clock, control, files, leftovers, pidfile, pruning, settings
from queuectl.cgroup import WorkerGroups
from queuectl.clock import SECOND, SYSTEM_CLOCK, Clock
from queuectl.errors import QueueError, StoreBusy
from queuectl.home import Home
from queuectl.proctree import HAS_SUBREAPER
from queuectl.settings import BrokenSettings
from queuectl.store.base import Store
from queuectl.store.sqlite import open_store

_LEAST_SPACE = 64 * 2**20
"""Bytes that a busy queue's database and logs fill within minutes."""
_LEAST_FILES = 1000
_CLOCK_SLACK = 60 * SECOND
_NAMED = 3
"""Of many things of one kind, so many are named."""


@dataclass(frozen=True)
class Finding:
    """What one check found. ``advice`` tells what to do where something is wrong."""

    check: str
    ok: bool
    text: str
    advice: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON shows it."""
        return dict(vars(self))


def examine(home: Home, *, repair: bool = False, clock: Clock = SYSTEM_CLOCK) -> list[Finding]:
    """Look a queue over, and with ``repair`` do what is safe: nothing that others still use is touched."""
    visit = _Visit(home, repair, clock)
    return [finding for check in _CHECKS for finding in check(visit)]


class _Visit:
    """What the checks have in common."""

    def __init__(self, home: Home, repair: bool, clock: Clock) -> None:
        self.home = home
        self.repair = repair
        self.clock = clock

    def some(self, paths: Sequence[str]) -> str:
        """Some of many files, named as from the home."""
        return _some([os.path.relpath(path, self.home.directory) for path in paths])

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The database. Raises :class:`QueueError` where it cannot be used."""
        store = open_store(self.home, settings.load_or_defaults(self.home.settings).busy_timeout)
        try:
            yield store
        finally:
            store.close()

    def mended(self, finding: Finding, mend: Callable[[], object], *, alone: bool = True) -> Finding:
        """Repair what is wrong when that was asked for; ``alone``: only while no workers run."""
        if not self.repair:
            return replace(finding, advice=finding.advice or "'queuectl doctor --repair' puts it right")
        try:
            with control.take_lock(self.home) if alone else contextlib.nullcontext():
                mend()
        except (QueueError, OSError) as error:
            return replace(finding, advice=f"it could not be repaired: {error}")
        return replace(finding, ok=True, repaired=True, advice="")


Check = Callable[[_Visit], Iterator[Finding]]


def _check_home(visit: _Visit) -> Iterator[Finding]:
    """Who can get at the queue's files."""
    home = visit.home
    owner = _owner(home.database)
    foreign = [path for path in _parts(home) if _owner(path) not in (None, owner)]
    open_to_others = [path for path in _parts(home) if _mode(path) & 0o077]
    if foreign:
        advice = f"give them to the database's owner: chown -h {owner} FILE"
        yield Finding("home", False, f"{visit.some(foreign)}: of another owner than {home.database}", advice)
    if _mode(home.directory) & 0o002 and not _mode(home.directory) & stat.S_ISVTX:
        yield Finding("home", False, f"everybody may write in {home.directory}", f"chmod o-w {home.directory}")
    if open_to_others:
        finding = Finding("home", False, f"{visit.some(open_to_others)}: others on this machine have rights to it")
        yield visit.mended(finding, lambda: _for_each(_make_private, open_to_others), alone=False)
    missing = [path for path in (home.run, home.logs) if not os.path.isdir(path)]
    if missing:
        yield visit.mended(
            Finding("home", False, f"{visit.some(missing)}: missing"), home.make_directories, alone=False
        )
    if not (foreign or open_to_others or missing):
        yield Finding("home", True, f"{home.directory}, private to its owner")


def _check_file_system(visit: _Visit) -> Iterator[Finding]:
    """Whether there is what workers cannot do without, and room."""
    run = visit.home.run
    if not os.path.isdir(run):
        return  # told already
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor.", dir=run) as spot:
            with open(os.path.join(spot, "lock"), "w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.mkfifo(os.path.join(spot, "fifo"))
    except OSError as error:
        advice = "put the queue on a local file system that you may write to, with locks and FIFOs"
        yield Finding("file system", False, f"{run}: no lock or FIFO can be made there ({error.strerror})", advice)
    room = os.statvfs(visit.home.directory)
    free = room.f_bavail * room.f_frsize
    few_files = room.f_files > 0 and room.f_favail < _LEAST_FILES
    text = f"{_size(free)} free" + (f", room for {room.f_favail} files" if few_files else "")
    advice = "make room: old logs are in job_logs/" if free < _LEAST_SPACE or few_files else ""
    yield Finding("disk space", not advice, text, advice)


def _check_settings(visit: _Visit) -> Iterator[Finding]:
    try:
        settings.load(visit.home.settings)
    except BrokenSettings as error:
        yield Finding("settings", False, error.trouble, error.advice)
    except QueueError as error:
        yield Finding("settings", False, str(error), "look with the rights of the queue's owner")
    else:
        yield Finding("settings", True, "can be read")


def _check_database(visit: _Visit) -> Iterator[Finding]:
    """Whether it can be used, is sound, and says of every job what can be."""
    try:
        with visit.store() as store:
            faults = store.faults()
            jobs = sum(store.counts().values())
    except StoreBusy as error:
        yield Finding("database", False, str(error), "look for who has it open, such as a forgotten sqlite3 shell")
        return
    except QueueError as error:
        advice = "mend that first, or restore a backup: nothing can be done with the queue until then"
        yield Finding("database", False, str(error), advice)
        return
    for fault in faults:
        yield Finding(
            "database", False, fault, "save it, and restore a backup or use what 'sqlite3 FILE .recover' finds"
        )
    if not faults:
        yield Finding("database", True, f"sound, with {_counted(jobs, 'job')}")


def _check_workers(visit: _Visit) -> Iterator[Finding]:
    """Whether the supervisor that holds the lock can be reached, or what a dead one left."""
    home = visit.home
    if not control.is_running(home):
        yield Finding("workers", True, "none are running")
        return
    missing = [path for path in (home.wake, home.control, home.supervisor_pid) if not os.path.lexists(path)]
    if missing:
        yield Finding(
            "workers", False, f"they run, but {visit.some(missing)} was removed", "stop them, and start them again"
        )
    else:
        identity = pidfile.read(home.supervisor_pid)
        does = "is stopping, and starts no more jobs" if control.is_stopping(home) else "runs"
        yield Finding("workers", True, f"supervisor {identity.pid if identity else 'of another PID namespace'} {does}")


def _check_pid_files(visit: _Visit) -> Iterator[Finding]:
    """PID files whose process is gone. They block nothing, and no signal ever goes to who has the PID now."""
    running = control.is_running(visit.home)
    stale = [path for path in _pid_files(visit.home) if not _may_name_a_process(path, running)]
    if stale:
        finding = Finding("PID files", False, f"{visit.some(stale)}: left by a process that is gone")
        yield visit.mended(finding, lambda: _for_each(files.remove, stale), alone=not running)
    else:
        yield Finding("PID files", True, "each names a process that runs" if _pid_files(visit.home) else "none")


def _may_name_a_process(path: str, running: bool) -> bool:
    identity = pidfile.read(path)
    # Workers in another container have theirs here, too.
    return identity is not None and (identity.lives or (running and not identity.is_here))


def _check_claims(visit: _Visit) -> Iterator[Finding]:
    """Jobs that are held by workers which do not live."""
    try:
        with visit.store() as store:
            held = [claim.id for claim in store.claims()]
    except QueueError:
        return  # told already
    if control.is_running(visit.home):
        yield Finding("claims", True, f"{_counted(len(held), 'job')} held by running workers")
    elif leftovers.live_workers(visit.home):
        yield Finding("claims", False, "workers without a supervisor are ending their jobs", "look again in a minute")
    elif held:
        finding = Finding("claims", False, f"{_some(held, 'job ')}: held by workers that died")
        finding = visit.mended(finding, lambda: leftovers.put_right(visit.home))
        yield (
            finding
            if visit.repair
            else replace(finding, advice=f"{finding.advice}, and so does 'queuectl worker-start'")
        )
    else:
        yield Finding("claims", True, "none is held")


def _check_logs(visit: _Visit) -> Iterator[Finding]:
    """Output that an attempt wrote, and that is not there any more."""
    sizes = _sizes(visit.home.logs)
    try:
        with visit.store() as store:
            lost = [job_id for job_id, size in store.logged() if sizes.get(f"{job_id}.log", -1) < size]
            old = store.count_old_logs()
    except QueueError:
        return  # told already
    if old:
        text = f"{_counted(old, 'log')} of pruned jobs {'is' if old == 1 else 'are'} left by a prune that was killed"
        yield visit.mended(Finding("logs", False, text), lambda: _discard_logs(visit), alone=False)
    if not lost:
        yield Finding("logs", True, f"{_counted(len(sizes), 'log')}, none is missing")
        return
    advice = "restore it; or 'queuectl doctor --repair' notes that it is gone"
    finding = Finding("logs", False, f"{_some(lost, 'job ')}: output is missing from job_logs/", advice)
    yield visit.mended(finding, lambda: _forget_output(visit, lost), alone=False)


def _forget_output(visit: _Visit, ids: Sequence[str]) -> None:
    with visit.store() as store:
        store.forget_output(ids)


def _discard_logs(visit: _Visit) -> None:
    with visit.store() as store:
        pruning.discard_logs(visit.home, store)


def _check_clock(visit: _Visit) -> Iterator[Finding]:
    """Whether the wall clock was set back behind what was recorded by it."""
    now = visit.clock.now()
    try:
        with visit.store() as store:
            newest = store.newest() or 0
    except QueueError:
        newest = 0
    if newest > now + _CLOCK_SLACK:
        text = f"it is {clock.iso(now)}, but the last job was added at {clock.iso(newest)}"
        yield Finding("clock", False, text, "set the clock: jobs that wait for a time wait by it")
    else:
        yield Finding("clock", True, f"{clock.iso(now)}")


def _check_containment(visit: _Visit) -> Iterator[Finding]:
    """By what means jobs are contained here: told, and never wrong."""
    group = WorkerGroups.noted(visit.home).path or cgroup.usable_parent()
    if not HAS_SUBREAPER:
        text = "by process groups and descent alone: a process that leaves both escapes (this is not Linux)"
    elif group is not None:
        text = f"full: by subreapers, and if worker and supervisor are killed at one stroke, by control group ({group})"
    else:
        text = (
            "full by subreapers, while a worker or its supervisor lives; if both are killed at one stroke, by start "
            "time, session, descent, environment and open log (no control group v2 is writable here)"
        )
    yield Finding("containment", True, text)


_CHECKS: Sequence[Check] = (
    _check_home,
    _check_file_system,
    _check_settings,
    _check_database,
    _check_workers,
    _check_pid_files,  # before the claims, whose repair removes some of these, too
    _check_claims,
    _check_logs,
    _check_clock,
    _check_containment,
)


def _parts(home: Home) -> list[str]:
    """What is in a home that others have no business with."""
    database = [home.database + end for end in ("", "-wal", "-shm")]
    inside = [entry.path for folder in (home.run, home.logs) for entry in _entries(folder)]
    return [path for path in (*database, home.settings, home.run, home.logs, *inside) if os.path.lexists(path)]


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def _sizes(directory: str) -> dict[str, int]:
    return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in _entries(directory)}


def _pid_files(home: Home) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(home.run), "*.pid")))


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _mode(path: str) -> int:
    """The permissions of a file; 0 for a link, which has none of its own, and for what is gone."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)


def _make_private(path: str) -> None:
    os.chmod(path, _mode(path) & ~0o077, follow_symlinks=os.chmod not in os.supports_follow_symlinks)


def _for_each(act: Callable[[str], None], paths: Sequence[str]) -> None:
    for path in paths:
        act(path)


def _some(names: Sequence[str], prefix: str = "") -> str:
    """Some of many names, and how many there are besides."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(prefix + name for name in names[:_NAMED]) + more


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
