"""Queries at 1,500,000 jobs: what the commands that look take over the start of the command line."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from measure import QUEUECTL, Measured, Scale, at_most, build, by_turns, fresh_queue, main, rate, run, seconds

ROW = "queries"
RUNS = 3
"""Runs of each command a turn; their median is the turn's."""
DEAD = 1_000
"""``dlq list`` prints every one of them."""


def measure(scale: Scale) -> Measured:
    ended, scheduled, waiting = scale.of(999_000, 2_000), scale.of(100_000, 100), scale.of(400_000, 900)
    found = Measured()
    with fresh_queue() as queue:
        build(queue, completed=ended, dead=DEAD, scheduled=scheduled, waiting=waiting)
        total = f"{sum(queue.counts().values()):,} jobs"
        queue.close()
        to = (QUEUECTL, "--db", queue.home.database)
        middle = str(ended // 2)
        commands = {
            "start": (QUEUECTL, "--help"),
            "status": (*to, "status"),
            "list --limit 50": (*to, "list", "--limit", "50"),
            "show": (*to, "show", middle),
            "dlq list": (*to, "dlq", "list"),
            "wait ID": (*to, "wait", middle),
        }
        for command in commands.values():
            run(*command)
        contenders: dict[str, Callable[[], float]] = {
            name: lambda command=command: statistics.median(  # type: ignore[misc]
                seconds(lambda: run(*command)) for _ in range(scale.of(RUNS, 1))
            )
            for name, command in commands.items()
        }
        taken = by_turns(scale.turns, contenders)
    for name in commands:
        if name != "start":
            over = [took - floor for took, floor in zip(taken[name], taken["start"], strict=True)]
            detail = f"{total}; {rate(taken[name], ' s')} against {rate(taken['start'], ' s')}"
            found.add(ROW, name, over, "s", at_most(0.2), detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
