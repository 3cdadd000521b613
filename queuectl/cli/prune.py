"""``prune``: remove what ended long ago."""

from __future__ import annotations

from collections.abc import Sequence

import click

from queuectl import clock
from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.jobs import known_state


@command(
    "prune",
    examples=("queuectl prune --older-than 30d --dry-run", "queuectl prune --older-than 7d --state completed,dead"),
    after_help=(
        "Jobs, attempts and logs go together, and are gone for good. Without --state, completed and cancelled jobs go; "
        "dead ones only when they are named. A job that was cancelled because one that it needs did not complete stays as "
        "long as that one, with which it may come back. The setting retention has workers do it by themselves.",
    ),
)
@click.option("--older-than", metavar="D", required=True, help="Only jobs that ended longer ago: 12h, 30d; 0 for all.")
@click.option(
    "--state", metavar="S[,S...]", multiple=True, help="Only jobs in these states (default: completed,cancelled)."
)
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@pass_app
def cmd_prune(app: App, older_than: str, state: Sequence[str], dry_run: bool) -> None:
    """Remove jobs that ended long ago, with their logs."""
    age = clock.seconds(older_than, "--older-than")
    states = tuple(dict.fromkeys(known_state(name) for text in state for name in text.split(",")))
    removed = 0

    def note_progress(jobs: int) -> None:
        nonlocal removed
        removed = jobs

    try:
        removed = app.existing_queue().prune(age, states, dry_run=dry_run, on_progress=note_progress)
    except KeyboardInterrupt:
        if not dry_run:
            gone = f"at least {_counted(removed)} pruned by then" if removed else "what was pruned by then stays so"
            output.note(f"interrupted; {gone}, and the same command goes on with the rest")
        raise
    if app.json:
        output.emit_json({"pruned": removed, "dry_run": dry_run})
    else:
        output.note(f"{_counted(removed)} {'would be ' if dry_run else ''}pruned")


def _counted(jobs: int) -> str:
    return f"{jobs} {'job' if jobs == 1 else 'jobs'}"
