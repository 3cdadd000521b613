"""``watch``: the live picture of a queue, or where nobody looks on, one picture."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.output import STATE_STYLES, Column
from queuectl.cli.summary import apart, span, stop_in_words, when
from queuectl.model import PENDING, STATES, GroupState

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.observer import Observer, Picture, Worker

_PATIENCE = 1.0
"""Seconds that a look waits for a locked database before it says so. Keys wait as long."""

_WORKERS = (
    Column("WORKER", spare=True),
    Column("STATE", styles={**STATE_STYLES, "idle": "green", "lost": "red"}),
    Column("JOB", cut=True),
    Column("FOR", right=True, spare=True),
    Column("TRY", right=True, spare=True),
    Column("COMMAND", cut=True),
)
_GROUPS = (
    Column("GROUP", cut=True),
    Column("LIMIT", right=True),
    Column("RUNNING", right=True),
    Column("WAITING", right=True),
    Column("STATE", styles={"paused": "yellow"}),
)
_FAILURES = (
    Column("FAILED", cut=True),
    Column("STATE", styles=STATE_STYLES),
    Column("WHEN", spare=True),
    Column("REASON", cut=True),
    Column("COMMAND", cut=True),
)


@command(
    "watch",
    examples=("queuectl watch", "queuectl watch | head -5", "queuectl watch --json"),
    after_help=(
        "Select a job with the arrow keys, or j and k. Enter shows its log, c cancels it, r runs a dead one again, "
        "? tells of all keys, q quits. Where standard output is no terminal, one picture is printed.",
    ),
)
@pass_app
def cmd_watch(app: App) -> int:
    """Watch jobs and workers live, and act on them with a key."""
    queue = app.existing_queue(busy_timeout=_PATIENCE)
    observer = queue.observe()
    picture = observer.look()
    if app.json:
        output.emit_json({"database": queue.home.database, **picture.as_dict()})
    elif output.on_terminal() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", ""):
        return _watch(queue, observer, picture)
    else:
        _print(queue, picture)
    return 0


def _watch(queue: Queue, observer: Observer, picture: Picture) -> int:
    """Watch at the terminal. A signal ends us as it would have without; the terminal is as it was by then."""
    from queuectl.cli.live.session import Session
    from queuectl.cli.live.terminal import Ended, Hangup, Terminal

    try:
        with Terminal() as terminal:
            Session(queue, observer, picture, terminal).run()
    except Hangup:
        output.discard_stdout()
        return 128 + signal.SIGHUP
    except Ended as end:
        if end.number == signal.SIGINT:
            raise KeyboardInterrupt from end
        sys.stdout.flush()
        signal.signal(end.number, signal.SIG_DFL)
        os.kill(os.getpid(), end.number)
        return 128 + end.number  # PID 1 is not ended by a signal
    return 0


def _print(queue: Queue, picture: Picture) -> None:
    now = clock.SYSTEM_CLOCK.now()
    counts = {state: f"{picture.counts[state]} {state}" for state in STATES}
    counts[PENDING] += apart(picture.held, picture.blocked, picture.scheduled)
    upcoming = picture.next_scheduled
    output.emit_fields(
        [
            ("queue", queue.home.database),
            ("jobs", ", ".join(counts.values())),
            ("workers", _crew(picture, now)),
            ("pace", _pace(picture)),
            *(
                [("next", f"{upcoming.id}, {when(upcoming, now)}: {output.escape(upcoming.command)}")]
                if upcoming
                else []
            ),
        ],
        cut=("next",),
    )
    if picture.workers:
        output.emit("\n")
        output.emit_table(_WORKERS, [_worker(worker, now) for worker in picture.workers])
    if picture.has_groups:
        output.emit("\n")
        output.emit_table(_GROUPS, [_group(group, picture.paused) for group in picture.groups])
    if picture.failures:
        output.emit("\n")
        rows = [
            [job.id, job.state, when(job, now), job.reason or job.outcome or "-", job.command]
            for job in picture.failures
        ]
        output.emit_table(_FAILURES, rows)


def _group(group: GroupState, all_paused: bool) -> list[str]:
    limit = "none" if group.limit is None else str(group.limit)
    state = "paused" if group.paused or all_paused else "open"
    return [group.name, limit, str(group.processing), str(group.pending), state]


def _crew(picture: Picture, now: int) -> str:
    if picture.supervisor is None:
        return "none running"
    busy = sum(worker.job is not None for worker in picture.workers)
    stop = stop_in_words(picture.supervisor, now)
    return f"{len(picture.workers)} running, {busy} busy" + (f", {stop}" if stop else "")


def _pace(picture: Picture) -> str:
    if picture.paused:
        return "paused: 'queuectl resume' lets jobs start again"
    if picture.rate is None:
        return "-"
    left = picture.seconds_left
    return f"{picture.rate:.2f} jobs a second" + ("" if left is None else f", {clock.human(left)} left")


def _worker(worker: Worker, now: int) -> list[str]:
    job = worker.job
    if job is None:
        return [worker.name, worker.state, "-", "-", "-", "-"]
    running = span(now - clock.timestamp(job.started_at or job.updated_at))
    return [worker.name, worker.state, job.id, running, f"{job.attempts}/{job.max_retries + 1}", job.command]
