"""Batches: a label that any number of jobs may have, and what is done to all that have it."""

from __future__ import annotations

import pytest
from store.backends import T0, add, after, claim, fail_to_death, finish

from queuectl import Conflict, NoSuchBatch
from queuectl.store.base import Store


def states(store: Store, batch: str = "night") -> dict[str, str]:
    return {job.id: job.state for job in store.jobs(batch=batch)}


@pytest.fixture
def mixed(store: Store) -> Store:
    """A batch with a job in each state, and jobs that are not of it."""
    add(store, "completed", batch="night")
    finish(store, claim(store))
    add(store, "dead", batch="night", max_retries=0)
    fail_to_death(store, "dead")
    add(store, "cancelled", batch="night")
    store.cancel(["cancelled"], T0)
    add(store, "running", batch="night")
    claim(store)
    add(store, "waiting", batch="night")
    add(store, "other", batch="day")
    add(store, "none")
    return store


def test_the_label_is_kept(store: Store) -> None:
    add(store, "a", batch="night")
    add(store, "b")
    assert [store.get(job).batch for job in "ab"] == ["night", None]


def test_jobs_of_a_batch_in_their_order(mixed: Store) -> None:
    assert list(states(mixed)) == ["completed", "dead", "cancelled", "running", "waiting"]
    assert [job.id for job in mixed.jobs(limit=2, batch="night")] == ["completed", "dead"]
    assert [job.id for job in mixed.jobs(("pending", "dead"), batch="night")] == ["dead", "waiting"]
    assert [job.id for job in mixed.jobs(("pending", "dead"), 1, "night")] == ["dead"]
    assert mixed.jobs(("dead",), batch="day") == []


def test_counts_of_a_batch(mixed: Store) -> None:
    assert mixed.counts_of_batch("night") == dict.fromkeys(mixed.counts(), 1)
    assert mixed.counts_of_batch("day")["pending"] == 1
    assert set(mixed.counts_of_batch("unknown").values()) == {0}


def test_cancel_leaves_alone_what_has_ended_and_what_is_not_of_it(mixed: Store) -> None:
    stopped = mixed.cancel_batch("night", after(1))
    assert (stopped.running, stopped.ids) == (["running"], ["running", "waiting"])
    assert states(mixed) == {
        "completed": "completed",
        "dead": "dead",
        "cancelled": "cancelled",
        "running": "processing",
        "waiting": "cancelled",
    }
    assert mixed.get("running").cancel_requested
    assert [mixed.get(job).state for job in ("other", "none")] == ["pending", "pending"]
    assert mixed.get("dead").updated_at < mixed.get("waiting").updated_at
    assert mixed.cancel_batch("night", after(2)).running == ["running"], "it is fine to ask again"


def test_dead_and_cancelled_jobs_are_put_back(mixed: Store) -> None:
    assert mixed.revive(None, ("dead", "cancelled"), after(1), batch="night") == ["dead", "cancelled"]
    assert states(mixed) == {
        "completed": "completed",
        "dead": "pending",
        "cancelled": "pending",
        "running": "processing",
        "waiting": "pending",
    }
    assert mixed.get("dead").attempts == 0
    assert mixed.revive(None, ("dead", "cancelled"), after(1), batch="night") == []


def test_a_batch_is_put_back_whole_or_not_at_all(store: Store) -> None:
    add(store, "first", batch="night", max_retries=0, unique="key")
    fail_to_death(store, "first")
    add(store, "second", batch="night")
    store.cancel(["second"], T0)
    add(store, "third", unique="key")
    with pytest.raises(Conflict):
        store.revive(None, ("dead", "cancelled"), T0, batch="night")
    assert states(store) == {"first": "dead", "second": "cancelled"}


@pytest.mark.parametrize("name", ["unknown", "", "night\0", "\udcff", "night' OR 1", "x" * 200])
def test_no_such_batch(mixed: Store, name: str) -> None:
    with pytest.raises(NoSuchBatch, match="no batch"):
        mixed.jobs(batch=name)
    with pytest.raises(NoSuchBatch):
        mixed.cancel_batch(name, T0)
    with pytest.raises(NoSuchBatch):
        mixed.revive(None, ("dead",), T0, batch=name)
    assert set(mixed.counts_of_batch(name).values()) == {0}
