"""How often a worker asks the database: what bounds the rate of short jobs, and must not grow unnoticed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from farm import PATIENCE

from queuectl import Queue

NOTING = Path(__file__).with_name("noting.py")
JOBS = 50
MOST_STATEMENTS = 7
"""For a job: begin, look whether the claim is still good, add the attempt, finish, look for the next job, claim it, commit."""
MOST_AROUND = 20
"""For the opening of the database, the first claim, and the looks that tell that the queue is drained."""


def drain(home: Path, mode: str) -> list[str]:
    """Have one worker work off a queue of short jobs; the statements of that worker, in order."""
    queue = Queue.init(home / "queuectl.db")
    queue.add_many([{"command": "true"}] * JOBS)
    queue.close()
    notes = home / "statements"
    command = [sys.executable, str(NOTING), str(notes), "worker-run", "--count", "1", "--mode", mode, "--drain"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert queue.counts()["completed"] == JOBS
    queue.close()
    noted = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    worker = next(pid for pid, statement in noted if "SET state = 'processing'" in statement)
    return [statement for pid, statement in noted if pid == worker]


def test_one_transaction_a_job(tmp_path: Path, mode: str) -> None:
    """The outcome of a job and the next claim are one transaction: each waits for the write lock, and writes the log.

    The first claim is one of its own.
    """
    statements = drain(tmp_path, mode)
    counted = Counter(re.sub(r"'[^']*'|\b\d+\b", "?", statement)[:90] for statement in statements)
    table = "\n".join(f"{number:5} {statement}" for statement, number in counted.most_common())
    begun = sum(statement.startswith("BEGIN") for statement in statements)
    assert begun == sum(statement.startswith("COMMIT") for statement in statements), table
    assert begun <= JOBS + 1, table
    assert len(statements) <= MOST_STATEMENTS * JOBS + MOST_AROUND, table
