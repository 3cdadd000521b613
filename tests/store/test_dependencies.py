"""Jobs that need others: released, doomed or refused, in the transaction that decides it."""

from __future__ import annotations

import sqlite3

import pytest
from store.backends import T0, add, after, claim, finish, job

from queuectl.errors import Conflict, InvalidInput, NoSuchJob
from queuectl.model import ENDED, Needed, NewJob, Outcome
from queuectl.retry import Verdict, judge
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore


def states(store: Store) -> dict[str, str]:
    return {each.id: each.state for each in store.jobs()}


def run(store: Store, *ids: str, kind: str = "succeeded", now: int = T0) -> int:
    """Claim and end jobs, which must come in this order; how many the last one made ready."""
    ready = 0
    for job_id in ids:
        got = claim(store, now)
        assert got.id == job_id
        verdict = judge(kind, 99, 0, 2, 9) if kind != "succeeded" else Verdict("completed")
        ready = store.finish(got, Outcome(kind), verdict, now, now).ready
    return ready


def needing(job_id: str, *needed: str, however: tuple[str, ...] = (), **fields: object) -> NewJob:
    return job(job_id, after=needed, after_any=however, **fields)


def test_a_job_starts_when_what_it_needs_has_completed(store: Store) -> None:
    add(store, "a", "b")
    store.add([needing("c", "a", "b")], T0, 3)
    assert (store.get("c").state, store.get("c").blockers) == ("pending", 2)
    assert store.needs("c") == [Needed("a", "pending", False), Needed("b", "pending", False)]
    assert run(store, "a") == 0
    assert store.claim("w", T0) is not None, "b"
    assert store.claim("w", T0) is None
    assert finish(store, store.claims()[0])
    assert claim(store).id == "c"


def test_the_end_of_a_job_tells_how_many_it_made_ready(store: Store) -> None:
    add(store, "a")
    store.add([*(needing(f"d{n}", "a") for n in range(50)), needing("later", "a", delay=60)], T0, 3)
    assert run(store, "a", now=after(1)) == 50
    assert claim(store, after(1)).id == "d0"
    assert store.get("later").blockers == 0


def test_the_next_claim_of_the_same_worker_may_be_what_was_released(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a")], T0, 3)
    done = store.finish(claim(store), Outcome("succeeded"), Verdict("completed"), T0, T0, "w")
    assert done.following is not None
    assert done.following.id == "b"


@pytest.mark.parametrize("end", ["dead", "cancelled", "cancelled while it ran"])
def test_what_can_never_start_is_cancelled_with_the_reason(store: Store, end: str) -> None:
    add(store, "a")
    store.add(
        [needing("b", "a"), needing("c", "b"), needing("any", however=("a",)), needing("any2", however=("c",))], T0, 3
    )
    if end == "dead":
        assert run(store, "a", kind="failed") == 2
    elif end == "cancelled":
        assert store.cancel(["a"], T0).ready == 2
    else:
        got = claim(store)
        store.cancel(["a"], T0)
        assert finish(store, got, "cancelled")
    found = states(store)
    found.pop("a")
    assert found == {"b": "cancelled", "c": "cancelled", "any": "pending", "any2": "pending"}
    assert store.get("b").reason == "needs job a, which did not complete"
    assert store.get("c").reason == "needs job b, which did not complete"
    assert {claim(store).id, claim(store).id} == {"any", "any2"}


def test_what_is_needed_may_have_ended_before(store: Store) -> None:
    add(store, "good", "bad")
    run(store, "good")
    run(store, "bad", kind="failed")
    store.add([needing("a", "good"), needing("b", "bad"), needing("c", however=("bad",)), needing("d", "b")], T0, 3)
    assert states(store) == {
        "good": "completed", "bad": "dead", "a": "pending", "b": "cancelled", "c": "pending", "d": "cancelled",
    }  # fmt: skip
    assert [claim(store).id, claim(store).id] == ["a", "c"]


def test_a_diamond(store: Store) -> None:
    store.add([job("top"), needing("l", "top"), needing("r", "top"), needing("end", "l", "r")], T0, 3)
    run(store, "top", "l")
    assert store.get("end").blockers == 1
    run(store, "r", "end")
    assert set(states(store).values()) == {"completed"}


def test_a_diamond_is_doomed_once(store: Store) -> None:
    store.add([job("top"), needing("l", "top"), needing("r", "top"), needing("end", "l", "r")], T0, 3)
    run(store, "top", kind="failed")
    assert states(store) == {"top": "dead", "l": "cancelled", "r": "cancelled", "end": "cancelled"}
    assert store.revive(["top"], ["dead"], T0, with_dependents=True) == ["top", "l", "r", "end"]
    assert store.get("end").blockers == 2
    run(store, "top", "l", "r", "end")


def test_a_batch_may_name_what_comes_later_in_it(store: Store) -> None:
    store.add([needing("first", "second"), *(job() for _ in range(150)), job("second")], T0, 3)
    assert store.get("first").blockers == 1


def test_a_circle_is_refused_with_its_names(store: Store) -> None:
    add(store, "there")
    with pytest.raises(InvalidInput, match=r"in a circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)"):
        store.add([needing("a", "b"), needing("b", "c"), needing("c", "a", "there")], T0, 3)
    with pytest.raises(InvalidInput, match="in a circle: own -> own"):
        store.add([needing("own", "own")], T0, 3)
    assert states(store) == {"there": "pending"}


def test_unknown_ids_are_refused_with_their_names(store: Store) -> None:
    with pytest.raises(NoSuchJob, match="no job x, y to wait for"):
        store.add([job("a"), needing("b", "x", "a", however=("y",))], T0, 3)
    assert states(store) == {}


def test_ten_thousand_dependents_and_a_chain_of_as_many(store: Store) -> None:
    many = 10_000
    store.add([job("top"), *(needing(f"d{n}", "top") for n in range(many))], T0, 3)
    assert run(store, "top") == many
    store.cancel([f"d{n}" for n in range(many)], T0)
    store.add([job("c0"), *(needing(f"c{n}", f"c{n - 1}") for n in range(1, many))], T0, 3)
    run(store, "c0", "c1", "c2")
    store.cancel(["c3"], T0)
    assert store.get(f"c{many - 1}").state == "cancelled"
    revived = store.revive(["c3"], ENDED, T0, with_dependents=True)
    assert len(revived) == many - 3
    run(store, "c3", "c4")
    assert store.counts() == {"pending": many - 5, "processing": 0, "completed": 6, "dead": 0, "cancelled": many}


def test_what_is_run_once_more_is_waited_for_once_more(store: Store) -> None:
    add(store, "a", "b")
    store.add([needing("c", "a", "b")], T0, 3)
    run(store, "a")
    store.revive(["a"], ENDED, T0)
    assert store.get("c").blockers == 2
    run(store, "a", "b", "c")


def test_a_dependent_is_not_put_back_without_what_it_needs(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a")], T0, 3)
    run(store, "a", kind="failed")
    with pytest.raises(Conflict, match=r"job b needs job a, which is dead: 'queuectl retry a b --with-dependents'"):
        store.revive(["b"], ENDED, T0)
    assert store.revive(["b", "a"], ENDED, T0) == ["b", "a"]
    run(store, "a", "b")


def test_what_has_to_be_retried_first_is_named_in_full(store: Store) -> None:
    add(store, "a", "b", max_retries=0)
    store.add([needing("c", "a", "b"), needing("own", "c"), needing("d", "c", "own"), needing("e", "d")], T0, 3)
    store.cancel(["own"], T0)
    run(store, "a", "b", kind="failed")
    with pytest.raises(Conflict, match="'queuectl retry a b own e --with-dependents'"):
        store.revive(["e"], ENDED, T0)
    assert store.revive(["a", "b", "own", "e"], ENDED, T0, with_dependents=True) == ["a", "b", "own", "e", "c", "d"]
    run(store, "a", "b", "c", "own", "d", "e")


def test_what_is_put_back_held_waits_with_its_dependents(store: Store) -> None:
    store.set_limit("g", 1, T0)
    store.add([job("a", group="g", max_retries=0), job("next", group="g")], T0, 3)
    store.add([needing("b", "a")], T0, 3)
    run(store, "a", kind="failed")
    assert store.revive(["a"], ENDED, T0, with_dependents=True, hold=True) == ["a", "b"]
    assert [(store.get(each).held, store.get(each).blockers) for each in "ab"] == [(True, 0), (False, 1)]
    run(store, "next")
    assert store.claim("w", T0) is None
    assert store.faults() == []
    store.edit("a", {"command": "echo mended"}, T0)
    assert store.release(["a"], T0) == 1
    run(store, "a", "b")


def test_of_very_many_that_have_to_be_retried_first_some_are_named(store: Store) -> None:
    first = add(store, *(f"a{n}" for n in range(7)))
    store.add([needing("b", *first), needing("c", "b")], T0, 3)
    store.cancel(first, T0)
    with pytest.raises(Conflict, match=r"'queuectl retry( a[0-6]){5} [.]{3} c --with-dependents'"):
        store.revive(["c"], ENDED, T0)
    store.revive(first, ENDED, T0)
    with pytest.raises(Conflict, match="'queuectl retry b c --with-dependents'"):
        store.revive(["c"], ENDED, T0)
    assert store.revive(["b"], ENDED, T0, with_dependents=True) == ["b", "c"]


def test_only_the_doomed_come_back_with_what_they_needed(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a"), needing("unwanted", "a")], T0, 3)
    store.cancel(["unwanted"], T0)
    run(store, "a", kind="failed")
    assert store.revive(None, ["dead"], T0, with_dependents=True) == ["a", "b"]
    assert states(store)["unwanted"] == "cancelled"


def test_a_held_dependent_stays_held(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a")], T0, 3)
    store.hold(["b"], T0)
    assert run(store, "a") == 0
    assert store.claim("w", T0) is None
    store.release(["b"], T0)
    assert claim(store).id == "b"


def test_a_released_dependent_still_waits(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a")], T0, 3)
    store.hold(["b"], T0)
    assert store.release(["b"], T0) == 0
    run(store, "a", "b")


def test_a_drain_waits_for_what_depends_on_running_jobs(store: Store) -> None:
    add(store, "a", "held")
    store.hold(["held"], T0)
    store.add([needing("b", "a"), needing("c", "held")], T0, 3)
    got = claim(store)
    assert not store.is_drained(T0)
    assert finish(store, got)
    assert not store.is_drained(T0)
    run(store, "b")
    assert store.is_drained(T0), "c waits for a job that is held"


def test_editing_changes_what_a_job_needs(store: Store) -> None:
    add(store, "a", "b")
    store.add([needing("c", "a"), needing("d", "c")], T0, 3)
    store.edit("c", {"after": ("b",)}, T0)
    assert store.needs("c") == [Needed("b", "pending", False)]
    with pytest.raises(InvalidInput, match="job c would wait for itself"):
        store.edit("c", {"after": ("d",)}, T0)
    with pytest.raises(NoSuchJob):
        store.edit("c", {"after": ("nobody",)}, T0)
    assert store.needs("c") == [Needed("b", "pending", False)]
    assert store.edit("c", {"after": ()}, T0) == 1
    assert store.get("c").blockers == 0


def test_editing_one_kind_of_needs_keeps_the_other(store: Store) -> None:
    add(store, "a", "b", "x", "y")
    store.add([job("c", after=("a",), after_any=("x",))], T0, 3)

    def needs() -> list[tuple[str, bool]]:
        return [(each.id, each.however) for each in store.needs("c")]

    store.edit("c", {"after": ("b",)}, T0)
    assert needs() == [("b", False), ("x", True)]
    store.edit("c", {"after_any": ("y", "a")}, T0)
    assert (needs(), store.get("c").blockers) == ([("a", True), ("b", False), ("y", True)], 3)
    store.edit("c", {"after_any": ("b",)}, T0)
    assert needs() == [("b", False)], "it has to complete, as was said and is kept"
    store.edit("c", {"after_any": ("x",), "after": ()}, T0)
    assert needs() == [("x", True)]
    store.edit("c", {"after_any": ()}, T0)
    assert (needs(), store.get("c").blockers) == ([], 0)


def test_a_waiting_job_is_edited_and_no_other(store: Store) -> None:
    add(store, "a", "b", timeout=5)
    changes = {
        "command": "echo", "cwd": "/srv", "env": {"A": "1"}, "timeout": 7.0, "max_retries": 9, "priority": 4,
        "group": "g", "unique": "k", "starts_at": after(50),
    }  # fmt: skip
    assert store.edit("b", changes, T0) == 1, "a worker must know of its time"
    edited = store.get("b")
    assert (edited.command, edited.cwd, edited.env, edited.timeout) == ("echo", "/srv", {"A": "1"}, 7.0)
    assert (edited.max_retries, edited.priority, edited.group, edited.unique) == (9, 4, "g", "k")
    assert edited.next_run_at is not None
    with pytest.raises(Conflict, match="job b with the key 'k' is pending"):
        store.edit("a", {"unique": "k"}, T0)
    assert claim(store).id == "a"
    assert store.claim("w", T0) is None
    with pytest.raises(Conflict, match="job a is processing: only a waiting job can be edited"):
        store.edit("a", {"priority": 1}, T0)
    assert store.edit("b", {"starts_at": T0}, after(1)) == 1
    assert claim(store, after(1)).id == "b"


def test_no_edit_has_a_job_start_more_often_than_its_retries_allow(store: Store) -> None:
    add(store, "a")
    for _ in range(2):
        assert finish(store, claim(store, after(99)), "failed", T0)
    with pytest.raises(Conflict, match="job a has used 2 of its starts: max_retries must be 2 at least, or cancel it"):
        store.edit("a", {"max_retries": 1}, T0)
    store.edit("a", {"max_retries": 2}, T0)
    assert finish(store, claim(store, after(99)), "failed", T0)
    assert (store.get("a").state, store.get("a").attempts) == ("dead", 3)
    store.revive(["a"], ENDED, T0)
    store.edit("a", {"max_retries": 0}, T0)


def test_a_retry_that_a_user_puts_off_is_scheduled(store: Store) -> None:
    """A drain does not wait for it, nor does the clock begin its time anew."""
    add(store, "a", max_retries=2)
    assert finish(store, claim(store), "failed", T0)
    store.edit("a", {"priority": 1}, T0)
    assert not store.is_drained(T0), "it is in back-off still"
    store.edit("a", {"starts_at": after(500)}, T0)
    assert store.is_drained(T0)
    for change in (store.hold, store.release):
        change(["a"], T0)
        assert store.is_drained(T0)
    store.edit("a", {"priority": 2}, T0)
    assert store.is_drained(T0)
    assert store.restart_back_offs(after(-50)) == 0
    assert store.next_due() == after(500)
    assert not store.is_drained(after(500)), "its time has come"
    assert finish(store, claim(store, after(500)), "failed", after(500))
    assert not store.is_drained(after(500)), "it is in back-off again"
    for change in (store.hold, store.release):
        change(["a"], after(500))
    assert not store.is_drained(after(500))


def test_a_doctor_notices_what_is_stranded(store: Store) -> None:
    assert isinstance(store, SQLiteStore)
    store.add([job("a"), needing("b", "a"), job("c")], T0, 3)
    assert store.faults() == []
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE jobs SET blockers = 2 WHERE id = 'b'")
    connection.execute("UPDATE jobs SET placed = 1, lane = 3 WHERE id = 'c'")
    connection.commit()
    connection.close()
    assert store.faults() == [
        "job b waits for 2 others, which is not how many have still to end",
        "job c keeps a place in its group",
    ]


def test_what_is_run_once_more_does_not_strand_a_dependent_that_runs(store: Store) -> None:
    add(store, "a")
    store.add([needing("b", "a")], T0, 3)
    run(store, "a")
    got = claim(store)
    store.revive(["a"], ENDED, T0)
    run(store, "a")
    assert finish(store, got, "failed")
    assert store.get("b").blockers == 0
    store.edit("b", {"priority": 1}, T0)
    assert claim(store, after(10)).id == "b"


def test_a_retry_waits_for_what_was_put_back_meanwhile(store: Store) -> None:
    add(store, "a", max_retries=0)
    store.add([needing("b", "a"), needing("c", "b")], T0, 3)
    run(store, "a")
    got = claim(store)
    store.revive(["a"], ENDED, T0)
    assert finish(store, got, "failed")
    assert store.get("b").blockers == 1
    assert store.faults() == []
    run(store, "a", now=after(10))
    assert claim(store, after(10)).id == "b"
    store.revive(["a"], ENDED, after(10))
    run(store, "a", kind="failed", now=after(10))
    assert finish(store, store.claims()[0], "failed", after(10))
    assert states(store) == {"a": "dead", "b": "cancelled", "c": "cancelled"}
    assert store.faults() == []


def test_those_that_need_another_dead_job_stay_behind(store: Store) -> None:
    add(store, "a", "b", max_retries=0)
    store.add([needing("c", "a", "b"), needing("d", "c"), needing("e", "a")], T0, 3)
    run(store, "a", "b", kind="failed")
    assert store.revive(["a"], ["dead"], T0, with_dependents=True) == ["a", "e"]
    assert store.revive(["b"], ["dead"], T0, with_dependents=True) == ["b", "c", "d"]
    run(store, "a", "b")
    assert store.get("c").blockers == 0


def test_all_dead_jobs_come_back_though_a_dependent_cannot(store: Store) -> None:
    add(store, "a", "unwanted", max_retries=0)
    store.add([needing("b", "a", "unwanted")], T0, 3)
    store.cancel(["unwanted"], T0)
    run(store, "a", kind="failed")
    assert store.revive(None, ["dead"], T0, with_dependents=True) == ["a"]
    assert states(store)["b"] == "cancelled"


def test_a_worker_is_woken_to_watch_for_a_dependent_that_starts_later(store: Store) -> None:
    add(store, "a", "other")
    store.add([needing("later", "a", delay=60)], T0, 3)
    done = store.finish(claim(store), Outcome("succeeded"), Verdict("completed"), T0, T0, "w")
    assert done.following is not None
    assert (done.following.id, done.ready) == ("other", 1)
