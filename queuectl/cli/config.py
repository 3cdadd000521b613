"""``config``: the settings of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl import settings
from queuectl.cli import output
from queuectl.cli.base import App, Group, pass_app
from queuectl.cli.output import Column
from queuectl.errors import InvalidInput

if TYPE_CHECKING:
    from queuectl.api import Queue

_TABLE = (
    Column("KEY"),
    Column("VALUE", right=True),
    Column("DEFAULT", right=True, spare=True),
    Column("MEANING", wrap=True, spare=True),
)


@click.command(
    "config",
    cls=Group,
    invoke_without_command=True,
    examples=("queuectl config list", "queuectl config set max_retries 5", "queuectl config unset max_retries"),
)
@click.pass_context
def cmd_config(ctx: click.Context) -> None:
    """The settings: list, get, set, unset."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(config_list)


@cmd_config.command("list", examples=("queuectl config list", "queuectl config list --json"))
@pass_app
def config_list(app: App) -> None:
    """List the settings with their values, defaults and meanings."""
    queue = app.existing_queue()
    values, defaults = queue.settings._asdict(), settings.DEFAULTS._asdict()
    if app.json:
        output.emit_json(values)
        return
    rows = [
        [key, settings.in_units(key, values[key]), settings.in_units(key, defaults[key]), settings.MEANINGS[key]]
        for key in settings.KEYS
    ]
    output.emit_table(_TABLE, rows)


@cmd_config.command("get", examples=("queuectl config get max_retries",))
@click.argument("key", metavar="KEY")
@pass_app
def config_get(app: App, key: str) -> None:
    """Print the value of a setting, and nothing else."""
    queue = app.existing_queue()
    value = getattr(queue.settings, settings.known_key(key))
    if app.json:
        output.emit_json(value)
    else:
        output.emit(f"{value}\n")


@cmd_config.command(
    "set",
    # A negative value is to be told that it is bad, not that there is no such option.
    context_settings={"ignore_unknown_options": True},
    examples=("queuectl config set max_retries 5", "queuectl config set job_timeout 10m"),
    after_help=(f"Settings are {', '.join(settings.KEYS)}. 'max-retries' and 'max_retries' are the same.",),
)
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@pass_app
def config_set(app: App, key: str, value: str) -> None:
    """Set a setting."""
    _change(app, key, value)


@cmd_config.command("unset", examples=("queuectl config unset max_retries",))
@click.argument("key", metavar="KEY")
@pass_app
def config_unset(app: App, key: str) -> None:
    """Go back to a setting's default."""
    _change(app, key, None)


def _change(app: App, key: str, value: str | None) -> None:
    queue = app.queue()
    # Not first whether the settings can be read: this may be what mends them.
    changed = queue.change_setting(key, value)._asdict()
    name = settings.spelled(key)
    if app.json:
        output.emit_json({name: changed[name]} if name in changed else {key: None})
    elif name in changed:
        output.note(
            f"{name} is {settings.in_units(name, changed[name])} now{' (the default)' if value is None else ''}"
        )
    else:
        output.note(f"{key}, which is no setting, was taken out of {queue.home.settings}")
    _tell_what_is_still_broken(queue)


def _tell_what_is_still_broken(queue: Queue) -> None:
    try:
        settings.load(queue.home.settings)
    except InvalidInput as error:
        output.note(f"more is to be mended: {error}")
