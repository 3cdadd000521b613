"""PID 1 of a container: reaps what it inherits, and passes signals on to the one that works."""

from __future__ import annotations

import contextlib
import os
import signal

from queuectl.inbox import HEEDED


def fork_and_reap() -> None:
    """Return in a child, which does the work; this process stays, and exits as the child does.

    Signals that come before the child listens for them wait: they stay blocked until it does.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    child = os.fork()
    if child == 0:
        # Out of the terminal's reach: its Ctrl-C would come from there and from us, and two mean «stop now».
        os.setsid()
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, (*HEEDED, signal.SIGCHLD))
    while True:
        status = _reap(child)
        if status is not None:
            os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        number = signal.sigwait((*HEEDED, signal.SIGCHLD))
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _reap(child: int) -> int | None:
    """Reap all that ended; the child's status when it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status
