"""Log output: a job that writes 1 GiB, against a shell that writes it to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from measure import (
    Measured,
    Scale,
    Unmeasured,
    at_least,
    by_turns,
    fresh_queue,
    main,
    rate,
    ratios,
    scratch,
    seconds,
    shell,
    until,
    workers,
)

ROW = "log output"


def by_job(command: str, size: int, mode: str) -> float:
    """Bytes a second, from the call of ``Queue.enqueue()`` until the job is completed."""
    with fresh_queue() as queue, workers(queue, mode, 1):

        def work() -> None:
            job_id = queue.enqueue(command, cwd="/").id
            until(lambda: queue.get(job_id).state == "completed", pause=0.002)

        took = seconds(work)
        (log,) = Path(queue.home.logs).iterdir()
        if log.stat().st_size != size:
            raise Unmeasured("the log has not the size of what was written")
    return size / took


def by_shell(command: str, size: int) -> float:
    with scratch() as directory:
        return size / seconds(lambda: shell(f"sh -c '{command} > {directory}/file'"))


def measure(scale: Scale) -> Measured:
    blocks = scale.of(16_384, 64)
    size = blocks * 65_536
    command = f"dd if=/dev/zero bs=65536 count={blocks} status=none"
    found = Measured()
    contenders: dict[str, Callable[[], float]] = {
        "shell": lambda: by_shell(command, size) / 2**20,
        "process": lambda: by_job(command, size, "process") / 2**20,
        "thread": lambda: by_job(command, size, "thread") / 2**20,
    }
    taken = by_turns(scale.turns, contenders)
    for mode in ("process", "thread"):
        detail = f"{rate(taken[mode], ' MiB/s')} against {rate(taken['shell'], ' MiB/s')}"
        found.add(ROW, f"{mode} mode", ratios(taken[mode], taken["shell"]), target=at_least(0.95), detail=detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
