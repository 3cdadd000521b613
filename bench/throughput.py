"""Throughput: ``true`` jobs a second with everything on, against xargs and other queues, by turns."""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from measure import (
    ENVIRONMENT,
    PYTHON,
    WORKERS,
    Measured,
    Scale,
    at_least,
    by_turns,
    drained_rate,
    is_installed,
    main,
    rate,
    ratios,
    run,
    scratch,
    seconds,
    shell,
    start,
    until,
)

ROW = "throughput"
HERE = Path(__file__).resolve().parent
PROGRAMS = {"GNU parallel": "parallel", "task-spooler": "tsp"}


def xargs(jobs: int) -> float:
    return jobs / seconds(lambda: shell(f"seq {jobs} | xargs -P{WORKERS} -n1 sh -c true"))


def parallel(jobs: int) -> float:
    with scratch() as directory:
        environment = {**ENVIRONMENT, "HOME": str(directory), "PARALLEL_SHELL": "/bin/sh"}
        line = f"seq {jobs} | parallel --will-cite -j{WORKERS} true"
        return jobs / seconds(lambda: shell(line, env=environment))


def task_spooler(jobs: int) -> float:
    """Its jobs wait already, as ours do: behind one that waits for a FIFO. Its server runs already, too."""
    with scratch() as directory:
        gate = directory / "gate"
        os.mkfifo(gate)
        environment = {
            **ENVIRONMENT,
            "TS_SOCKET": str(directory / "socket"),
            "TMPDIR": str(directory),
            "TS_MAXCONN": "100000",
        }
        run("tsp", "-S", "1", env=environment)
        try:
            run("tsp", "-n", "sh", "-c", f"read line < {gate}", env=environment)
            shell(f"for i in $(seq {jobs}); do tsp -n true; done", env=environment)
            open_and_wait = f"echo > {gate}; tsp -S {WORKERS}; tsp -w"
            return jobs / seconds(lambda: shell(open_and_wait, env=environment))
        finally:
            run("tsp", "-K", env=environment)


def huey(jobs: int) -> float:
    """Until its last task was taken; its stop is not counted."""
    with scratch() as directory:
        database = str(directory / "huey.db")
        environment = {**ENVIRONMENT, "HUEY_DATABASE": database}
        run(PYTHON, "-c", f"import huey_tasks; huey_tasks.fill({jobs})", env=environment, cwd=HERE)
        consumer = str(Path(sys.executable).with_name("huey_consumer"))
        command = (PYTHON, consumer, "huey_tasks.huey", "-w", str(WORKERS), "-k", "process", "-q")
        connection = sqlite3.connect(database)
        processes = []

        def work() -> None:
            processes.append(start(*command, env=environment, cwd=HERE))
            until(lambda: connection.execute("SELECT count(*) FROM task").fetchone()[0] == 0)

        try:
            return jobs / seconds(work)
        finally:
            connection.close()
            for process in processes:
                process.send_signal(signal.SIGTERM)
                process.wait()


def measure(scale: Scale) -> Measured:
    jobs, peer_jobs, few_peer_jobs = scale.of(3_000, 60), scale.of(1_000, 40), scale.of(300, 40)
    found = Measured()
    contenders: dict[str, Callable[[], float]] = {
        "xargs": lambda: xargs(jobs),
        "process": lambda: drained_rate(jobs, "process"),
        "thread": lambda: drained_rate(jobs, "thread"),
    }
    peers: dict[str, Callable[[], float]] = {
        "GNU parallel": lambda: parallel(few_peer_jobs),
        "task-spooler": lambda: task_spooler(scale.of(500, 40)),
        "Huey": lambda: huey(peer_jobs),
    }
    for name, peer in peers.items():
        if importlib.util.find_spec("huey") if name == "Huey" else is_installed(PROGRAMS[name]):
            contenders[name] = peer
        else:
            found.lacks(f"{ROW}: {name} is not installed")
    taken = by_turns(scale.turns, contenders)
    for mode in ("process", "thread"):
        for name in contenders:
            if name not in ("process", "thread"):
                found.add(
                    ROW,
                    f"{mode} mode against {name}",
                    ratios(taken[mode], taken[name]),
                    target=at_least(0.85 if name == "xargs" else 1),
                    detail=f"{rate(taken[mode])} against {rate(taken[name])}",
                )
    found.series["throughput"] = taken
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
