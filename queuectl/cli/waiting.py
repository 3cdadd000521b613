"""``wait``, and how ``enqueue --wait`` and ``cancel --wait`` block until jobs have ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.errors import WaitTimeout
from queuectl.model import CANCELLED, COMPLETED, FAILED, NOT_STARTED, PENDING, SIGNALED, TIMED_OUT, Job

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.waiting import Watch

TIMED_OUT_CODE, CRASHED_CODE, CANCELLED_CODE = 124, 125, 143


@command(
    "wait",
    examples=("queuectl wait", "queuectl wait --timeout 10m", "queuectl wait 1 2 && echo both completed"),
    after_help=(
        "Without ids it waits until nothing is pending or processing any more, and all jobs count for the exit code, "
        "also those that ended before; with --batch, until nothing of that batch is. The exit code for one id is the job's own (128+N for signal N, 124 for its timeout, 125 when it crashed or "
        "could not be started, 143 when it was cancelled). For several, a batch, or all, it is 0 when all completed, else 1. "
        "It is 124 when --timeout ran out, and 130 when interrupted: the jobs go on.",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--batch", metavar="NAME", help="Instead of ids: the jobs of this batch.")
@click.option("--timeout", metavar="D", help="Give up after this time: 90, 90s, 10m, 3h, 2d. The jobs go on.")
@pass_app
def cmd_wait(app: App, ids: Sequence[str], batch: str | None, timeout: str | None) -> int:
    """Block until jobs have ended, with a progress bar."""
    if ids and batch is not None:
        raise click.UsageError("give ids or --batch, not both")
    seconds = None if timeout is None else clock.seconds(timeout, "--timeout")
    queue = app.existing_queue()
    try:
        return wait_for(queue, ids or None, seconds, batch=batch)
    finally:
        if app.json:
            _print_json(queue, ids, batch)


def _print_json(queue: Queue, ids: Sequence[str], batch: str | None) -> None:
    if ids:
        output.emit_json_array([queue.get(job_id).as_dict() for job_id in dict.fromkeys(ids)])
    else:
        output.emit_json({"jobs": queue.counts(batch=batch)})


def wait_for(queue: Queue, ids: Sequence[str] | None, timeout: float | None, *, batch: str | None = None) -> int:
    """Block until jobs (all, or of a batch, when None) have ended, and return the exit code that tells how.

    Raises :class:`~queuectl.errors.WaitTimeout` after ``timeout`` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    single = list(dict.fromkeys(ids or ()))
    watch = queue.watch(ids, batch=batch)
    try:
        # Of a batch, those that ended before the wait began are shown, too.
        block(queue, watch, ids if batch is None else (), deadline)
        if len(single) != 1:
            return _code_of_several(watch, ids, batch)
        job = queue.get(single[0])
        while not job.ended:  # somebody ran it again meanwhile
            watch.look()
            block(queue, watch, ids, deadline)
            job = queue.get(single[0])
    except WaitTimeout as error:
        after = clock.human(timeout or 0).replace(".0s", "s")
        if len(single) == 1:
            raise WaitTimeout(f"job {single[0]} had not ended after {after}; it goes on") from error
        raise WaitTimeout(f"not all had ended after {after}; they go on") from error
    except KeyboardInterrupt:
        output.note("interrupted; the jobs go on")
        raise
    return _code_of_one(job)


def _code_of_several(watch: Watch, ids: Sequence[str] | None, batch: str | None) -> int:
    if watch.all_completed:
        return 0
    chosen = "" if batch is None else f"--batch {batch} "
    is_of_all = ids is None and batch is None
    of_all = " (of all jobs, also those that ended before; 'queuectl wait ID...' tells of some)" if is_of_all else ""
    output.note(f"not all completed{of_all}: see 'queuectl list {chosen}--state dead,cancelled'")
    return 1


def _code_of_one(job: Job) -> int:
    code = exit_code(job)
    if job.state != COMPLETED:
        # What never started has no log.
        command = "why" if job.outcome in (None, NOT_STARTED) else "logs"
        output.note(f"job {job.id} is {job.state} ({job.reason or job.outcome}): see 'queuectl {command} {job.id}'")
    return code


def exit_code(job: Job) -> int:
    """What a job that has ended is to a shell."""
    if job.state == COMPLETED:
        return 0
    if job.state == CANCELLED:
        return CANCELLED_CODE
    if job.outcome == TIMED_OUT:
        return TIMED_OUT_CODE
    if job.outcome == SIGNALED and job.signal:
        return 128 + job.signal
    # What crashed may have had an exit code, too: that of its last moments, while it was ended.
    return (job.exit_code if job.outcome == FAILED else None) or CRASHED_CODE


_HINT_AFTER = 1.0
"""Seconds after which a script that waits in vain is told, too."""
_LOOK_AGAIN = 5.0
"""Seconds between two looks whether there is something to tell."""


def block(queue: Queue, watch: Watch, ids: Collection[str] | None, deadline: float | None) -> None:
    """Wait until a watch is over; draw how far things are where somebody looks on."""
    if watch.over:
        return
    hint = Hint(queue)
    with _display(watch.counts, ids) as display:
        while not watch.over:
            left = 1.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout("time is up")
            hint.give_in_time(watch.counts[PENDING] > 0, ids is None)
            watch.pause(left)
            watch.look()
            display.show(watch.counts)


class Hint:
    """Tells somebody who waits that nothing is going to happen: once, and a script only after a while.

    Workers may vanish, and a queue be paused, at any time: so it looks again and again.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._knows_groups = False
        self._due: float | None = time.monotonic() + (0 if output.stderr_on_terminal() else _HINT_AFTER)

    def give_in_time(self, is_any_waiting: bool = False, of_all: bool = False) -> None:
        """Say it when it is time to, and true: of a pause where jobs wait that it may concern, of groups where all do."""
        if self._due is None or time.monotonic() < self._due:
            return
        hint = self._hint(is_any_waiting, of_all)
        self._due = time.monotonic() + _LOOK_AGAIN if hint is None else None
        if hint is not None:
            output.note(hint)

    def _hint(self, is_any_waiting: bool, of_all: bool) -> str | None:
        from queuectl import control
        from queuectl.cli.summary import QUEUE_IS_PAUSED, WORKERS_ARE_STOPPING, pause_of_groups

        if not control.is_running(self._queue.home):
            return "no workers are running: start them with 'queuectl worker-start'"
        if not is_any_waiting:
            return None
        if control.is_stopping(self._queue.home):
            return WORKERS_ARE_STOPPING
        if self._queue.paused:
            return QUEUE_IS_PAUSED
        if not of_all or self._knows_groups:
            return None
        self._knows_groups = True  # of a large queue, to look at them takes a while
        paused = [each.name for each in self._queue.groups() if each.paused and each.pending]
        return pause_of_groups(paused) if paused else None


class _Display(Protocol):
    def show(self, counts: Mapping[str, int]) -> None:
        """Bring the picture up to date."""


class _Nothing:
    def show(self, counts: Mapping[str, int]) -> None:
        pass


@contextmanager
def _display(counts: Mapping[str, int], ids: Collection[str] | None) -> Iterator[_Display]:
    if not output.stderr_on_terminal():
        yield _Nothing()
        return
    from queuectl.cli.progress import Bar

    # Of all jobs, those that ended long ago are not what is waited for.
    with Bar(counts if ids is None else {}) as bar:
        bar.show(counts)
        yield bar
