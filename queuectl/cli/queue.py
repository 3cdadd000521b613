"""``init`` and ``status``: the queue as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.summary import PUT_RIGHT, apart, span, status_of, stop_in_words, when
from queuectl.model import DEAD, PENDING, PROCESSING, STATES, Job, Overview, Slot

if TYPE_CHECKING:
    from queuectl.api import Queue


@command(
    "init",
    examples=("queuectl init", "queuectl init builds/queuectl.db"),
    after_help=("A queue that exists already is left as it is.",),
)
@click.argument("path", required=False, metavar="[PATH]")
@pass_app
def cmd_init(app: App, path: str | None) -> None:
    """Create a queue, here or at a path, and print the path."""
    from queuectl.api import Queue

    if path is not None and app.db is not None and path != app.db:
        raise click.UsageError("give the path once: as PATH or as --db")
    named = path if path is not None else app.db
    queue = Queue.init(named)
    if app.json:
        output.emit_json({"database": queue.home.database})
    else:
        output.emit(output.escape(queue.home.database) + "\n")
    if named is not None:
        _say_how_it_is_found(named, queue.home.database)


def _say_how_it_is_found(named: str, database: str) -> None:
    """Tell what to do with a queue that no command finds by itself."""
    from queuectl import home

    by_itself = os.path.basename(named) == home.DATABASE_NAME
    if by_itself or os.path.realpath(os.environ.get(home.ENVIRONMENT_VARIABLE, "")) == database:
        return
    import shlex

    output.note(
        f"only a {home.DATABASE_NAME} is found by itself: use this queue with --db {shlex.quote(named)}, "
        f"or set {home.ENVIRONMENT_VARIABLE} to its path"
    )


@command("status", examples=("queuectl status", "queuectl status --json"))
@pass_app
def cmd_status(app: App) -> None:
    """Show jobs by state, workers, and what comes next."""
    queue = app.existing_queue()
    overview, paused, workers = queue.overview(), queue.paused, status_of(queue.home)
    if app.json:
        output.emit_json(
            {
                "jobs": dict(overview.counts),
                "held": overview.held,
                "blocked": overview.blocked,
                "workers": _workers_in_short(workers),
                "paused": paused,
                "paused_groups": list(overview.paused_groups),
                "oldest_waiting": overview.oldest_waiting and overview.oldest_waiting.as_dict(),
                "next_scheduled": overview.next_scheduled and overview.next_scheduled.as_dict(),
                "next_slot": overview.next_slot and overview.next_slot.as_dict(),
                "database": queue.home.database,
            }
        )
        return
    now = clock.SYSTEM_CLOCK.now()
    output.emit_fields(
        [
            ("queue", queue.home.database),
            ("jobs", _jobs(overview)),
            ("workers", _workers_in_words(workers, overview, _stranded(queue, workers, overview))),
            *([("paused", "nothing starts: 'queuectl resume' lets jobs start again")] if paused else []),
            *([("paused groups", _paused_groups(overview.paused_groups))] if overview.paused_groups else []),
            *([("oldest waiting", _job_in_short(overview.oldest_waiting, now))] if overview.oldest_waiting else []),
            *([("next scheduled", _job_in_short(overview.next_scheduled, now))] if overview.next_scheduled else []),
            *([("next slot", _slot_in_short(overview.next_slot, now))] if overview.next_slot else []),
            *([("dead", "look with 'queuectl dlq list'")] if overview.counts[DEAD] else []),
            *([] if any(overview.counts.values()) else [("hint", "add a job: queuectl enqueue --command 'echo hi'")]),
        ],
        cut=("oldest waiting", "next scheduled"),
    )


def _jobs(overview: Overview) -> str:
    """How many there are in each state, and how many of the pending ones nothing starts by itself."""
    told = {state: f"{overview.counts[state]} {state}" for state in STATES}
    told[PENDING] += apart(overview.held, overview.blocked)
    return ", ".join(told.values())


def _paused_groups(names: Sequence[str]) -> str:
    return f"{', '.join(names)}: 'queuectl resume {' '.join(names)}' lets jobs start again"


def _workers_in_short(status: Mapping[str, Any]) -> dict[str, Any]:
    supervisor = status["supervisor"] or {}
    return {
        "running": len(status["workers"]),
        "busy": sum(worker.get("job") is not None for worker in status["workers"]),
        "supervisor": supervisor.get("pid"),
        "mode": supervisor.get("mode"),
        "stopping": bool(supervisor.get("stopping")),
    }


def _stranded(queue: Queue, status: Mapping[str, Any], overview: Overview) -> int:
    """How many jobs are processing though nobody is left who would end them."""
    if status["running"] or not overview.counts[PROCESSING]:
        return 0
    # Looked at again: a stop that ended between the two looks has handed back all of them.
    return queue.counts()[PROCESSING]


def _workers_in_words(status: Mapping[str, Any], overview: Overview, stranded: int) -> str:
    short = _workers_in_short(status)
    if stranded:
        whose = (
            "1 job is processing: its worker is"
            if stranded == 1
            else f"{stranded} jobs are processing: their workers are"
        )
        return f"none running, but {whose} gone; {PUT_RIGHT}"
    if not status["running"]:
        wanted = overview.counts[PENDING] > 0 or overview.next_slot is not None
        return "none running" + (": start them with 'queuectl worker-start'" if wanted else "")
    stop = stop_in_words(status["supervisor"], clock.SYSTEM_CLOCK.now())
    told = f"{short['running']} running, {short['busy']} busy (supervisor {short['supervisor']}, {short['mode']} mode)"
    return f"{told}, {stop}" if stop else told


def _slot_in_short(slot: Slot, now: int) -> str:
    left = clock.timestamp(slot.at) - now
    return f"{slot.schedule}, {f'in {span(left)}' if left > 0 else f'due for {span(-left)}'}"


def _job_in_short(job: Job, now: int) -> str:
    return f"{job.id}, {when(job, now)}: {output.escape(job.command)}"
