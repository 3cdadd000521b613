"""Bulk enqueue: a job file on standard input, and how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measure import (
    ENVIRONMENT,
    PYTHON,
    QUEUECTL,
    Measured,
    Scale,
    Unmeasured,
    at_least,
    at_most,
    by_turns,
    fresh_queue,
    main,
    rate,
    ratios,
    scratch,
)

ROW = "bulk enqueue"
FEW = 10
"""The memory is compared with that for so much smaller a file."""
_MEASURING = """
import resource, subprocess, sys, time
started = time.perf_counter()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(status, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process in between: a child counts what its parent had at the time of the fork as its own."""


def enqueued(file: Path, jobs: int) -> tuple[float, float]:
    """Seconds that the command takes, and its peak memory in MiB."""
    with fresh_queue() as queue, open(file, "rb") as source:
        words = [QUEUECTL, "--db", queue.home.database, "enqueue", "--job-file", "-"]
        command = [PYTHON, "-c", _MEASURING, *words]
        done = subprocess.run(  # nosec B603  # our own command line
            command, env=ENVIRONMENT, stdin=source, stdout=subprocess.PIPE, text=True, check=True
        )
        status, took, peak = done.stdout.split()
        if status != "0" or queue.counts()["pending"] != jobs:
            raise Unmeasured(f"enqueue ended with status {status}: {queue.counts()}")
    return float(took), int(peak) / 1024


def measure(scale: Scale) -> Measured:
    many = scale.of(500_000, 2_000)
    found = Measured()
    memory: dict[int, list[float]] = {many: [], many // FEW: []}
    with scratch() as directory:

        def turn(jobs: int) -> float:
            took, peak = enqueued(directory / f"{jobs}.json", jobs)
            memory[jobs].append(peak)
            return jobs / took

        for jobs in memory:
            line = '{"command": "true", "cwd": "/"}\n'
            (directory / f"{jobs}.json").write_text(line * jobs)
        taken = by_turns(scale.turns, {"many": lambda: turn(many), "few": lambda: turn(many // FEW)})
    found.add(ROW, f"{many:,} jobs", taken["many"], "/s", at_least(80_000))
    detail = f"{rate(memory[many], ' MiB')} against {rate(memory[many // FEW], ' MiB')}"
    name = f"peak memory against {many // FEW:,} jobs"
    found.add(ROW, name, ratios(memory[many], memory[many // FEW]), target=at_most(1.25), detail=detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
