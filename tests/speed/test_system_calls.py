"""How often a worker asks the kernel: a job of the shell takes a millisecond, and each call is a part of it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from strace import refusal

from queuectl import Queue
from queuectl.store.sqlite import RESERVE

pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal())

FIRST, LAST = 10, 60
"""Calls are counted from the start of one job to that of the other, so that neither start nor end of a worker counts."""
MOST_CALLS = {"process": 52, "thread": 61}
MOST_OF_SEVERAL = {"process": 39, "thread": 42}
"""For a job that is claimed alone, and for one of several, by all processes of queuectl, also between the fork and the job's first program.

Those do not count with which the C library resets each signal there: how many there are is its affair.
"""


class Call(NamedTuple):
    """A system call, by its name, and the line that tells it."""

    name: str
    line: str


def calls_between(trace: list[str]) -> list[Call]:
    """What queuectl called from the start of job ``FIRST`` to that of job ``LAST``; what jobs called does not count."""
    jobs: set[str] = set()
    found: list[Call] = []
    for line in trace:
        pid, _, told = line.partition(" ")
        match = re.match(r"\s*(\w+)\(", told)
        if match is None or pid in jobs:
            continue
        if FIRST <= len(jobs) < LAST and match[1] != "rt_sigaction":
            found.append(Call(match[1], line))
        if match[1] == "execve" and '"/bin/sh"' in told:
            jobs.add(pid)
    assert len(jobs) >= LAST
    return found


PROGRAM = ("-m", "queuectl")
UNHURRIED = (
    "-c",
    "from queuectl import __main__, hand; hand.SHORT = 60; hand.LONGEST = 60; __main__.main()",
)
"""Takes jobs for short ones though ``strace`` slows them down."""


def trace_of(workers: int, mode: str, tmp_path: Path, more: int = 1, program: tuple[str, ...] = PROGRAM) -> list[str]:
    """What ``strace`` tells of a drain of ``LAST`` short jobs, and of some more."""
    queue = Queue.init(tmp_path / "queuectl.db")
    queue.add_many([{"command": "true"}] * (LAST + more))
    queue.close()
    trace = tmp_path / "trace"
    worker = [sys.executable, *program, "worker-run", "--count", str(workers), "--mode", mode, "--drain"]
    command = ["strace", "-f", "-y", "-qq", "--signal=none", "-o", str(trace), *worker]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return trace.read_text(errors="replace").splitlines()


def calls_of(workers: int, mode: str, tmp_path: Path) -> list[Call]:
    """The calls of some workers in the midst of short jobs."""
    return calls_between(trace_of(workers, mode, tmp_path))


def table_of(calls: list[Call]) -> str:
    """How often each was called, for a job."""
    counted = Counter(call.name for call in calls)
    return "\n".join(f"{number / (LAST - FIRST):7.2f} {name}" for name, number in counted.most_common())


def test_few_system_calls_a_job(tmp_path: Path, mode: str) -> None:
    calls = calls_of(1, mode, tmp_path)
    counted = Counter(call.name for call in calls)
    table = table_of(calls)
    assert len(calls) / (LAST - FIRST) <= MOST_CALLS[mode], f"a job, in {mode} mode:\n{table}"

    # What a transaction frees the next one wants: to give it back means to get each page anew, zeroed. Here it is glibc
    # that would.
    if platform.libc_ver()[0] == "glibc":
        assert counted["brk"] + counted["munmap"] <= 10, f"a job, in {mode} mode:\n{table}"

    # A worker's records need not be on disk at once: a power loss has a job run once more. What brings the log into
    # the database, every thousand pages, syncs both. No name of a file need be on disk: a log is made in an instant.
    synced = [call.line for call in calls if call.name in ("fsync", "fdatasync")]
    assert len(synced) <= 2, "\n".join(synced)
    assert all(re.search(r"queuectl\.db(-wal)?>", line) for line in synced), "\n".join(synced)


def test_fewer_system_calls_a_job_where_several_are_claimed_at_once(tmp_path: Path, mode: str) -> None:
    calls = calls_between(trace_of(1, mode, tmp_path, 2 * RESERVE, UNHURRIED))
    assert len(calls) / (LAST - FIRST) <= MOST_OF_SEVERAL[mode], f"a job, in {mode} mode:\n{table_of(calls)}"


def test_threads_read_no_page_that_another_of_them_wrote(tmp_path: Path) -> None:
    """Processes cannot do without; threads with a connection each read a dozen a job."""
    read = [
        call.line for call in calls_of(4, "thread", tmp_path) if call.name == "pread64" and "queuectl.db" in call.line
    ]
    assert len(read) <= LAST - FIRST, "\n".join(read)


def test_nothing_is_looked_for_where_nothing_can_be_left(tmp_path: Path, mode: str) -> None:
    """To look at all processes of the machine takes longer than all else that a start and a stop do."""
    looks = [line for line in trace_of(4, mode, tmp_path) if re.search(r'openat\(.*"/proc",', line)]
    assert not looks, looks
