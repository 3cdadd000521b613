"""Keys: of the jobs with one, at most one waits or runs."""

from __future__ import annotations

import pytest
from store.backends import T0, Backend, add, claim, finish, job
from unit.support import Child

from queuectl.errors import Conflict
from queuectl.model import ENDED, Added, NewJob
from queuectl.store.base import Store


def keyed(if_exists: str = "return", job_id: str | None = None, key: str = "k", **fields: object) -> NewJob:
    return job(job_id, unique=key, if_exists=if_exists, **fields)


def test_the_id_that_exists_is_returned(store: Store) -> None:
    assert list(store.add([keyed(job_id="a")], T0, 3)) == ["a"]
    assert list(store.add([keyed(job_id="b"), job("c"), keyed(), job("d")], T0, 3)) == ["a", "c", "a", "d"]
    assert [each.id for each in store.jobs()] == ["a", "c", "d"]
    assert claim(store).id == "a"
    assert list(store.add([keyed()], T0, 3)) == ["a"], "it runs"


def test_within_a_batch_the_first_stands_for_all(store: Store) -> None:
    ids = list(store.add([keyed(), keyed(), keyed(key="other"), *(job() for _ in range(120)), keyed()], T0, 3))
    assert ids[0] == ids[1] == ids[-1]
    assert len(store.jobs()) == 122
    assert [each.id for each in store.jobs()] == list(dict.fromkeys(ids))


def test_another_is_rejected(store: Store) -> None:
    add(store, "a", unique="k")
    with pytest.raises(Conflict, match="job a with the key 'k' is pending"):
        store.add([job("x"), keyed("reject")], T0, 3)
    assert [each.id for each in store.jobs()] == ["a"]


def test_a_waiting_one_is_replaced_and_a_running_one_never(store: Store) -> None:
    add(store, "a", unique="k")
    assert list(store.add([keyed("replace", "b")], T0, 3)) == ["b"]
    assert store.get("a").state == "cancelled"
    assert store.get("a").reason == "replaced by a later job with the key 'k'"
    assert claim(store).id == "b"
    with pytest.raises(Conflict, match="job b with the key 'k' is processing"):
        store.add([keyed("replace", "c")], T0, 3)
    assert store.get("b").state == "processing"


def test_a_key_is_free_when_its_job_has_ended(store: Store) -> None:
    add(store, "a", unique="k", max_retries=0)
    assert finish(store, claim(store), "failed")
    assert store.get("a").state == "dead"
    add(store, "b", unique="k")
    with pytest.raises(Conflict, match="cannot put back: job b has the key 'k'"):
        store.revive(["a"], ENDED, T0)
    assert finish(store, claim(store))
    store.revive(["a"], ENDED, T0)
    with pytest.raises(Conflict, match="job a has the key"):
        store.revive(["b"], ENDED, T0)


def test_a_retried_job_keeps_its_key(store: Store) -> None:
    add(store, "a", unique="k")
    assert finish(store, claim(store), "failed")
    assert list(store.add([keyed()], T0, 3)) == ["a"]


def test_eight_processes_add_one_key_at_once(backend: Backend) -> None:
    def enqueue() -> None:
        mine = backend.open()
        for number in range(30):
            ids = list(mine.add([keyed(key=f"k{number}")], T0, 3))
            assert len(ids) == 1
        mine.close()

    children = [Child(enqueue) for _ in range(8)]
    for child in children:
        child.join()
    store = backend.open()
    assert sorted(each.unique or "" for each in store.jobs()) == sorted(f"k{number}" for number in range(30))
    store.close()


def test_a_number_that_is_taken_beside_a_key_that_exists(store: Store) -> None:
    store.add([keyed(job_id="x"), job("4")], T0, 3)
    ids = list(store.add([keyed(job_id="x"), job(), keyed(job_id="y", key="l"), keyed(job_id="y", key="l")], T0, 3))
    assert ids == ["x", ids[1], "y", "y"]
    assert store.get(ids[1]).state == "pending"


def test_what_needs_a_job_that_was_not_added_needs_the_one_that_is_there(store: Store) -> None:
    add(store, "there", unique="k")
    assert list(store.add([keyed(job_id="x"), job("y", after=("x",))], T0, 3)) == ["there", "y"]
    assert [each.id for each in store.needs("y")] == ["there"]


def test_what_waited_for_a_replaced_job_has_workers_woken(store: Store) -> None:
    add(store, "a", unique="k")
    store.add([job(after_any=("a",)) for _ in range(3)], T0, 3)
    added = store.add([keyed("replace", "b", delay=60)], T0, 3)
    assert isinstance(added, Added)
    assert added.freed == 3
