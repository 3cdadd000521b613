"""Start of the command line: whole processes, against an interpreter that imports what they cannot do without."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from measure import PYTHON, QUEUECTL, Measured, Scale, at_most, by_turns, fresh_queue, main, rate, ratios, run, seconds

ROW = "start of the command line"
FLOOR = (PYTHON, "-c", "import click, sqlite3")
RUNS = 8
"""Runs of each command a turn; their median is the turn's."""


def measure(scale: Scale) -> Measured:
    runs = scale.of(RUNS, 2)
    found = Measured()
    with fresh_queue() as queue:
        to = (QUEUECTL, "--db", queue.home.database)
        commands = {
            "python": FLOOR,
            "enqueue": (*to, "enqueue", "--command", "true"),
            "status": (*to, "status"),
            "--help": (QUEUECTL, "--help"),
        }
        for command in commands.values():
            run(*command)  # compiles what is not compiled yet
        taken: dict[str, list[float]] = {name: [] for name in commands}
        contenders: dict[str, Callable[[], float]] = {
            name: lambda command=command: seconds(lambda: run(*command))  # type: ignore[misc]
            for name, command in commands.items()
        }
        for _ in range(scale.turns):
            for name, each in by_turns(runs, contenders).items():
                taken[name].append(statistics.median(each) * 1e3)
    for name in ("enqueue", "status", "--help"):
        detail = f"{rate(taken[name], ' ms')} against {rate(taken['python'], ' ms')}"
        found.add(ROW, name, ratios(taken[name], taken["python"]), target=at_most(1.15), detail=detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
