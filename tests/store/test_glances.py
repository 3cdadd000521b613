"""What every store tells who watches."""

from __future__ import annotations

from store.backends import T0, add, after, claim, fail_to_death, finish

from queuectl.model import STATES
from queuectl.store.base import Store

NOTHING = dict.fromkeys(STATES, 0)


def test_an_empty_queue(store: Store) -> None:
    glance = store.glance(after(4), 10)
    assert glance.counts == NOTHING
    assert (glance.scheduled, glance.running, glance.failures, glance.next_scheduled) == (0, [], [], None)
    assert store.ended_since(0) == (0, None)


def test_what_runs_what_failed_and_what_comes_next(store: Store) -> None:
    add(store, "lost", max_retries=0)
    fail_to_death(store, "lost", after(1))
    add(store, "again", now=after(2))
    assert finish(store, claim(store, after(2)), "failed", after(3), exit_code=7, reason="exit code 7")
    add(store, "runs", now=after(4))
    add(store, "later", delay=3600)
    held = claim(store, after(4), "worker-1")
    add(store, "waits", now=after(5))
    glance = store.glance(after(4), 10)
    assert glance.counts == {**NOTHING, "pending": 3, "processing": 1, "dead": 1}
    assert glance.scheduled == 1
    assert [(job.id, job.worker) for job in glance.running] == [(held.id, "worker-1")] == [("runs", "worker-1")]
    assert [(job.id, job.state, job.outcome) for job in glance.failures] == [
        ("lost", "dead", "failed"),
        ("again", "pending", "failed"),
    ]
    assert glance.failures[1].reason == "exit code 7"
    assert glance.next_scheduled is not None
    assert glance.next_scheduled.id == "again"


def test_what_is_held_or_waits_for_others_is_counted(store: Store) -> None:
    add(store, "first", "both", "held", "freed")
    add(store, "after", "after-both", after=("first",))
    add(store, "later", delay=3600)
    store.edit("both", {"after": ("first",)}, T0)
    store.hold(["both", "held", "freed", "later"], T0)
    store.release(["freed"], T0)
    glance = store.glance(T0, 10)
    assert (glance.counts, glance.scheduled) == ({**NOTHING, "pending": 7}, 0)
    assert (glance.held, glance.blocked) == (3, 2)
    overview = store.overview(T0)
    assert (overview.held, overview.blocked) == (3, 2)
    store.cancel(["first", "held"], T0)
    assert store.overview(T0)[-2:] == (1, 0)


def test_of_many_failures_there_are_those_enqueued_last_and_retried_next(store: Store) -> None:
    for number in range(4):
        add(store, f"dead{number}", max_retries=0)
        fail_to_death(store, f"dead{number}", after(number))
    for number in range(4):
        add(store, f"again{number}", now=after(10))
        assert finish(store, claim(store, after(10)), "failed", after(20 - number))
    glance = store.glance(after(11), 2, count=False)
    assert [job.id for job in glance.failures] == ["dead3", "dead2", "again3", "again2"]
    assert (glance.counts, glance.scheduled, glance.held, glance.blocked) == (None, None, None, None)


def test_what_ended_lately(store: Store) -> None:
    for number in range(3):
        add(store, f"done{number}")
        assert finish(store, claim(store), now=after(10 * number))
    add(store, "dead", max_retries=0)
    fail_to_death(store, "dead", after(25))
    add(store, "cancelled", "waits")
    store.cancel(["cancelled"], after(26))
    assert store.ended_since(after(5)) == (3, after(10))
    assert store.ended_since(after(25)) == (0, None)
    assert store.ended_since(0) == (4, T0)
