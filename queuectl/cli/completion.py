"""``completion``: the script by which a shell asks what a word may become."""

from __future__ import annotations

import os

import click

from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    examples=("queuectl completion bash", "queuectl completion zsh", "queuectl completion fish"),
    after_help=(
        'bash: put  eval "$(queuectl completion bash)"  into ~/.bashrc. zsh: put  eval "$(queuectl completion zsh)"  '
        "into ~/.zshrc, after compinit. fish: queuectl completion fish > ~/.config/fish/completions/queuectl.fish",
        "Completed are commands, options and their values, the ids of those jobs that a command can do something with, "
        "groups, settings and files. In zsh and fish, and in the lists that bash shows, a job's command stands beside its id.",
    ),
)
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@pass_app
def cmd_completion(app: App, shell: str) -> None:
    """Print a script that has your shell complete words."""
    text = script(shell)
    if app.json:
        output.emit_json({"shell": shell, "script": text})
    else:
        output.emit(text)


def script(shell: str) -> str:
    """The script for a shell."""
    with open(os.path.join(os.path.dirname(__file__), "shells", f"queuectl.{shell}"), encoding="utf-8") as file:
        return file.read()
