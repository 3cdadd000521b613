"""The library, as scripts use it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.support import Child, HandClock, in_child, in_threads

import queuectl
from queuectl import (
    Conflict,
    InvalidInput,
    JobExists,
    NoSuchJob,
    NoSuchQueue,
    NotFound,
    Queue,
    QueueError,
    StoreBusy,
    StoreError,
    WaitTimeout,
)
from queuectl.api import open_store
from queuectl.clock import iso, timestamp
from queuectl.model import Outcome
from queuectl.retry import judge


def end(queue: Queue, *kinds: str) -> list[str]:
    """Do what a worker does: claim the next jobs and end each in one of these ways; their ids."""
    store = open_store(queue.home, 30)
    ids = []
    for kind in kinds:
        claimed = store.claim("w", queue._clock.now())
        assert claimed is not None
        now = queue._clock.now()
        verdict = judge(kind, claimed.attempts, claimed.max_retries, 2, 10)
        recorded, *_ = store.finish(
            claimed, Outcome(kind, exit_code=0 if kind == "succeeded" else 1), verdict, now, now
        )
        assert recorded
        ids.append(claimed.id)
    store.close()
    return ids


def test_what_the_package_offers() -> None:
    assert all(getattr(queuectl, name) for name in queuectl.__all__)
    with pytest.raises(AttributeError):
        _ = queuectl.Nothing
    assert (Path(queuectl.__file__).parent / "py.typed").exists()


def test_importing_it_is_cheap() -> None:
    script = "import sys; from queuectl import Queue; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "rich", "psutil"} & set(loaded)


def test_one_class_of_errors_for_each_exit_code() -> None:
    classes = (
        QueueError,
        InvalidInput,
        NotFound,
        NoSuchJob,
        NoSuchQueue,
        Conflict,
        JobExists,
        StoreError,
        StoreBusy,
        WaitTimeout,
    )
    assert [each.exit_code for each in classes] == [1, 2, 3, 3, 3, 4, 4, 5, 5, 124]
    assert all(issubclass(each, QueueError) for each in classes)
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(NotFound, LookupError)
    assert issubclass(WaitTimeout, TimeoutError)


def test_a_job_with_everything(place: Path) -> None:
    clock = HandClock()
    queue = Queue(place / "q.db", clock=clock)
    job = queue.enqueue("make report", id="r1", delay=60, timeout="10m", max_retries=1, cwd="sub", env={"A": "b"})
    assert job == queue.get("r1")
    assert (job.command, job.cwd, job.env, job.timeout) == ("make report", f"{place}/sub", {"A": "b"}, 600)
    assert (job.state, job.attempts, job.max_retries) == ("pending", 0, 1)
    assert (job.created_at, job.next_run_at) == (iso(clock.now()), iso(clock.now() + 60_000_000))
    assert queue.enqueue("true", run_at="2030-01-31").next_run_at == iso(timestamp("2030-01-31"))


def test_a_batch_is_accepted_in_order_or_not_at_all(queue: Queue) -> None:
    jobs = queue.enqueue_many({"command": f"echo {number}", "max_retries": number} for number in range(3))
    assert [(job.command, job.max_retries) for job in jobs] == [("echo 0", 0), ("echo 1", 1), ("echo 2", 2)]
    assert queue.jobs() == jobs
    bad: list[tuple[list[Any], type[QueueError], str]] = [
        ([{"command": "true"}, {"command": ""}], InvalidInput, "job 2 of 2"),
        ([{"command": "true"}, {"command": "true", "id": jobs[0].id}], Conflict, jobs[0].id),
        ([{"command": "true", "id": "x"}, {"command": "true", "id": "x"}], Conflict, "x"),
        ([{"command": "true"}, None], InvalidInput, "job 2 of 2"),
    ]
    for batch, error, says in bad:
        with pytest.raises(error, match=says):
            queue.enqueue_many(batch)
    assert queue.jobs() == jobs
    assert queue.enqueue_many([]) == []


def test_a_producer_that_fails_leaves_nothing_and_locks_nothing(queue: Queue) -> None:
    def produce() -> Any:
        yield {"command": "true"}
        assert Queue(queue.home.database).enqueue("true", id="meanwhile")
        raise OSError("the producer broke")

    with pytest.raises(OSError, match="broke"):
        queue.enqueue_many(produce())
    assert [job.id for job in queue.jobs()] == ["meanwhile"]


def test_errors_by_class(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    cases: list[tuple[Callable[[], object], type[QueueError]]] = [
        (lambda: queue.enqueue(""), InvalidInput),
        (lambda: queue.enqueue("true", delay=-1), InvalidInput),
        (lambda: queue.enqueue("true", id="a"), JobExists),
        (lambda: queue.get("b"), NoSuchJob),
        (lambda: queue.get("\udcff"), NoSuchJob),
        (lambda: queue.attempts("b"), NoSuchJob),
        (lambda: queue.cancel("a", "b"), NoSuchJob),
        (lambda: queue.retry("a"), Conflict),
        (lambda: queue.retry_dead("a"), Conflict),
        (lambda: queue.retry("b"), NoSuchJob),
        (lambda: queue.wait(["a", "b"], timeout=5), NoSuchJob),
        (lambda: queue.wait(["a\0"], timeout=0), NoSuchJob),
        (lambda: queue.watch(["b"]), NoSuchJob),
        (lambda: queue.jobs("done"), InvalidInput),
        (lambda: queue.jobs(["dead", "x"]), InvalidInput),
        (lambda: queue.jobs(limit=-1), InvalidInput),
        (lambda: queue.wait(["a"], timeout=0), WaitTimeout),
        (lambda: Queue("nowhere/q.db").counts(), NoSuchQueue),
    ]
    for number, (use, error) in enumerate(cases):
        with pytest.raises(QueueError) as caught:
            use()
        assert type(caught.value) is error, number
    assert queue.counts()["pending"] == 1


def test_looking(queue: Queue) -> None:
    queue.enqueue_many([{"command": "true", "max_retries": 0}] * 4)
    end(queue, "succeeded", "failed")
    assert queue.counts() == {"pending": 2, "processing": 0, "completed": 1, "dead": 1, "cancelled": 0}
    assert [job.id for job in queue.jobs("dead")] == ["2"]
    assert [job.id for job in queue.jobs(("completed", "dead"), limit=1)] == ["1"]
    assert [attempt.outcome for attempt in queue.attempts("2")] == ["failed"]
    seen = queue.overview()
    assert seen.oldest_waiting is not None
    assert seen.oldest_waiting.id == "3"
    assert queue.get("2").as_dict()["state"] == "dead"
    assert queue.attempts("2")[0].as_dict()["leftover"] == []


def test_cancel_and_retry(queue: Queue) -> None:
    queue.enqueue_many([{"command": "true", "max_retries": 0}] * 3)
    queue.cancel("1", "2")
    end(queue, "failed")
    queue.retry("1")
    assert queue.retry_dead() == ["3"]
    assert queue.retry_dead() == []
    assert [job.state for job in queue.jobs()] == ["pending", "cancelled", "pending"]
    queue.retry()
    queue.cancel()
    assert [job.state for job in queue.jobs()] == ["pending", "cancelled", "pending"]


# Waiting


def test_waiting_for_jobs(queue: Queue) -> None:
    queue.enqueue_many([{"command": "true", "max_retries": 0}] * 3)
    worker = threading.Thread(target=lambda: end(queue, "succeeded", "succeeded", "failed"))
    worker.start()
    assert queue.wait(["1", "2", "1"], timeout=30)
    assert not queue.wait(["1", "3"], timeout=30)
    assert queue.wait("1", timeout=0)
    assert queue.wait([], timeout=0)
    worker.join()


def test_waiting_for_all(queue: Queue) -> None:
    assert queue.wait(timeout=0)
    queue.enqueue_many([{"command": "true", "max_retries": 0}] * 2)
    watch = queue.watch()
    assert not watch.all_completed, "nothing has ended yet"
    end(queue, "succeeded")
    watch.look()
    assert (watch.over, watch.all_completed) == (False, False)
    end(queue, "failed")
    watch.look()
    assert (watch.over, watch.all_completed) == (True, False)
    assert watch.counts == queue.counts()
    assert not queue.wait(timeout=0), "what failed before counts too"
    queue.retry_dead()
    end(queue, "succeeded")
    assert queue.wait(timeout=0)


def test_waiting_goes_on_through_retries(queue: Queue) -> None:
    queue.enqueue("true", id="a", max_retries=1)
    queue.change_setting("backoff_base", 0)
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(queue.wait(["a"], timeout=30)))
    waiter.start()
    store = open_store(queue.home, 30)
    for kind in ("failed", "succeeded"):
        claimed = store.claim("w", queue._clock.now())
        assert claimed is not None
        now = queue._clock.now()
        store.finish(claimed, Outcome(kind), judge(kind, claimed.attempts, claimed.max_retries, 0, 0), now, now)
    waiter.join(30)
    assert waited == [True]


def test_a_wait_runs_out_of_time_and_the_job_goes_on(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    with pytest.raises(WaitTimeout, match=r"0\.02"):
        queue.wait(["a"], timeout=0.02)
    assert queue.get("a").state == "pending"


def test_a_watch_sees_what_is_done_by_its_own_thread(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    watch = queue.watch(["a"])
    queue.cancel("a")
    watch.look()
    assert watch.over
    assert not watch.all_completed


def test_a_watch_sees_what_happened_while_the_queue_was_closed(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    watch = queue.watch(["a"])
    queue.close()
    end(queue, "succeeded")
    watch.look()
    assert watch.over
    assert watch.all_completed


# Making the queue


def test_a_named_queue_is_made_at_the_first_enqueue_only(place: Path) -> None:
    queue = Queue("new/q.db")
    uses: list[Callable[[], object]] = [
        queue.counts,
        queue.jobs,
        queue.overview,
        queue.wait,
        queue.retry_dead,
        queue.require,
        lambda: queue.get("a"),
        lambda: queue.cancel("a"),
        lambda: queue.change_setting("max_retries", 1),
    ]
    for use in uses:
        with pytest.raises(NoSuchQueue, match="queuectl init"):
            use()
    with pytest.raises(InvalidInput):
        queue.enqueue("")
    assert os.listdir() == []
    queue.enqueue("true")
    assert sorted(os.listdir("new")) == ["job_logs", "q.db", "q.db-shm", "q.db-wal", "run"]


def test_a_queue_that_was_only_found_is_not_made_again(place: Path) -> None:
    Queue.init().close()
    found = Queue()
    os.unlink("queuectl.db")
    with pytest.raises(NoSuchQueue):
        found.enqueue("true")
    assert not os.path.exists("queuectl.db")


def test_a_queue_is_made_once_by_many(place: Path) -> None:
    children = [Child(lambda: Queue("q.db").enqueue("true")) for _ in range(6)]
    for child in children:
        child.join()
    in_threads(*[lambda: Queue(place / "q.db").enqueue("true")] * 6)
    assert len(Queue("q.db").jobs()) == 12


# Threads and forks


def test_one_queue_serves_many_threads(place: Path) -> None:
    queue = Queue("q.db")

    def work() -> None:
        for _ in range(10):
            job = queue.enqueue("true")
            assert queue.get(job.id).id == job.id
            queue.cancel(job.id)
        queue.close()

    in_threads(*[work] * 6)
    assert queue.counts()["cancelled"] == 60


def test_it_goes_on_in_a_child_and_in_its_parent(queue: Queue) -> None:
    queue.enqueue("true", id="before")

    def work() -> None:
        assert queue.get("before").id == "before"
        queue.enqueue("true", id="child")
        in_child(lambda: queue.enqueue("true", id="grandchild"))
        queue.close()

    in_child(work)
    queue.enqueue("true", id="after")
    assert [job.id for job in queue.jobs()] == ["before", "child", "grandchild", "after"]


def test_what_a_child_confirmed_stays_when_its_parent_closes_the_queue(queue: Queue) -> None:
    """A child that went on with an inherited connection wrote into a log that its parent removed."""
    queue.enqueue("true", id="before")
    read, write = os.pipe()
    ready, go = os.pipe()

    def work() -> None:
        queue.enqueue("true", id="first")
        os.write(go, b".")
        os.read(read, 1)
        queue.enqueue("true", id="second")
        os._exit(0)

    child = Child(work)
    os.read(ready, 1)
    queue.close()
    script = f"from queuectl import Queue; Queue({queue.home.database!r}).enqueue('true', id='another')"
    subprocess.run([sys.executable, "-c", script], check=True)
    os.write(write, b".")
    child.join()
    assert [job.id for job in Queue().jobs()] == ["before", "first", "another", "second"]
    for descriptor in (read, write, ready, go):
        os.close(descriptor)


def test_forks_while_other_threads_work(queue: Queue) -> None:
    over = threading.Event()
    count = 0

    def work() -> None:
        nonlocal count
        while not over.is_set():
            queue.enqueue("true")
            count += 1

    workers = [threading.Thread(target=work), threading.Thread(target=queue.wait, args=(None,))]
    queue.enqueue("true", id="first")
    for thread in workers:
        thread.start()
    for number in range(6):
        in_child(lambda number=number: queue.enqueue("true", id=f"child-{number}"))  # type: ignore[misc]
    over.set()
    workers[0].join()
    assert queue.counts()["pending"] == count + 7
    queue.cancel(*(job.id for job in queue.jobs("pending")))
    workers[1].join(30)
    assert not workers[1].is_alive(), "a wait goes on over forks"


def test_it_prints_nothing(queue: Queue, capfd: pytest.CaptureFixture[str]) -> None:
    queue.enqueue("true", id="a")
    end(queue, "succeeded")
    queue.wait(["a"])
    with pytest.raises(QueueError):
        queue.get("b")
    assert capfd.readouterr() == ("", "")


def test_an_edit_leaves_as_it_is_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(tmp_path / "queuectl.db")
    queue.enqueue("true", id="a", cwd="/srv")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    edited = queue.edit("a", command=None, cwd=None, priority=3)
    assert (edited.command, edited.cwd, edited.priority) == ("true", "/srv", 3)
