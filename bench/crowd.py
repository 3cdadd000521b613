"""Many workers: what 64 of them do on a few processors, and how long 512 take to start and to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from measure import (
    WORKERS,
    Measured,
    Scale,
    at_least,
    at_most,
    by_turns,
    drained_rate,
    fresh_queue,
    main,
    queuectl,
    rate,
    ratios,
    seconds,
    worker_status,
)

ROW = "many workers"


def started_and_stopped(count: int, mode: str) -> float:
    """Seconds of ``worker-start`` and ``worker-stop``, each of which returns when all are there, or gone."""
    with fresh_queue() as queue:
        starting = seconds(lambda: queuectl(queue, "worker-start", "--count", str(count), "--mode", mode))
        assert len(worker_status(queue)["workers"]) == count
        return starting + seconds(lambda: queuectl(queue, "worker-stop"))


def measure(scale: Scale) -> Measured:
    jobs, many, most = scale.of(3_000, 60), scale.of(64, 8), scale.of(512, 16)
    found = Measured()
    contenders: dict[str, Callable[[], float]] = {
        "few": lambda: drained_rate(jobs),
        "many": lambda: drained_rate(jobs, count=many),
    }
    taken = by_turns(scale.turns, contenders)
    detail = f"{rate(taken['many'])} against {rate(taken['few'])}, start and stop counted"
    name = f"{many} workers against {WORKERS}"
    found.add(ROW, name, ratios(taken["many"], taken["few"]), target=at_least(0.8), detail=detail)
    # Seconds, far from what they may be: they need no comparison, and fewer turns.
    modes = {mode: partial(started_and_stopped, most, mode) for mode in ("process", "thread")}
    for mode, took in by_turns(min(scale.turns, 3), modes).items():
        found.add(ROW, f"{most} workers start and stop, {mode} mode", took, "s", at_most(20))
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
