"""``enqueue --each``: one command, and a job for each line of a file, or for each combination of several files' lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from queuectl import model, template
from queuectl.cli.enqueue import command_line, say_that_stdin_is_read
from queuectl.errors import InvalidInput, shown
from queuectl.jobfile import STDIN, read_values, shown_path

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.template import Template


def add(
    queue: Queue,
    paths: Sequence[str],
    nul: bool,
    source: tuple[str | None, str | None, Sequence[str]],
    options: Mapping[str, Any],
    begin_change: Callable[[], None],
) -> Collection[str]:
    """Add a job for each value; ``source`` is the command as a text, its file, or its words. Returns the ids.

    ``begin_change`` is called when all values are understood.
    """
    text, command_file, words = source
    if [*paths, command_file].count(STDIN) > 1:
        raise click.UsageError("standard input can be read once only: name a file for the other")
    line = command_line(text, command_file, words)
    for path in paths:
        say_that_stdin_is_read(path)
    what = "--command" if text is not None else command_file or ""
    count = len(paths)
    repeated = template.of_words(words, count) if words else template.of_text(line, count, what)
    like = model.new_job({**options, "command": line})
    separator = b"\0" if nul else b"\n"

    def checked() -> Iterator[model.NewJob]:
        yield from jobs(paths, repeated, like, separator=separator)
        begin_change()

    return queue.add_checked(checked())


def jobs(paths: Sequence[str], command: Template, like: model.NewJob, *, separator: bytes) -> Iterator[model.NewJob]:
    """A job like another for each line of the first file with each line of all others, the last changing fastest.

    The first file is read as it is asked for.
    """
    first, *others = (read_values(path, separator) for path in paths)
    rest = [list(values) for values in others]
    number = 0
    for line, value in enumerate(first, 1):
        for more in product(*rest):
            number += 1
            try:
                if command.is_value:
                    _check_program(value, like.cwd)
                filled = model.command_line(command.fill((value, *more), number))
            except InvalidInput as error:
                raise InvalidInput(f"{shown_path(paths[0])}, line {line}: {error}") from error
            yield like._replace(command=filled)


def _check_program(value: str, directory: str) -> None:
    """Refuse a value in the place of the whole command that is a command line, and not the name of a program."""
    if len(value.split()) > 1 and not os.path.lexists(os.path.join(directory, value)):
        raise InvalidInput(
            f"{shown(value)} would be the name of one program, since the lines of --each are values: "
            "where they are commands, give --commands in place of --each"
        )
