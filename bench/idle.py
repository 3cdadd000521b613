"""Idle cost: what workers take of the machine that have nothing to do. Reads ``/proc``, so it is for Linux.

Processor time is that of ``/proc/PID/task/TID/schedstat``, in nanoseconds, wake-ups are the voluntary switches
of ``status`` (proc(5)), memory is what is shared with no other process (``smaps_rollup``). In thread mode a worker is a thread and its
keeper process; the memory of the threads' process is divided among them.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from measure import WORKERS, Measured, Scale, at_most, fresh_queue, main, number, status_of, worker_status, workers

from queuectl import Queue

ROW = "idle cost"
SETTLE = 2.0
"""Seconds after the start that do not count."""


@dataclass(frozen=True)
class Used:
    """What processes have used up so far."""

    seconds: float
    wakeups: int


def used(pids: list[int]) -> Used:
    busy, wakeups = 0, 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            busy += int((task / "schedstat").read_text().split()[0])
            wakeups += int(status_of(pid, f"task/{task.name}/status")["voluntary_ctxt_switches"])
    return Used(busy / 1e9, wakeups)


def private_mib(pids: list[int]) -> float:
    """Memory that would be free again without these processes."""
    kib = 0
    for pid in pids:
        rollup = status_of(pid, "smaps_rollup")
        kib += sum(int(rollup[key].split()[0]) for key in ("Private_Clean", "Private_Dirty"))
    return kib / 1024


def processes_of(queue: Queue) -> tuple[list[int], list[int]]:
    """The PIDs of the workers, with their keepers, and of the supervisor alone."""
    status = worker_status(queue)
    supervisor = status["supervisor"]["pid"]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children], [supervisor]


def measure(scale: Scale) -> Measured:
    window = scale.of(11, 1)  # no sleep of a worker is longer than 10
    found = Measured()
    if not Path("/proc/self/smaps_rollup").exists():
        found.lacks(f"{ROW}: there is no /proc/PID/smaps_rollup")
        return found
    shares: dict[str, list[float]] = {"process": [], "thread": [], "supervisor": []}
    wakeups: dict[str, list[float]] = {"process": [], "thread": [], "supervisor": []}
    memory: dict[str, list[float]] = {"process": [], "thread": [], "supervisor": []}
    with contextlib.ExitStack() as stack:
        watched: dict[str, tuple[list[int], int]] = {}
        for mode in ("process", "thread"):
            queue = stack.enter_context(fresh_queue())
            stack.enter_context(workers(queue, mode))
            queue.enqueue("true", cwd="/")
            queue.wait()
            queue.close()
            at_work, supervisor = processes_of(queue)
            watched[mode] = (at_work, WORKERS)
            if mode == "process":
                watched["supervisor"] = (supervisor, 1)
        time.sleep(SETTLE)
        for _ in range(scale.turns):
            before = {name: used(pids) for name, (pids, _) in watched.items()}
            began = time.monotonic()
            time.sleep(window)
            for name, (pids, workers_there) in watched.items():
                after, took = used(pids), time.monotonic() - began
                shares[name].append((after.seconds - before[name].seconds) / took / workers_there * 100)
                wakeups[name].append((after.wakeups - before[name].wakeups) / took / workers_there)
                memory[name].append(private_mib(pids) / workers_there)
    for mode in ("process", "thread"):
        detail = f"the supervisor besides: {number(sum(shares['supervisor']) / scale.turns)} %"
        found.add(ROW, f"{mode} mode, CPU of a worker", shares[mode], "%", at_most(0.1), detail)
        detail = f"the supervisor besides: {number(sum(wakeups['supervisor']) / scale.turns)}"
        found.add(ROW, f"{mode} mode, wake-ups a second", wakeups[mode], "", at_most(1), detail)
        detail = f"the supervisor besides: {number(memory['supervisor'][-1])} MiB"
        found.add(ROW, f"{mode} mode, private memory", memory[mode], "MiB", at_most(10), detail)
    return found


if __name__ == "__main__":
    sys.exit(main(measure))
