"""``enqueue``: from the words of a command line, or a file, to jobs."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from queuectl import clock, model
from queuectl.cli import output
from queuectl.cli.base import App, Command, pass_app
from queuectl.errors import InvalidInput, shown

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.home import Home

_STDIN = "-"
_AT_ONCE = 1000
"""Ids that are printed together; one by one takes longer."""
_WHOLE_NUMBER = r"(?a)\s*[+-]?\d{1,30}\s*"


class CommandWithWords(Command):
    """Takes a command's words only after ``--``: before it, they are a mistake."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = args[args.index("--") + 1 :] if "--" in args else []
        words_of = list(args)  # click takes its own apart
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption:
            if (words := self._words(ctx, words_of)) and not words[0].startswith("-"):
                raise _unexpected(words[0], ctx) from None
            raise
        words = ctx.params.get("argv", ())
        if words and not ctx.resilient_parsing and list(words) != after:
            raise _unexpected(words[0], ctx)
        return rest

    def _words(self, ctx: click.Context, args: list[str]) -> Sequence[str]:
        """What is neither an option of ours nor its value: an option of a command that is given without ``--``, too."""
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        words: Sequence[str] = parser.parse_args(args)[0].get("argv") or ()
        return words


def _unexpected(word: str, ctx: click.Context) -> click.UsageError:
    return click.UsageError(
        f"unexpected argument {word[:60]!r}: a command goes after --command, or word by word after --", ctx
    )


def _checked(check: Callable[[Any, str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Have a value checked where its option is read, so that the error names what was typed."""
    return lambda context, parameter, text: None if text is None else check(text, parameter.opts[0])


def _retries(text: str, what: str) -> int:
    return model.retries(int(text) if re.fullmatch(_WHOLE_NUMBER, text) else text, what)


def _priority(text: str, what: str) -> int:
    return model.priority(int(text) if re.fullmatch(_WHOLE_NUMBER, text) else text, what)


def _own_id(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and context.params.get("each"):
        raise _names_one_job(context)
    return None if text is None else model.job_id(text, parameter.opts[0])


def _names_one_job(context: click.Context | None = None, many: str = "--each") -> click.UsageError:
    return click.UsageError(
        f"--id and --unique name one job, and {many} may make many: leave them out, or name each job in a job file",
        context,
    )


def _ids(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    if context.params.get("each") and (places := [value for value in values if "{" in value]):
        raise click.UsageError(
            f"{parameter.opts[0]} {places[0][:60]!r}: all jobs of --each wait for the same ones, and only the command has "
            "places such as {}: name what each job waits for in a job file",
            context,
        )
    return model.needed_ids(list(values), parameter.opts[0])


def _time(text: str, what: str) -> str:
    clock.timestamp(text, what)
    return text


def _variables(
    context: click.Context, parameter: click.Parameter, assignments: Sequence[str]
) -> Mapping[str, str] | None:
    for assignment in assignments:
        if "=" not in assignment:
            raise InvalidInput(f"--env {assignment[:60]!r} is not of the form NAME=VALUE")
    return model.environment(dict(each.split("=", 1) for each in assignments), "--env") or None


def _export(context: click.Context, parameter: click.Parameter, names: Sequence[str]) -> str | None:
    text = ",".join(names)
    if names:
        model.exported(text, "--export")
    return text or None


@click.command(
    "enqueue",
    cls=CommandWithWords,
    options_metavar="[OPTIONS]",
    examples=(
        "queuectl enqueue --command 'echo hello | tr a-z A-Z'",
        "queuectl enqueue --id backup --timeout 2h --max-retries 1 -- tar czf /tmp/etc.tar.gz /etc/hostname",
        "queuectl enqueue --delay 10m --env GREETING=hi --command 'echo $GREETING'",
        "queuectl enqueue --unique report --group reports --priority 5 --command 'sleep 1'",
        "queuectl enqueue --no-retry-on 2,64-78 --backoff-base 1.5 -- curl --fail -O https://example.org/data.csv",
        "printf '%s\\n' 'sleep 1' 'echo hi | tr a-z A-Z' | queuectl enqueue --batch mine --commands -",
        "ls *.jpg | queuectl enqueue --batch thumbs --each -- convert {} -resize 200x {.}.png",
        "find . -name '*.log' -print0 | queuectl enqueue --each - -0 --command 'gzip -c {} > {}.gz && rm {}'",
        "seq 3 > sizes; printf '%s\\n' a b > names; queuectl enqueue --each names --each sizes -- echo {1} {2}",
        """printf '%s\\n' '{"command": "true"}' '{"command": "sleep 1"}' | queuectl enqueue --job-file -""",
    ),
    after_help=(
        "A job file holds one JSON object, an array of them, or one object a line, with the keys id, command, "
        "max_retries, delay, run_at, timeout, cwd, env, export, priority, group, after, after_any, unique, if_exists, "
        "batch, retry_on, no_retry_on and backoff_base. It is accepted whole or not at all. Options given beside "
        "--job-file hold for those of its jobs that do not name the key themselves.",
        "A file of commands holds one a line, each just as the shell gets it: --commands FILE makes a job of each. Empty lines, and "
        "those that begin with # (after blanks or not), are left out. No command is nothing to do. All other options hold for each job.",
        "With --each, the command is repeated for each line: {} is the line, {.} the line without its extension, {/} its base name, "
        "{//} its directory, {/.} its base name without extension, {#} the number of the job, and of several inputs {1}, {2.} and so on. "
        "A command without any gets the line as its last word. Each value is quoted, so that no shell takes it for code: "
        "these must stand outside of quotes. No line is nothing to do. All other options hold for each job.",
        "With --wait the exit code is the job's own (128+N for signal N, 124 for its timeout, 125 when it crashed or "
        "could not be started, 143 when it was cancelled); for several jobs 0 when all completed, else 1.",
    ),
)
@click.option(
    "--command",
    "command",
    metavar="TEXT",
    help="The command line, run by /bin/sh -c.",
)
@click.option(
    "--command-file",
    metavar="FILE",
    help="Read the command line from a file; - is stdin.",
)
@click.option(
    "--commands",
    metavar="FILE",
    help="A job for each line of a file, or of stdin (-): the line is its command.",
)
@click.option("--job-file", metavar="FILE", help="Read jobs, as JSON, from a file; - is stdin.")
@click.option(
    "--each",
    is_flag=False,
    flag_value=_STDIN,
    multiple=True,
    is_eager=True,  # what else may be given depends on it
    metavar="[FILE]",
    help="A job for each line of a file, or of stdin; {} in the command is the line. Several: each with each.",
)
@click.option("-0", "--null", "nul", is_flag=True, help="With --each: NUL bytes, not line ends, separate the values.")
@click.option("--id", "given_id", metavar="ID", callback=_own_id, help="The job's id (default: a number is given).")
@click.option(
    "--max-retries",
    metavar="N",
    callback=_checked(_retries),
    help="Retries after the first start (default: the setting max_retries).",
)
@click.option(
    "--delay",
    metavar="D",
    callback=_checked(clock.seconds),
    help="Start no earlier than this from now: 90, 90s, 10m, 3h, 2d.",
)
@click.option(
    "--run-at",
    metavar="TIME",
    callback=_checked(_time),
    help="Start no earlier than this: 2030-01-31T08:00:00Z; UTC without offset.",
)
@click.option(
    "--timeout",
    metavar="D",
    callback=_checked(clock.seconds),
    help="End the job after this time (default: the setting job_timeout).",
)
@click.option(
    "--cwd",
    metavar="DIR",
    callback=_checked(model.working_directory),
    help="The directory to run in (default: the current one).",
)
@click.option(
    "--env", metavar="K=V", multiple=True, callback=_variables, help="A variable for the job; may be repeated."
)
@click.option(
    "--priority",
    metavar="N",
    callback=_checked(_priority),
    help="Jobs of a higher priority start first (default: 0).",
)
@click.option(
    "--group",
    metavar="NAME",
    callback=_checked(model.group_name),
    help="The group that the job is in, which may have a limit (default: default).",
)
@click.option(
    "--after", metavar="ID", multiple=True, callback=_ids, help="Start when this job has completed; may be repeated."
)
@click.option(
    "--after-any", metavar="ID", multiple=True, callback=_ids, help="Start when this job has ended; may be repeated."
)
@click.option(
    "--unique",
    metavar="KEY",
    callback=_checked(model.unique_key),
    help="Of the jobs with this key, only one waits or runs.",
)
@click.option(
    "--if-exists",
    metavar="WHAT",
    callback=_checked(model.if_exists),
    help="When one with the key is there: return its id (default), reject, or replace it if it waits.",
)
@click.option(
    "--batch",
    metavar="NAME",
    callback=_checked(model.job_id),
    help="A label for the jobs, which list, wait, cancel, retry, hold and release take.",
)
@click.option(
    "--retry-on",
    metavar="CODES",
    callback=_checked(model.exit_codes),
    help="Of failures with an exit code, retry only these: 2,64-78.",
)
@click.option(
    "--no-retry-on",
    metavar="CODES",
    callback=_checked(model.exit_codes),
    help="Do not retry failures with these codes.",
)
@click.option(
    "--backoff-base",
    metavar="B",
    callback=_checked(model.number),
    help="Retry after B ** attempts seconds (default: the setting backoff_base).",
)
@click.option(
    "--export",
    metavar="NAME[,NAME...]",
    multiple=True,
    callback=_export,
    help="Variables of this shell for the job to take along, or ALL of them; show hides their values.",
)
@click.option("--wait", is_flag=True, help="Block until the jobs have ended.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGV...]")
@pass_app
def cmd_enqueue(
    app: App,
    command: str | None,
    command_file: str | None,
    commands: str | None,
    job_file: str | None,
    each: Sequence[str],
    nul: bool,
    given_id: str | None,
    max_retries: int | None,
    delay: float | None,
    run_at: str | None,
    timeout: float | None,
    cwd: str | None,
    env: Mapping[str, str] | None,
    priority: int | None,
    group: str | None,
    after: Sequence[str],
    after_any: Sequence[str],
    unique: str | None,
    if_exists: str | None,
    batch: str | None,
    retry_on: str | None,
    no_retry_on: str | None,
    backoff_base: float | None,
    export: str | None,
    wait: bool,
    argv: Sequence[str],
) -> int:
    """Add a job, or a file of jobs, and print the ids."""
    check_one_source(command, command_file, argv, commands, job_file)
    files = {"--each": each or None, "--commands": commands, "--job-file": job_file}
    many = [name for name, given in files.items() if given is not None]
    _check_many(many, given_id, unique, nul)
    if delay is not None and run_at is not None:
        raise click.UsageError("--delay and --run-at exclude each other: give one of them")
    if if_exists is not None and unique is None and job_file is None:
        raise click.UsageError("--if-exists tells what to do about a key: give it with --unique")
    options = {
        "max_retries": max_retries,
        "delay": delay,
        "run_at": run_at,
        "timeout": timeout,
        "cwd": cwd,
        "env": env,
        "priority": priority,
        "group": group,
        "after": after or None,
        "after_any": after_any or None,
        "unique": unique,
        "if_exists": if_exists,
        "batch": batch,
        "retry_on": retry_on,
        "no_retry_on": no_retry_on,
        "backoff_base": backoff_base,
        "export": export,
    }
    queue = app.queue()
    _tell_foreign_owner(queue.home)
    with _answered_interrupts() as begin_change:
        if each:
            from queuectl.cli import sweeping

            source = command, command_file, argv
            ids: Collection[str] = sweeping.add(queue, each, nul, source, options, begin_change)
        elif many:
            from queuectl.cli import sources

            add = sources.add_commands if job_file is None else sources.add_job_file
            ids = add(queue, str(commands if job_file is None else job_file), options, begin_change)
        else:
            line = command_line(command, command_file, argv)
            begin_change()
            ids = queue.add_checked([model.new_job({**options, "id": given_id, "command": line})])
    tell_of_oddities(() if many else argv, cwd)
    if isinstance(ids, model.Added):
        _tell_of_doomed(ids.doomed)
    # Those of a job file are told of by what reads it.
    if group is not None and ids and job_file is None:
        from queuectl.cli import slips

        slips.tell_of_groups(queue, {group: len(ids)})
    if not wait:
        _print(queue, ids, one=not many, as_json=app.json)
        return 0
    return _wait(queue, ids, one=not many, as_json=app.json)


def _check_many(many: Sequence[str], given_id: str | None, unique: str | None, nul: bool) -> None:
    """Refuse what does not go with the options in ``many``, each of which makes any number of jobs."""
    if given_id is not None and "--job-file" in many:
        raise click.UsageError("--id names one job: in a job file, give ids to its entries")
    for name in many:
        if name != "--job-file" and (given_id is not None or unique is not None):
            raise _names_one_job(many=name)
    if len(many) > 1:
        raise click.UsageError(f"{' and '.join(many)} exclude each other: give one of them")
    if nul and "--each" not in many:
        raise click.UsageError("-0 tells what separates the values of --each: give that, too")


@contextlib.contextmanager
def _answered_interrupts() -> Iterator[Callable[[], None]]:
    """Say what an interrupt comes to. What it yields is called when all is understood, and what follows adds jobs."""
    is_certain = True

    def begin_change() -> None:
        nonlocal is_certain
        output.probe()
        is_certain = False

    try:
        yield begin_change
    except KeyboardInterrupt:
        output.note(
            "interrupted; nothing was accepted"
            if is_certain
            else "interrupted; 'queuectl list' tells whether it was accepted, whole or not at all"
        )
        raise


def _tell_foreign_owner(home: Home) -> None:
    """Say so when a queue is another user's: below a directory of theirs, we may not know of it."""
    if (owner := home.foreign_owner) is not None and os.access(home.database, os.R_OK | os.W_OK):
        output.note(f"{home.database} belongs to {owner}, who can read what is enqueued, and decides how it is run")


def _tell_of_doomed(doomed: Mapping[str, str]) -> None:
    """Say of jobs that were accepted that they can never start."""
    if doomed:
        job_id, reason = next(iter(doomed.items()))
        more = f", and {len(doomed) - 1} more with it" if len(doomed) > 1 else ""
        output.note(f"job {job_id} is cancelled at once{more}: {reason}")


def check_one_source(
    command: str | None,
    command_file: str | None,
    argv: Sequence[str],
    commands: str | None = None,
    job_file: str | None = None,
) -> None:
    given = [
        name
        for name, is_given in (
            ("--command", command is not None),
            ("--command-file", command_file is not None),
            ("--commands", commands is not None),
            ("--job-file", job_file is not None),
            ("a command after --", bool(argv)),
        )
        if is_given
    ]
    if not given:
        raise click.UsageError(
            "nothing to enqueue: give --command, --command-file, --commands, --job-file, or a command after --"
        )
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other: give one of them")


def command_line(command: str | None, command_file: str | None, argv: Sequence[str]) -> str:
    if command is not None:
        return model.command_line(command, "--command")
    if command_file is not None:
        say_that_stdin_is_read(command_file)
        from queuectl.jobfile import read_command

        return read_command(command_file)
    if not argv[0].strip():
        raise InvalidInput("the command after -- is empty")
    import shlex

    return model.command_line(shlex.join(argv), "the command after --")


def tell_of_oddities(argv: Sequence[str], cwd: str | None) -> None:
    """Say of a command, and of the directory that was named for it, if they are probably mistakes. They are accepted."""
    if cwd is not None and not os.path.isdir(cwd):
        output.note(f"there is no directory {cwd}: unless it is made in time, the job cannot be started")
    if len(argv) == 1 and len(argv[0].split()) > 1 and not os.path.exists(os.path.join(cwd or "", argv[0])):
        output.note(f"{shown(argv[0])} is one word, and so the name of one program: did you mean --command?")


def say_that_stdin_is_read(path: str) -> None:
    if path == _STDIN and sys.stdin is not None and sys.stdin.isatty():
        output.note("reading from the terminal; end with Ctrl-D")


def _print(queue: Queue, ids: Collection[str], *, one: bool, as_json: bool) -> None:
    """Print what was accepted. It is on disk by now, so that nothing here may end with an error."""
    try:
        if as_json:
            jobs = (queue.get(job_id).as_dict() for job_id in ids)
            output.emit_json(next(jobs)) if one else output.emit_json_array(jobs)
        else:
            lines = (f"{job_id}\n" for job_id in ids)
            while some := "".join(islice(lines, _AT_ONCE)):
                output.emit(some)
        output.flush()
    except output.StdoutFailed as error:
        output.discard_stdout()
        output.note(f"accepted, but cannot write to standard output ({error}): {' '.join(ids)}")


def _wait(queue: Queue, ids: Collection[str], *, one: bool, as_json: bool) -> int:
    from queuectl.cli.waiting import wait_for

    if not as_json:
        _print(queue, ids, one=one, as_json=False)
    try:
        return wait_for(queue, list(ids), None)
    finally:
        if as_json:
            _print(queue, ids, one=one, as_json=True)
