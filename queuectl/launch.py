"""Becoming the supervisor of a queue's workers, in the foreground or detached from whoever asked for it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TextIO

from queuectl import files, host, leftovers, pidfile, settings, wake
from queuectl.cgroup import WorkerGroups
from queuectl.control import take_lock
from queuectl.errors import Conflict, InvalidInput, QueueError, StoreError
from queuectl.home import Home
from queuectl.host import Terms
from queuectl.inbox import Inbox
from queuectl.link import USUAL_PACE, Pace
from queuectl.notify import Notifier
from queuectl.stopping import forget_former_request
from queuectl.store.connection import file_identity
from queuectl.supervisor import SIGNALS, Orders, Supervisor

logger = logging.getLogger(__name__)


def run(home: Home, count: int, mode: str = "process", drain: bool = False, pace: Pace = USUAL_PACE) -> int:
    """Supervise workers in the foreground; returns the exit status.

    Raises :class:`Conflict` when workers run already, :class:`StoreError` when the database
    cannot be used. As PID 1 it reaps what it inherits.
    """
    if os.getpid() == 1:
        from queuectl import init

        init.fork_and_reap()
    manager = Notifier.take()
    _log_to(home, sys.stderr)
    what = f"{count} {'worker' if count == 1 else 'workers'} ({mode} mode)"
    return _supervise(home, Orders(count, mode, drain, pace), lambda: manager.ready(what), manager.stopping)


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
        Notifier.take()  # whoever started us speaks for itself
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


def _supervise(
    home: Home,
    orders: Orders,
    on_ready: Callable[[], None],
    on_stopping: Callable[[float], None] = lambda seconds: None,
) -> int:
    lock = take_lock(home)
    locked = file_identity(home.supervisor_lock)
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
            return Supervisor(home, orders, terms, inbox=inbox, on_ready=on_ready, on_stopping=on_stopping).run()
        finally:
            groups.remove()
    except OSError as error:
        raise QueueError(f"cannot supervise workers in {home.directory}: {error}") from error
    finally:
        if file_identity(home.supervisor_lock) == locked:  # or they are of one that has another lock now
            for path in (home.supervisor_state, home.supervisor_pid):
                files.remove(path)
        lock.release()


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
