"""Groups, pauses and dependencies with real workers, in both modes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from farm import PATIENCE, Farm, assert_books_balance, eventually

RECORD = 'echo "+ $QUEUECTL_JOB_ID" >> {0}; sleep 0.05; echo "- $QUEUECTL_JOB_ID" >> {0}'


def most_at_once(record: Path) -> int:
    running = most = 0
    for line in record.read_text().splitlines():
        running += 1 if line.startswith("+") else -1
        most = max(most, running)
    return most


def test_a_limit_holds_at_every_moment_over_all_workers(farm: Farm, mode: str) -> None:
    record = farm.directory / "record"
    farm.queue.set_group("g", 2)
    farm.queue.add_many([{"command": RECORD.format(record), "group": "g"}] * 20)
    farm.start(5, mode)
    assert farm.queue.wait(timeout=PATIENCE)
    farm.stop()
    assert most_at_once(record) == 2
    assert_books_balance(farm.queue)


def test_a_limit_holds_while_workers_are_killed(farm: Farm, mode: str) -> None:
    """A job of a dead worker has its place until nothing of it is left."""
    farm.queue.change_setting("backoff_base", 0)
    farm.queue.set_group("g", 1)
    lock = farm.directory / "lock"
    overlap = farm.directory / "overlap"
    command = f"exec 9>{lock}; flock -n 9 || touch {overlap}; sleep 0.1"
    farm.queue.add_many([{"command": command, "group": "g", "max_retries": 50}] * 15)
    farm.start(3, mode)
    killed = set()
    for _ in range(4):
        worker = eventually(lambda: next((pid for pid in farm.workers() if pid not in killed), None))
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
        ended = farm.queue.counts()["completed"]
        eventually(lambda ended=ended: farm.queue.counts()["completed"] > ended or not farm.queue.counts()["pending"])
    assert farm.queue.wait(timeout=PATIENCE)
    farm.stop()
    assert not overlap.exists()
    assert_books_balance(farm.queue)


def worker_pids(farm: Farm) -> list[int]:
    return [int(path.read_text().split()[0]) for path in sorted(Path(farm.home.run).glob("worker-*.pid"))]


def test_released_jobs_start_on_idle_workers_at_once(farm: Farm, mode: str) -> None:
    """All of them: the end of one job wakes as many workers as it made jobs ready."""
    farm.start(4, mode)
    gate = farm.directory / "gate"
    together = f"echo >> {farm.directory}/here; until [ $(wc -l < {farm.directory}/here) -ge 3 ]; do sleep 0.02; done"
    farm.queue.enqueue(f"until [ -e {gate} ]; do sleep 0.02; done", id="first")
    farm.queue.add_many([{"command": together, "after": "first"}] * 3)
    gate.touch()
    assert farm.queue.wait(timeout=PATIENCE)
    farm.stop()


def test_what_resumes_or_is_released_wakes_idle_workers(farm: Farm, mode: str) -> None:
    farm.start(2, mode)
    farm.queue.pause()
    held = farm.queue.enqueue("true", id="held")
    grouped = farm.queue.enqueue("true", id="grouped", group="g")
    farm.queue.hold(held.id)
    farm.queue.pause("g")
    farm.queue.resume()
    assert farm.queue.wait([grouped.id], timeout=PATIENCE)
    farm.queue.release(held.id)
    assert farm.queue.wait([held.id], timeout=PATIENCE)
    farm.stop()


def test_idle_workers_learn_of_a_time_that_was_changed(farm: Farm, mode: str) -> None:
    farm.start(1, mode)
    farm.queue.enqueue("true", id="edited", delay=3600)
    farm.queue.enqueue("true", id="held", delay=2)
    farm.queue.hold("held")
    time.sleep(1)  # the worker sleeps
    began = time.monotonic()
    farm.queue.edit("edited", delay=0.5)
    assert farm.queue.wait(["edited"], timeout=PATIENCE)
    assert time.monotonic() - began < 5
    farm.queue.edit("held", delay=2)
    time.sleep(1)
    farm.queue.release("held")
    assert farm.queue.wait(["held"], timeout=PATIENCE)
    assert time.monotonic() - began < 8
    farm.stop()


def test_workers_are_at_rest_while_all_is_paused(farm: Farm, mode: str) -> None:
    farm.start(1, mode)
    farm.queue.pause()
    due = farm.queue.enqueue("true", delay=0.2)
    time.sleep(0.5)

    def used() -> int:
        """Ticks of the clock that the worker computed."""
        return sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) for pid in worker_pids(farm))

    before = used()
    time.sleep(2)
    assert used() - before < 20
    farm.queue.resume()
    assert farm.queue.wait([due.id], timeout=PATIENCE)
    farm.stop()


def test_a_drain_ends_with_paused_and_held_jobs_left(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("true", id="a")
    farm.queue.enqueue("true", id="after-a", after="a")
    farm.queue.enqueue("true", id="held")
    farm.queue.hold("held")
    farm.queue.enqueue("true", id="after-held", after="held")
    farm.queue.enqueue("true", id="paused", group="g")
    farm.queue.pause("g")
    done = farm.run("worker-run", "--count", "2", "--mode", mode, "--drain")
    assert done.returncode == 0
    left = "nothing is left that may run; 3 jobs wait, being paused, held or for later: 'queuectl why ID' tells more\n"
    assert left in done.stderr
    states = {job.id: job.state for job in farm.queue.jobs()}
    assert states == {
        "a": "completed", "after-a": "completed", "held": "pending", "after-held": "pending", "paused": "pending",
    }  # fmt: skip
    farm.queue.cancel("held", "after-held", "paused")
    assert "nothing is left to do\n" in farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").stderr


def test_a_drain_ends_though_a_retry_was_put_off(farm: Farm, mode: str) -> None:
    farm.queue.change_setting("backoff_base", 60)
    farm.queue.enqueue("exit 1", id="b")
    farm.start(1, mode)
    eventually(lambda: farm.queue.get("b").attempts == 1 and farm.queue.get("b").state == "pending")
    farm.stop()
    farm.queue.edit("b", run_at="2090-01-01T00:00:00Z")
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    assert farm.queue.get("b").state == "pending"


def test_a_pipeline_is_mended_in_the_middle(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("true", id="one")
    farm.queue.enqueue("exit 7", id="two", after="one", max_retries=0)
    farm.queue.enqueue("true", id="three", after="two")
    assert farm.run("worker-run", "--count", "2", "--mode", mode, "--drain").returncode == 0
    assert [farm.queue.get(each).state for each in ("one", "two", "three")] == ["completed", "dead", "cancelled"]
    farm.queue.pause()
    assert farm.queue.retry_dead("two", with_dependents=True) == ["two", "three"]
    farm.queue.edit("two", command="true")
    farm.queue.resume()
    assert farm.run("worker-run", "--count", "2", "--mode", mode, "--drain").returncode == 0
    assert [farm.queue.get(each).state for each in ("one", "two", "three")] == ["completed"] * 3
