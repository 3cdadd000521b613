"""Latency: from the call of ``Queue.enqueue()`` to the job's first instruction, with idle workers.

The job opens a FIFO and writes a byte; this process waits for it in ``poll()`` and then looks at the
clock. So the figure holds the start of the shell, and the moment that it takes to wake this process.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import (
    PATIENCE,
    Measured,
    Scale,
    Unmeasured,
    at_most,
    by_turns,
    fresh_queue,
    main,
    number,
    quantile,
    scratch,
    start,
    until,
    workers,
)

ROW = "latency"
PAUSE = 0.01
"""Seconds until the next job: by then, the worker of the last one is idle again."""


class Bell:
    """A FIFO that a job rings with the first thing it does."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open for writing, too: it never reports an end of file.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self.command = f"echo $QUEUECTL_JOB_ID > {path}"

    def heard(self) -> tuple[int, str]:
        """Wait for a ring: when it came, in nanoseconds of the wall clock, and what was written."""
        if not self._poll.poll(PATIENCE * 1000):
            raise Unmeasured("a job did not start")
        now = time.time_ns()
        return now, os.read(self._descriptor, 4096).decode()

    def close(self) -> None:
        os.close(self._descriptor)


def latencies(mode: str, jobs: int) -> list[float]:
    """Milliseconds of so many jobs, one after the other."""
    with fresh_queue() as queue, workers(queue, mode):
        bell = Bell(Path(queue.home.directory) / "bell")
        found = []
        for job in range(jobs + 5):
            called = time.time_ns()
            job_id = queue.enqueue(bell.command, cwd="/").id
            heard, name = bell.heard()
            if name.strip() != job_id:
                raise Unmeasured(f"job {name.strip()} rang instead of {job_id}")
            time.sleep(PAUSE)
            if job >= 5:
                found.append((heard - called) / 1e6)
        until(lambda: queue.counts()["completed"] == jobs + 5)
        bell.close()
    return found


def spawns(jobs: int) -> list[float]:
    """The same for a shell that this process starts itself: what the machine cannot do faster."""
    with scratch() as directory:
        bell = Bell(directory / "bell")
        found = []
        for _ in range(jobs):
            called = time.time_ns()
            process = start("/bin/sh", "-c", bell.command)
            heard, _ = bell.heard()
            found.append((heard - called) / 1e6)
            process.wait()
            time.sleep(PAUSE)
        bell.close()
    return found


def syncs(count: int) -> list[float]:
    """Milliseconds of a page appended to a file and synced: what the disk takes of each confirmed job."""
    with scratch() as directory, open(directory / "file", "wb", buffering=0) as file:
        found = []
        for _ in range(count):
            called = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - called) * 1e3)
            time.sleep(PAUSE)
    return found


def measure(scale: Scale) -> Measured:
    jobs = scale.of(150, 10)
    found = Measured()
    samples: dict[str, list[list[float]]] = {name: [] for name in ("process", "thread", "spawn", "sync")}

    def taken(name: str, values: list[float]) -> float:
        samples[name].append(values)
        return quantile(values, 0.5)

    contenders: dict[str, Callable[[], float]] = {
        "process": lambda: taken("process", latencies("process", jobs)),
        "thread": lambda: taken("thread", latencies("thread", jobs)),
        "spawn": lambda: taken("spawn", spawns(jobs // 3)),
        "sync": lambda: taken("sync", syncs(jobs // 3)),
    }
    by_turns(scale.turns, contenders)
    aside = f"a shell alone {number(_all(samples['spawn'], 0.5))} ms, a sync {number(_all(samples['sync'], 0.5))} ms"
    for mode in ("process", "thread"):
        for name, share, bound in (("p50", 0.5, 5), ("p99", 0.99, 25)):
            values = [quantile(turn, share) for turn in samples[mode]]
            detail = f"worst of {sum(map(len, samples[mode]))}: {number(_all(samples[mode], 1))} ms; {aside}"
            found.add(ROW, f"{mode} mode, {name}", values, "ms", at_most(bound), detail)
    found.series["latency_ms"] = {
        name: [round(_all(turns, step / 200), 3) for step in range(201)] for name, turns in samples.items()
    }
    return found


def _all(turns: list[list[float]], share: float) -> float:
    return quantile([value for turn in turns for value in turn], share)


if __name__ == "__main__":
    sys.exit(main(measure))
