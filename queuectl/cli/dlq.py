"""``dlq``: the dead-letter queue, that is the jobs that used up their retries."""

from __future__ import annotations

from collections.abc import Sequence

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, Group, pass_app
from queuectl.cli.jobs import hold_option, print_jobs, report_put_back, with_dependents_option
from queuectl.cli.output import Column
from queuectl.cli.summary import when
from queuectl.model import DEAD

_TABLE = (
    Column("ID", cut=True),
    Column("ATTEMPTS", right=True, spare=True),
    Column("DIED", spare=True),
    Column("REASON", cut=True),
    Column("COMMAND", cut=True),
)


@click.command(
    "dlq",
    cls=Group,
    invoke_without_command=True,
    examples=("queuectl dlq list", "queuectl dlq retry 1", "queuectl dlq retry --all"),
)
@click.pass_context
def cmd_dlq(ctx: click.Context) -> None:
    """The dead jobs: list them, put them back."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(dlq_list)


@cmd_dlq.command("list", examples=("queuectl dlq list", "queuectl dlq list --json"))
@pass_app
def dlq_list(app: App) -> None:
    """List the dead jobs, with the reason of each."""
    jobs = app.existing_queue().jobs(DEAD)
    if app.json:
        print_jobs(app, jobs)
        return
    now = clock.SYSTEM_CLOCK.now()
    rows = [
        [job.id, f"{job.attempts}/{job.max_retries + 1}", when(job, now), job.reason or job.outcome or "", job.command]
        for job in jobs
    ]
    output.emit_table(_TABLE, rows)


@cmd_dlq.command(
    "retry",
    examples=("queuectl dlq retry 1", "queuectl dlq retry --all"),
    after_help=("The attempts are counted from 0 again, the history is kept.",),
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "all_of_them", is_flag=True, help="Put every dead job back.")
@with_dependents_option
@hold_option
@pass_app
def dlq_retry(app: App, ids: Sequence[str], all_of_them: bool, with_dependents: bool, hold: bool) -> None:
    """Put dead jobs back into the queue."""
    if all_of_them and ids:
        raise click.UsageError("give ids or --all, not both")
    if not all_of_them and not ids:
        raise click.UsageError("give the ids of dead jobs, or --all")
    queue = app.existing_queue()
    revived = queue.retry_dead(*ids, with_dependents=with_dependents, hold=hold)
    report_put_back(app, [queue.get(job_id) for job_id in revived])
