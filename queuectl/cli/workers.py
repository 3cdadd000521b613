"""``worker-run``, ``worker-start``, ``worker-stop``, ``worker-status``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.output import STATE_STYLES, Column
from queuectl.cli.summary import status_of, stop_in_words
from queuectl.errors import InvalidInput, QueueError
from queuectl.model import PROCESSING

if TYPE_CHECKING:
    from queuectl.home import Home

MOST_WORKERS = 512
_NOT_RUNNING = 3
_PATIENCE = 1.0
"""Seconds that a locked database is waited for, to tell what a stop waits for."""

_TABLE = (
    Column("WORKER"),
    Column("PID", right=True),
    Column("STATE", styles={**STATE_STYLES, "busy": "cyan", "idle": "green"}),
    Column("JOB", cut=True),
    Column("ATTEMPT", right=True, spare=True),
    Column("FOR", right=True, spare=True),
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that ``worker-run`` and ``worker-start`` have in common."""
    for option in (
        click.option("--drain", is_flag=True, help="Exit when nothing is left that may run without further help."),
        click.option(
            "--mode",
            type=click.Choice(["process", "thread"]),
            default="process",
            help="A process a worker (the default), or all as threads of one.",
        ),
        click.option("--count", metavar="N", help=f"Workers, 1 to {MOST_WORKERS} (default: the number of CPUs)."),
    ):
        function = option(function)
    return function


@command(
    "worker-run",
    examples=("queuectl worker-run --count 2 --drain", "queuectl worker-run --mode thread --drain"),
    after_help=(
        "Ctrl-C, or TERM, stops gracefully: running jobs may finish for as long as the setting stop_timeout says. "
        "A second one stops at once. --drain waits for running and due jobs and retries, not for jobs scheduled for "
        "later.",
    ),
)
@_options
@pass_app
def cmd_worker_run(app: App, count: str | None, mode: str, drain: bool) -> int:
    """Run workers in the foreground."""
    workers = worker_count(count)
    home = _made_home(app)
    from queuectl import launch

    return launch.run(home, workers, mode, drain)


@command(
    "worker-start",
    examples=("queuectl worker-start --count 2", "queuectl worker-stop"),
    after_help=(
        "Prints the supervisor's PID once all workers are ready. They go on when you log out, until 'queuectl worker-stop'. What they do: 'queuectl worker-status'.",
    ),
)
@_options
@pass_app
def cmd_worker_start(app: App, count: str | None, mode: str, drain: bool) -> None:
    """Start workers in the background."""
    workers = worker_count(count)
    output.probe()
    home = _made_home(app)
    from queuectl import launch

    try:
        pid = launch.start(home, workers, mode, drain)
    except KeyboardInterrupt:
        output.note("interrupted; the workers that were being started have been told to stop")
        raise
    if app.json:
        output.emit_json({"pid": pid, "count": workers, "mode": mode})
    else:
        output.emit(f"{pid}\n")


@command(
    "worker-stop",
    examples=("queuectl worker-stop", "queuectl worker-stop --timeout 5m", "queuectl worker-stop --now"),
    after_help=(
        "No new jobs are started, and running ones may finish until --timeout. Then they get SIGTERM, SIGKILL after "
        "the setting kill_grace, and are handed back: they run again from their beginning, and are charged nothing.",
    ),
)
@click.option("--timeout", metavar="D", help="How long running jobs may go on (default: the setting stop_timeout).")
@click.option("--now", is_flag=True, help="SIGKILL running jobs at once, and hand them back.")
@pass_app
def cmd_worker_stop(app: App, timeout: str | None, now: bool) -> None:
    """Stop the workers, and return when all are gone."""
    if now and timeout is not None:
        raise click.UsageError("--now and --timeout exclude each other: give one of them")
    seconds = None if timeout is None else clock.seconds(timeout, "--timeout")
    queue = app.queue()
    from queuectl import control, shutdown

    if not control.is_running(queue.home):
        with contextlib.suppress(InvalidInput):  # of the settings, which a stop needs none of
            queue.require()  # workers that run can be stopped, whatever became of their queue
    asked = False

    def tell() -> None:
        nonlocal asked
        asked = True
        if output.stderr_on_terminal() and not now:
            _tell_what_is_waited_for(queue.home, seconds)

    try:
        stopped = shutdown.stop(queue.home, seconds, now, on_asked=tell)
    except KeyboardInterrupt:
        if asked:
            output.note("interrupted; the workers go on stopping")
        raise
    if app.json:
        output.emit_json({"stopped": stopped})
    else:
        output.note("the workers have stopped" if stopped else "no workers are running")


def _tell_what_is_waited_for(home: Home, timeout: float | None) -> None:
    """Say which jobs a stop waits for, and how long. It is under way, so that nothing here may end with an error."""
    from queuectl import settings
    from queuectl.api import Queue

    patience = settings.load_or_defaults(home.settings).stop_timeout if timeout is None else timeout
    with contextlib.suppress(QueueError):
        ids = [job.id for job in Queue(home.database, busy_timeout=_PATIENCE).jobs(PROCESSING)]
        if ids and patience:
            what, them = (f"job {ids[0]}", "it") if len(ids) == 1 else (f"{len(ids)} jobs", "them")
            most = clock.human(patience).replace(".0s", "s")
            output.note(f"waiting for {what}, for {most} at most; 'queuectl worker-stop --now' ends {them} at once")


@command(
    "worker-status",
    examples=("queuectl worker-status", "queuectl worker-status --json"),
    after_help=("The exit code is 3 when no workers are running.",),
)
@pass_app
def cmd_worker_status(app: App) -> int:
    """Show the workers and what each of them runs."""
    status = status_of(app.existing_queue().home)
    if app.json:
        output.emit_json(status)
    elif status["running"]:
        _print_status(status)
    else:
        output.note("no workers are running: start them with 'queuectl worker-start'")
    return 0 if status["running"] else _NOT_RUNNING


def _print_status(status: dict[str, Any]) -> None:
    supervisor, workers = status["supervisor"] or {}, status["workers"]
    now = clock.SYSTEM_CLOCK.now()
    told = (
        f"supervisor {supervisor.get('pid', '-')}, {supervisor.get('mode', '-')} mode, "
        f"{len(workers)} {'worker' if len(workers) == 1 else 'workers'}, "
        f"up for {_since(supervisor.get('started_at'), now)}"
    )
    stop = stop_in_words(supervisor, now)
    output.emit(output.escape(told + (f", {stop}" if stop else "")) + "\n\n")
    rows = [
        [
            str(worker["name"]),
            str(worker["pid"]),
            str(worker.get("state") or ("busy" if worker.get("job") is not None else "idle")),
            str(worker["job"]) if worker.get("job") is not None else "-",
            str(worker.get("attempt") or "-"),
            _since(worker.get("started_at"), now),
        ]
        for worker in workers
    ]
    output.emit_table(_TABLE, rows)


def _since(moment: Any, now: int) -> str:
    if not isinstance(moment, str):
        return "-"
    return clock.human(max(0, now - clock.timestamp(moment)) / clock.SECOND)


def worker_count(text: str | None) -> int:
    """How many workers are asked for. Raises :class:`InvalidInput`."""
    if text is None:
        return min(_usable_cpus(), MOST_WORKERS)
    if not (text.strip().isascii() and text.strip().isdigit() and 1 <= int(text[:9]) <= MOST_WORKERS):
        raise InvalidInput(f"--count: {text[:40]!r} is not a whole number from 1 to {MOST_WORKERS}")
    return int(text)


def _usable_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _made_home(app: App) -> Home:
    """The home of the queue, made where its path was named; no database is open any more."""
    queue = app.queue()
    queue.make()
    queue.close()
    _tell_foreign_owner(queue.home)
    return queue.home


def _tell_foreign_owner(home: Home) -> None:
    """Say so when others decide what our workers run: in a directory of theirs, we may not know of their queue."""
    if (owner := home.foreign_owner) is not None:
        output.note(f"{home.database} belongs to {owner}: its jobs run with your rights")
