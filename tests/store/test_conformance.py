"""What every store must do, whatever database it uses."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from farm import eventually
from store.backends import T0, Backend, add, after, claim, fail_to_death, finish, job, micros
from unit.support import Child, in_threads

from queuectl import Conflict, JobExists, NoSuchJob
from queuectl.clock import SECOND, iso
from queuectl.model import OUTCOMES, STATES, Claim, Outcome
from queuectl.retry import judge
from queuectl.store.base import Store


def claim_all(store: Store, now: int = T0) -> list[str]:
    """Claim until there is nothing left; the ids in the order they came."""
    return [claimed.id for claimed in iter(lambda: store.claim("w", now), None)]


def everything(store: Store) -> str:
    """All that a store tells about its jobs."""
    jobs = store.jobs()
    return json.dumps([[each.as_dict(), [attempt.as_dict() for attempt in store.attempts(each.id)]] for each in jobs])


# Adding


def test_a_fresh_job_is_as_it_was_given(store: Store) -> None:
    fields = {"command": "make\nreport é", "cwd": "/srv/ä b", "timeout": 1.5, "env": {"A": "1", "Ü": "\n"}}
    assert list(store.add([job("a", **fields, max_retries=7)], T0, 3)) == ["a"]
    found = store.get("a")
    assert {key: found.as_dict()[key] for key in fields} == fields
    assert (found.state, found.attempts, found.max_retries, found.next_run_at) == ("pending", 0, 7, None)
    assert found.created_at == found.updated_at == iso(T0)
    assert (found.worker, found.started_at, found.ended_at, found.outcome, found.exit_code) == (None,) * 5
    assert not found.cancel_requested
    assert not found.ended
    assert store.attempts("a") == []


def test_max_retries_is_fixed_when_the_job_is_added(store: Store) -> None:
    store.add([job("own", max_retries=0), job("setting")], T0, 5)
    assert [store.get(each).max_retries for each in ("own", "setting")] == [0, 5]


def test_when_a_job_may_start(store: Store) -> None:
    store.add([job("delay", delay=5), job("none", delay=0), job("at", run_at=after(9)), job("past", run_at=1)], T0, 3)
    assert [store.get(each).next_run_at for each in ("delay", "none", "at", "past")] == [
        iso(after(5)),
        None,
        iso(after(9)),
        iso(1),
    ]


def test_an_id_is_taken_once(store: Store) -> None:
    add(store, "a")
    with pytest.raises(Conflict, match="a"):
        add(store, "b", "a", "c")
    with pytest.raises(Conflict, match="d"):
        add(store, "d", "e", "d")
    assert [each.id for each in store.jobs()] == ["a"], "a batch is added whole or not at all"


def test_an_id_stays_taken_when_its_job_has_ended(store: Store) -> None:
    add(store, "a")
    finish(store, claim(store))
    with pytest.raises(Conflict):
        add(store, "a")


def test_generated_ids_are_short_and_all_different(store: Store) -> None:
    ids = [each for _ in range(5) for each in store.add([job() for _ in range(20)], T0, 3)]
    assert len(set(ids)) == 100
    assert all(len(each) <= 4 and each.isalnum() for each in ids)
    assert [each.id for each in store.jobs()] == ids


def test_generated_ids_keep_clear_of_given_ones(store: Store) -> None:
    add(store, "1", "3", "5")
    within = store.add([job(), job("7"), job("8"), job(), job("4"), job(), job()], T0, 3)
    more = store.add([job() for _ in range(10)], T0, 3)
    ids = ["1", "3", "5", *within, *more]
    assert len(set(ids)) == len(ids)
    assert [each.id for each in store.jobs()] == ids


def test_generated_ids_of_a_large_batch_keep_clear_of_all_others(store: Store) -> None:
    """Whether those were there before, or come in the same batch further down."""
    add(store, "5", "60", "250")
    added = store.add([*(job() for _ in range(300)), job("310"), job("x"), job()], T0, 3)
    ids = ["5", "60", "250", *added]
    assert len(added) == 303
    assert len(set(ids)) == len(ids)
    assert ids[303:305] == ["310", "x"]
    assert [each.id for each in store.jobs()] == ids
    assert "x" in added
    assert "250" not in added


@pytest.mark.parametrize("place", [0, 99, 100, 249])
@pytest.mark.parametrize("taken", ["there", "within"])
def test_of_a_large_batch_with_a_taken_id_nothing_is_added(store: Store, place: int, taken: str) -> None:
    add(store, "there")
    batch = [*(job() for _ in range(250)), job("within")]
    batch[place] = job(taken)
    with pytest.raises(JobExists, match=f"job {taken} (exists already|is there twice)"):
        store.add(batch, T0, 3)
    assert [each.id for each in store.jobs()] == ["there"]


def test_generated_ids_of_a_batch_that_failed_harm_nobody(store: Store) -> None:
    add(store, "a")
    with pytest.raises(Conflict):
        store.add([job(), job(), job("a")], T0, 3)
    ids = store.add([job(), job()], T0, 3)
    assert len({*ids, "a"}) == 3


def test_nothing_to_add_adds_nothing(store: Store) -> None:
    assert list(store.add([], T0, 3)) == []
    assert store.jobs() == []


# Looking


def test_an_unknown_job(store: Store) -> None:
    add(store, "a")
    for name in ("b", "A", "a ", "", "a\0", "\udcff", "é", "x" * 1000, "%"):
        for look in (store.get, store.attempts, lambda name: store.cancel([name], T0)):
            with pytest.raises(NoSuchJob, match="no job"):
                look(name)
        with pytest.raises(NoSuchJob):
            store.revive([name], STATES, T0)
        assert store.states([name]) == {}


def test_jobs_come_in_the_order_they_were_added(store: Store) -> None:
    add(store, "c", "a", delay=60)
    add(store, "d", "b", now=after(-60))
    add(store, "e", max_retries=0)
    assert [each.id for each in store.jobs()] == ["c", "a", "d", "b", "e"]
    assert claim(store, after(-60)).id == "d"
    store.cancel(["a"], T0)
    assert [each.id for each in store.jobs(["pending"])] == ["c", "b", "e"]
    assert [each.id for each in store.jobs(["processing", "cancelled"])] == ["a", "d"]
    assert [each.id for each in store.jobs(STATES)] == ["c", "a", "d", "b", "e"]
    assert [each.id for each in store.jobs(["pending", "pending"])] == ["c", "b", "e"]
    assert [each.id for each in store.jobs(limit=2)] == ["c", "a"]
    assert [each.id for each in store.jobs(["processing", "pending"], 2)] == ["c", "d"]
    assert store.jobs(limit=0) == store.jobs(["pending"], 0) == store.jobs(["dead"]) == []
    assert len(store.jobs(limit=10**30)) == 5


def test_states_of_those_that_exist(store: Store) -> None:
    add(store, "a", "b")
    claim(store)
    assert store.states(["a", "b", "c", "a"]) == {"a": "processing", "b": "pending"}
    assert store.states([]) == {}


def test_counts_name_every_state(store: Store) -> None:
    assert store.counts() == dict.fromkeys(STATES, 0)
    add(store, "a", "b", "c")
    add(store, "later", delay=60)
    claim(store)
    store.cancel(["c"], T0)
    assert store.counts() == {"pending": 2, "processing": 1, "completed": 0, "dead": 0, "cancelled": 1}


def test_the_overview(store: Store) -> None:
    empty = store.overview(T0)
    assert (empty.oldest_waiting, empty.next_scheduled) == (None, None)
    add(store, "later", delay=60)
    add(store, "soon", delay=30)
    add(store, "first", "second")
    seen = store.overview(T0)
    assert seen.counts == store.counts()
    assert seen.oldest_waiting is not None
    assert seen.next_scheduled is not None
    assert (seen.oldest_waiting.id, seen.next_scheduled.id) == ("first", "soon")
    finish(store, claim(store), "failed")
    again = store.overview(T0)
    assert again.oldest_waiting is not None
    assert again.next_scheduled is not None
    assert (again.oldest_waiting.id, again.next_scheduled.id) == ("second", "first"), "a retry comes by itself, too"


def test_the_overview_counts_what_is_due_as_waiting_though_no_worker_has_looked(store: Store) -> None:
    add(store, "later", delay=60)
    add(store, "soon", delay=30)
    add(store, "retried")
    finish(store, claim(store), "failed")

    def told(now: int) -> list[str | None]:
        seen = store.overview(now)
        return [each and each.id for each in (seen.oldest_waiting, seen.next_scheduled)]

    assert told(after(1)) == [None, "retried"]
    assert told(after(2)) == ["retried", "soon"]
    assert told(after(59)) == ["retried", "later"]
    assert told(after(60)) == ["retried", None]
    store.cancel(["retried"], after(61))
    assert told(after(61)) == ["soon", None]
    store.add([job("ready")], after(61), 3)
    assert told(after(62)) == ["soon", None]
    assert claim_all(store, after(62)) == ["soon", "later", "ready"], "they are started in this order, too"


def test_the_version_changes_with_every_change_and_only_then(store: Store, other: Store) -> None:
    seen = [store.version(), store.version()]
    assert seen[0] == seen[1]
    changes: list[Callable[[Store], object]] = [
        lambda it: add(it, "a"),
        lambda it: add(it, "b"),
        claim,
        lambda it: finish(it, it.claims()[0], "failed"),
        lambda it: it.cancel(["a"], T0),
        lambda it: it.revive(["a"], ["cancelled"], T0),
    ]
    for number, change in enumerate(changes):
        before = store.version()
        assert store.version() == before
        change(store if number % 2 else other)
        assert store.version() != before, "its own changes count as others' do"


def test_the_version_changes_when_the_store_was_closed_meanwhile(store: Store, other: Store) -> None:
    """Whoever compares versions must not miss what happened in between."""
    for number in range(5):
        before = store.version()
        store.close()
        add(other, f"a{number}")
        assert store.version() != before


def test_a_closed_store_can_be_used_again(store: Store) -> None:
    add(store, "a")
    store.close()
    store.close()
    assert store.get("a").id == "a"


# Claiming


def test_claims_come_in_the_order_of_enqueue(store: Store) -> None:
    add(store, "c", "a", "b")
    assert claim_all(store) == ["c", "a", "b"]


def test_claims_come_by_due_time_first(store: Store) -> None:
    add(store, "now")
    add(store, "missed", run_at=after(-60))
    add(store, "scheduled", delay=5)
    add(store, "sooner", delay=4)
    add(store, "later", now=after(4.5))
    assert claim_all(store, after(10)) == ["missed", "now", "sooner", "later", "scheduled"]


def test_jobs_due_at_one_moment_come_in_the_order_of_enqueue(store: Store) -> None:
    names = [f"j{number}" for number in random.Random(1).sample(range(50), 50)]
    add(store, *names, run_at=after(5))
    assert claim_all(store, after(5)) == names


def test_many_jobs_that_become_due_at_once_keep_their_order(store: Store) -> None:
    names = [f"j{number}" for number in range(1300)]
    store.add([job(name, run_at=after(5) - number) for number, name in enumerate(names)], T0, 3)
    add(store, "last", run_at=after(6))
    assert claim_all(store, after(7)) == [*reversed(names), "last"]


def test_a_scheduled_job_waits_for_its_time(store: Store) -> None:
    add(store, "a", delay=5)
    assert store.claim("w", after(5) - 1) is None
    assert store.get("a").state == "pending"
    assert claim(store, after(5)).id == "a"


def test_what_a_claim_tells(store: Store) -> None:
    store.add([job("a", command="x", cwd="/srv", env={"A": "1"}, timeout=2.5, max_retries=1, delay=1)], T0, 3)
    got = claim(store, after(1), "worker-3")
    assert (got.id, got.number, got.attempts, got.max_retries, got.worker) == ("a", 1, 1, 1, "worker-3")
    assert (got.command, got.cwd, got.env, got.timeout, got.started_at) == ("x", "/srv", {"A": "1"}, 2.5, after(1))
    found = store.get("a")
    assert (found.state, found.attempts, found.worker) == ("processing", 1, "worker-3")
    assert (found.started_at, found.updated_at, found.next_run_at) == (iso(after(1)), iso(after(1)), None)
    assert store.holds(got)
    assert not store.is_cancel_requested(got)
    (running,) = store.attempts("a")
    assert (running.number, running.started_at, running.worker) == (1, iso(after(1)), "worker-3")
    assert (running.ended_at, running.outcome, running.leftover) == (None, None, ())


def test_nothing_to_claim(store: Store) -> None:
    assert store.claim("w", T0) is None
    add(store, "a", delay=5)
    before = everything(store)
    assert store.claim("w", T0) is None
    assert everything(store) == before


def test_claims_by_worker(store: Store) -> None:
    add(store, "a", "b", "c")
    made = [claim(store, T0, worker) for worker in ("one", "two", "three")]
    key = lambda claimed: claimed.id  # noqa: E731
    assert sorted(store.claims(), key=key) == made
    assert store.claims(["two"]) == [made[1]]
    assert sorted(store.claims({"one", "three", "nobody"}), key=key) == [made[0], made[2]]
    assert store.claims([]) == store.claims(["nobody"]) == []
    finish(store, made[1])
    assert store.claims(["two"]) == []


# Finishing


def test_a_success(store: Store) -> None:
    add(store, "a")
    got = claim(store)
    details = {
        "cpu_seconds": 1.25,
        "max_rss_bytes": 1 << 40,
        "log_offset": 10,
        "log_bytes": 20,
        "leftover": ("x 7", "é"),
    }
    assert finish(store, got, "succeeded", after(2), exit_code=0, **details)
    found = store.get("a")
    assert (found.state, found.outcome, found.exit_code, found.worker) == ("completed", "succeeded", 0, None)
    assert (found.started_at, found.ended_at, found.updated_at) == (iso(T0), iso(after(2)), iso(after(2)))
    assert found.ended
    (attempt,) = store.attempts("a")
    assert {name: getattr(attempt, name) for name in details} == details
    assert (attempt.number, attempt.outcome, attempt.exit_code, attempt.signal) == (1, "succeeded", 0, None)
    assert (attempt.started_at, attempt.ended_at, attempt.worker) == (iso(T0), iso(after(2)), "w")
    assert not store.holds(got)


FAILURES = {
    "failed": {"exit_code": 3, "reason": "exit code 3"},
    "signaled": {"signal": 9},
    "timed_out": {"signal": 15, "reason": "its time was up"},
    "crashed": {"reason": "its worker died"},
    "not_started": {"reason": "no such directory"},
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_goes_to_the_back_off_and_at_last_to_the_dead(store: Store, kind: str) -> None:
    add(store, "a", max_retries=2)
    now = T0
    for number, delay in ((1, 2), (2, 4), (3, None)):
        got = claim(store, now)
        assert (got.number, got.attempts) == (number, number)
        assert finish(store, got, kind, now, **FAILURES[kind])
        found = store.get("a")
        assert {name: getattr(found, name) for name in FAILURES[kind]} == FAILURES[kind]
        assert (found.attempts, found.outcome) == (number, kind)
        if delay is None:
            assert (found.state, found.next_run_at) == ("dead", None)
        else:
            assert (found.state, found.next_run_at) == ("pending", iso(now + delay * SECOND))
            assert store.claim("w", now + delay * SECOND - 1) is None
            now += delay * SECOND
    assert [(each.number, each.outcome) for each in store.attempts("a")] == [(1, kind), (2, kind), (3, kind)]
    assert store.claim("w", after(1_000_000)) is None


def test_a_failure_without_any_delay_may_run_at_once(store: Store) -> None:
    add(store, "a")
    got = claim(store)
    store.finish(got, Outcome("failed", 1), judge("failed", 1, 3, 0, 10), T0, T0)
    assert claim(store).id == "a"


def test_the_next_claim_comes_with_the_outcome(store: Store) -> None:
    add(store, "a", "b")
    first = claim(store)
    verdict = judge("succeeded", 1, 3, 2, 10)
    recorded, second, _ = store.finish(first, Outcome("succeeded", 0), verdict, T0, after(1), "v")
    assert recorded
    assert second is not None
    assert (second.id, second.worker, second.started_at) == ("b", "v", after(1))
    assert store.finish(second, Outcome("succeeded", 0), verdict, T0, after(2), "v") == (True, None, 0)


def test_who_lost_its_claim_records_nothing_but_may_go_on(store: Store) -> None:
    add(store, "a", "b")
    lost = claim(store)
    finish(store, lost, "crashed")
    before = store.attempts("a"), store.get("a")
    recorded, following, _ = store.finish(lost, Outcome("succeeded", 0), judge("succeeded", 1, 3, 2, 10), T0, T0, "w")
    assert not recorded
    assert following is not None
    assert following.id == "b"
    assert (store.attempts("a"), store.get("a")) == before


@pytest.mark.parametrize("late", OUTCOMES)
@pytest.mark.parametrize("early", OUTCOMES)
def test_only_the_first_outcome_counts(store: Store, other: Store, early: str, late: str) -> None:
    add(store, "a", max_retries=1)
    got = claim(store)
    assert finish(store, got, early)
    before = everything(store)
    assert not finish(other, got, late, after(9))
    assert everything(store) == before


@pytest.mark.parametrize("late", OUTCOMES)
def test_an_old_claim_does_not_touch_the_new_attempt(store: Store, late: str) -> None:
    add(store, "a")
    old = claim(store)
    finish(store, old, "crashed")
    new = claim(store, after(2), "w")
    before = everything(store)
    assert not store.holds(old)
    assert not finish(store, old, late, after(3))
    assert everything(store) == before
    store.cancel(["a"], after(3))
    assert store.is_cancel_requested(new)
    assert not store.is_cancel_requested(old)
    assert finish(store, new, "failed", after(4))


def test_worker_and_rescuer_at_once_record_one_outcome(backend: Backend, store: Store) -> None:
    rescuer = backend.open()
    for number in range(25):
        add(store, f"a{number}", max_retries=0)
        got = claim(store)
        results: list[bool] = []
        in_threads(
            lambda got=got, results=results: results.append(finish(store, got, "succeeded")),  # type: ignore[misc]
            lambda got=got, results=results: results.append(finish(rescuer, got, "crashed")),  # type: ignore[misc]
        )
        assert sorted(results) == [False, True]
        (attempt,) = store.attempts(got.id)
        assert store.get(got.id).state == {"succeeded": "completed", "crashed": "dead"}[attempt.outcome or ""]


# Handing back


def test_a_job_that_was_handed_back_keeps_its_place_and_its_retries(store: Store) -> None:
    add(store, "a", "b", "c", max_retries=0)
    got = claim(store, after(1))
    assert finish(store, got, "released", after(2))
    found = store.get("a")
    assert (found.state, found.attempts, found.next_run_at, found.started_at) == ("pending", 0, None, None)
    again = claim(store, after(3))
    assert (again.id, again.number, again.attempts) == ("a", 2, 1)
    assert finish(store, again, "released", after(4))
    assert claim_all(store, after(5)) == ["a", "b", "c"]
    assert [(each.number, each.outcome) for each in store.attempts("a")] == [
        (1, "released"),
        (2, "released"),
        (3, None),
    ]


def test_a_retry_that_was_handed_back_is_still_that_retry(store: Store) -> None:
    add(store, "a", max_retries=1)
    finish(store, claim(store), "failed")
    got = claim(store, after(2))
    assert got.attempts == 2
    finish(store, got, "released", after(2))
    assert store.get("a").attempts == 1
    last = claim(store, after(2))
    assert (last.number, last.attempts) == (3, 2)
    finish(store, last, "failed", after(3))
    assert store.get("a").state == "dead"


# Cancelling


def test_a_waiting_job_is_cancelled_at_once(store: Store) -> None:
    add(store, "ready")
    add(store, "later", delay=60)
    assert store.cancel(["ready", "later"], after(1)).running == []
    for name in ("ready", "later"):
        found = store.get(name)
        assert (found.state, found.next_run_at, found.updated_at) == ("cancelled", None, iso(after(1)))
        assert not found.cancel_requested
        assert store.attempts(name) == []
    assert store.claim("w", after(100)) is None
    assert store.next_due() is None


def test_a_job_in_back_off_is_cancelled_at_once(store: Store) -> None:
    add(store, "a")
    finish(store, claim(store), "failed")
    assert store.cancel(["a"], T0).running == []
    assert (store.get("a").state, store.get("a").next_run_at) == ("cancelled", None)
    assert store.claim("w", after(100)) is None


def test_a_running_job_is_asked_to_end(store: Store) -> None:
    add(store, "a", "b")
    got = claim(store)
    assert store.cancel(["a", "b"], after(1)).running == ["a"]
    found = store.get("a")
    assert (found.state, found.cancel_requested) == ("processing", True)
    assert store.is_cancel_requested(got)
    assert store.holds(got)
    assert store.cancel(["a"], after(2)).running == ["a"]
    assert finish(store, got, "cancelled", after(3), signal=15)
    assert (store.get("a").state, store.get("a").outcome) == ("cancelled", "cancelled")
    assert store.cancel(["a", "b"], after(4)).running == [], "cancelled already is fine"


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_cancel_wins_over_any_outcome(store: Store, kind: str) -> None:
    add(store, "a", max_retries=3)
    got = claim(store)
    store.cancel(["a"], T0)
    assert finish(store, got, kind, after(1))
    found = store.get("a")
    expected = "crashed" if kind == "crashed" else "cancelled"
    assert (found.state, found.outcome, found.next_run_at) == ("cancelled", expected, None)
    assert [each.outcome for each in store.attempts("a")] == [expected]
    assert found.reason == "cancelled while it ran"
    assert store.claim("w", after(1000)) is None
    assert store.is_drained(after(1000))


def test_a_cancel_that_came_too_late_is_refused(store: Store) -> None:
    add(store, "done")
    finish(store, claim(store))
    add(store, "dead", max_retries=0)
    fail_to_death(store, "dead")
    for name, state in (("done", "completed"), ("dead", "dead")):
        with pytest.raises(Conflict, match=state):
            store.cancel([name], T0)
        assert store.get(name).state == state


def test_several_are_cancelled_or_none(store: Store) -> None:
    add(store, "done")
    finish(store, claim(store))
    add(store, "running", "waiting")
    claim(store)
    before = everything(store)
    with pytest.raises(Conflict):
        store.cancel(["running", "waiting", "done"], after(1))
    with pytest.raises(NoSuchJob):
        store.cancel(["running", "waiting", "unknown"], after(1))
    assert everything(store) == before
    assert store.cancel(["waiting", "running", "waiting"], after(1)).running == ["running"]
    assert store.cancel([], T0).running == []


# Running again


def test_an_ended_job_runs_again_with_all_its_retries_and_its_history(store: Store) -> None:
    add(store, "a", "b", max_retries=0)
    finish(store, claim(store), "failed", exit_code=1)
    assert store.revive(["a"], ["dead"], after(5)) == ["a"]
    found = store.get("a")
    assert (found.state, found.attempts, found.next_run_at, found.max_retries) == ("pending", 0, None, 0)
    assert (found.outcome, found.exit_code, found.ended_at, found.updated_at) == (None, None, None, iso(after(5)))
    assert [each.outcome for each in store.attempts("a")] == ["failed"]
    assert claim(store, after(6)).id == "b", "it goes to the end of the line"
    again = claim(store, after(6))
    assert (again.id, again.number, again.attempts) == ("a", 2, 1)
    finish(store, again, "succeeded", after(7))
    assert [(each.number, each.outcome) for each in store.attempts("a")] == [(1, "failed"), (2, "succeeded")]


def test_a_cancelled_job_that_runs_again_is_not_cancelled_again(store: Store) -> None:
    add(store, "a")
    first = claim(store)
    store.cancel(["a"], T0)
    finish(store, first, "cancelled")
    store.revive(["a"], ["cancelled"], T0)
    got = claim(store)
    assert not store.is_cancel_requested(got)
    finish(store, got)
    assert store.get("a").state == "completed"


def test_several_are_revived_or_none(store: Store) -> None:
    add(store, "dead", max_retries=0)
    fail_to_death(store, "dead")
    add(store, "done")
    finish(store, claim(store))
    add(store, "waiting")
    before = everything(store)
    for ids, states, error in (
        (["dead", "waiting"], ["completed", "dead", "cancelled"], Conflict),
        (["dead", "done"], ["dead"], Conflict),
        (["dead", "unknown"], ["dead"], NoSuchJob),
    ):
        with pytest.raises(error):
            store.revive(ids, states, T0)
    assert everything(store) == before
    assert store.revive(["dead", "done", "dead"], ["completed", "dead", "cancelled"], T0) == ["dead", "done"]
    assert store.counts()["pending"] == 3


def test_all_the_dead_are_revived_in_order(store: Store) -> None:
    names = ["c", "a", "b"]
    for name in names:
        add(store, name, max_retries=0)
        fail_to_death(store, name)
    add(store, "cancelled", "waiting")
    store.cancel(["cancelled"], T0)
    assert store.revive(None, ["dead"], after(1)) == names
    assert store.revive(None, ["dead"], after(1)) == []
    assert store.get("cancelled").state == "cancelled"
    assert claim_all(store, after(2)) == ["waiting", *names]


# Waiting for more


def test_what_a_drain_waits_for(store: Store) -> None:
    assert store.is_drained(T0)
    add(store, "later", delay=60)
    assert store.is_drained(T0), "not for what is scheduled for later"
    assert not store.is_drained(after(60)), "but for what is due"
    add(store, "a", max_retries=1)
    assert not store.is_drained(T0), "ready"
    got = claim(store)
    assert not store.is_drained(T0), "running"
    finish(store, got, "failed")
    assert not store.is_drained(T0), "in back-off"
    got = claim(store, after(2))
    finish(store, got, "released", after(2))
    assert not store.is_drained(after(2)), "handed back"
    fail_to_death(store, "a", after(2))
    assert store.is_drained(after(2))
    store.revive(["a"], ["dead"], after(2))
    assert not store.is_drained(after(2))
    store.cancel(["a"], after(2))
    assert store.is_drained(after(2))


def test_when_the_next_job_becomes_ready_by_itself(store: Store) -> None:
    assert store.next_due() is None
    add(store, "ready")
    assert store.next_due() is None
    add(store, "later", delay=60)
    assert store.next_due() == after(60)
    finish(store, claim(store), "failed")
    assert store.next_due() == after(2)
    finish(store, claim(store, after(2)), "succeeded", after(2))
    assert store.next_due() == after(60)
    finish(store, claim(store, after(60)), "succeeded", after(60))
    assert store.next_due() is None


# Time that goes wrong


def test_back_offs_begin_anew_when_the_wall_clock_was_set_back(store: Store) -> None:
    add(store, "old", "new", "ready")
    add(store, "scheduled", delay=8000)
    finish(store, claim(store), "failed", after(10))
    finish(store, claim(store), "failed", after(7200))
    assert store.restart_back_offs(after(7200)) == 0
    assert store.restart_back_offs(after(3600)) == 1
    assert store.restart_back_offs(after(3600)) == 0
    assert micros(store.get("new").next_run_at) == after(3602)
    assert micros(store.get("old").next_run_at) == after(12)
    assert micros(store.get("scheduled").next_run_at) == after(8000)
    assert store.get("ready").state == "pending"
    assert [claim(store, after(3601)).id for _ in range(2)] == ["ready", "old"]
    assert store.claim("w", after(3601)) is None
    assert claim(store, after(3602)).id == "new"


def test_attempts_never_overlap_when_the_wall_clock_goes_back(store: Store) -> None:
    add(store, "a", max_retries=9)
    finish(store, claim(store, after(100)), "failed", after(110))
    for start, end in ((50, 40), (-1000, -2000), (7, 500), (3, 4)):
        store.cancel(["a"], after(start))
        store.revive(["a"], ["cancelled"], after(start))
        got = claim(store, after(start))
        assert got.number == len(store.attempts("a"))
        finish(store, got, "failed", after(end))
    attempts = store.attempts("a")
    assert len(attempts) == 5
    assert all(micros(each.started_at) <= micros(each.ended_at) for each in attempts)
    for earlier, later in itertools.pairwise(attempts):
        assert micros(earlier.ended_at) <= micros(later.started_at)


def test_a_clock_that_goes_back_strands_no_ready_job(store: Store) -> None:
    add(store, "a", now=after(10_000))
    assert claim(store, T0).id == "a"


# Many at once


def work_off(backend: Backend, worker: str, record: Path, jobs: int) -> None:
    """Claim and finish until as many jobs as there are have ended; write down every claim."""
    store = backend.open()
    got: Claim | None = None
    with record.open("w") as file:
        while True:
            if got is None:
                got = store.claim(worker, T0)
            if got is None:
                if store.counts()["completed"] >= jobs:
                    return
                time.sleep(0.002)
                continue
            file.write(f"{got.id} {got.number}\n")
            verdict = judge("succeeded", got.attempts, got.max_retries, 2, 10)
            recorded, got, _ = store.finish(got, Outcome("succeeded", 0), verdict, T0, T0, worker)
            assert recorded


def test_no_two_processes_ever_get_the_same_job(backend: Backend, store: Store, tmp_path: Path) -> None:
    """Four processes claim, while two more enqueue."""
    first = add(store, *(f"first-{number}" for number in range(200)))
    per_process = 60
    total = len(first) + 2 * per_process

    def enqueue(name: str) -> None:
        mine = backend.open()
        for number in range(0, per_process, 3):
            mine.add([job(f"{name}-{number}"), job(), job()], T0, 3)

    records = [tmp_path / f"record-{number}" for number in range(4)]
    children = [
        *(Child(lambda record=record: work_off(backend, record.name, record, total)) for record in records),  # type: ignore[misc]
        *(Child(lambda name=name: enqueue(name)) for name in ("x", "y")),  # type: ignore[misc]
    ]
    for child in children:
        child.join()
    claims = [line for record in records for line in record.read_text().splitlines()]
    assert max(Counter(claims).values()) == 1
    assert len(claims) == total
    assert store.counts() == {**dict.fromkeys(STATES, 0), "completed": total}
    assert all(len(store.attempts(each.id)) == 1 for each in store.jobs())


def test_no_two_threads_ever_get_the_same_job(store: Store) -> None:
    names = add(store, *(f"a{number}" for number in range(120)))
    got: list[str] = []
    in_threads(*[lambda: got.extend(claim_all(store))] * 6)
    assert sorted(got) == sorted(names)


def test_a_batch_is_seen_whole_or_not_at_all(backend: Backend, store: Store) -> None:
    over = threading.Event()
    seen: set[int] = set()

    def look() -> None:
        reader = backend.open()
        while not over.is_set():
            seen.add(sum(reader.counts().values()))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    for number in range(10):
        store.add([job() for _ in range(200)], T0, 3)
        eventually(lambda number=number: 200 * (number + 1) in seen)  # type: ignore[misc]
    over.set()
    watcher.join()
    assert all(count % 200 == 0 for count in seen)


def test_ids_that_several_processes_are_given_at_once_are_all_different(backend: Backend, store: Store) -> None:
    def enqueue() -> None:
        mine = backend.open()
        for _ in range(15):
            mine.add([job(), job()], T0, 3)

    for child in [Child(enqueue) for _ in range(4)]:
        child.join()
    ids = [each.id for each in store.jobs()]
    assert len(ids) == len(set(ids)) == 120


def test_of_those_who_want_one_id_at_once_one_gets_it(backend: Backend, store: Store) -> None:
    won: list[str] = []

    def want(name: str) -> None:
        try:
            add(backend.open(), "same", command=name)
            won.append(name)
        except Conflict:
            pass

    in_threads(*(lambda name=f"echo {number}": want(name) for number in range(6)))  # type: ignore[misc]
    assert [store.get("same").command] == won
