"""What everyday features cost: the throughput of jobs that use them, against that of plain ones, by turns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from measure import Measured, Scale, at_least, by_turns, drained_rate, fill, main, rate, ratios

from queuectl import Queue

ROW = "features in use"
PLAIN = "plain"
_JOB: dict[str, Any] = {"command": "true", "cwd": "/"}


def in_one_group(queue: Queue, jobs: int) -> None:
    queue.set_group("g", 4)
    queue.add_many([{**_JOB, "group": "g"}] * jobs)


def in_twenty_groups(queue: Queue, jobs: int) -> None:
    for number in range(20):
        queue.set_group(f"g{number}", 2)
    queue.add_many([{**_JOB, "group": f"g{number % 20}"} for number in range(jobs)])


def with_priorities(queue: Queue, jobs: int) -> None:
    """In no order: each claim, and each end, is of another page of the database."""
    queue.add_many([{**_JOB, "priority": number * 7919 % 100} for number in range(jobs)])


def with_keys(queue: Queue, jobs: int) -> None:
    queue.add_many([{**_JOB, "unique": f"key {number}", "batch": "all"} for number in range(jobs)])


def half_after_the_others(queue: Queue, jobs: int) -> None:
    first = [{**_JOB, "id": f"first-{number}"} for number in range(jobs // 2)]
    queue.add_many([*first, *({**_JOB, "after": [job["id"]]} for job in first)])


def beside_others(queue: Queue, jobs: int) -> None:
    """A thousand jobs of a paused group, two hundred that are held, and a schedule that is far off."""
    queue.set_group("paused", 5)
    queue.add_many([{**_JOB, "group": "paused"}] * 1000)
    queue.pause("paused")
    queue.hold(*queue.add_many([_JOB] * 200))
    queue.add_schedule("yearly", "0 0 1 1 *", "true")
    fill(queue, jobs)


FEATURES: dict[str, Callable[[Queue, int], None]] = {
    "in one group with a limit": in_one_group,
    "in 20 groups with limits": in_twenty_groups,
    "with priorities": with_priorities,
    "with unique keys, in a batch": with_keys,
    "half of them --after others": half_after_the_others,
    "beside paused and held jobs and a schedule": beside_others,
}


def measure(scale: Scale) -> Measured:
    jobs = scale.of(1_000, 40)
    found = Measured()
    contenders = {
        name: partial(drained_rate, jobs, prepare=prepare) for name, prepare in {PLAIN: fill, **FEATURES}.items()
    }
    taken = by_turns(scale.turns, contenders)
    for name in FEATURES:
        detail = f"{rate(taken[name])} against {rate(taken[PLAIN])}"
        found.add(ROW, name, ratios(taken[name], taken[PLAIN]), target=at_least(0.8), detail=detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
