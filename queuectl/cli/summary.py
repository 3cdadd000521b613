"""What several commands tell about a job's time, and about the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl import clock
from queuectl.clock import SECOND
from queuectl.model import PENDING, PROCESSING, Job

if TYPE_CHECKING:
    from queuectl.home import Home


def when(job: Job, now: int) -> str:
    """What a person wants to know about a job's time: how long until, for, or since."""
    if job.state == PENDING:
        if job.held or job.blockers:
            return "held" if job.held else "blocked"
        since = clock.timestamp(job.updated_at)
        due = clock.timestamp(job.next_run_at) if job.next_run_at else since
        return f"in {span(due - now)}" if due > now else f"waits {span(now - max(due, since))}"
    if job.state == PROCESSING:
        word = "cancelling" if job.cancel_requested else "for"
        return f"{word} {span(now - clock.timestamp(job.started_at or job.updated_at))}"
    return f"{span(now - clock.timestamp(job.ended_at or job.updated_at))} ago"


def span(micros: int) -> str:
    """A duration in microseconds, for people."""
    return clock.human(max(0, micros) / SECOND)


def status_of(home: Home) -> dict[str, Any]:
    """The supervisor and the workers of a queue, as ``worker-status --json`` prints them."""
    from queuectl import control

    status: dict[str, Any] = control.status(home)
    return status
