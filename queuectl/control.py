"""Starting, stopping and watching the workers of a queue, from outside of them."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from filelock import FileLock, Timeout

from queuectl import files, host, leftovers, pidfile, processes, settings, wake
from queuectl.cgroup import WorkerGroups
from queuectl.clock import iso
from queuectl.errors import Conflict, InvalidInput, QueueError, StoreError
from queuectl.home import Home
from queuectl.host import Terms
from queuectl.inbox import Inbox
from queuectl.link import USUAL_PACE, Pace
from queuectl.pidfile import Identity
from queuectl.runner import UNKILLABLE_WAIT
from queuectl.stopping import Request, forget_former_request, write_request
from queuectl.store.sqlite import open_store
from queuectl.supervisor import SIGNALS, Orders, Supervisor

logger = logging.getLogger(__name__)

_LOCK_PATIENCE = 1.0
"""Seconds that a start waits for the lock: somebody who only looks holds it for an instant."""
_STOP_MARGIN = 20.0
_PAUSE = 0.02


def run(home: Home, count: int, mode: str = "process", drain: bool = False, pace: Pace = USUAL_PACE) -> int:
    """Supervise workers in the foreground; returns the exit status.

    Raises :class:`Conflict` when workers run already, :class:`StoreError` when the database
    cannot be used. As PID 1 it reaps what it inherits.
    """
    if os.getpid() == 1:
        from queuectl import init

        init.fork_and_reap()
    _log_to(home, sys.stderr)
    return _supervise(home, Orders(count, mode, drain, pace), lambda: None)


def start(home: Home, count: int, mode: str = "process", drain: bool = False) -> int:
    """Start a supervisor that goes on in the background; returns its PID once all workers are ready.

    Raises as :func:`run`. Interrupted, it takes the start back.
    """
    reader, writer = os.pipe()
    # An interrupt waits until we know whom it is to stop.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = os.fork()
    except OSError as error:
        raise QueueError(f"cannot start the supervisor: {error.strerror}") from error
    if child == 0:
        os.close(reader)
        _live_detached(home, Orders(count, mode, drain), writer)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as report:
        first = report.readline().rstrip("\n")
        if not first.isdigit():
            raise _as_error(first or "1 the supervisor could not be started")
        supervisor = int(first)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            verdict = report.readline().rstrip("\n")
            if verdict == "ready":
                return supervisor
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):
                os.kill(supervisor, signal.SIGTERM)
            raise
    raise _as_error(verdict or f"1 the supervisor ended before its workers were ready: see {home.supervisor_log}")


def _live_detached(home: Home, orders: Orders, report: int) -> None:
    """Become a process that nobody waits for and no terminal reaches, and supervise."""
    try:
        # Until there is a log, whoever started us tells what went wrong; it must not be said twice.
        logging.getLogger("queuectl").addHandler(logging.NullHandler())
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        _tell(report, str(os.getpid()))
        log = _log_to(home, None)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, target)
        # A pipe that whoever started us reads from would stay open as long as we live.
        host.close_descriptors({0, 1, 2, log, report})
        os.chdir("/")
        status = _supervise(home, orders, lambda: _tell(report, "ready", close=True))
    except QueueError as error:
        logger.error("%s", error)
        status = error.exit_code
        _tell(report, f"{status} {error}")
    except OSError as error:
        logger.error("cannot start the supervisor: %s", error)
        status = 1
        _tell(report, f"1 cannot start the supervisor: {error.strerror}")
    except BaseException as error:
        logger.exception("the supervisor failed")
        status = 1
        _tell(report, f"1 the supervisor failed: {error!r}")
    finally:
        # Never back into the frames of whoever called us.
        os._exit(status)


def _tell(report: int, line: str, *, close: bool = False) -> None:
    # Whoever wanted to know may be gone, or has been told already.
    with contextlib.suppress(OSError):
        os.write(report, " ".join(line.split("\n")).encode() + b"\n")
        if close:
            os.close(report)


def _as_error(verdict: str) -> QueueError:
    code, _, text = verdict.partition(" ")
    kinds: dict[str, type[QueueError]] = {
        str(kind.exit_code): kind for kind in (QueueError, InvalidInput, Conflict, StoreError)
    }
    return kinds.get(code, QueueError)(text)


def _supervise(home: Home, orders: Orders, on_ready: Callable[[], None]) -> int:
    lock = take_lock(home)
    try:
        inbox = Inbox(SIGNALS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        host.forget_own_locale()
        host.set_title("supervisor")
        pidfile.write(home.supervisor_pid, pidfile.myself(), "supervisor")
        forget_former_request(home)
        wake.make_fifo(home.wake)
        wake.make_fifo(home.control)
        leftovers.put_right(home)
        groups = WorkerGroups.make(home)
        terms = Terms(home, groups, settings.Live(home.settings, logger.warning), orders.drain, orders.pace)
        try:
            return Supervisor(home, orders, terms, inbox=inbox, on_ready=on_ready).run()
        finally:
            groups.remove()
    except OSError as error:
        raise QueueError(f"cannot supervise workers in {home.directory}: {error}") from error
    finally:
        for path in (home.supervisor_state, home.supervisor_pid):
            files.remove(path)
        lock.release()


def take_lock(home: Home) -> FileLock:
    """Become the only one who deals with this queue's workers. Raises :class:`Conflict` while another does."""
    lock = FileLock(home.supervisor_lock, timeout=_LOCK_PATIENCE, mode=files.PRIVATE_FILE)
    try:
        lock.acquire()
        os.utime(home.supervisor_lock)
    except Timeout as error:
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


def stop(home: Home, timeout: float | None = None, now: bool = False) -> bool:
    """Stop the workers and return when all are gone; False when none ran.

    Running jobs get ``timeout`` seconds to finish (default: the setting ``stop_timeout``), or none
    with ``now``. A supervisor that does not react in time is killed. Raises :class:`QueueError`
    when it goes on for all that. Workers that somebody starts meanwhile are not meant.
    """
    if not is_running(home):
        # Those of a supervisor that was killed just now end by themselves.
        _wait_until(lambda: not leftovers.live_workers(home), UNKILLABLE_WAIT)
        return False
    current = settings.load_or_defaults(home.settings)
    patience = _STOP_MARGIN + UNKILLABLE_WAIT
    if not now:
        patience += (current.stop_timeout if timeout is None else timeout) + current.kill_grace
    meant = _await_name(home)

    def is_gone() -> bool:
        return not is_running(home) or _is_another(pidfile.read(home.supervisor_pid), meant)

    _ask_to_stop(home, Request(now, timeout))
    if _wait_until(is_gone, patience):
        return True
    identity = pidfile.read(home.supervisor_pid)
    if not (identity and identity.lives and processes.send_signal(identity.pid, identity.started, signal.SIGKILL)):
        raise QueueError(f"the supervisor does not stop, and cannot be killed from here: see {home.supervisor_log}")
    _wait_until(is_gone, UNKILLABLE_WAIT)
    try:
        lock = take_lock(home)
    except Conflict:  # somebody has started workers already, which put right what was left
        return True
    try:
        leftovers.put_right(home)
    finally:
        lock.release()
    return True


def _await_name(home: Home) -> Identity | None:
    """Who holds the lock: its PID file follows in an instant, and until then names one before it, or nobody."""

    def is_named() -> bool:
        identity = pidfile.read(home.supervisor_pid)
        return identity is not None and (identity.lives or not identity.is_here)

    _wait_until(lambda: is_named() or not is_running(home), _LOCK_PATIENCE)
    return pidfile.read(home.supervisor_pid)


def _is_another(named: Identity | None, meant: Identity | None) -> bool:
    return meant is not None and named is not None and named != meant


def _ask_to_stop(home: Home, request: Request) -> None:
    """Leave the terms and wake the supervisor. Where the disk is full, a signal says what it can."""
    try:
        write_request(home, request)
    except OSError as error:
        identity = pidfile.read(home.supervisor_pid)
        number = signal.SIGQUIT if request.now else signal.SIGTERM
        if request.timeout is not None and not request.now:
            hint = "without --timeout, or with --now, the stop needs no room"
        elif not (identity and identity.lives and processes.send_signal(identity.pid, identity.started, number)):
            hint = "and the supervisor cannot be signalled from here"
        else:
            return
        raise QueueError(f"cannot write {home.stop_request}: {error.strerror}; {hint}") from error
    _wake_supervisor(home)


def _wake_supervisor(home: Home) -> None:
    """A byte reaches it from everywhere; where its PID means something, wake it even when it was stopped."""
    wake.supervisor(home)
    identity = pidfile.read(home.supervisor_pid)
    if identity is not None and identity.lives:
        for number in (signal.SIGUSR1, signal.SIGCONT):
            processes.send_signal(identity.pid, identity.started, number)


def status(home: Home) -> dict[str, Any]:
    """What the supervisor and each worker do, as ``worker-status --json`` prints it."""
    if not is_running(home):
        return {"running": False, "supervisor": None, "workers": []}
    store = open_store(home, settings.load(home.settings).busy_timeout)
    try:
        held = {claim.worker: claim for claim in store.claims()}
    finally:
        store.close()
    state = _told_state(home)
    workers = []
    for worker in state.pop("workers", []):
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
    return {"running": True, "supervisor": state, "workers": workers}


def _told_state(home: Home) -> dict[str, Any]:
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
    finally:
        os.close(descriptor)
    return False


def _wait_until(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


class _Harmless(logging.Formatter):
    """One line a message: the path of a home, or what a process calls itself, neither forges one nor steers a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


_LOG_SIZE = 10 * 1024 * 1024


def _log_to(home: Home, terminal: TextIO | None) -> int:
    """Send the log to ``run/supervisor.log``, and to a terminal; returns the file's descriptor."""
    home.make_directories()
    path = home.supervisor_log
    try:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_size > _LOG_SIZE:
                os.replace(path, f"{path}.1")
        descriptor = files.open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    except OSError as error:
        raise QueueError(f"cannot write the log {path}: {error.strerror}") from error
    formatter = _Harmless("%(asctime)s %(levelname)s [%(process)d] %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    logging.raiseExceptions = False  # a full disk or a closed terminal must not end a supervisor
    root = logging.getLogger("queuectl")
    root.setLevel(logging.INFO)
    root.handlers.clear()
    file = io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding="utf-8", line_buffering=True)
    for stream in (file, terminal):
        if stream is not None:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(formatter)
            root.addHandler(handler)
    return descriptor
