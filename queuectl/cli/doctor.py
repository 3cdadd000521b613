"""``doctor``: what is wrong with a queue, and what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app

if TYPE_CHECKING:
    from queuectl.doctor import Finding


@command(
    "doctor",
    examples=("queuectl doctor", "queuectl doctor --repair", "queuectl doctor --json"),
    after_help=(
        "The exit code is 1 when something is wrong. --repair touches nothing that running workers use: it makes files "
        "private, removes PID files of dead processes, ends what dead workers left and puts their jobs back, and notes "
        "that lost output is lost.",
    ),
)
@click.option("--repair", is_flag=True, help="Do what is safe about it.")
@pass_app
def cmd_doctor(app: App, repair: bool) -> int:
    """Look the queue over: files, database, workers, logs."""
    home = app.queue().home
    home.require()
    from queuectl import doctor

    with _what_is_logged_as_notes():
        findings = doctor.examine(home, repair=repair)
    healthy = all(finding.ok for finding in findings)
    if app.json:
        output.emit_json({"healthy": healthy, "checks": [finding.as_dict() for finding in findings]})
    else:
        output.emit_fields([(finding.check, _in_words(finding)) for finding in findings])
    return 0 if healthy else 1


@contextlib.contextmanager
def _what_is_logged_as_notes() -> Iterator[None]:
    """Show what a repair has to say as all else that is said: workers write it into their supervisor's log."""
    import logging

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            output.note(record.getMessage())

    logger, notes = logging.getLogger("queuectl"), Notes()
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)


def _in_words(finding: Finding) -> str:
    verdict = "repaired" if finding.repaired else "ok" if finding.ok else "wrong"
    return f"{verdict}: {finding.text}" + (f": {finding.advice}" if finding.advice else "")
