"""Running the program: as a process, or in this one where that makes no difference."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import homes
from farm import IS_ROOT, become_nobody, in_turn
from forked import Command, with_variables

from queuectl import Queue, cli
from queuectl.clock import SYSTEM_CLOCK
from queuectl.model import Claim, Outcome
from queuectl.retry import judge
from queuectl.store.sqlite import SQLiteStore

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "queuectl"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would make the program behave differently."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("QUEUECTL_", "COVERAGE_PROCESS")) and key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **more}


def execute(directory: Path, *args: Any, **settings: Any) -> Result:
    """Run the real program as a process."""
    env = environment(**settings.pop("env", {}))
    arguments = [*PROGRAM, *(arg if isinstance(arg, bytes) else str(arg) for arg in args)]
    settings.setdefault("stdin", None if "input" in settings else subprocess.DEVNULL)
    done = subprocess.run(arguments, cwd=directory, env=env, capture_output=True, timeout=60, check=False, **settings)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def call(*args: Any, stdin: bytes = b"") -> Result:
    """Run the program in this process: a tenth of the time, and the same but for its streams."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    try:
        sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin), "utf-8"), out, err
        code = cli.run([str(arg) for arg in args])
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    out.flush()
    err.flush()
    return Result(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


class Bench:
    """A queue in a directory that is the current one, and a hand that plays the worker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = Queue(homes.copy(directory))
        self.store = SQLiteStore(self.queue.home.database, 5)

    def run(self, *args: Any, stdin: bytes = b"") -> Result:
        return call(*args, stdin=stdin)

    def execute(self, *args: Any, **settings: Any) -> Result:
        return execute(self.directory, *args, **settings)

    def play(self, kind: str, log: bytes | None = None, **how: Any) -> str:
        """Claim the next job and record this outcome; appends to its log. Returns its id."""
        return self.finish(self.claim(), kind, log, **how)

    def claim(self) -> Claim:
        claim = self.store.claim("worker-1", SYSTEM_CLOCK.now())
        assert claim is not None
        return claim

    def finish(self, claim: Claim, kind: str, log: bytes | None = None, **how: Any) -> str:
        path = Path(self.queue.home.log(claim.id))
        offset = path.stat().st_size if path.exists() else 0
        if log is not None:
            path.touch(0o600)
            with path.open("ab") as file:
                file.write(log)
        how = {"log_offset": offset, "log_bytes": len(log or b""), **how}
        verdict = judge(kind, claim.attempts, claim.max_retries, 2, 86_400)
        now = SYSTEM_CLOCK.now()
        assert self.store.finish(claim, Outcome(kind, **how), verdict, now, now)[0]
        return claim.id

    def ended(self, kind: str = "succeeded", command: str = "true", **how: Any) -> str:
        """Enqueue a job without retries and let it end."""
        job_id = self.queue.enqueue(command, max_retries=0).id
        assert self.play(kind, **how) == job_id
        return job_id


def execute_as_ordinary_user(directory: Path, *args: str) -> Result:
    """Run a command, in a process of its own, as somebody who has no right to do everything."""
    steps = [with_variables(environment()), *([become_nobody] if IS_ROOT else [])]
    done = Command(directory, args, partial(in_turn, steps)).wait()
    return Result(done.returncode, done.stdout, done.stderr)


def start(directory: Path, *args: str, **settings: Any) -> subprocess.Popen[bytes]:
    """Start the program and go on."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **settings}
    return subprocess.Popen([*PROGRAM, *args], cwd=directory, env=environment(), **streams)
