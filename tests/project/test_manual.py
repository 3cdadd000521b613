"""The manual page says what ``--help`` says, and readers of such pages understand it."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess

import click
import pytest
from readme import ROOT

from queuectl.cli import main
from queuectl.settings import KEYS

PAGE = ROOT / "man" / "queuectl.1"
TEXT = PAGE.read_text(encoding="utf-8")


def said_by(*command: str) -> str:
    """What a reader of pages prints, and complains about."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    done = subprocess.run(
        [*command, str(PAGE)],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_it_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "manpage.py"))
    assert made["page"]() == TEXT, "run: make man"


def test_every_command_and_setting_is_in_it() -> None:
    for name in main.list_commands(click.Context(main)):
        assert re.search(rf'^\.SS "queuectl {name.replace("-", chr(92) * 2 + "-")}[ "]', TEXT, re.MULTILINE), name
    for key in KEYS:
        assert f"\\fB{key}\\fR" in TEXT


@pytest.mark.parametrize(
    "command", [("mandoc", "-T", "lint", "-W", "warning"), ("groff", "-man", "-Tutf8", "-ww", "-z")]
)
def test_nobody_complains(command: tuple[str, ...]) -> None:
    assert said_by(*command) == ""


@pytest.mark.parametrize("command", [("mandoc", "-T", "utf8"), ("groff", "-man", "-Tutf8", "-P-cbou")])
def test_what_is_to_be_typed_is_shown_as_it_is(command: tuple[str, ...]) -> None:
    shown = re.sub(".\b", "", said_by(*command))
    assert "queuectl enqueue --command 'echo hello | tr a-z A-Z'" in shown
    assert r"""printf '%s\n' '{"command": "true"}'""" in shown
