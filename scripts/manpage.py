"""Write the manual page ``man/queuectl.1`` from what ``--help`` is made of: ``make man``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from queuectl import __version__, settings
from queuectl.cli import COMMANDS_IN_SECTIONS, main
from queuectl.cli.base import Command, Group

DATE = "2026-11-25"
"""Of the version."""

COMMON = ("--json", "--db", "--help")
FILES = (
    ("queuectl.db", 'Every job and every attempt: an SQLite database, with "-wal" and "-shm" beside it.'),
    ("queuectl_config.json", "The settings that were changed."),
    ("job_logs/ID.log", "What a job wrote, over all its attempts."),
    ("run/supervisor.log", "The supervisor's own log."),
    ("run/", "PID files, locks, and what else workers need while they run."),
)
ENVIRONMENT = (
    ("QUEUECTL_DB_PATH", "The queue's database, where no --db names one."),
    ("NO_COLOR", "Print no colours, whatever it is set to."),
    ("QUEUECTL_JOB_ID, QUEUECTL_ATTEMPT, QUEUECTL_MAX_RETRIES, QUEUECTL_QUEUE", "Are set for each job."),
)
_SPECIAL = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    '"': "\\(dq",
    "«": "\\(Fo",
    "»": "\\(Fc",
    "…": "\\&...",
}


def page() -> str:
    """The manual page, in the language of man(7)."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.\\" Made by scripts/manpage.py from what --help is made of. To change it, change that, and run "make man".'
    yield f'.TH QUEUECTL 1 {DATE} "queuectl {__version__}" "User Commands"'
    yield ".SH NAME"
    yield f"queuectl \\- {_text((main.help or '').partition(':')[0].removeprefix('A '))}"
    yield ".SH SYNOPSIS"
    yield ".B queuectl"
    yield _text("[--db PATH] [--json] COMMAND [OPTIONS] [ARGUMENTS]")
    yield ".SH DESCRIPTION"
    yield _filled(main.help or "")
    yield from _paragraphs(main.after_help)
    yield from _examples(main.examples)
    yield ".SH OPTIONS"
    yield "Every command takes these, before its name or after it; --version is for queuectl alone."
    yield from _options(main, [*COMMON, "--version"])
    for title, names in COMMANDS_IN_SECTIONS.items():
        yield f".SH {title.upper()}"
        for name in names:
            command = main.get_command(click.Context(main), name)
            assert command is not None
            yield from _command(command, f"queuectl {name}")
    yield ".SH SETTINGS"
    yield _text("They are changed by 'queuectl config'.")
    values = settings.DEFAULTS._asdict()
    yield from _items((key, f"{settings.MEANINGS[key]} (default: {values[key]})") for key in settings.KEYS)
    yield ".SH ENVIRONMENT"
    yield from _items(ENVIRONMENT)
    yield ".SH FILES"
    yield "A queue is one database and the files beside it, in one directory."
    yield from _items(FILES)


def _command(command: click.Command, path: str) -> Iterator[str]:
    assert isinstance(command, (Command, Group))
    usage = command.collect_usage_pieces(click.Context(command))
    yield f".SS {_quoted(' '.join([path, *usage]))}"
    yield _filled(command.help or "")
    yield from _options(command, [option.opts[0] for option in _own_options(command)])
    yield from _paragraphs(command.after_help)
    yield from _examples(command.examples)
    if isinstance(command, Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from _command(below, f"{path} {name}")


def _own_options(command: click.Command) -> list[click.Option]:
    return [
        each
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and not set(each.opts) & {*COMMON}
    ]


def _options(command: click.Command, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        option = next(each for each in command.params if isinstance(each, click.Option) and name in each.opts)
        value = option.metavar or "|".join(map(str, getattr(option.type, "choices", ())))
        yield ".TP"
        said = ", ".join(f"\\fB{_text(each)}\\fR" for each in option.opts)
        yield said + ("" if option.is_flag else f" \\fI{_text(value)}\\fR")
        yield _filled(option.help or "")


def _items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, meaning in pairs:
        yield ".TP"
        yield f"\\fB{_text(name)}\\fR"
        yield _filled(meaning)


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield ".PP"
        yield _filled(text)


def _examples(examples: Sequence[str]) -> Iterator[str]:
    if examples:
        yield from (".PP", "For example:", ".PP", ".RS 4", ".nf")
        yield from map(_text, examples)
        yield from (".fi", ".RE")


def _filled(text: str) -> str:
    """Text on lines that are not too long, which are filled again to the reader's width."""
    lines = textwrap.wrap(_text(text), 79, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in lines)


def _text(text: str) -> str:
    """A line of text in which nothing means something to roff."""
    escaped = "".join(_SPECIAL.get(each, each) for each in " ".join(text.split()))
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _quoted(text: str) -> str:
    """As :func:`_text`, as one argument of a macro."""
    return f'"{_text(text)}"'


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(exist_ok=True)
    target.write_text(page(), encoding="utf-8")
    print(f"{target}: {len(page().splitlines())} lines")
