"""A stop: what was asked for, and how far it has come."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, NamedTuple

from queuectl import files
from queuectl.home import Home
from queuectl.pidfile import Identity
from queuectl.processes import UNKILLABLE_WAIT


class Request(NamedTuple):
    """The terms that ``worker-stop`` leaves for a supervisor. ``timeout`` None is the setting.

    ``to`` tells whom it is meant for, as its PID file does. None is whoever reads it: that file could not be read.
    """

    now: bool
    timeout: float | None
    to: Identity | None = None


def longest(timeout: float, kill_grace: float) -> float:
    """Seconds that a stop takes at most, which gives running jobs ``timeout``.

    What cannot be killed is waited for by its worker, and again where the worker itself has to be killed.
    """
    return timeout + kill_grace + 2 * (UNKILLABLE_WAIT + 5)


def write_request(home: Home, request: Request) -> None:
    """Leave a request; whoever wakes the supervisor after this can be sure that it sees it."""
    terms: dict[str, Any] = {"now": request.now, "timeout": request.timeout}
    if request.to is not None:
        terms["to"] = [request.to.pid, request.to.started, request.to.boot, request.to.namespace]
    files.write_atomically(home.stop_request, json.dumps(terms), give=True)


def forget_former_request(home: Home) -> None:
    """Remove a request that was meant for a supervisor before this one, which took its lock just now."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(home.stop_request).st_mtime_ns < os.stat(home.supervisor_lock).st_mtime_ns:
            files.remove(home.stop_request)


def take_request(home: Home) -> Request | None:
    """The request that was left, which is taken away; None when there is none.

    What cannot be understood asks whoever reads it for a graceful stop: somebody wants one.
    """
    if files.read_small(home.stop_request) is None:
        return None
    # A second request that comes in this moment stays, and is taken next.
    taken = f"{home.stop_request}.taken"
    os.replace(home.stop_request, taken)
    text = files.read_small(taken)
    files.remove(taken)
    try:
        terms = json.loads(text or "")
        to = terms.pop("to", None)
        return Request(**terms, to=None if to is None else Identity(*to))
    except (ValueError, TypeError, AttributeError):
        return Request(now=False, timeout=None)


class Stop(NamedTuple):
    """A stop under way. Times are monotonic seconds.

    Until ``ordered``, running jobs may finish by the deadline; after it, workers have until the
    deadline to end them.
    """

    deadline: float
    now: bool = False
    ordered: bool = False

    @property
    def next_step_at(self) -> float:
        """When something is to be done."""
        return self.deadline

    def no_later_than(self, deadline: float) -> Stop:
        """The same stop, with the sooner of two deadlines."""
        return self if self.ordered else self._replace(deadline=min(self.deadline, deadline))

    def enforced(self, deadline: float) -> Stop:
        """The stop after its deadline has passed."""
        return self._replace(ordered=True, deadline=deadline)
