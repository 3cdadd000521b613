"""What all commands share: where the queue is, ``--json``, examples in the help, and «did you mean»."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from queuectl.cli import output
from queuectl.errors import did_you_mean

if TYPE_CHECKING:
    from queuectl.api import Queue

_WIDEST, _NARROWEST, _USUAL = 100, 50, 80
"""Columns of the help, which is as wide as the terminal within limits, or as one usually is."""

_OTHER_WORDS = {
    "add": "enqueue",
    "submit": "enqueue",
    "push": "enqueue",
    "jobs": "list",
    "ls": "list",
    "info": "show",
    "log": "logs",
    "tail": "logs",
    "output": "logs",
    "kill": "cancel",
    "rm": "prune",
    "remove": "prune",
    "delete": "prune",
    "requeue": "retry",
    "start": "worker-start",
    "stop": "worker-stop",
    "run": "worker-run",
    "work": "worker-run",
    "ps": "worker-status",
    "top": "watch",
    "monitor": "watch",
    "workers": "worker-status",
    "dead": "dlq",
    "schedule": "cron",
    "schedules": "cron",
    "crontab": "cron",
    "every": "cron",
    "create": "init",
    "stats": "status",
    "settings": "config",
    "help": "--help",
}
"""What people call our commands elsewhere."""


class App:
    """What was said before and after the command's name; the later word wins."""

    def __init__(self) -> None:
        self.db: str | None = None
        self.json = False

    def queue(self, busy_timeout: float | None = None) -> Queue:
        """The queue that is meant; it need not exist yet. Raises ``NoSuchQueue`` when none is found."""
        from queuectl.api import Queue

        return Queue(self.db, busy_timeout=busy_timeout)

    def existing_queue(self, busy_timeout: float | None = None) -> Queue:
        """The queue that is meant, which must exist."""
        queue = self.queue(busy_timeout)
        queue.require()
        return queue


pass_app = click.make_pass_decorator(App, ensure=True)


def _common_options() -> list[click.Option]:
    # With the help's option click would look for a translation, and import what knows all languages' names.
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_note_json,
            help="Print one JSON value.",
        ),
        click.Option(
            ["--db"],
            metavar="PATH",
            expose_value=False,
            callback=_note_db,
            help="The queue's database (default: QUEUECTL_DB_PATH, else the nearest queuectl.db upward).",
        ),
        click.Option(
            ["-h", "--help"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this message and exit.",
        ),
    ]


def _show_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.emit(ctx.get_help() + "\n")
        ctx.exit()


def _note_db(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    app = ctx.ensure_object(App)
    if value is not None:
        app.db = value


def _note_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    app = ctx.ensure_object(App)
    if value:
        app.json = True


class _Helpful(click.Command):
    """A command that takes ``--db``, ``--json`` and ``-h``, and whose help ends with examples that work."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), after_help: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common_options())
        self.examples = tuple(examples)
        self.after_help = tuple(after_help)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from queuectl.model import OTHER_WORDS

            meant = OTHER_WORDS.get(error.option_name.lstrip("-").replace("-", "_").lower(), "")
            option = f"--{meant.replace('_', '-')}"
            if any(option in parameter.opts for parameter in self.params):
                message = f"no such option {error.option_name!r}: did you mean {option}?"
                raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None
            raise

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        if not ctx.resilient_parsing:
            parse = parser.parse_args

            def parse_once(args: list[str]) -> tuple[dict[str, Any], list[str], list[click.Parameter]]:
                values, rest, order = parse(args)
                _refuse_repeated(order, ctx)
                return values, rest, order

            parser.parse_args = parse_once  # type: ignore[method-assign]
        return parser

    def get_help(self, ctx: click.Context) -> str:
        ctx.terminal_width = max(min(_columns(), _WIDEST) - 2, _NARROWEST)
        return super().get_help(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for paragraph in self.after_help:
            formatter.write_paragraph()
            formatter.write_text(paragraph)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _refuse_repeated(given: Sequence[click.Parameter], ctx: click.Context) -> None:
    """Refuse an option that takes one value, and is given two: the second would silently take the place of the first.

    But for ``--db``, which may stand in an alias.
    """
    for option in given:
        is_single = isinstance(option, click.Option) and not (option.multiple or option.is_flag or option.count)
        if is_single and "--db" not in option.opts and given.count(option) > 1:
            raise click.UsageError(f"{option.opts[0]} is given more than once: give one", ctx)


def _columns() -> int:
    """The width of the terminal, as ``shutil`` tells it; but that imports all kinds of archives first."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        # Standard output may be closed, or no terminal.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    return columns if columns > 0 else _USUAL


class Command(_Helpful):
    """A command that does something."""


class Group(_Helpful, click.Group):
    """A group of commands that tells which one was meant by a name that does not exist."""

    command_class = Command

    def summaries(self) -> Mapping[str, str]:
        """What each of its commands says of itself in one line."""
        context = click.Context(self)
        commands = {name: self.get_command(context, name) for name in self.list_commands(context)}
        return {name: command.get_short_help_str(_WIDEST) for name, command in commands.items() if command is not None}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"no command {name[:60]!r}{self._hint(ctx, name)}", ctx)
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        other = _OTHER_WORDS.get(name.lower())
        if other in (*known, "--help"):
            return f": did you mean {other}?"
        return did_you_mean(name, known) or f" (there are {', '.join(known)})"


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command of the root group."""
    return click.command(name, cls=Command, **settings)
