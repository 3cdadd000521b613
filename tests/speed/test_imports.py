"""What a command imports: most of the time of a start goes into that, and each module that is too many adds to it."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.program import environment

from queuectl import Queue

BASE = "import click, sqlite3"
"""What no command can do without."""
HELP = "import click, sqlite3, gettext; click.HelpFormatter(width=80).write_text(gettext.gettext('Options'))"
"""What no help can do without: click wraps its lines, and looks for translations of its words."""

ALWAYS = {"queuectl", "click", "__future__", "math"}
FOR_JSON = {"json", "_json"}

MOST: dict[tuple[str, ...], tuple[int, set[str]]] = {
    ("--help",): (5, set()),
    ("enqueue", "--command", "true"): (23, {"fcntl"}),
    ("enqueue", "--", "true"): (23, {"shlex", "fcntl"}),
    ("status",): (27, {"fcntl"}),
    ("list",): (24, set()),
    ("show", "1"): (24, set()),
    ("__complete", "zsh", "cancel", ""): (19, set()),
    ("__complete", "bash", "queuectl cancel "): (19, {"shlex"}),
    ("cron", "list"): (28, FOR_JSON),
    ("wait", "1", "--timeout", "0"): (24, FOR_JSON | {"select"}),
}
"""Of each command, how many modules of queuectl it may import, and what else."""

SCRIPT = """
import sys
{}
print(*sys.modules, file=sys.stderr)
"""


def imported(does: str, *arguments: str, **options: Any) -> set[str]:
    """The modules that a program has imported by its end."""
    command = [sys.executable, "-c", SCRIPT.format(does), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, **options)
    return set(done.stderr.splitlines()[-1].split())


@functools.cache
def base(does: str) -> set[str]:
    """As :func:`imported`, and asked only once."""
    return imported(does)


@pytest.mark.parametrize("arguments", MOST, ids=" ".join)
def test_a_command_imports_only_what_it_needs(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    queue = Queue.init(tmp_path / "queuectl.db")
    queue.enqueue("true")
    queue.close()
    most, also = MOST[arguments]
    more = imported("from queuectl.cli import run; run(sys.argv[1:])", *arguments, cwd=tmp_path)
    more -= base(HELP if "--help" in arguments else BASE)
    strangers = {name for name in more if name.split(".")[0] not in ALWAYS | also}
    assert not strangers, "a start takes longer with these: import them where they are used"
    own = sorted(name for name in more if name.split(".")[0] == "queuectl")
    assert len(own) <= most, own


def test_a_start_of_workers_imports_no_more_than_it_needs(tmp_path: Path, mode: str) -> None:
    """Each worker inherits what its supervisor has imported."""
    Queue.init(tmp_path / "queuectl.db").close()
    command = ("worker-run", "--drain", "--mode", mode)
    more = imported("from queuectl.cli import run; run(sys.argv[1:])", *command, cwd=tmp_path)
    assert "queuectl.supervisor" in more
    assert not more & {"asyncio", "multiprocessing", "psutil", "shutil", "subprocess", "tempfile"}
