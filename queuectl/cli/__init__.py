"""The command line: parse, call :class:`~queuectl.Queue`, print. The only place that exits.

A command's module is imported when the command is called for, and no other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from queuectl import __version__
from queuectl.cli import output
from queuectl.cli.base import Group
from queuectl.errors import QueueError

INTERRUPTED = 130
COMPLETION_REQUEST = "__complete"
"""In the place of a command's name: a shell asks, by the script that ``completion`` printed."""

_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Jobs": {
        "enqueue": ("enqueue", "Add a job, or a file of jobs, and print the ids."),
        "list": ("jobs", "List jobs in the order of enqueue."),
        "show": ("jobs", "Show one job with all its attempts."),
        "logs": ("logs", "Print a job's output."),
        "wait": ("waiting", "Block until jobs have ended, with a progress bar."),
        "cancel": ("jobs", "Stop waiting or running jobs."),
        "retry": ("jobs", "Run ended jobs again."),
        "why": ("waitingjobs", "Tell what a job waits for, or why it ended as it did."),
        "edit": ("waitingjobs", "Change a job while it waits: any field that enqueue sets."),
        "hold": ("waitingjobs", "Keep waiting jobs from starting until they are released."),
        "release": ("waitingjobs", "Let jobs start that were held."),
        "dlq": ("dlq", "The dead jobs: list them, put them back."),
        "cron": ("cron", "Schedules: jobs that are made again and again."),
    },
    "Workers": {
        "worker-start": ("workers", "Start workers in the background."),
        "worker-stop": ("workers", "Stop the workers, and return when all are gone."),
        "worker-status": ("workers", "Show the workers and what each of them runs."),
        "worker-run": ("workers", "Run workers in the foreground."),
    },
    "Queue": {
        "init": ("queue", "Create a queue, here or at a path, and print the path."),
        "status": ("queue", "Show jobs by state, workers, and what comes next."),
        "watch": ("watch", "Watch jobs and workers live, and act on them with a key."),
        "group": ("groups", "Groups of jobs: how many of each may run at once."),
        "pause": ("groups", "Start no more jobs: of some groups, or of the whole queue."),
        "resume": ("groups", "Let jobs start again: of some groups, or of all."),
        "prune": ("prune", "Remove jobs that ended long ago, with their logs."),
        "config": ("config", "The settings: list, get, set, unset."),
        "doctor": ("doctor", "Look the queue over: files, database, workers, logs."),
        "service": ("service", "Have systemd start the workers at boot."),
        "completion": ("completion", "Print a script that has your shell complete words."),
    },
}
"""The commands as ``--help`` shows them, each with the module that holds it and what it says of itself in one line."""

COMMANDS_IN_SECTIONS = {title: tuple(section) for title, section in _SECTIONS.items()}

_MODULES = {name: module for section in _SECTIONS.values() for name, (module, _) in section.items()}


class RootGroup(Group):
    """Finds its commands in modules that are imported only when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        from importlib import import_module

        module = import_module(f"queuectl.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, "cmd_" + cmd_name.replace("-", "_"))
        return command

    def summaries(self) -> Mapping[str, str]:
        return {name: summary for section in _SECTIONS.values() for name, (_, summary) in section.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in commands.items()])


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.emit(f"{ctx.info_name} {__version__}\n")
        ctx.exit()


@click.command(
    cls=RootGroup,
    invoke_without_command=True,
    examples=(
        "queuectl init",
        "queuectl enqueue --command 'echo hello'",
        "queuectl worker-start --count 2",
        "queuectl wait",
        "queuectl list",
    ),
    after_help=(
        "Which queue: --db PATH, else QUEUECTL_DB_PATH, else the nearest queuectl.db in the current directory or "
        "a parent. A bare 'queuectl' is 'queuectl status'. 'queuectl COMMAND -h' tells more about a command.",
        "Exit codes: 0 done, 1 failed, 2 wrong usage or a bad value, 3 no such job or queue, 4 conflict, "
        "5 the database cannot be used, 124 wait ran out of time, 130 interrupted.",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(ctx: click.Context) -> int | None:
    """A durable queue of shell commands: enqueue jobs, run them with workers, retry what fails."""
    if ctx.invoked_subcommand is None:
        from queuectl.cli.queue import cmd_status

        code: int | None = ctx.invoke(cmd_status)
        return code
    return None


def run(arguments: Sequence[str]) -> int:
    """Run one command; what the process is to exit with. Nothing but this prints errors."""
    output.secure_standard_streams()
    try:
        try:
            if arguments and arguments[0] == COMPLETION_REQUEST:
                from queuectl.cli.completing import answer

                return answer(main, arguments[1:])
            code = _invoke(arguments)
            output.flush()
        except Exception as error:
            return _answer_for(error)
    except (KeyboardInterrupt, click.Abort, EOFError):
        output.discard_stdout()
        return INTERRUPTED
    return code


def _answer_for(error: Exception) -> int:
    """Say what went wrong in one line, and tell the exit code for it."""
    if isinstance(error, click.Abort):
        raise error
    if isinstance(error, click.UsageError):
        return _refuse(error)
    code, text = 1, None
    if isinstance(error, QueueError):
        code, text = error.exit_code, str(error)
    elif isinstance(error, output.StdoutFailed):
        output.discard_stdout()
        text = f"cannot write to standard output: {error}"
    elif isinstance(error, (output.StdoutClosed, BrokenPipeError)):
        # Who reads has seen enough: that is no failure of ours. (click writes the help by itself.)
        output.discard_stdout()
        code = 0
    elif isinstance(error, OSError):
        text = _described(error)
    elif isinstance(error, MemoryError):
        text = "out of memory"
    else:
        if os.environ.get("QUEUECTL_DEBUG"):
            raise error
        text = f"unexpected {type(error).__name__}: {error} (a mistake in queuectl; QUEUECTL_DEBUG=1 shows where)"
    if text is not None:
        output.error(text)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    for number, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError(f"argument {number} is not UTF-8 text: {argument[:60]!r}") from error
    try:
        with main.make_context("queuectl", list(arguments)) as ctx:
            result = main.invoke(ctx)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    return result if isinstance(result, int) else 0


def _refuse(error: click.UsageError) -> int:
    """Say what is wrong with the usage, under the usage."""
    if error.ctx is not None:
        output.stderr(error.ctx.get_usage())
        output.stderr(f"Try '{error.ctx.command_path} --help' for help.")
    output.error(_said(error))
    return error.exit_code


def _said(error: click.UsageError) -> str:
    """What is wrong, in one line: click has the choices for what is missing on lines of their own."""
    if not isinstance(error, click.MissingParameter) or error.param is None:
        return error.format_message()
    if not isinstance(error.param.type, click.Choice):
        return error.format_message()
    *others, last = map(str, error.param.type.choices)
    return f"{error.param.get_error_hint(error.ctx)} is missing: give {', '.join(others)} or {last}"


def _described(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason
