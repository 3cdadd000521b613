"""The processes that a supervisor forks: a worker, the host of worker threads, a keeper."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from queuectl import files, memory, pidfile, slot
from queuectl.cgroup import WorkerGroups
from queuectl.crowd import Crowd
from queuectl.errors import QueueError, StoreDamaged
from queuectl.home import Home
from queuectl.inbox import Inbox
from queuectl.link import DRAINED, FAREWELL, SPOILT, USUAL_PACE, Pace, WorkerLink
from queuectl.proctree import become_subreaper
from queuectl.runner import LocalRunner, Runner
from queuectl.settings import Live
from queuectl.store.sqlite import SQLiteStore, check
from queuectl.worker import Worker

logger = logging.getLogger(__name__)

STORE_PATIENCE = 5.0
"""Seconds that a worker waits for a locked database before it gives a sign of life and tries again."""
FAILED_TO_RUN = 70
"""Exit status of a process that met an error of our own (EX_SOFTWARE of sysexits.h)."""

_MANY_DESCRIPTORS = 4096
"""For 512 threads: each has a line, a keeper, the wake-up FIFO, and the database with its log."""

_SIGNALS = signal.valid_signals()
_RESET = _SIGNALS - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}
_WOKEN_BY_CHILDREN = (signal.SIGCHLD,)


@dataclass(frozen=True)
class Terms:
    """What all workers of a supervisor have in common."""

    home: Home
    groups: WorkerGroups
    settings: Live
    """Whoever is forked later knows the last good ones, too."""
    drain: bool
    pace: Pace = USUAL_PACE


def fork(main: Callable[[], None], title: str, keep_open: Collection[int]) -> int:
    """Fork a child that runs ``main`` and exits; returns its PID.

    The child has its own session, so that a terminal's signals reach the supervisor alone,
    default signals, and no descriptor but 0 to 2, the log's and ``keep_open``: above all not the
    supervisor's lock.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _live(main, title, keep_open)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid


def _live(main: Callable[[], None], title: str, keep_open: Collection[int]) -> None:
    status = FAILED_TO_RUN
    try:
        os.setsid()
        _reset_signals()
        close_descriptors({0, 1, 2, *keep_open, *log_descriptors()})
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        set_title(title)
        memory.keep_freed()
        main()
        status = 0
    except (QueueError, OSError, MemoryError) as error:
        logger.error("%s cannot work: %s", title, error or "out of memory")
    except BaseException:
        logger.exception("%s failed", title)
    finally:
        # Never back into the parent's frames, nor through its clean-up.
        os._exit(status)


def run_worker(terms: Terms, number: int, line: socket.socket) -> None:
    """A worker process: it is the subreaper of its jobs."""
    become_subreaper()
    name = f"worker-{number}"
    _write_pid_file(terms.home.worker_pid(number), "worker")
    terms.groups.enter(name)
    signals = Inbox(_WOKEN_BY_CHILDREN)
    runner = LocalRunner(_open_slot(terms.home.slot(name)))
    store = _store(terms)
    _work(terms, name, store, runner, WorkerLink(line, signals, heartbeat=terms.pace.heartbeat))
    store.close()
    files.remove(terms.home.worker_pid(number))


def run_keeper(terms: Terms, number: int, descriptor: int) -> None:
    """A keeper process: it runs the jobs of one worker thread, and is their subreaper."""
    from queuectl.keeper import keep

    become_subreaper()
    name = f"worker-{number}"
    terms.groups.enter(name)
    keep(descriptor, _open_slot(terms.home.slot(name)), Inbox(_WOKEN_BY_CHILDREN), terms.home)


def run_threads(terms: Terms, control: socket.socket) -> None:
    """The process of all worker threads; the supervisor sends each one's line and keeper over ``control``."""
    _write_pid_file(terms.home.worker_pid(1), "workers")
    _allow_many_descriptors()
    threads: list[threading.Thread] = []
    store = _store(terms, shared=True)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 2)
        if not message:
            break
        name = message.decode()
        thread = threading.Thread(target=_run_thread, args=(terms, name, store, *descriptors))
        try:
            if len(descriptors) < 2:
                raise RuntimeError("too many open files")
            thread.start()
        except RuntimeError as error:
            # Its line hangs up with this: the supervisor tries again.
            logger.error("cannot start %s: %s", name, error)
            close_all(descriptors)
            continue
        threads.append(thread)
    for thread in threads:
        thread.join()
    store.close()
    files.remove(terms.home.worker_pid(1))


def _run_thread(terms: Terms, name: str, store: SQLiteStore, line: int, keeper: int) -> None:
    """One worker thread. When it fails, it hangs up without a last word, as a process that dies does.

    Its keeper ends its job then, and the supervisor puts right what is left; the other threads go on.
    """
    from queuectl.keeper import KeeperRunner

    lifeline = socket.socket(fileno=line)
    link = WorkerLink(lifeline, heartbeat=terms.pace.heartbeat)
    runner = KeeperRunner(keeper, terms.home.slot(name), link.newest_keeper)
    try:
        _work(terms, name, store, runner, link)
    except (QueueError, OSError, MemoryError) as error:
        logger.error("%s cannot work: %s", name, error or "out of memory")
    except BaseException:
        logger.exception("%s failed", name)
    lifeline.close()
    runner.close()


def _write_pid_file(path: str, role: str) -> None:
    """Raises :class:`QueueError` where the disk is full, or cannot be written for another reason."""
    try:
        pidfile.write(path, pidfile.myself(), role)
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from error


def _open_slot(path: str) -> slot.Slot:
    try:
        return slot.Slot(path)
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from error


def _allow_many_descriptors() -> None:
    """Let all threads have theirs. It is the keepers that start jobs, so jobs keep the limit of the start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_MANY_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _store(terms: Terms, *, shared: bool = False) -> SQLiteStore:
    """The queue's database, which :func:`_work` opens. Threads share it: each would read anew what another has written."""
    return SQLiteStore(terms.home.database, STORE_PATIENCE, durable=False, turns=terms.home.run, shared=shared)


def _work(terms: Terms, name: str, store: SQLiteStore, runner: Runner, link: WorkerLink) -> None:
    try:
        check(terms.home, store)
        crowd = Crowd(int(name.rpartition("-")[2]))
        drained = Worker(name, terms.home, store, runner, link, terms.settings, crowd, drain=terms.drain).run()
    except StoreDamaged:
        if terms.drain:
            link.close(SPOILT)
        raise
    link.close(DRAINED if drained else FAREWELL)


def set_title(title: str) -> None:
    """What ``ps`` shows. No command of a job is ever in it."""
    import setproctitle

    setproctitle.setproctitle(f"queuectl: {title}")


def forget_own_locale() -> None:
    """In a C locale Python sets LC_CTYPE for itself (PEP 538): that is not for jobs. Call before :func:`set_title`."""
    given = files.read_small("/proc/self/environ", 1 << 24)
    if given is not None and not any(each.startswith("LC_CTYPE=") for each in given.split("\0")):
        os.environ.pop("LC_CTYPE", None)


def log_descriptors() -> set[int]:
    """The descriptors that logging writes to."""
    streams = (getattr(handler, "stream", None) for handler in logging.getLogger("queuectl").handlers)
    return {stream.fileno() for stream in streams if stream is not None}


def _reset_signals() -> None:
    """Neither the supervisor's handlers nor what it was started to ignore are for workers and jobs.

    Python's own two stay ignored here: a spawn resets them.
    """
    signal.set_wakeup_fd(-1)
    for number in _RESET:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)


def close_descriptors(spared: set[int]) -> None:
    """Close all that this process inherited, but for some."""
    close_all(_open_descriptors() - spared)


def close_all(descriptors: Collection[int]) -> None:
    """Close descriptors; one that is closed already is fine (as that which listed the others)."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _open_descriptors() -> set[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return {int(name) for name in os.listdir(folder)}
    return set(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
