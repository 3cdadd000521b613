"""``hold``, ``release``, ``edit``, ``why``: what is done to jobs that wait, and what they wait for."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import click

from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.enqueue import CommandWithWords, check_one_source, cmd_enqueue, command_line, tell_of_oddities
from queuectl.cli.jobs import check_ids_or_batch, report
from queuectl.model import CANCELLED, UNSETTABLE

_NOT_EDITED = {"commands", "job_file", "each", "nul", "given_id", "wait", "if_exists"}


def _fields(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    """Names of options, as fields."""
    fields = [name.strip().replace("-", "_") for value in values for name in value.split(",")]
    for field in fields:
        if field not in UNSETTABLE:
            known = ", ".join(UNSETTABLE).replace("_", "-")
            raise click.UsageError(f"--unset: {field.replace('_', '-')[:60]!r} is none of {known}", context)
    return tuple(dict.fromkeys(fields))


@command(
    "hold",
    examples=("queuectl hold 1", "queuectl enqueue --batch night --command true && queuectl hold --batch night"),
    after_help=(
        "Only waiting jobs can be held. Of several ids all are dealt with or, when one is bad, none. "
        "--batch NAME holds those of a batch that wait, and leaves alone what runs or has ended.",
    ),
)
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--batch", metavar="NAME", help="Instead of ids: what waits in this batch.")
@pass_app
def cmd_hold(app: App, ids: Sequence[str], batch: str | None) -> None:
    """Keep waiting jobs from starting until they are released."""
    check_ids_or_batch(ids, batch)
    queue = app.existing_queue()
    if batch is None:
        queue.hold(*ids)
    else:
        ids = queue.hold_batch(batch)
    report(app, [queue.get(job_id) for job_id in dict.fromkeys(ids)], "held")


@command(
    "release",
    examples=("queuectl release 1",),
    after_help=(
        "Of several ids all are dealt with or, when one is bad, none. --batch NAME releases those of a batch that are held.",
    ),
)
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--batch", metavar="NAME", help="Instead of ids: what is held in this batch.")
@pass_app
def cmd_release(app: App, ids: Sequence[str], batch: str | None) -> None:
    """Let jobs start that were held."""
    check_ids_or_batch(ids, batch)
    queue = app.existing_queue()
    loose = sum(not queue.get(job_id).held for job_id in set(ids))
    if batch is None:
        queue.release(*ids)
    else:
        ids = queue.release_batch(batch)
    report(app, [queue.get(job_id) for job_id in dict.fromkeys(ids)], "released", loose, "not held")


def _without_default(parameter: click.Parameter) -> click.Parameter:
    """An option of ``enqueue``, whose help tells of no default: what is not named stays as it is."""
    if not isinstance(parameter, click.Option):
        return parameter
    changed = copy.copy(parameter)
    changed.help = re.sub(r" \(default: [^)]*\)", "", parameter.help or "")
    return changed


@click.command(
    "edit",
    cls=CommandWithWords,
    params=[
        click.Argument(["job_id"], metavar="ID"),
        *(
            _without_default(parameter)
            for parameter in cmd_enqueue.params
            if parameter.name not in (None, *_NOT_EDITED, "json", "db", "help")
        ),
        click.Option(["--no-after"], is_flag=True, help="Wait for no other job any more."),
        click.Option(
            ["--unset"],
            metavar="OPTION[,OPTION...]",
            multiple=True,
            callback=_fields,
            help="Take back what these options of enqueue said: timeout, unique, batch and so on.",
        ),
    ],
    examples=(
        "queuectl edit 1 --priority 10 --timeout 5m",
        "queuectl edit 1 --command 'echo mended' --delay 0",
        "queuectl edit 1 --unset timeout,env -- make report",
    ),
    after_help=(
        "What is not named stays as it is; --env, --export, --after and --after-any each replace all that the same option said "
        "before, and leave alone what the others said. --delay 0 has the job start "
        "as soon as it can. A worker may claim the job at the same moment: then it is not changed (exit code 4).",
    ),
)
@pass_app
def cmd_edit(
    app: App,
    /,
    job_id: str,
    no_after: bool,
    command: str | None,
    command_file: str | None,
    argv: Sequence[str],
    **fields: Any,
) -> None:
    """Change a job while it waits: any field that enqueue sets."""
    if command is not None or command_file is not None or argv:
        check_one_source(command, command_file, argv)
        fields["command"] = command_line(command, command_file, argv)
    changes = {key: value for key, value in fields.items() if value not in (None, ())}
    if no_after:
        if not {"after", "after_any"}.isdisjoint(changes):
            raise click.UsageError("--no-after excludes --after and --after-any")
        changes |= {"after": (), "after_any": ()}
    if not changes:
        raise click.UsageError("nothing to change: name what is to be changed, such as --priority 10")
    queue = app.existing_queue()
    job = queue.edit(job_id, **changes)
    tell_of_oddities(argv, changes.get("cwd"))
    report(app, [job], "changed")
    if job.state == CANCELLED:
        output.note(f"job {job.id} is cancelled by that: {job.reason}")
    if "group" in changes:
        from queuectl.cli import slips

        slips.tell_of_groups(queue, {job.group: 1})


@command("why", examples=("queuectl why 1", "queuectl why 1 --json"))
@click.argument("job_id", metavar="ID")
@pass_app
def cmd_why(app: App, job_id: str) -> None:
    """Tell what a job waits for, or why it ended as it did."""
    from queuectl.cli.reasons import next_step, reason

    queue = app.existing_queue()
    job = queue.get(job_id)
    why = reason(queue, job)
    if app.json:
        output.emit_json({"id": job.id, "state": job.state, "why": why})
    else:
        output.emit(output.escape(f"{job.state}: {why}{next_step(queue, job)}") + "\n")
