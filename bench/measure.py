"""What all rows share: queues to measure on, timing by turns, figures and what they are to reach."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from queuectl import Queue

PYTHON = sys.executable
QUEUECTL = str(Path(sys.executable).with_name("queuectl"))
"""The console script that was installed beside this interpreter."""

WORKERS = 4
PREFIX = "queuectl-bench-"
LOGS = "job_logs"
PATIENCE = 100.0
"""Seconds until something that is measured counts as hanging."""

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    # Whoever installs a program has its modules compiled: without that, each start would compile them anew.
    if not name.startswith("QUEUECTL_") and name != "PYTHONDONTWRITEBYTECODE"
}


class Unmeasured(Exception):
    """Something that is to be measured did not do its work."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: all of it, or a quick form that only shows that the scripts work."""

    turns: int = 5
    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        """A number of jobs, seconds or rows."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Target:
    """What a figure is to reach: at least, or else at most, ``bound``."""

    bound: float
    at_least: bool = True

    def is_reached_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"


def at_least(bound: float) -> Target:
    return Target(bound)


def at_most(bound: float) -> Target:
    return Target(bound, at_least=False)


@dataclass(frozen=True)
class Figure:
    """One measured number: the median over ``samples``, which are one a turn where nothing else is said.

    Without a target it is there for comparison only. ``detail`` has the absolute numbers behind a ratio.
    """

    row: str
    name: str
    value: float
    unit: str
    low: float
    high: float
    target: Target | None = None
    detail: str = ""

    @property
    def is_reached(self) -> bool | None:
        return None if self.target is None else self.target.is_reached_by(self.value)

    @property
    def verdict(self) -> str:
        return {True: "reached", False: "MISSED", None: ""}[self.is_reached]

    def shown(self) -> str:
        return f"{number(self.value)}{self.unit and ' ' + self.unit}"

    def spread(self) -> str:
        return "" if self.low == self.high else f"{number(self.low)} to {number(self.high)}"

    def __str__(self) -> str:
        spread = f" ({self.spread()})" if self.spread() else ""
        target = f"; to reach: {self.target}: {self.verdict}" if self.target else ""
        detail = f" [{self.detail}]" if self.detail else ""
        return f"{self.row}: {self.name}: {self.shown()}{spread}{target}{detail}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "target": str(self.target) if self.target else None, "reached": self.is_reached}


def figure(
    row: str, name: str, samples: Sequence[float], unit: str = "", target: Target | None = None, detail: str = ""
) -> Figure:
    """The median of some samples, with their spread."""
    return Figure(row, name, statistics.median(samples), unit, min(samples), max(samples), target, detail)


@dataclass
class Measured:
    """What a row found: figures, what the plots are drawn from, and what could not be measured here."""

    figures: list[Figure] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, *arguments: Any, **options: Any) -> None:
        """Add a :func:`figure` and print it: a long run tells at once what it has."""
        self.figures.append(figure(*arguments, **options))
        print(self.figures[-1], flush=True)

    def lacks(self, what: str) -> None:
        self.missing.append(what)
        print(f"not measured: {what}", flush=True)


Row = Callable[[Scale], Measured]


def main(measure: Row) -> int:
    """Run one row as a program."""
    measure(scale_of(sys.argv[1:]))
    return 0


def scale_of(words: Sequence[str], description: str = "Measure one row of the table.") -> Scale:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few jobs and one turn: only to see that it works")
    parser.add_argument("--turns", type=int, help="how often all is measured (default: 5, quick: 1)")
    options = parser.parse_args(words)
    return Scale(options.turns or (1 if options.quick else 5), options.quick)


# --- timing


def by_turns(turns: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure all contenders once a turn, each turn beginning with another one.

    What a machine does beside it then hits all of them alike, and none is always the one after a certain other.
    """
    names = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(contenders[name]())
    return found


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [first / second for first, second in zip(of, to, strict=True)]


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all values does not exceed: 0.99 for the 99th percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def number(value: float) -> str:
    """Three digits that matter."""
    if value == 0 or abs(value) < 0.001:
        return f"{value:.5f}" if value else "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def rate(values: Sequence[float], unit: str = "/s") -> str:
    """The median of some absolute numbers, for a detail."""
    return f"{number(statistics.median(values))}{unit}"


# --- processes


def run(*command: str, stdin: Any = subprocess.DEVNULL, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, insist on exit code 0, and return what it printed."""
    options.setdefault("env", ENVIRONMENT)
    done = subprocess.run(  # nosec B603  # our own command lines
        command, stdin=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE, **options
    )
    if done.returncode:
        raise Unmeasured(f"{' '.join(command)[:200]}: ended with {done.returncode}: {done.stderr[-500:]}")
    return done


def start(*command: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program whose output nobody wants."""
    options = {"env": ENVIRONMENT, "stdin": subprocess.DEVNULL, **options}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # nosec B603


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run("/bin/sh", "-c", line, **options)


def is_installed(program: str) -> bool:
    return shutil.which(program) is not None


def until(condition: Callable[[], Any], pause: float = 0.01) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Unmeasured("waited too long for what is measured")
        time.sleep(pause)


# --- queues


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory of its own, on the disk of temporary files.

    The logs in it are emptied, and removed at the very end: for minutes, ext4 without a journal looks at every file
    that was removed lately before it makes a new one, and so each turn would slow down those that follow.
    """
    directory = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    atexit.register(shutil.rmtree, directory)
    try:
        yield directory
    finally:
        for path in directory.iterdir():
            if path.name == LOGS:
                empty_files(path)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def empty_files(directory: Path) -> None:
    """Give back the disk that the files in a directory take."""
    for path in directory.iterdir():
        if path.stat().st_size:
            os.truncate(path, 0)


@contextlib.contextmanager
def fresh_queue() -> Iterator[Queue]:
    """An empty queue in a directory of its own. Workers that still run in the end are stopped."""
    with scratch() as directory:
        queue = Queue.init(directory / "queuectl.db")
        try:
            yield queue
        finally:
            queue.close()
            queuectl(queue, "worker-stop", "--now")


def queuectl(queue: Queue, *words: str, **options: Any) -> str:
    """What a command of the queue prints."""
    return run(QUEUECTL, "--db", queue.home.database, *words, **options).stdout


def fill(queue: Queue, count: int, command: str = "true") -> None:
    """Have jobs wait in a queue."""
    queue.add_many([{"command": command, "cwd": "/"}] * count)
    queue.close()


@contextlib.contextmanager
def workers(queue: Queue, mode: str = "process", count: int = WORKERS) -> Iterator[None]:
    """Workers that run while the block does; ready when it begins."""
    queuectl(queue, "worker-start", "--count", str(count), "--mode", mode)
    try:
        yield
    finally:
        queuectl(queue, "worker-stop", "--now")


def drained_rate(
    jobs: int, mode: str = "process", count: int = WORKERS, prepare: Callable[[Queue, int], None] = fill
) -> float:
    """Jobs a second of ``worker-run --drain`` on jobs that wait already; its start and its stop are counted.

    ``prepare`` has them wait; of others that it adds none may run.
    """
    with fresh_queue() as queue:
        prepare(queue, jobs)
        queue.close()
        words = ("worker-run", "--count", str(count), "--mode", mode, "--drain")
        took = seconds(lambda: queuectl(queue, *words))
        if queue.counts()["completed"] != jobs:
            raise Unmeasured(f"not all jobs completed: {queue.counts()}")
    return jobs / took


@contextlib.contextmanager
def database(queue: Queue) -> Iterator[sqlite3.Connection]:
    """The queue's database, to build and read what no command does."""
    connection = sqlite3.connect(queue.home.database, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


_BUILD = """
WITH RECURSIVE numbers (n) AS (
    SELECT (SELECT coalesce(max(seq), 0) + 1 FROM jobs)
    UNION ALL SELECT n + 1 FROM numbers LIMIT :count)
INSERT INTO jobs (seq, id, command, cwd, max_retries, state, lane, due, next_run_at, attempts, starts,
                  created_at, updated_at, started_at, ended_at, outcome, exit_code, reason)
SELECT n, n, 'true', '/', 3, :state, :lane, :due + n, :next_run_at + n, :starts, :starts,
       :now, :now, iif(:starts, :now, NULL), iif(:starts, :now + 1000, NULL), :outcome, :exit_code, :reason
FROM numbers
"""
_BUILD_ATTEMPTS = """
INSERT INTO attempts (job_seq, number, started_at, ended_at, outcome, exit_code, worker, cpu_seconds,
                      log_offset, log_bytes)
SELECT seq, 1, started_at, ended_at, outcome, exit_code, 'worker-1', 0.001, 0, 0
FROM jobs WHERE state = :state AND starts = 1
"""
_YEAR = 365 * 86_400 * 1_000_000


def build(queue: Queue, *, waiting: int = 0, scheduled: int = 0, completed: int = 0, dead: int = 0) -> None:
    """Put many jobs into a queue by SQL, as if they had come and gone by the usual way; ended ones have no logs."""
    now = time.time_ns() // 1000 - 3_600_000_000
    kinds: list[tuple[int, dict[str, Any]]] = [
        (completed, {"state": "completed", "outcome": "succeeded", "exit_code": 0}),
        (dead, {"state": "dead", "outcome": "failed", "exit_code": 1, "reason": "exit code 1"}),
        (scheduled, {"state": "pending", "lane": 1, "due": now + _YEAR, "next_run_at": now + _YEAR}),
        (waiting, {"state": "pending", "lane": 0}),
    ]
    usual = {"lane": None, "due": now, "next_run_at": None, "outcome": None, "exit_code": None, "reason": None}
    with database(queue) as connection:
        # It need not survive a crash while it is made.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        connection.execute("BEGIN IMMEDIATE")
        for count, values in kinds:
            if count:
                starts = int("outcome" in values)
                connection.execute(_BUILD, {**usual, "now": now, "count": count, "starts": starts, **values})
                if starts:
                    connection.execute(_BUILD_ATTEMPTS, {"state": values["state"]})
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def status_of(pid: int, name: str) -> dict[str, str]:
    """A file of ``/proc/PID`` that has ``key: value`` lines."""
    lines = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def worker_status(queue: Queue) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(queuectl(queue, "worker-status", "--json"))
    return status
