"""What was confirmed is on disk first: seen in the system calls of real commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from farm import PATIENCE
from strace import refusal

from queuectl import Queue
from queuectl.clock import timestamp
from queuectl.model import Outcome
from queuectl.retry import Verdict
from queuectl.store.sqlite import SQLiteStore

_CALLS = "trace=fsync,fdatasync,write,pwrite64,rename,renameat,renameat2,exit_group"


pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal())


def calls_of(home: Path, *arguments: str) -> list[str]:
    """The system calls of a command that write, sync, rename and end, in order, with the files' names."""
    trace = home.parent / "trace"
    command = ["strace", "-f", "-y", "-o", str(trace), "-e", _CALLS, sys.executable, "-m", "queuectl", *arguments]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return trace.read_text().splitlines()


def last(calls: list[str], pattern: str) -> int:
    """Where the last call of a kind is; -1 when there is none."""
    return max((number for number, call in enumerate(calls) if re.search(pattern, call)), default=-1)


def first(calls: list[str], pattern: str) -> int:
    """Where the first call of a kind is; loud when there is none."""
    return next(number for number, call in enumerate(calls) if re.search(pattern, call))


def let_fail(queue: Queue) -> None:
    """Make dead ones of all jobs that wait, as a worker would."""
    store = SQLiteStore(queue.home.database, 30)
    now = timestamp(queue.jobs()[-1].created_at)
    while (claim := store.claim("worker-1", now)) is not None:
        store.finish(claim, Outcome("failed", exit_code=1), Verdict("dead"), now, now)
    store.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


SYNC = r" (fsync|fdatasync)\("
CONFIRMS = r' write\(1<.*>, "[^"]| exit_group\('
"""Something is printed, or there is nothing to print and the command ends."""


@pytest.mark.parametrize(
    "arguments", [("enqueue", "--", "true"), ("cancel", "j"), ("retry", "c"), ("dlq", "retry", "d")]
)
def test_a_command_syncs_the_log_before_it_confirms(home: Path, arguments: tuple[str, ...]) -> None:
    # It stays open: the log is not brought into the database, where it would be synced anyhow.
    queue = Queue.init(home / "queuectl.db")
    queue.enqueue_many([{"id": job_id, "command": "exit 1", "max_retries": 0} for job_id in "jcd"])
    queue.cancel("c")
    if arguments[0] == "dlq":
        let_fail(queue)
    calls = calls_of(home, *arguments)
    queue.close()
    written, synced = last(calls, r"pwrite64\(\d+<.*-wal>"), last(calls, SYNC + r"\d+<.*-wal>")
    assert 0 <= written < synced, "\n".join(calls)
    confirmed = [number for number, call in enumerate(calls) if re.search(CONFIRMS, call)]
    assert synced < confirmed[0], "\n".join(calls)


def test_the_making_of_a_queue_is_on_disk_before_it_is_confirmed(home: Path) -> None:
    calls = calls_of(home, "init")
    moved = first(calls, r" rename\w*\(.*\.new\.db.*queuectl\.db\"")
    assert last(calls[:moved], r"pwrite64\(\d+<.*\.new\.db>") < last(calls[:moved], SYNC + r"\d+<.*\.new\.db>")
    confirmed = first(calls, CONFIRMS)
    directory = re.escape(str(home))
    assert re.search(SYNC + rf"\d+<{directory}>", "\n".join(calls[moved:confirmed])), "\n".join(calls)


def test_a_setting_is_on_disk_before_it_is_confirmed(home: Path) -> None:
    calls_of(home, "init")
    calls = calls_of(home, "config", "set", "max_retries", "5")
    moved = first(calls, r" rename\w*\(.*queuectl_config\.json\"")
    assert last(calls[:moved], SYNC + r"\d+<.*queuectl_config\.json") >= 0
    directory = re.escape(str(home))
    assert re.search(SYNC + rf"\d+<{directory}>", "\n".join(calls[moved:])), "\n".join(calls)
