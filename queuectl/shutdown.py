"""Stopping the workers of a queue, from outside of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from queuectl import leftovers, pidfile, processes, settings, wake
from queuectl.control import is_running, take_lock
from queuectl.errors import Conflict, QueueError
from queuectl.home import Home
from queuectl.pidfile import Identity
from queuectl.processes import UNKILLABLE_WAIT
from queuectl.stopping import Request, write_request

_NAME_PATIENCE = 1.0
"""Seconds in which a start names itself in the PID file after it took the lock."""
_STOP_MARGIN = 20.0
_EXIT_PATIENCE = 2.0
"""Seconds that a supervisor which has let go of its lock gets to be gone; it may be part of a longer lived program."""
_PAUSE = 0.02


def stop(
    home: Home, timeout: float | None = None, now: bool = False, *, on_asked: Callable[[], None] = lambda: None
) -> bool:
    """Stop the workers and return when all are gone; False when none ran.

    Running jobs get ``timeout`` seconds to finish (default: the setting ``stop_timeout``), or none
    with ``now``. A supervisor that does not react in time is killed. Raises :class:`QueueError`
    when it goes on for all that. Workers that somebody starts meanwhile are not meant. ``on_asked`` is called as soon
    as the supervisor was told: from then on the stop goes its way, whether anybody waits for it or not.
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

    _ask_to_stop(home, Request(now, timeout, meant))
    on_asked()
    if _wait_until(is_gone, patience):
        identity = pidfile.read(home.supervisor_pid)
        if identity is None or identity != meant or not identity.is_here:
            _wait_until(lambda: meant is None or not meant.lives, _EXIT_PATIENCE)
            return True
        # It left its PID file: it died, and what its workers ran may not be gone yet.
    else:
        _kill_supervisor(home, meant or pidfile.read(home.supervisor_pid))
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


def _kill_supervisor(home: Home, identity: Identity | None) -> None:
    if not (identity and identity.lives and processes.send_signal(identity.pid, identity.started, signal.SIGKILL)):
        raise QueueError(f"the supervisor does not stop, and cannot be killed from here: see {home.supervisor_log}")


def _await_name(home: Home) -> Identity | None:
    """Who holds the lock; None when its PID file does not tell.

    It follows in an instant, and until then names one before it, or nobody. From another PID namespace we
    cannot tell the two apart.
    """

    def named() -> Identity | None:
        identity = pidfile.read(home.supervisor_pid)
        may_hold = identity is not None and (identity.lives if identity.is_here else identity.boot == pidfile.boot_id())
        return identity if may_hold else None

    _wait_until(lambda: named() is not None or not is_running(home), _NAME_PATIENCE)
    return named()


def _is_another(named: Identity | None, meant: Identity | None) -> bool:
    return meant is not None and named is not None and named != meant


def _ask_to_stop(home: Home, request: Request) -> None:
    """Leave the terms and wake the supervisor. Where the disk is full, a signal says what it can."""
    try:
        write_request(home, request)
    except OSError as error:
        identity = request.to or pidfile.read(home.supervisor_pid)
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


def _wait_until(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True
