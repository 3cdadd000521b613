"""A stop: what was asked for, and how far it has come."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace

from queuectl import files
from queuectl.home import Home


@dataclass(frozen=True)
class Request:
    """The terms that ``worker-stop`` leaves for the supervisor. ``timeout`` None is the setting."""

    now: bool
    timeout: float | None


def write_request(home: Home, request: Request) -> None:
    """Leave a request; whoever wakes the supervisor after this can be sure that it sees it."""
    files.write_atomically(home.stop_request, json.dumps(request.__dict__), give=True)


def forget_former_request(home: Home) -> None:
    """Remove a request that was meant for a supervisor before this one, which took its lock just now."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(home.stop_request).st_mtime_ns < os.stat(home.supervisor_lock).st_mtime_ns:
            files.remove(home.stop_request)


def read_request(home: Home) -> Request | None:
    """The request that was left; None when there is none."""
    text = files.read_small(home.stop_request)
    if text is None:
        return None
    try:
        return Request(**json.loads(text))
    except (ValueError, TypeError):
        return Request(now=False, timeout=None)


@dataclass(frozen=True)
class Stop:
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
        return self if self.ordered else replace(self, deadline=min(self.deadline, deadline))

    def enforced(self, deadline: float) -> Stop:
        """The stop after its deadline has passed."""
        return replace(self, ordered=True, deadline=deadline)
