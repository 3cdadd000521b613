"""``group``, ``pause``, ``resume``: how many jobs of a kind may run at once, and whether any may start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from queuectl.cli import output
from queuectl.cli.base import App, Group, command, pass_app
from queuectl.cli.jobs import count
from queuectl.cli.output import Column
from queuectl.cli.summary import QUEUE_IS_PAUSED, pause_of_groups
from queuectl.model import GroupState

if TYPE_CHECKING:
    from queuectl.api import Queue

_TABLE = (
    Column("GROUP", cut=True),
    Column("LIMIT", right=True),
    Column("PENDING", right=True),
    Column("PROCESSING", right=True),
    Column("STATE"),
)


@click.command(
    "group",
    cls=Group,
    invoke_without_command=True,
    examples=("queuectl group set gpu --limit 1", "queuectl group list"),
)
@click.pass_context
def cmd_group(ctx: click.Context) -> None:
    """Groups of jobs: how many of each may run at once."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(group_list)


@cmd_group.command("list", examples=("queuectl group list", "queuectl group list --json"))
@pass_app
def group_list(app: App) -> None:
    """List the groups, their limits, and what is in them."""
    queue = app.existing_queue()
    paused = queue.paused
    groups = _groups(queue, paused)
    if app.json:
        output.emit_json_array(group.as_dict() for group in groups)
        return
    rows = [
        [
            group.name,
            "none" if group.limit is None else str(group.limit),
            str(group.pending),
            str(group.processing),
            "paused" if group.paused else "open",
        ]
        for group in groups
    ]
    output.emit_table(_TABLE, rows)
    if paused:
        output.note(QUEUE_IS_PAUSED)


def _groups(queue: Queue, paused: bool) -> list[GroupState]:
    """The groups as they are to whoever waits for a job of one: all are paused while the whole queue is."""
    return [group._replace(paused=group.paused or paused) for group in queue.groups()]


@cmd_group.command(
    "set",
    examples=("queuectl group set gpu --limit 1", "queuectl group set gpu --limit 0"),
    after_help=("The limit holds over all workers. A lower one ends no job that runs.",),
)
@click.argument("name", metavar="NAME")
@click.option("--limit", metavar="N", required=True, help="At most so many of its jobs run at once; 0 for no limit.")
@pass_app
def group_set(app: App, name: str, limit: str) -> None:
    """Set up a group, or change its limit."""
    most = count(limit, "--limit")
    queue = app.existing_queue()
    queue.set_group(name, most or None)
    _report_group(app, queue, name, f"at most {most} at once" if most else "no limit")


@cmd_group.command("remove", examples=("queuectl group set gpu --limit 1 && queuectl group remove gpu",))
@click.argument("name", metavar="NAME")
@pass_app
def group_remove(app: App, name: str) -> None:
    """Forget a group's limit and pause; its jobs stay."""
    queue = app.existing_queue()
    former = {group.name: group for group in queue.groups()}
    queue.remove_group(name)
    known = former.get(name)
    limited, paused = known is not None and known.limit is not None, known is not None and known.paused
    lost = [said for said, held in (("no limit any more", limited), ("its pause is over", paused)) if held]
    _report_group(app, queue, name, ", ".join(lost) or "there was no limit")


def _report_group(app: App, queue: Queue, name: str, done: str) -> None:
    if app.json:
        groups = {group.name: group for group in _groups(queue, queue.paused)}
        # One without a limit is known by its jobs alone, and may have none.
        output.emit_json(groups.get(name, GroupState(name, None, queue.paused, 0, 0)).as_dict())
    else:
        output.note(f"group {name}: {done}")


@command(
    "pause",
    examples=("queuectl pause", "queuectl pause default"),
    after_help=("What runs goes on. A drain does not wait for paused jobs.",),
)
@click.argument("groups", nargs=-1, metavar="[GROUP...]")
@pass_app
def cmd_pause(app: App, groups: Sequence[str]) -> None:
    """Start no more jobs: of some groups, or of the whole queue."""
    queue = app.existing_queue()
    queue.pause(*groups)
    if app.json:
        _print_pauses(queue)
        return
    names = list(dict.fromkeys(groups))
    output.note(pause_of_groups(names) if names else QUEUE_IS_PAUSED)


@command("resume", examples=("queuectl resume", "queuectl resume default"))
@click.argument("groups", nargs=-1, metavar="[GROUP...]")
@pass_app
def cmd_resume(app: App, groups: Sequence[str]) -> None:
    """Let jobs start again: of some groups, or of all."""
    queue = app.existing_queue()
    queue.resume(*groups)
    if app.json:
        _print_pauses(queue)
        return
    output.note(f"{', '.join(dict.fromkeys(groups)) or 'all'} resumed")
    if groups and queue.paused:
        output.note("the whole queue is still paused: 'queuectl resume' lets jobs start again")


def _print_pauses(queue: Queue) -> None:
    """What is paused by now: the whole queue, and which groups."""
    paused = queue.paused
    output.emit_json({"paused": paused, "groups": [group.as_dict() for group in _groups(queue, paused)]})
