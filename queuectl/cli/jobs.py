"""``list``, ``show``, ``cancel``, ``retry``: jobs that are there already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.output import STATE_STYLES, Column
from queuectl.cli.summary import PUT_RIGHT, is_stranded, span, when
from queuectl.errors import Conflict, InvalidInput, did_you_mean
from queuectl.model import CANCELLED, DEFAULT_GROUP, PENDING, PROCESSING, STATES, Attempt, Job, Needed

if TYPE_CHECKING:
    from queuectl.api import Queue

_MOST_DIGITS = 18
"""Of a number that is given to a command; SQLite has no more than these."""
_ALIASES = {"queued": "pending", "running": "processing", "done": "completed", "failed": "dead"}

with_dependents_option = click.option(
    "--with-dependents", is_flag=True, help="Also those that were cancelled because they needed one of these."
)
hold_option = click.option(
    "--hold", is_flag=True, help="Held until 'queuectl release': 'queuectl edit' can mend them before they start."
)

_LIST = (
    Column("ID", cut=True),
    Column("STATE", styles=STATE_STYLES),
    Column("ATTEMPTS", right=True, spare=True),
    Column("WHEN", spare=True),
    Column("COMMAND", cut=True),
)
_ATTEMPTS = (
    Column("#", right=True),
    Column("STARTED", spare=True),
    Column("TOOK", right=True, spare=True),
    Column("OUTCOME", styles=STATE_STYLES),
    Column("CPU", right=True, spare=True),
    Column("MEMORY", right=True, spare=True),
    Column("WORKER", cut=True, spare=True),
    Column("REASON", cut=True),
)


@command(
    "list",
    examples=(
        "queuectl list",
        "queuectl list --state pending,processing --limit 20",
        "queuectl list --json",
        "queuectl enqueue --batch night --command true && queuectl list --batch night",
    ),
    after_help=(
        "States are pending, processing, completed, dead and cancelled; queued, running, done and failed mean "
        "the first four.",
    ),
)
@click.option("--state", metavar="S[,S...]", multiple=True, help="Only jobs in these states.")
@click.option("--limit", metavar="N", help="At most the first N.")
@click.option("--batch", metavar="NAME", help="Only the jobs of this batch.")
@pass_app
def cmd_list(app: App, state: Sequence[str], limit: str | None, batch: str | None) -> None:
    """List jobs in the order of enqueue."""
    states = [known_state(name) for text in state for name in text.split(",")]
    most = None if limit is None else count(limit, "--limit")
    print_jobs(app, app.existing_queue().jobs(states, most, batch=batch))


def known_state(name: str) -> str:
    """The state that a user means. Raises :class:`InvalidInput`."""
    wanted = name.strip().lower()
    wanted = _ALIASES.get(wanted, wanted)
    if wanted in STATES:
        return wanted
    hint = did_you_mean(wanted, [*STATES, *_ALIASES]) or f" (there are {', '.join(STATES)})"
    raise InvalidInput(f"no state {name[:60]!r}{hint}")


def count(text: str, what: str, least: int = 0) -> int:
    """A whole number, ``least`` or more. Raises :class:`InvalidInput`."""
    is_number = text.strip().isascii() and text.strip().isdigit()
    if is_number and len(text.strip()) > _MOST_DIGITS:
        raise InvalidInput(f"{what}: {text[:40]!r} is too large: give at most {'9' * _MOST_DIGITS}")
    if not is_number or int(text) < least:
        raise InvalidInput(f"{what}: {text[:40]!r} is not a whole number, {least} or more")
    return int(text)


def print_jobs(app: App, jobs: Sequence[Job]) -> None:
    """Print jobs as a table, or as JSON."""
    if app.json:
        output.emit_json_array(job.as_dict() for job in jobs)
        return
    now = clock.SYSTEM_CLOCK.now()
    rows = [[job.id, job.state, f"{job.attempts}/{job.max_retries + 1}", when(job, now), job.command] for job in jobs]
    output.emit_table(_LIST, rows)


@command("show", examples=("queuectl show 1", "queuectl show 1 --json"))
@click.argument("job_id", metavar="ID")
@pass_app
def cmd_show(app: App, job_id: str) -> None:
    """Show one job with all its attempts."""
    queue = app.existing_queue()
    job, attempts = queue.get(job_id), queue.attempts(job_id)
    needs = queue.needs(job_id)
    if app.json:
        after = [each.id for each in needs if not each.however]
        after_any = [each.id for each in needs if each.however]
        more = {"after": after, "after_any": after_any}
        output.emit_json({**job.as_dict(), **more, "attempt_history": [attempt.as_dict() for attempt in attempts]})
        return
    output.emit_fields(_details(queue, job, needs, attempts))
    if attempts:
        output.emit("\n")
        output.emit_table(_ATTEMPTS, [_attempt_row(attempt) for attempt in attempts])
    for attempt in attempts:
        if attempt.leftover:
            output.emit(output.escape(f"attempt {attempt.number} left running: {', '.join(attempt.leftover)}") + "\n")


def _details(queue: Queue, job: Job, needs: Sequence[Needed], attempts: Sequence[Attempt]) -> list[tuple[str, str]]:
    now = clock.SYSTEM_CLOCK.now()
    in_all = f" ({len(attempts)} in all)" if len(attempts) > job.attempts else ""
    fields: list[tuple[str, str | None]] = [
        ("id", job.id),
        ("state", _state(queue, job)),
        ("command", job.command),
        ("directory", job.cwd),
        ("environment", "\n".join(_variables(job))),
        ("priority", str(job.priority) if job.priority else None),
        ("group", job.group if job.group != DEFAULT_GROUP else None),
        ("unique key", job.unique),
        ("after", ", ".join(f"{each.id} ({each.state})" for each in needs if not each.however)),
        ("after any end", ", ".join(f"{each.id} ({each.state})" for each in needs if each.however)),
        ("attempts", f"{job.attempts} of at most {job.max_retries + 1}{in_all}"),
        ("batch", job.batch),
        ("retry on", _codes(job.retry_on)),
        ("no retry on", _codes(job.no_retry_on)),
        ("backoff base", None if job.backoff_base is None else f"{job.backoff_base:g}"),
        ("timeout", _timeout(queue, job)),
        ("created", _moment(job.created_at)),
        ("next start", f"{_moment(job.next_run_at)} ({when(job, now)})" if job.next_run_at else None),
        ("waits", when(job, now) if job.held or (job.state == PENDING and job.blockers) else None),
        ("started", f"{_moment(job.started_at)} by {job.worker}" if job.worker and job.started_at else None),
        ("ended", f"{_moment(job.ended_at or job.updated_at)} ({when(job, now)})" if job.ended else None),
        ("log", _log(queue.home.log(job.id), attempts)),
    ]
    return [(name, value) for name, value in fields if value]


def _log(path: str, attempts: Sequence[Attempt]) -> str | None:
    if os.path.lexists(path):
        return path
    return f"missing: {path} (see 'queuectl doctor')" if any(attempt.log_bytes for attempt in attempts) else None


def _state(queue: Queue, job: Job) -> str:
    if job.state == PROCESSING:
        # The reason is still that of the attempt before.
        return f"processing, but its worker is gone: {PUT_RIGHT}" if is_stranded(queue, job.id) else job.state
    if not job.reason:
        return job.state
    return f"{job.state}, after: {job.reason}" if job.state == PENDING else f"{job.state}: {job.reason}"


def _variables(job: Job) -> Iterator[str]:
    yield from (f"{name}={value}" for name, value in job.env.items())
    yield from (f"{name} (hidden)" for name in job.export if name not in job.env)


def _codes(codes: str | None) -> str | None:
    return None if codes is None else f"exit code {codes}"


def _timeout(queue: Queue, job: Job) -> str:
    seconds = queue.settings.job_timeout if job.timeout is None else job.timeout
    text = clock.human(seconds) if seconds else "none"
    return f"{text} (the setting job_timeout)" if job.timeout is None else text


def _moment(text: str | None) -> str:
    """A time to the second: enough for the eye."""
    return f"{text[:10]} {text[11:19]}Z" if text else "-"


def _attempt_row(attempt: Attempt) -> list[str]:
    took = "-"
    if attempt.ended_at is not None:
        took = span(clock.timestamp(attempt.ended_at) - clock.timestamp(attempt.started_at))
    return [
        str(attempt.number),
        _moment(attempt.started_at),
        took,
        attempt.outcome or "running",
        "-" if attempt.cpu_seconds is None else f"{attempt.cpu_seconds:.2f}s",
        "-" if attempt.max_rss_bytes is None else f"{attempt.max_rss_bytes / 2**20:.1f}M",
        attempt.worker or "-",
        attempt.reason or "",
    ]


@command(
    "cancel",
    examples=("queuectl cancel 1", "queuectl cancel --wait 2 3"),
    after_help=(
        "A waiting job is cancelled at once. A running one gets SIGTERM, and SIGKILL after the setting kill_grace; "
        "--wait returns once it is gone. Of several ids all are dealt with or, when one is bad, none. "
        "--batch NAME cancels those of a batch that wait or run, and leaves alone what has ended.",
    ),
)
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--batch", metavar="NAME", help="Instead of ids: the jobs of this batch.")
@click.option("--wait", is_flag=True, help="Return only when the jobs are gone.")
@pass_app
def cmd_cancel(app: App, ids: Sequence[str], batch: str | None, wait: bool) -> None:
    """Stop waiting or running jobs."""
    check_ids_or_batch(ids, batch)
    queue = app.existing_queue()
    already = 0
    if batch is None:
        already = sum(queue.get(job_id).state == CANCELLED for job_id in set(ids))
        queue.cancel(*ids)
    else:
        ids = queue.cancel_batch(batch)
    if wait:
        from queuectl.cli.waiting import block

        try:
            block(queue, queue.watch(ids), ids, None)
        except KeyboardInterrupt:
            output.note("interrupted; the jobs are cancelled, and what still ran of them goes on ending")
            raise
    jobs = [queue.get(job_id) for job_id in dict.fromkeys(ids)]
    ending = sum(job.state == PROCESSING for job in jobs)
    still = "" if not ending else ", still ending" if ending == len(jobs) else f", {ending} still ending"
    report(app, jobs, f"cancelled{still}", already, "cancelled already")
    if any(is_stranded(queue, job.id) for job in jobs if job.state == PROCESSING):
        output.note(f"nobody is left to end what is processing: {PUT_RIGHT}")


@command(
    "retry",
    examples=("queuectl retry 1", "queuectl retry 2 3", "queuectl retry 1 --with-dependents"),
    after_help=(
        "Jobs that have ended, however they did, run again with all their retries; their history is kept. "
        "Of several ids all are dealt with or, when one is bad, none. "
        "--batch NAME puts those of a batch back that are dead or cancelled; what completed stays as it is.",
    ),
)
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--batch", metavar="NAME", help="Instead of ids: what is dead or cancelled in this batch.")
@with_dependents_option
@hold_option
@pass_app
def cmd_retry(app: App, ids: Sequence[str], batch: str | None, with_dependents: bool, hold: bool) -> None:
    """Run ended jobs again."""
    check_ids_or_batch(ids, batch)
    queue = app.existing_queue()
    if batch is not None:
        ids = queue.retry_batch(batch, with_dependents=with_dependents, hold=hold)
    else:
        ids = _retry(queue, ids, with_dependents, hold)
    report_put_back(app, [queue.get(job_id) for job_id in dict.fromkeys(ids)])


def report_put_back(app: App, jobs: Sequence[Job]) -> None:
    """Tell of jobs that wait again, and how many of them are held."""
    held = sum(job.held for job in jobs)
    some = f"{held} of them " if held < len(jobs) else ""
    report(app, jobs, f"put back, {some}held until 'queuectl release'" if held else "put back")


def _retry(queue: Queue, ids: Sequence[str], with_dependents: bool, hold: bool) -> list[str]:
    try:
        return queue.retry(*ids, with_dependents=with_dependents, hold=hold)
    except Conflict as error:
        in_the_way = next((job for job in map(queue.get, ids) if not job.ended), None)
        if in_the_way is None or not (in_the_way.state == PROCESSING and is_stranded(queue, in_the_way.id)):
            raise
        raise Conflict(f"{error}, but its worker is gone: {PUT_RIGHT}") from error


def check_ids_or_batch(ids: Sequence[str], batch: str | None) -> None:
    """Refuse both, and neither."""
    if ids and batch is not None:
        raise click.UsageError("give ids or --batch, not both")
    if not ids and batch is None:
        raise click.UsageError("give the ids of jobs (ID...), or --batch NAME")


def report(app: App, jobs: Sequence[Job], done: str, unchanged: int = 0, why: str = "") -> None:
    """Tell what was done to jobs, and why not to some of them."""
    if app.json:
        print_jobs(app, jobs)
        return
    changed = len(jobs) - unchanged
    rest = f" ({unchanged} {'was' if unchanged == 1 else 'were'} {why})" if unchanged else ""
    output.note(f"{changed} {'job' if changed == 1 else 'jobs'} {done}{rest}")
