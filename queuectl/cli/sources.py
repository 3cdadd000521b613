"""``enqueue --job-file`` and ``--commands``: files from which any number of jobs come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from queuectl import model
from queuectl.cli import slips
from queuectl.cli.enqueue import say_that_stdin_is_read
from queuectl.errors import InvalidInput, JobExists
from queuectl.jobfile import read_commands, read_jobs, shown_path

if TYPE_CHECKING:
    from queuectl.api import Queue


def add_job_file(
    queue: Queue, path: str, options: Mapping[str, Any], begin_change: Callable[[], None]
) -> Collection[str]:
    """Add the jobs of a file, and call ``begin_change`` when all are understood. Returns the ids."""
    say_that_stdin_is_read(path)
    given = {key: value for key, value in options.items() if value is not None}
    groups: Counter[str] = Counter()
    try:
        ids = queue.add_checked(_jobs_of(path, given, groups, begin_change))
    except JobExists as error:
        raise JobExists(f"{shown_path(path)}: {error}") from error
    slips.tell_of_groups(queue, groups)
    return ids


def add_commands(
    queue: Queue, path: str, options: Mapping[str, Any], begin_change: Callable[[], None]
) -> Collection[str]:
    """Add a job for each command of a file, and call ``begin_change`` when all are understood. Returns the ids."""
    say_that_stdin_is_read(path)
    return queue.add_checked(_jobs_for(path, model.new_job({**options, "command": "true"}), begin_change))


def _jobs_for(path: str, like: model.NewJob, begin_change: Callable[[], None]) -> Iterator[model.NewJob]:
    """A job like another for each command of a file, which is read as it is asked for."""
    for line, command in read_commands(path):
        try:
            yield like._replace(command=model.command_line(command))
        except InvalidInput as error:
            raise InvalidInput(f"{shown_path(path)}, line {line}: {error}") from error
    begin_change()


def _jobs_of(
    path: str, options: Mapping[str, Any], groups: Counter[str], begin_change: Callable[[], None]
) -> Iterator[model.NewJob]:
    """The jobs of a file, with the options that were given on the command line where one is silent.

    How many there are of each group is counted in ``groups``.
    """
    for entry in read_jobs(path):
        place = entry.number
        try:
            job = model.new_job(_with_defaults(entry.fields, options) if options else entry.fields)
            for each in (job,) if entry.commands is None else model.alike(job, entry.commands):
                yield each
                place += 1
        except InvalidInput as error:
            raise InvalidInput(f"{shown_path(path)}, {entry.unit} {place}: {error}") from error
        if job.group != model.DEFAULT_GROUP:
            groups[job.group] += place - entry.number
    begin_change()


def _with_defaults(fields: Any, options: Mapping[str, Any]) -> Any:
    if not isinstance(fields, dict):
        return fields
    has_time = any(fields.get(key) is not None for key in ("delay", "run_at", "next_run_at"))
    defaults = {
        key: value
        for key, value in options.items()
        if fields.get(key) is None and not (has_time and key in ("delay", "run_at"))
    }
    return {**fields, **defaults}
