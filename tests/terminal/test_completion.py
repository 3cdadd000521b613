"""Completion as somebody at a keyboard meets it, in real shells."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from farm import eventually

from queuectl import Queue
from queuectl.clock import SYSTEM_CLOCK
from queuectl.model import Outcome
from queuectl.retry import Verdict
from queuectl.store.sqlite import SQLiteStore

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "ready> "
PROGRAM = """\
#!/bin/sh
# Completion is the program's own; whatever else was typed is noted.
case $1 in
    __complete | completion) PYTHONPATH={root} exec {python} -m queuectl "$@" ;;
esac
printf '%s\\n' "$@" > {typed}.new && mv {typed}.new {typed}
"""
START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--interactive", "--private"],
}
SET_UP = {
    "bash": """eval "$(queuectl completion bash)"; PS1='rea''dy> '""",
    "zsh": """eval "$(queuectl completion zsh)"; PS1='rea''dy> '""",
    "fish": "function fish_prompt; echo -n 'rea''dy> '; end",
}


class Keyboard:
    """A shell at a terminal, in a queue's directory, that completes words of queuectl."""

    def __init__(self, shell: str, directory: Path) -> None:
        self.shell = shell
        self.directory = directory / "here"
        self.directory.mkdir()
        self.typed = directory / "typed"
        self.shown = ""
        """All that was on the terminal while lines were typed."""
        tools = directory / "bin"
        tools.mkdir()
        program = tools / "queuectl"
        root, python, typed = (shlex.quote(str(path)) for path in (ROOT, sys.executable, self.typed))
        program.write_text(PROGRAM.format(root=root, python=python, typed=typed))
        program.chmod(0o755)
        # With this one there, fish does not begin to read all manual pages.
        (directory / ".local/share/fish/generated_completions").mkdir(parents=True)
        if shell == "fish":
            completions = directory / ".config/fish/completions"
            completions.mkdir(parents=True)
            script = ROOT / "queuectl/cli/shells/queuectl.fish"
            shutil.copy(script, completions / "queuectl.fish")
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("QUEUECTL_", "XDG_", "COVERAGE_"))
        }
        self.process = pexpect.spawn(
            shell,
            START[shell],
            cwd=str(self.directory),
            env={
                **clean,
                "HOME": str(directory),
                "PATH": f"{tools}:{clean['PATH']}",
                "TERM": "dumb" if shell == "bash" else "xterm",
                "LC_ALL": "C.UTF-8",
            },
            dimensions=(50, 120),
            encoding="utf-8",
            timeout=60,
        )
        self.command(SET_UP[shell])

    def command(self, line: str) -> None:
        """Have the shell run a line."""
        self.process.send(f"{line}\r")
        self.process.expect_exact(PROMPT)

    def line(self, keys: str) -> list[str]:
        """Type a line, with TABs, and enter; the words that the program is started with."""
        self.typed.unlink(missing_ok=True)
        self.process.send(f"{keys}\r")
        eventually(self.typed.exists, f"{keys!r} was entered")
        self.process.expect_exact(PROMPT)
        self.shown += self.process.before
        return self.typed.read_text().splitlines()

    def leave(self) -> None:
        self.process.close(force=True)


@pytest.fixture(params=START)
def keyboard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keyboard]:
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    made = Keyboard(shell, tmp_path)
    yield made
    made.leave()


@pytest.fixture
def queue(keyboard: Keyboard) -> Queue:
    """Two jobs that wait, one that is dead, and a file."""
    made = Queue.init(keyboard.directory / "queuectl.db")
    made.enqueue("false", id="lost", max_retries=0)
    store = SQLiteStore(made.home.database, 5)
    claim = store.claim("worker-1", SYSTEM_CLOCK.now())
    assert claim is not None
    now = SYSTEM_CLOCK.now()
    store.finish(claim, Outcome("failed", exit_code=1), Verdict("dead"), now, now)
    store.close()
    made.enqueue("make all", id="build")
    made.enqueue("echo \x1b]0;title\x07\necho 'second line'", id="odd")
    (keyboard.directory / "my jobs.json").write_text("[]")
    return made


def test_words_are_completed(keyboard: Keyboard, queue: Queue) -> None:
    assert keyboard.line("queuectl canc\tbu\t") == ["cancel", "build"]
    assert keyboard.line("queuectl worker-stat\t--js\t") == ["worker-status", "--json"]
    assert keyboard.line("queuectl list --lim\t5") == ["list", "--limit", "5"]
    assert keyboard.line("queuectl worker-run --mode thr\t") == ["worker-run", "--mode", "thread"]
    assert keyboard.line("queuectl list --state dead,canc\t") == ["list", "--state", "dead,cancelled"]
    assert keyboard.line("queuectl list --state=proc\t") == ["list", "--state=processing"]
    assert keyboard.line("queuectl config set max-r\t5") == ["config", "set", "max-retries", "5"]


def test_ids_are_those_that_a_command_can_do_something_with(keyboard: Keyboard, queue: Queue) -> None:
    assert keyboard.line("queuectl dlq retry \t") == ["dlq", "retry", "lost"]
    assert keyboard.line("queuectl retry \t") == ["retry", "lost"]
    assert keyboard.line("queuectl cancel lo\t") == ["cancel", "lo"]
    assert keyboard.line("queuectl cancel odd b\t") == ["cancel", "odd", "build"]
    assert keyboard.line("queuectl cancel odd \t") == ["cancel", "odd", "build"]
    assert keyboard.line("queuectl show lo\t") == ["show", "lost"]


def test_files_are_completed_by_the_shell(keyboard: Keyboard, queue: Queue) -> None:
    (keyboard.directory / "deep" / "er").mkdir(parents=True)
    assert keyboard.line("queuectl enqueue --job-file my\t") == ["enqueue", "--job-file", "my jobs.json"]
    assert keyboard.line("queuectl enqueue --job-file=my\t") == ["enqueue", "--job-file=my jobs.json"]
    assert keyboard.line("queuectl enqueue --cwd de\te\t")[2].rstrip("/") == "deep/er"
    assert keyboard.line("queuectl enqueue --cwd my\t") == ["enqueue", "--cwd", "my"]


def test_a_command_to_enqueue_is_completed_as_itself(keyboard: Keyboard, queue: Queue) -> None:
    (keyboard.directory.parent / "bin" / "h5-unique-tool").symlink_to("/bin/true")
    if keyboard.shell == "zsh":
        keyboard.command("rehash")
    assert keyboard.line("queuectl enqueue -- h5-uniq\tmy\t") == ["enqueue", "--", "h5-unique-tool", "my jobs.json"]
    assert keyboard.line("queuectl enqueue --each --comm\t-f\tx") == ["enqueue", "--each", "--command-file", "x"]
    assert keyboard.line("queuectl enqueue --each my\t-- h5-uniq\t") == [
        "enqueue",
        "--each",
        "my jobs.json",
        "--",
        "h5-unique-tool",
    ]
    assert keyboard.line("queuectl enqueue --each -- h5-uniq\t") == ["enqueue", "--each", "--", "h5-unique-tool"]


def test_the_queue_that_the_line_names_is_looked_at(keyboard: Keyboard, queue: Queue) -> None:
    other = Queue.init(keyboard.directory / "its own place" / "queuectl.db")
    other.enqueue("true", id="faraway")
    place = "'its own place'/queuectl.db"
    path = "its own place/queuectl.db"
    assert keyboard.line(f"queuectl --db {place} cancel f\t") == ["--db", path, "cancel", "faraway"]
    assert keyboard.line(f"queuectl cancel --db={place} f\t") == ["cancel", f"--db={path}", "faraway"]
    home = "~/here/its\\ own\\ place/queuectl.db"
    assert keyboard.line(f"queuectl --db {home} cancel f\t")[2:] == ["cancel", "faraway"]
    if keyboard.shell != "bash":  # bash does not tell what stands before a command
        assert keyboard.line(f"QUEUECTL_DB_PATH={place} queuectl cancel f\t") == ["cancel", "faraway"]
    keyboard.command(f"export QUEUECTL_DB_PATH={place}")
    assert keyboard.line("queuectl cancel f\t") == ["cancel", "faraway"]


def test_a_list_shows_commands_beside_ids_and_cannot_play_tricks(keyboard: Keyboard, queue: Queue) -> None:
    keyboard.process.send("queuectl cancel \t\t" if keyboard.shell == "bash" else "queuectl cancel \t")
    for expected in ("odd", r"echo \x1b]0;title\x07\necho 'second line'", "build", "make all"):
        keyboard.process.expect_exact(expected)
    assert "\x1b]0;title" not in keyboard.process.before


def test_nothing_is_said_where_there_is_no_queue_or_a_broken_one(keyboard: Keyboard) -> None:
    database = keyboard.directory / "queuectl.db"
    assert keyboard.line("queuectl cancel \tx") == ["cancel", "x"]
    assert keyboard.line("queuectl nonsense \tx") == ["nonsense", "x"]
    database.write_bytes(b"no database " * 1000)
    assert keyboard.line("queuectl cancel \ty") == ["cancel", "y"]
    database.unlink()
    os.mkfifo(database)
    assert keyboard.line("queuectl cancel \tz") == ["cancel", "z"]
    assert not re.search("error|no queue|not a database|Traceback", keyboard.shown)
