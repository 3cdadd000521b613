"""Removing what ended long ago, a few at a time, and giving its space back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store.backends import T0, add, after, claim, finish, job
from unit.support import HandClock

from queuectl import Queue
from queuectl.clock import SECOND
from queuectl.errors import Conflict, InvalidInput, NoSuchJob
from queuectl.home import Home
from queuectl.model import ENDED
from queuectl.pruning import Janitor, prune
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore


def nothing(ids: list[str]) -> None:
    assert ids is not None


def all_kinds(store: Store) -> None:
    """A job in each state; the ended ones ended a second after one another."""
    for number, kind in enumerate(("succeeded", "failed"), 1):
        add(store, kind, max_retries=0)
        assert finish(store, claim(store), kind, after(number))
    add(store, "cancelled", "waiting", "running")
    store.cancel(["cancelled"], after(3))
    store.edit("running", {"priority": 1}, T0)
    assert claim(store).id == "running"


def test_only_what_ended_before_goes(store: Store) -> None:
    all_kinds(store)
    assert store.count_old(ENDED, after(3)) == 2
    assert store.prune(ENDED, after(3), 100, nothing) == 2
    assert [each.id for each in store.jobs()] == ["cancelled", "waiting", "running"]
    with pytest.raises(NoSuchJob):
        store.attempts("succeeded")
    assert store.prune(("pending", "processing"), after(99), 100, nothing) == 0
    assert store.prune(ENDED, after(99), 100, nothing) == 1
    assert store.faults() == []


def test_only_the_named_states_go(store: Store) -> None:
    all_kinds(store)
    assert store.prune(("dead",), after(99), 100, nothing) == 1
    assert [each.id for each in store.jobs()] == ["succeeded", "cancelled", "waiting", "running"]


def test_at_most_so_many_go_at_once_the_oldest_first(store: Store) -> None:
    all_kinds(store)
    gone: list[str] = []
    while store.prune(ENDED, after(99), 1, gone.extend):
        pass
    assert sorted(gone) == ["cancelled", "failed", "succeeded"]
    assert [each.id for each in store.jobs()] == ["waiting", "running"]


def test_numbers_are_not_given_out_again(store: Store) -> None:
    (first,) = store.add([job(max_retries=0)], T0, 3)
    assert finish(store, claim(store), "succeeded", T0)
    assert store.prune(ENDED, after(1), 9, nothing) == 1
    assert list(store.add([job()], T0, 3)) == [str(int(first) + 1)]


def test_when_the_logs_cannot_go_the_jobs_stay(store: Store) -> None:
    all_kinds(store)

    def failing(ids: list[str]) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        store.prune(ENDED, after(99), 9, failing)
    assert len(store.jobs()) == 5


def test_a_dependent_goes_on_without_what_it_needed(store: Store) -> None:
    add(store, "a", "b")
    store.add([job("c", after=("a", "b"))], T0, 3)
    assert finish(store, claim(store))
    assert store.prune(ENDED, after(1), 9, nothing) == 1
    assert store.get("c").blockers == 1
    assert finish(store, claim(store))
    assert claim(store).id == "c"
    assert store.faults() == []


def test_a_pruned_job_cannot_be_retried_and_a_retried_one_not_pruned(store: Store, other: Store) -> None:
    add(store, "a", "b", max_retries=0)
    for _ in range(2):
        assert finish(store, claim(store), "failed")
    other.revive(["a"], ["dead"], T0)
    assert store.prune(ENDED, after(1), 9, nothing) == 1
    with pytest.raises(NoSuchJob):
        other.revive(["b"], ["dead"], T0)
    with pytest.raises(Conflict):
        other.revive(["a"], ["dead"], T0)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """Two days later."""
    home = Queue.init(tmp_path / "queuectl.db").home
    return Queue(home.database, clock=HandClock(after(2 * 86_400)))


def ended(queue: Queue, count: int, command: str = "true") -> SQLiteStore:
    """A queue's store, with jobs that ended at T0, and a log of each."""
    store = SQLiteStore(queue.home.database, 30)
    ids = list(store.add([job(command=command) for _ in range(count)], T0, 3))
    store.cancel(ids, T0)
    for job_id in ids:
        Path(queue.home.log(job_id)).write_text("output")
    return store


def test_logs_go_with_their_jobs(queue: Queue) -> None:
    store = ended(queue, 1200)
    stays = queue.enqueue("true")
    Path(queue.home.log(stays.id)).write_text("")
    assert queue.prune("1d") == 1200
    assert [each.id for each in queue.jobs()] == [stays.id]
    assert os.listdir(queue.home.logs) == [f"{stays.id}.log"]
    store.close()


def test_a_dry_run_changes_nothing(queue: Queue) -> None:
    store = ended(queue, 3)
    assert queue.prune(0, dry_run=True) == 3
    assert len(queue.jobs()) == len(os.listdir(queue.home.logs)) == 3
    with pytest.raises(InvalidInput, match="only ended jobs can be removed"):
        queue.prune(0, "pending")
    store.close()


def test_space_comes_back(queue: Queue) -> None:
    store = ended(queue, 0)
    ids = list(store.add([job(command="x" * 5000) for _ in range(3000)], T0, 3))
    store.cancel(ids, T0)
    store.close()
    full = os.path.getsize(queue.home.database)
    assert queue.prune("1d") == 3000
    queue.close()
    assert os.path.getsize(queue.home.database) < full / 10


def test_a_janitor_looks_now_and_then_and_keeps_what_is_young(queue: Queue) -> None:
    store = ended(queue, 700)
    store.add([job("dead", max_retries=0)], T0, 0)
    assert finish(store, claim(store), "failed", T0)
    janitor = Janitor(Home(queue.home.database), store)
    assert janitor.wait(0, 5.0) is None
    janitor.tidy(0, after(99), 5.0)
    janitor.tidy(100, after(99), 5.0)
    assert len(queue.jobs()) == 701
    assert janitor.wait(100, 5.0) == Janitor.PACE
    janitor.tidy(50, after(99), 6.0)
    assert len(queue.jobs()) == 701, "it is not time to look again"
    janitor.tidy(50, after(99), 5.0 + Janitor.PACE)
    assert 0 < len(queue.jobs()) < 701
    for second in range(1, 9):
        janitor.tidy(50, after(99), 5.0 + Janitor.PACE + second)
    assert [each.id for each in queue.jobs()] == ["dead"], "it is for somebody to look at"
    store.close()


def test_others_come_in_between(queue: Queue) -> None:
    """Each transaction removes a bounded number."""
    store = ended(queue, 1600)
    sizes: list[int] = []
    real = store.prune

    def noted(*arguments: object) -> int:
        sizes.append(real(*arguments))  # type: ignore[arg-type]
        return sizes[-1]

    store.prune = noted  # type: ignore[method-assign, assignment]
    assert prune(queue.home, store, ENDED, T0 + SECOND) == 1600
    assert max(sizes) <= 500
    store.close()
