"""Why a job is in the state that it is in, in one line."""

from __future__ import annotations

from queuectl import clock
from queuectl.api import Queue
from queuectl.cli.summary import WORKERS_ARE_STOPPING, span, status_of
from queuectl.model import CANCELLED, COMPLETED, DEAD, ENDED, NOT_STARTED, PENDING, PROCESSING, SUCCEEDED, Job

_SHOWN = 5
_FARTHEST = 1000
"""Jobs that a chain of them is followed over."""
_SINCE_CHANGED = "that has changed this very moment: ask again"


def reason(queue: Queue, job: Job) -> str:
    """What a job waits for, what it does, or how it ended."""
    if job.state == PENDING:
        return _waits_for(queue, job)
    if job.state == PROCESSING:
        return _runs(queue, job)
    if job.state == COMPLETED:
        return f"its attempt {_last_number(queue, job)} succeeded"
    if job.state == CANCELLED:
        return job.reason or "cancelled"
    tried = f"after {job.attempts} of at most {job.max_retries + 1} attempts"
    see = "" if job.outcome == NOT_STARTED else f": see 'queuectl logs {job.id}'"
    return f"{job.reason or job.outcome}, {tried}{see}"


def _runs(queue: Queue, job: Job) -> str:
    for_ = span(clock.SYSTEM_CLOCK.now() - clock.timestamp(job.started_at or job.updated_at))
    if job.cancel_requested:
        return f"it was cancelled, and {job.worker} ends it"
    if not status_of(queue.home)["running"]:
        return "its workers are gone: 'queuectl worker-start' runs it again"
    return f"{job.worker} has run it for {for_}" if job.started_at else f"{job.worker} is about to start it"


def _last_number(queue: Queue, job: Job) -> int:
    return next(each.number for each in reversed(queue.attempts(job.id)) if each.outcome == SUCCEEDED)


def _waits_for(queue: Queue, job: Job) -> str:
    """The first thing that stands in its way, in the order in which they would have to be removed."""
    if job.held:
        return f"held until 'queuectl release {job.id}'"
    if job.blockers:
        return _other_jobs(queue, job)
    now = clock.SYSTEM_CLOCK.now()
    due = clock.timestamp(job.next_run_at) if job.next_run_at else now
    if due > now:
        after = f", after: {job.reason}" if job.attempts and job.reason else ""
        return f"starts in {span(due - now)}{after}"
    return _would_run(queue, job)


def _would_run(queue: Queue, job: Job) -> str:
    """What keeps a job waiting that may run."""
    group = next((each for each in queue.groups() if each.name == job.group), None)
    if group is None:
        return _SINCE_CHANGED
    if queue.paused:
        return "the whole queue is paused until 'queuectl resume'"
    if group.paused:
        return f"its group {group.name} is paused until 'queuectl resume {group.name}'"
    if lack := _lack_of_workers(queue):
        return lack
    if group.limit is not None and group.processing >= group.limit:
        return f"its group {group.name} has reached its limit of {group.limit} at once"
    return "ready: it starts when its turn comes and a worker is free"


def _lack_of_workers(queue: Queue) -> str | None:
    """Why no worker takes any job; None where some do."""
    workers = status_of(queue.home)
    if not workers["running"]:
        return "no workers run: start them with 'queuectl worker-start'"
    return WORKERS_ARE_STOPPING if workers["supervisor"].get("stopping") else None


def _other_jobs(queue: Queue, job: Job) -> str:
    needed = [each for each in queue.needs(job.id) if each.state not in ENDED]
    roots = {each.id: _root(queue, each.id) for each in needed[:_SHOWN] if each.state == PENDING}
    # Of several, one that is held waits for somebody.
    followed = next((each for each, root in roots.items() if root and root.held), next(iter(roots), None))
    root = roots[followed] if followed else None
    cause = f"({root.state}: {reason(queue, root)})" if root else ""
    shown = ", ".join(
        f"{each.id} {cause}" if root and each.id == root.id else f"{each.id} ({each.state})" for each in needed[:_SHOWN]
    )
    more = f" and {len(needed) - _SHOWN} more" if len(needed) > _SHOWN else ""
    last = f", in the end for job {root.id} {cause}" if root and root.id != followed else ""
    return f"waits for {'job' if len(needed) == 1 else 'jobs'} {shown}{more}{last}"


def _root(queue: Queue, job_id: str) -> Job | None:
    """What a waiting job waits for at last: the first that waits for no other job; None when that cannot be told."""
    for _ in range(_FARTHEST):
        job = queue.get(job_id)
        if job.held or not job.blockers:
            return job if job.state in (PENDING, PROCESSING) else None
        needed = [each for each in queue.needs(job_id) if each.state not in ENDED]
        if not needed:
            return None
        job_id = next((each.id for each in needed if each.state == PENDING), needed[0].id)
    return None


def next_step(queue: Queue, job: Job) -> str:
    """What can be done about a job that is dead or cancelled, as the end of a sentence; empty when there is nothing."""
    # One with a key may have given way to another, and a retry would be refused.
    if job.state not in (DEAD, CANCELLED) or (job.state == CANCELLED and job.unique is not None):
        return ""
    way = queue.way_back(job.id)
    return f"; '{way}' puts it back" if way else ""
