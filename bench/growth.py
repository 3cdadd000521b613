"""Growth: throughput with much that waits, with much that has ended or is scheduled, against an empty queue.

Workers run until a certain number of jobs has ended, and are stopped. The rate is taken from the
recorded ends of the jobs in the middle of that, so that starts and stops, and workers that run dry, do not count.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable

from measure import (
    PATIENCE,
    QUEUECTL,
    WORKERS,
    Measured,
    Scale,
    at_least,
    build,
    by_turns,
    database,
    fill,
    fresh_queue,
    main,
    rate,
    ratios,
    start,
    until,
)

from queuectl import Queue

ROW = "growth"
_FIRST_WAITING = "SELECT seq FROM jobs WHERE lane = 0 ORDER BY priority DESC, due, seq LIMIT 1"


def rate_with(queue: Queue, jobs: int) -> float:
    """Jobs a second over the next so many jobs that wait in a queue, numbered one after the other."""
    with database(queue) as connection:
        first = connection.execute(_FIRST_WAITING).fetchone()[0]
        last = first + jobs - 1
        process = start(QUEUECTL, "--db", queue.home.database, "worker-run", "--count", str(WORKERS))
        try:
            has_ended = "SELECT state NOT IN ('pending', 'processing') FROM jobs WHERE seq = ?"
            until(lambda: connection.execute(has_ended, (last,)).fetchone()[0], pause=0.05)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        ends = connection.execute(
            "SELECT ended_at FROM attempts WHERE job_seq BETWEEN ? AND ? ORDER BY ended_at", (first, last)
        ).fetchall()
    low, high = len(ends) // 10, len(ends) * 9 // 10
    microseconds: int = ends[high][0] - ends[low][0]
    return (high - low) * 1e6 / microseconds


def rate_of_empty(jobs: int) -> float:
    with fresh_queue() as queue:
        fill(queue, jobs)
        return rate_with(queue, jobs)


def rate_among_ended(queue: Queue, jobs: int) -> float:
    fill(queue, jobs)
    return rate_with(queue, jobs)


def measure(scale: Scale) -> Measured:
    jobs = scale.of(2_000, 80)
    backlogs = [scale.of(each, each // 1_000) for each in (50_000, 500_000)]
    ended, scheduled = scale.of(1_000_000, 1_000), scale.of(100_000, 100)
    found = Measured()
    with contextlib.ExitStack() as stack:

        def built(**counts: int) -> Queue:
            queue = stack.enter_context(fresh_queue())
            build(queue, **counts)
            return queue

        grown = built(completed=ended, scheduled=scheduled)
        # A turn takes its jobs away from what waits.
        spare = jobs * (scale.turns - 1)
        waiting = {count: built(waiting=max(count, jobs) + spare // 2) for count in backlogs}
        contenders: dict[str, Callable[[], float]] = {
            "empty": lambda: rate_of_empty(jobs),
            "ended": lambda: rate_among_ended(grown, jobs),
            **{str(count): lambda queue=queue: rate_with(queue, jobs) for count, queue in waiting.items()},  # type: ignore[misc]
        }
        taken = by_turns(scale.turns, contenders)
    most = str(backlogs[-1])
    for key, name in (
        (most, f"{backlogs[-1]:,} waiting"),
        ("ended", f"{ended:,} ended and {scheduled:,} scheduled far off"),
    ):
        detail = f"{rate(taken[key])} against {rate(taken['empty'])}"
        found.add(ROW, name, ratios(taken[key], taken["empty"]), target=at_least(0.9), detail=detail)
    found.series["backlog"] = [
        {"waiting": jobs if key == "empty" else int(key), "rates": values}
        for key, values in taken.items()
        if key != "ended"
    ]
    found.series["ended"] = {"ended": ended, "scheduled": scheduled, "rates": taken["ended"]}
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
