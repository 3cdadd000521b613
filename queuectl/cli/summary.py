"""What several commands tell about a job's time, and about the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queuectl import clock
from queuectl.clock import SECOND
from queuectl.model import PENDING, PROCESSING, Job

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.home import Home

PUT_RIGHT = "run 'queuectl worker-start', which puts it right"
"""What helps where a supervisor and its workers died at one stroke."""

QUEUE_IS_PAUSED = "the whole queue is paused: 'queuectl resume' lets jobs start again"


def pause_of_groups(names: Sequence[str]) -> str:
    """That some groups are paused, and what lets their jobs start again."""
    what = f"group {names[0]} is" if len(names) == 1 else f"groups {', '.join(names)} are"
    return f"{what} paused: 'queuectl resume {' '.join(names)}' lets jobs start again"


def when(job: Job, now: int) -> str:
    """What a person wants to know about a job's time: how long until, for, or since."""
    if job.state == PENDING:
        if job.held or job.blockers:
            return "held" if job.held else "blocked"
        since = clock.timestamp(job.updated_at)
        due = clock.timestamp(job.next_run_at) if job.next_run_at else since
        return f"in {span(due - now)}" if due > now else f"waits {span(now - max(due, since))}"
    if job.state == PROCESSING:
        if job.started_at is None:
            return "starting"
        word = "cancelling" if job.cancel_requested else "for"
        return f"{word} {span(now - clock.timestamp(job.started_at))}"
    return f"{span(now - clock.timestamp(job.ended_at or job.updated_at))} ago"


def apart(held: int, blocked: int, scheduled: int = 0, shown: Callable[[int], str] = str) -> str:
    """Which of the pending jobs no worker takes as it is, to be put behind their number: `` (2 held)``."""
    kinds = {"held": held, "blocked": blocked, "for later": scheduled}
    told = ", ".join(f"{shown(number)} {kind}" for kind, number in kinds.items() if number)
    return f" ({told})" if told else ""


def span(micros: int) -> str:
    """A duration in microseconds, for people."""
    return clock.human(max(0, micros) / SECOND)


WORKERS_ARE_STOPPING = "the workers are stopping: 'queuectl worker-start' once they are gone"
"""What is said to somebody whose jobs wait for workers that start no more."""


def stop_in_words(supervisor: Mapping[str, Any] | None, now: int) -> str:
    """What a stop that is under way leaves to running jobs; empty when there is none."""
    if supervisor is None or not supervisor.get("stopping"):
        return ""
    end = supervisor.get("jobs_end_by")
    left = clock.timestamp(end) - now if isinstance(end, str) else 0
    return f"stopping: running jobs have {span(left)} left" if left > 0 else "stopping: running jobs are being ended"


def is_stranded(queue: Queue, job_id: str) -> bool:
    """Whether a job is processing though no supervisor runs: its worker died, and nobody is left to notice that."""
    from queuectl import control

    # The lock first: who lets go of it has handed back all jobs.
    return not control.is_running(queue.home) and queue.get(job_id).state == PROCESSING


def status_of(home: Home) -> dict[str, Any]:
    """The supervisor and the workers of a queue, as ``worker-status --json`` prints them."""
    from queuectl import control

    status: dict[str, Any] = control.status(home)
    return status
