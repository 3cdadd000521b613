"""Jobs that are claimed ahead: which ones, what becomes of them, and several outcomes at one stroke."""

from __future__ import annotations

import sqlite3
import time

import pytest
from store.backends import T0, SQLiteBackend, add, after, claim, job, micros

from queuectl.errors import StoreBusy
from queuectl.model import CANCELLED, COMPLETED, PENDING, PROCESSING, SUCCEEDED, Claim, Job, Outcome
from queuectl.retry import Ending, judge
from queuectl.store.base import Store
from queuectl.store.sqlite import RESERVE

MANY = [str(number) for number in range(1, RESERVE + 51)]


def ending(claimed: Claim, kind: str = SUCCEEDED, now: int = T0) -> Ending:
    begun = claimed if claimed.started_at is not None else claimed._replace(started_at=now)
    return Ending(begun, Outcome(kind, 0 if kind == SUCCEEDED else 1), judge(kind, 1, 3, 2, 100), now)


def claims(store: Store, worker: str = "w", most: int = 4, now: int = T0) -> list[Claim]:
    """Claim several."""
    return store.settle([], now, next_for=worker, most=most).following


def ids(claimed: list[Claim]) -> list[str]:
    return [each.id for each in claimed]


def as_before(store: Store, job_id: str) -> Job:
    """A job but for the time of its last change."""
    return store.get(job_id)._replace(updated_at="")


# --- which


def test_the_first_ones_are_claimed_and_only_the_first_has_begun(store: Store) -> None:
    add(store, *MANY)
    claimed = claims(store)
    assert ids(claimed) == ["1", "2", "3", "4"]
    assert [each.started_at for each in claimed] == [T0, None, None, None]
    assert {(each.number, each.attempts, each.worker) for each in claimed} == {(1, 1, "w")}
    assert [store.get(each).state for each in MANY[:5]] == [PROCESSING] * 4 + [PENDING]
    assert [len(store.attempts(each)) for each in MANY[:4]] == [1, 0, 0, 0], "what has not begun is no start"
    assert ids(store.claims(["w"])) == ["2", "3", "4", "1"], "what has begun comes last"
    assert ids(claims(store, "v")) == ["5", "6", "7", "8"]
    assert store.faults() == []


def test_enough_is_left_for_others(store: Store) -> None:
    add(store, *MANY[: RESERVE + 3])
    assert ids(claims(store)) == ["1"], "two and as many as are left for others"
    assert ids(claims(store, most=3)) == ["2"]
    add(store, "more", "most", "one")
    assert ids(claims(store, most=3)) == ["3", "4", "5"]


def test_nothing_is_overtaken(store: Store) -> None:
    add(store, "again")
    store.finish(claim(store), Outcome("failed", 1), judge("failed", 1, 3, 1, 100), T0, T0)
    add(store, *MANY, now=after(5))
    add(store, "first", priority=1, now=after(5))
    assert ids(claims(store, now=after(9))) == ["first"], "then comes one that was started before"
    assert ids(claims(store, now=after(9))) == ["again", "1", "2", "3"]


def test_what_needs_a_place_in_its_group_is_not_claimed_ahead(store: Store) -> None:
    add(store, "1")
    add(store, "limited", group="g")
    add(store, *MANY[1:])
    store.set_limit("g", 5, T0)
    assert ids(claims(store)) == ["1"]
    assert ids(claims(store)) == ["limited"], "its place is given on as soon as it has ended"
    assert ids(claims(store)) == ["2", "3", "4", "5"]


def test_nothing_is_claimed_in_a_paused_queue(store: Store) -> None:
    add(store, *MANY)
    store.pause([], T0)
    assert claims(store) == []


def test_what_was_to_wait_for_a_time_is_not_claimed_ahead(store: Store) -> None:
    add(store, "1", priority=2)
    store.add([job("timed", run_at=after(1), priority=1)], T0, 3)
    add(store, *MANY[1:])
    assert ids(claims(store, now=after(2))) == ["1"], "given back, it would not tell its time"
    assert ids(claims(store, now=after(2)))[0] == "timed"


# --- several outcomes


def test_several_outcomes_are_recorded_at_one_stroke(store: Store, other: Store) -> None:
    add(store, *MANY)
    first, second, lost, last = claims(store)
    other.finish(lost._replace(started_at=T0), Outcome("crashed"), judge("crashed", 1, 0, 2, 100), T0, T0)
    endings = [ending(first), ending(second, "failed"), ending(lost), ending(last, now=after(3))]
    recorded, following, _ = store.settle(endings, after(4), next_for="w", most=2)
    assert recorded == [True, True, False, True]
    assert ids(following) == ["5", "6"]
    assert [store.get(each).state for each in MANY[:4]] == [COMPLETED, PENDING, "dead", COMPLETED]
    assert [micros(store.get(each).started_at) for each in MANY[:4:3]] == [T0, after(3)]
    (attempt,) = store.attempts("4")
    assert (micros(attempt.started_at), micros(attempt.ended_at)) == (after(3), after(3))
    assert store.faults() == []


def test_what_began_and_takes_long_is_noted(store: Store) -> None:
    add(store, *MANY)
    first, second, *_ = claims(store)
    begun = second._replace(started_at=after(1))
    store.settle([ending(first)], after(2), begun=begun)
    assert micros(store.get("2").started_at) == after(1)
    assert [(each.number, micros(each.started_at)) for each in store.attempts("2")] == [(1, after(1))]
    store.settle([], after(3), begun=begun._replace(started_at=after(3)))
    assert micros(store.get("2").started_at) == after(1), "it began once"


# --- given back


def test_what_has_not_begun_waits_again_as_if_nothing_had_been(store: Store) -> None:
    add(store, *MANY)
    before = [as_before(store, each) for each in MANY[:4]]
    _, *ahead = claims(store)
    settled = store.settle([], after(1), unbegun=ahead)
    assert settled.ready == 3, "others may run them"
    assert [as_before(store, each) for each in MANY[1:4]] == before[1:]
    assert store.faults() == []
    again = claims(store, "v", now=after(2))
    assert ids(again) == ["2", "3", "4", "5"]
    assert [each.number for each in again] == [1, 1, 1, 1], "it was no start"


def test_what_another_has_got_meanwhile_is_not_given_back(store: Store) -> None:
    """The number of a claim that was given back is the next one's: it is not enough to tell them apart."""
    add(store, *MANY)
    _, second, third, _ = ahead = claims(store)
    store.settle([], T0, unbegun=ahead[1:])
    assert ids(claims(store, "v", now=after(1))) == ["2", "3", "4", "5"]
    assert store.settle([], after(2), unbegun=ahead[1:]).ready == 0
    assert [store.get(each).worker for each in MANY[1:4]] == ["v"] * 3
    store.settle([], after(3), begun=second._replace(started_at=after(3)))
    assert store.get("3").started_at is None
    store.settle([], after(4), begun=third._replace(worker="v", started_at=after(4)))
    assert store.settle([], after(5), unbegun=[third._replace(worker="v")]).ready == 0, "it has begun"
    assert store.get("3").state == PROCESSING


def test_one_that_was_cancelled_does_not_start(store: Store) -> None:
    add(store, *MANY)
    store.add([job("needs-it", after=("2",)), job("comes-then", after_any=("2",))], T0, 3)
    _, second, *_ = claims(store)
    assert store.cancel(["2"], after(1)).running == ["2"]
    assert store.is_cancel_requested(second)
    assert store.settle([], after(2), unbegun=[second]).ready == 1, "the one that came then"
    cancelled = store.get("2")
    assert (cancelled.state, cancelled.attempts, cancelled.reason) == (CANCELLED, 0, "cancelled while it waited")
    assert not cancelled.cancel_requested
    assert store.attempts("2") == []
    assert [store.get(each).state for each in ("needs-it", "comes-then")] == [CANCELLED, PENDING]
    assert store.faults() == []


def test_one_whose_group_has_a_limit_by_then_waits_for_its_place(store: Store) -> None:
    add(store, *MANY, group="g")
    first, *ahead = claims(store)
    store.set_limit("g", 1, after(1))
    assert store.is_any_ahead([])
    assert store.is_any_ahead(["g", "h"])
    assert not store.is_any_ahead(["h"])
    store.settle([], after(2), unbegun=ahead)
    assert not store.is_any_ahead(["g"])
    assert store.claim("v", after(3)) is None, "the one that runs has the only place"
    store.settle([ending(first)], after(4))
    assert claim(store, after(5)).id == "2"
    assert store.claim("v", after(5)) is None
    assert store.faults() == []


def test_one_in_a_group_that_is_paused_by_then_waits(store: Store) -> None:
    add(store, *MANY, group="g")
    _, *ahead = claims(store)
    store.pause(["g"], after(1))
    store.settle([], after(2), unbegun=ahead)
    assert store.claim("v", after(3)) is None
    store.resume(["g"], after(4))
    assert claim(store, after(5)).id == "2"


def test_one_that_needs_what_was_put_back_meanwhile_waits_for_it(store: Store) -> None:
    add(store, "needed", priority=9)
    add(store, "first", priority=8)
    store.add([job("j", after=("needed",), priority=7)], T0, 3)
    add(store, *MANY)
    store.settle([ending(claim(store))], T0)
    first, held, *_ = claims(store)
    assert (first.id, held.id) == ("first", "j")
    store.revive(["needed"], (COMPLETED,), after(1))
    store.settle([], after(2), unbegun=[held])
    assert store.get("j").blockers == 1
    assert ids(claims(store, now=after(3)))[0] == "needed"
    assert store.faults() == []


def test_one_that_takes_no_time_for_others_does_not_wait_for_them(store: Store, backend: SQLiteBackend) -> None:
    add(store, *MANY)
    first, *ahead = claims(store)
    other = sqlite3.connect(backend.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreBusy):
        store.settle([ending(first)], T0, unbegun=ahead, patiently=False)
    assert time.monotonic() - began < 15, "the store has the patience of thirty seconds"
    other.execute("ROLLBACK")
    assert store.settle([ending(first)], T0, unbegun=ahead, patiently=False) == ([True], [], 3)
    other.close()
