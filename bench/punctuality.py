"""Punctuality: how late a job with a delay begins, counted from its due time."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from latency import Bell
from measure import Measured, Scale, Unmeasured, at_most, by_turns, fresh_queue, main, number, quantile, workers

ROW = "punctuality"
FIRST = 0.7
APART = 0.03
"""Seconds to the first due time, and between two."""


def delays(mode: str, jobs: int) -> list[float]:
    """Milliseconds from each job's due time to its first instruction."""
    with fresh_queue() as queue, workers(queue, mode):
        bell = Bell(Path(queue.home.directory) / "bell")
        entries = [{"command": bell.command, "cwd": "/", "delay": FIRST + APART * each} for each in range(jobs)]
        due = {job.id: milliseconds(job.next_run_at) for job in queue.enqueue_many(entries)}
        found: list[float] = []
        while len(found) < jobs:
            heard, names = bell.heard()
            for name in names.split():
                found.append(heard / 1e6 - due.pop(name))
        bell.close()
    if min(found) < 0:
        raise Unmeasured("a job began before its time")
    return found


def milliseconds(time: str | None) -> float:
    """A job's due time, since the epoch."""
    if time is None:
        raise Unmeasured("a job with a delay has no due time")
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1e3


def measure(scale: Scale) -> Measured:
    jobs = scale.of(60, 4)
    found = Measured()
    samples: dict[str, list[list[float]]] = {"process": [], "thread": []}

    def taken(mode: str) -> float:
        samples[mode].append(delays(mode, jobs))
        return quantile(samples[mode][-1], 0.99)

    by_turns(scale.turns, {"process": lambda: taken("process"), "thread": lambda: taken("thread")})
    for mode, turns in samples.items():
        every = [value for turn in turns for value in turn]
        detail = f"{len(every)} jobs; p50 {number(quantile(every, 0.5))} ms, worst {number(max(every))} ms"
        found.add(ROW, f"{mode} mode, p99", [quantile(turn, 0.99) for turn in turns], "ms", at_most(25), detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
