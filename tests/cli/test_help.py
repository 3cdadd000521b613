"""Every command explains itself, and its examples work as they stand."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from forked import Command, with_variables, words_of
from program import ROOT, Bench, environment

from queuectl.cli import main


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main, info_name="queuectl")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for below, each in command.commands.items():
                yield f"{name} {below}", each


ALL = dict(commands())
EXAMPLES = [example for command in (main, *ALL.values()) for example in command.examples]


@pytest.mark.parametrize("name", ALL)
def test_help_has_a_line_an_example_and_the_common_options(bench: Bench, name: str) -> None:
    result = bench.run(*name.split(), "-h")
    assert result.code == 0
    assert result.out.startswith(f"Usage: queuectl {name}")
    for expected in ("--db", "--json", "-h, --help", "Examples:"):
        assert expected in result.out
    assert len(ALL[name].get_short_help_str(100)) <= 62


def test_the_list_of_commands_says_what_they_say_of_themselves(bench: Bench) -> None:
    """It is written in one table, since all modules would have to be imported to ask them."""
    shown = bench.run("--help").lines
    for name, command in ALL.items():
        if " " not in name:
            assert [name, command.get_short_help_str(100)] in [line.split(maxsplit=1) for line in shown]


def test_the_help_is_as_wide_as_the_terminal_within_limits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, widest in (("60", 58), ("1", 50), ("500", 98), ("x" * 5, 78), ("9" * 5000, 78), ("-3", 78)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = bench.run("enqueue", "--help").lines
        assert widest - 15 < max(len(line) for line in lines if "queuectl enqueue" not in line) <= widest, columns


def test_every_option_has_a_help_text() -> None:
    silent = [
        f"{name} {option.opts[0]}"
        for name, command in ALL.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("example", dict.fromkeys(EXAMPLES))
def test_example_works(bench: Bench, example: str) -> None:
    program = bench.directory / "bin" / "queuectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m queuectl "$@"\n')
    program.chmod(0o755)
    jobs = [{"command": "true", "id": name, "max_retries": 0} for name in "123"]
    bench.queue.enqueue_many(jobs)
    if not re.search(r"\b(cancel|edit|hold|release) ", example):
        kind = "failed" if "dlq" in example else "succeeded"
        for _ in jobs:
            bench.play(kind, b"output\n")
    if "cron" in example and " add " not in example:
        bench.queue.add_schedule("nightly", "30 2 * * *", "true")
    env = environment(PATH=f"{program.parent}:/usr/bin:/bin", PYTHONPATH=str(ROOT))
    try:
        if example == "queuectl cancel --wait 2 3":
            bench.queue.cancel("1")
        words = words_of(example)
        if words is not None:
            done = Command(bench.directory, words, with_variables(env)).wait()
        else:
            done = subprocess.run(
                ["sh", "-c", example],
                cwd=bench.directory,
                env=env,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == (3 if "worker-status" in example else 0), done
        assert "error" not in done.stderr
        if "--json" in example:
            json.loads(done.stdout)
    finally:
        bench.run("worker-stop", "--now")
