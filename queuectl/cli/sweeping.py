"""``enqueue --each``: one command, and a job for each line of a file, or for each combination of several files' lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import click

from queuectl import model, template
from queuectl.cli import output
from queuectl.errors import InvalidInput
from queuectl.jobfile import STDIN, read_values, shown_path

if TYPE_CHECKING:
    from queuectl.template import Template


def template_of(text: str, argv: Sequence[str], inputs: int, what: str) -> Template:
    """The command to repeat: words where there are any, else a shell's text. Raises :class:`InvalidInput`."""
    return template.of_words(argv, inputs) if argv else template.of_text(text, inputs, what)


def check_inputs(paths: Sequence[str], command_file: str | None) -> None:
    """Refuse what would read standard input twice. Raises :class:`click.UsageError`."""
    if [*paths, command_file].count(STDIN) > 1:
        raise click.UsageError("standard input can be read once only: name a file for the other")


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
                filled = model.command_line(command.fill((value, *more), number))
            except InvalidInput as error:
                raise InvalidInput(f"{shown_path(paths[0])}, line {line}: {error}") from error
            yield like._replace(command=filled)
    # All is understood; what follows changes something.
    output.probe()
