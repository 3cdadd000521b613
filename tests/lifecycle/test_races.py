"""Users against workers that claim at the same moment: one of them wins, whole, and the loser is told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from farm import PATIENCE, Farm, assert_books_balance, eventually

from queuectl import Queue
from queuectl.clock import SYSTEM_CLOCK, timestamp
from queuectl.errors import Conflict, NoSuchJob

JOBS = 150


def from_behind(farm: Farm, ids: list[str], do: Callable[[str], object]) -> set[str]:
    """Do it to the jobs that are claimed last, until workers and we meet; those that were still ours.

    Both win some: the workers had the first job before we begin, and those in the middle wait until we had one.
    """
    eventually(lambda: farm.queue.get(ids[0]).state == "completed", "a job was run")
    won = set()
    for job_id in reversed(ids):
        with contextlib.suppress(Conflict):
            do(job_id)
            won.add(job_id)
            gate(farm).touch()
    return won


def gate(farm: Farm) -> Path:
    """Is there once a user has won."""
    return farm.directory / "gate"


def jobs(farm: Farm, command: str) -> list[dict[str, object]]:
    """So many of this command; half-way, each of two workers meets one that waits for the gate."""
    commands = [command] * JOBS
    for number in (JOBS // 2, JOBS // 2 + 1):
        commands[number] = f"until test -e {gate(farm)}; do sleep 0.01; done; {command}"
    return [{"command": each} for each in commands]


def test_an_edit_is_of_a_job_that_waits_or_is_refused(farm: Farm, mode: str) -> None:
    said = farm.directory / "said"
    said.mkdir()
    ids = farm.queue.add_many(jobs(farm, f"echo old > {said}/$QUEUECTL_JOB_ID"))
    farm.start(2, mode)
    edited = from_behind(
        farm, ids, lambda job_id: farm.queue.edit(job_id, command=f"echo new > {said}/$QUEUECTL_JOB_ID")
    )
    assert farm.queue.wait(timeout=PATIENCE)
    assert 0 < len(edited) < JOBS
    assert {path.name: path.read_text() for path in said.iterdir()} == {
        job_id: "new\n" if job_id in edited else "old\n" for job_id in ids
    }
    assert_books_balance(farm.queue)


def test_a_job_is_held_or_it_runs(farm: Farm, mode: str) -> None:
    ids = farm.queue.add_many(jobs(farm, "true"))
    farm.start(2, mode)
    held = from_behind(farm, ids, farm.queue.hold)
    assert farm.queue.wait(sorted(set(ids) - held), timeout=PATIENCE)
    assert 0 < len(held) < JOBS
    assert {job.id for job in farm.queue.jobs("pending")} == held
    assert not any(farm.queue.attempts(job_id) for job_id in held)
    farm.queue.release(*held)
    assert farm.queue.wait(timeout=PATIENCE)
    assert_books_balance(farm.queue)


def test_nothing_starts_once_a_pause_was_confirmed(farm: Farm, mode: str) -> None:
    ids = farm.queue.add_many([{"command": "true"}] * JOBS)
    farm.start(3, mode)
    pauses = []
    for _ in range(5):
        farm.queue.pause()
        begin = SYSTEM_CLOCK.now()
        waiting = {job.id for job in farm.queue.jobs("pending")}
        assert farm.queue.wait(sorted(set(ids) - waiting), timeout=PATIENCE), "what was claimed before, ends"
        assert {job.id for job in farm.queue.jobs("pending")} == waiting
        pauses.append((begin, SYSTEM_CLOCK.now()))
        farm.queue.resume()
    assert farm.queue.wait(timeout=PATIENCE)
    starts = [timestamp(attempt.started_at) for job_id in ids for attempt in farm.queue.attempts(job_id)]
    assert len(starts) == JOBS
    assert not [start for start in starts for begin, end in pauses if begin < start < end]


def test_a_dead_job_is_pruned_or_put_back(farm: Farm, mode: str) -> None:
    repaired = Path(farm.directory, "repaired")
    ids = farm.queue.add_many([{"command": f"test -e {repaired}", "max_retries": 0}] * JOBS)
    farm.start(2, mode)
    assert farm.queue.wait(timeout=PATIENCE) is False
    repaired.touch()
    gone, pruned = set(), []
    begun = threading.Event()

    def prune() -> None:
        other = Queue(farm.home.database)
        begun.wait(PATIENCE)
        pruned.append(other.prune(0, states=["dead"]))
        other.close()

    thread = threading.Thread(target=prune)
    thread.start()
    for job_id in ids:
        try:
            farm.queue.retry(job_id)
        except NoSuchJob:
            gone.add(job_id)
        begun.set()
    thread.join(PATIENCE)
    assert pruned == [len(gone)]
    assert farm.queue.wait(timeout=PATIENCE)
    assert {job.id for job in farm.queue.jobs("completed")} == set(ids) - gone
    assert not any(Path(farm.home.log(job_id)).exists() for job_id in gone)
    assert_books_balance(farm.queue)
