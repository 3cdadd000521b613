"""What the tests of crash points share: a queue whose jobs tell what they did, and a look at its end."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm import Farm, assert_books_balance, eventually
from forked import Command
from trap import Trap

from queuectl import cgroup


@dataclass(frozen=True)
class Point:
    """A place in the program: where a function is left, or entered (``call``)."""

    module: str
    function: str
    event: str = "return"


class Stage:
    """A queue whose jobs tell what they did, and leave something behind."""

    def __init__(self, farm: Farm, mode: str) -> None:
        self.farm, self.mode = farm, mode
        self.bait = farm.directory / "bait"
        self.evidence = farm.directory / "evidence"
        self._alone = farm.directory / "alone"
        farm.queue.change_setting("backoff_base", 0)

    def add_job(self, name: str, command: str = ":", **options: Any) -> None:
        """Add a job that tells what it does."""
        self.farm.queue.enqueue(self.telling(command), id=name, cwd=str(self.farm.directory), **options)

    def telling(self, command: str = ":") -> str:
        """A command of which each attempt tells when it begins and when it ends; its child would outlive it.

        As long as anything of an attempt lives, it holds a lock: one that overlaps another tells so.
        """
        told = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT %s" >> {self.evidence}'
        lines = (
            f"exec 9>> {self._alone}-$QUEUECTL_JOB_ID",
            f"flock --nonblock 9 || {told % 'overlaps'}",
            'echo "output $QUEUECTL_ATTEMPT"',
            f"setsid sleep {self.farm.token} &",
            told % "begins",
            command,
            told % "ends",
        )
        return "\n".join(lines)

    def add_brief_jobs(self, count: int, **others: str) -> None:
        """Add short jobs that tell what they do, more than workers have hands for; ``others`` are what some do besides."""
        told = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT %s" >> {self.evidence}'
        begin, end = f'echo "output $QUEUECTL_ATTEMPT"; {told % "begins"}', told % "ends"
        ids = [f"brief{number}" for number in range(count)]
        commands = [f"{begin}; {others.get(job_id, ':')}; {end}" for job_id in ids]
        self.farm.queue.add_many(
            [{"id": each, "command": command} for each, command in zip(ids, commands, strict=True)]
        )

    def launch(self, *arguments: str, point: Point | None = None, where: str = "launched", **options: Any) -> Command:
        """Start ``worker-run``, or what ``arguments`` say, which dies at a point once the bait is there."""
        trap = None
        if point is not None:
            trap = Trap(where, point.event, point.module, point.function, str(self.bait), **options)
        name, *more = arguments or ("worker-run",)
        if name in ("worker-run", "worker-start"):
            more = ["--mode", self.mode, *(more or ["--count", "1"])]
        return self.farm.launch(name, *more, prepare=trap and trap.set)

    def told(self, line: str) -> bool:
        """Whether a job has told something."""
        return self.evidence.exists() and line in self.evidence.read_text().splitlines()

    def outcomes(self, job_id: str) -> list[str | None]:
        """How the attempts of a job ended."""
        return [attempt.outcome for attempt in self.farm.queue.attempts(job_id)]

    def assert_all_is_well(self) -> None:
        """All jobs have run to their end, one attempt at a time, and nothing of them or of workers is left."""
        assert not self.bait.exists(), "the point was never reached"
        eventually(lambda: not self.farm.survivors(), "nothing outlives its attempt")
        assert_books_balance(self.farm.queue)
        told = self.evidence.read_text().splitlines()
        assert not [line for line in told if line.endswith("overlaps")]
        for job in self.farm.queue.jobs():
            assert job.state == "completed", job
            attempts = self.farm.queue.attempts(job.id)
            assert f"{job.id} {attempts[-1].number} ends" in told
            log = Path(self.farm.home.log(job.id)).read_bytes()
            for attempt in attempts:
                begun = told.count(f"{job.id} {attempt.number} begins")
                assert begun <= 1, "it was started once"
                output = log[attempt.log_offset : (attempt.log_offset or 0) + (attempt.log_bytes or 0)]
                assert output in (b"", f"output {attempt.number}\n".encode())
                assert output or attempt.outcome != "succeeded"
        run = Path(self.farm.home.run)
        assert [path.name for pattern in ("*.pid", "slot-*") for path in run.glob(pattern)] == []
        assert cgroup.WorkerGroups.noted(self.farm.home).path is None, "no control group is left"


def bystander(stage: Stage) -> subprocess.Popen[bytes]:
    """A process that has as much to do with a queue as one may that is not of it: it reads a log there."""
    log = Path(stage.farm.home.log("bystander"))
    log.touch(0o600)
    with log.open("rb") as stream:
        return subprocess.Popen(["sleep", "1000"], cwd=stage.farm.directory, stdin=stream)
