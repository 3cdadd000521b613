"""``cron``: schedules, which make jobs again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, Command, Group, pass_app
from queuectl.cli.enqueue import cmd_enqueue, command_line, tell_of_oddities
from queuectl.cli.output import Column
from queuectl.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from queuectl.schedule import Schedule

_OF_THE_JOB = (
    *("command", "command_file", "max_retries", "timeout", "cwd", "env", "priority", "group", "batch"),
    *("retry_on", "no_retry_on", "backoff_base", "export"),
)
"""The options of ``enqueue`` that make sense for a job that is made again and again."""

_TABLE = (
    Column("NAME", cut=True),
    Column("EXPRESSION", cut=True, spare=True),
    Column("ZONE", spare=True),
    Column("NEXT"),
    Column("STATE", styles={"paused": "yellow", "due": "yellow", "over": "yellow"}),
    Column("LAST", styles=output.STATE_STYLES),
    Column("JOB", spare=True),
    Column("COMMAND", cut=True),
)


@click.command(
    "cron",
    cls=Group,
    invoke_without_command=True,
    examples=(
        "queuectl cron add nightly '30 4 * * *' --tz Europe/Berlin -- ./import.sh",
        "queuectl cron list",
    ),
)
@click.pass_context
def cmd_cron(ctx: click.Context) -> None:
    """Schedules: jobs that are made again and again."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(cron_list)


class _AddCommand(Command):
    """Takes two words, and those of a command only after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = args[args.index("--") + 1 :] if "--" in args else []
        rest = super().parse_args(ctx, args)
        words = ctx.params.get("argv", ())
        if len(words) > len(after) and not ctx.resilient_parsing:
            raise click.UsageError(
                f"unexpected argument {words[0][:60]!r}: an expression is one word, such as '*/5 * * * *' in quotes, "
                "and a command goes after --",
                ctx,
            )
        if len(words) < len(after) and not ctx.resilient_parsing:
            raise click.UsageError("give a name and an expression, such as '*/5 * * * *', before the --", ctx)
        return rest


@cmd_cron.command(
    "add",
    cls=_AddCommand,
    params=[parameter for parameter in cmd_enqueue.params if parameter.name in _OF_THE_JOB],
    options_metavar="[OPTIONS]",
    examples=(
        "queuectl cron add nightly '30 4 * * *' --tz Europe/Berlin --timeout 1h -- ./import.sh",
        "queuectl cron add poll '*/5 * * * *' --overlap skip --missed skip --command 'date >> polled'",
        "queuectl cron add report '@daily' --replace --command 'echo report'",
    ),
    after_help=(
        "An expression has five fields: minute, hour, day of the month, month, day of the week, as for cron (such as "
        "*/5, 1-5, MON, 5L, MON#2, L); or six, with the second before them; or it is @hourly, @daily, @weekly, "
        "@monthly or @yearly.",
        "What names the minute and the hour runs once a day, also when clocks change: where its hour is skipped, as "
        "soon as that is over; where it is doubled, the first time.",
        "The job of a slot is called NAME-20300131T0230Z, by the slot's time in UTC. It is made by the workers, at "
        "most once. Directory, retries and what --export takes along are fixed now.",
    ),
)
@click.argument("name", metavar="NAME")
@click.argument("expression", metavar="EXPRESSION")
@click.option(
    "--tz", metavar="ZONE", default="UTC", help="The expression's time zone, such as Europe/Berlin (default: UTC)."
)
@click.option(
    "--overlap",
    type=click.Choice(("skip", "allow")),
    default="skip",
    help="While the last job waits, runs or is in back-off: make none (default), or another.",
)
@click.option(
    "--missed",
    type=click.Choice(("once", "skip")),
    default="once",
    help="For slots at which no workers ran: make one job (default), or none.",
)
@click.option("--replace", is_flag=True, help="Take the place of the schedule with this name, if there is one.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGV...]")
@pass_app
def cron_add(
    app: App,
    /,
    name: str,
    expression: str,
    tz: str,
    overlap: str,
    missed: str,
    replace: bool,
    command: str | None,
    command_file: str | None,
    argv: Sequence[str],
    **job: Any,
) -> None:
    """Add a schedule."""
    given = sum((command is not None, command_file is not None, bool(argv)))
    if given != 1:
        raise click.UsageError(
            f"{'nothing to run' if not given else 'more than one command'}: give one of --command, --command-file, or "
            "a command after --"
        )
    queue = app.existing_queue()
    line = command_line(command, command_file, argv)
    made = queue.add_schedule(name, expression, line, tz=tz, overlap=overlap, missed=missed, replace=replace, **job)
    tell_of_oddities(argv, job["cwd"])
    if job["group"] is not None:
        from queuectl.cli import slips

        slips.tell_of_groups(queue, {job["group"]: 0})
    if app.json:
        output.emit_json(_shown(made))
        return
    times = _times(made)
    if made.paused:
        output.note(f"schedule {made.name} is replaced, and still paused: see 'queuectl cron resume'")
    else:
        output.note(f"schedule {made.name} runs next {times[0]}" if times else f"schedule {made.name} is over")


@cmd_cron.command("list", examples=("queuectl cron list", "queuectl cron list --json"))
@pass_app
def cron_list(app: App) -> None:
    """List the schedules, each with its next five times."""
    found = app.existing_queue().schedules()
    if app.json:
        output.emit_json_array(_shown(each) for each in found)
        return
    output.emit_table(_TABLE, [row for each in found for row in _rows(each)])
    for each in found:
        if each.note:
            output.emit(output.escape(f"{each.name}: {each.note}") + "\n")


def _shown(schedule: Schedule) -> dict[str, Any]:
    """The schedule as JSON shows it, with its next times in its zone."""
    return {**schedule.as_dict(), "upcoming": [time.isoformat() for time in _upcoming(schedule)]}


def _upcoming(schedule: Schedule) -> list[datetime]:
    """The next times; none of a schedule whose zone is not known here."""
    from queuectl.schedule import upcoming

    try:
        return upcoming(schedule, clock.SYSTEM_CLOCK.now())
    except InvalidInput:
        return []


def _rows(schedule: Schedule) -> list[list[str]]:
    """A row with all that there is to say, and one more for each further time."""
    first, *more = _times(schedule) or ["-"]
    zone, command = schedule.zone, str(schedule.job.get("command"))
    last = (schedule.last_state or "-", schedule.last_job or "-")
    told = [schedule.name, schedule.expression, zone, first, _state(schedule), *last, command]
    return [told, *(["", "", "", each, "", "", "", ""] for each in more)]


def _state(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    if schedule.next_slot is None:
        return "over"
    return "due" if clock.timestamp(schedule.next_slot) <= clock.SYSTEM_CLOCK.now() else "active"


def _times(schedule: Schedule) -> list[str]:
    """The next times for people: with seconds where an expression has some."""
    style = "%a %Y-%m-%d %H:%M:%S %Z" if len(schedule.expression.split()) > 5 else "%a %Y-%m-%d %H:%M %Z"
    return [format(moment, style) for moment in _upcoming(schedule)]


@cmd_cron.command(
    "run",
    examples=("queuectl cron run nightly",),
    after_help=(
        "The job is made at once, also of a paused schedule, and counts as the schedule's last run. Where the last one has "
        "not ended, it is refused (exit code 4), unless the schedule has --overlap allow. The next slots stay as they are.",
    ),
)
@click.argument("name", metavar="NAME")
@pass_app
def cron_run(app: App, name: str) -> None:
    """Make the job of a schedule now, and print its id."""
    job = app.existing_queue().run_schedule(name)
    if app.json:
        output.emit_json(job.as_dict())
    else:
        output.emit(f"{job.id}\n")


_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")
_ALL_OR_NONE = "Of several names all are dealt with or, when one is bad, none."


@cmd_cron.command(
    "remove",
    examples=("queuectl cron remove nightly",),
    after_help=(f"The jobs that it made stay. {_ALL_OR_NONE}",),
)
@_NAMES
@pass_app
def cron_remove(app: App, names: Sequence[str]) -> None:
    """Remove schedules."""
    _report(app, app.existing_queue().remove_schedules(*names), "removed")


@cmd_cron.command(
    "pause",
    examples=("queuectl cron pause nightly",),
    after_help=(f"Jobs that were made already are not touched. {_ALL_OR_NONE}",),
)
@_NAMES
@pass_app
def cron_pause(app: App, names: Sequence[str]) -> None:
    """Make no more jobs of schedules, until they are resumed."""
    _report(app, app.existing_queue().pause_schedules(*names), "paused")


@cmd_cron.command(
    "resume",
    examples=("queuectl cron resume nightly",),
    after_help=(f"What was due during the pause is not made up for. {_ALL_OR_NONE}",),
)
@_NAMES
@pass_app
def cron_resume(app: App, names: Sequence[str]) -> None:
    """Have paused schedules go on, with their next time from now."""
    _report(app, app.existing_queue().resume_schedules(*names), "resumed")


def _report(app: App, schedules: Sequence[Schedule], done: str) -> None:
    if app.json:
        output.emit_json_array(_shown(each) for each in schedules)
    else:
        output.note(f"{len(schedules)} {'schedule' if len(schedules) == 1 else 'schedules'} {done}")
