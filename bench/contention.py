"""Contention: eight processes that enqueue in a loop while workers run, against one that does."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

from measure import Measured, Scale, at_least, at_most, by_turns, fresh_queue, main, number, rate, ratios, workers

from queuectl import Queue, QueueError

ROW = "contention"
CROWD = 8
_PROCESSES = multiprocessing.get_context("spawn")


def enqueue_for(database: str, seconds: float, gate: Barrier, results: Any) -> None:
    """Call ``Queue.enqueue()`` for so long; how many calls were confirmed, and how many failed."""
    queue = Queue(database)
    queue.enqueue("true", cwd="/")
    confirmed, failed = 0, 0
    gate.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            queue.enqueue("true", cwd="/")
            confirmed += 1
        except QueueError:
            failed += 1
    results.put((confirmed, failed))


def enqueue_rate(processes: int, seconds: float, outcomes: list[tuple[int, int]], *, at_work: bool = True) -> float:
    """Confirmed calls a second, of all processes together, on a queue whose workers run, or that has none."""
    with fresh_queue() as queue, workers(queue) if at_work else contextlib.nullcontext():
        gate = _PROCESSES.Barrier(processes)
        results: Any = _PROCESSES.Queue()
        crowd = [
            _PROCESSES.Process(target=enqueue_for, args=(queue.home.database, seconds, gate, results))
            for _ in range(processes)
        ]
        for process in crowd:
            process.start()
        found: list[tuple[int, int]] = [results.get(timeout=seconds + 120) for _ in crowd]
        for process in crowd:
            process.join()
    outcomes += found
    return sum(confirmed for confirmed, _ in found) / seconds


def measure(scale: Scale) -> Measured:
    seconds = scale.of(15, 4) / 10
    found = Measured()
    outcomes: list[tuple[int, int]] = []
    contenders: dict[str, Callable[[], float]] = {
        "one": lambda: enqueue_rate(1, seconds, []),
        "alone": lambda: enqueue_rate(1, seconds, [], at_work=False),
        "many": lambda: enqueue_rate(CROWD, seconds, outcomes),
    }
    taken = by_turns(scale.turns, contenders)
    slowest, fastest = min(outcomes)[0] / seconds, max(outcomes)[0] / seconds
    detail = (
        f"{rate(taken['many'])} against {rate(taken['one'])}; "
        f"a single one of them {number(slowest)}/s to {number(fastest)}/s"
    )
    found.add(
        ROW, f"{CROWD} processes in sum", ratios(taken["many"], taken["one"]), target=at_least(0.7), detail=detail
    )
    detail = f"{rate(taken['alone'])} by one process without workers"
    found.add(ROW, "the same against one process without workers", ratios(taken["many"], taken["alone"]), detail=detail)
    found.add(ROW, "errors", [float(sum(failed for _, failed in outcomes))], target=at_most(0))
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
