"""Schedules in a store: each slot becomes a job once, whoever sees it first, and whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store.backends import T0, Backend, SQLiteBackend, add, after, claim, finish
from unit.support import Child, in_child

from queuectl import Conflict, NoSuchSchedule
from queuectl.clock import SECOND, iso
from queuectl.model import PENDING, PROCESSING, Outcome
from queuectl.retry import judge
from queuectl.schedule import NewSchedule, Schedule, job_id_of, new_schedule
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore

MINUTE = 60
FIVE = 5 * MINUTE
"""Seconds between the slots of most tests. T0 is a slot itself: 2027-01-15T08:00Z."""
DAY = 86_400


def schedule(name: str = "s", expression: str = "*/5 * * * *", now: int = T0, **options: Any) -> NewSchedule:
    fields = {"command": "true", "cwd": "/", "max_retries": options.pop("max_retries", 3)}
    return new_schedule(name, expression, fields, max_retries=3, now=now, **options)


def put(store: Store, *args: Any, now: int = T0, replace: bool = False, **options: Any) -> Schedule:
    return store.schedules.put(schedule(*args, now=now, **options), now, replace=replace)


def the(store: Store, name: str = "s") -> Schedule:
    (found,) = [each for each in store.schedules.all() if each.name == name]
    return found


def run_id(seconds: float, name: str = "s") -> str:
    return job_id_of(name, after(seconds))


def ids(store: Store) -> list[str]:
    return [each.id for each in store.jobs()]


def work_off(store: Store, seconds: float) -> list[str]:
    """Claim and complete all that may run at a time; the ids."""
    done = []
    while (claimed := store.claim("w", after(seconds))) is not None:
        assert finish(store, claimed, "succeeded", after(seconds))
        done.append(claimed.id)
    return done


# Being kept


def test_a_schedule_is_as_it_was_given(store: Store) -> None:
    made = put(store, "nightly", "30 2 * * *", zone="Europe/Berlin", overlap="allow", missed="skip")
    assert made == the(store, "nightly")
    assert made == Schedule(
        name="nightly",
        expression="30 2 * * *",
        zone="Europe/Berlin",
        overlap="allow",
        missed="skip",
        paused=False,
        job={"command": "true", "cwd": "/", "max_retries": 3},
        last_slot=None,
        next_slot="2027-01-16T01:30:00.000000Z",
        last_job=None,
        last_state=None,
        note=None,
    )
    assert json.loads(json.dumps(made.as_dict()))["job"] == made.job


def test_schedules_are_listed_by_name(store: Store) -> None:
    assert store.schedules.all() == []
    for name in ("b", "a", "c"):
        put(store, name)
    assert [each.name for each in store.schedules.all()] == ["a", "b", "c"]


def test_a_name_is_taken_until_it_is_replaced_or_removed(store: Store) -> None:
    put(store)
    with pytest.raises(Conflict, match="schedule s exists already"):
        put(store, expression="@daily")
    assert the(store).expression == "*/5 * * * *"
    assert put(store, expression="@daily", replace=True).expression == "0 0 * * *"
    assert [each.name for each in store.schedules.remove(["s"])] == ["s"]
    assert store.schedules.all() == []
    put(store, replace=True)


@pytest.mark.parametrize("verb", ["remove", "pause", "resume"])
def test_of_several_names_all_or_none(store: Store, verb: str) -> None:
    put(store, "a")
    put(store, "b")
    if verb == "resume":
        store.schedules.pause(["a", "b"])
    change: Callable[..., list[Schedule]] = getattr(store.schedules, verb)
    more = (T0,) if verb == "resume" else ()
    before = store.schedules.all()
    for bad in (["a", "x"], ["a", "a\0"], ["a", "y", "x"]):
        with pytest.raises(NoSuchSchedule, match="no schedule"):
            change(bad, *more)
    assert store.schedules.all() == before
    assert [each.name for each in change(["b", "a", "a"], *more)] == ["a", "b"]
    assert store.schedules.all() != before


# Being run


def test_a_slot_becomes_a_job_when_it_is_due_and_not_before(store: Store) -> None:
    put(store)
    assert store.next_due() == after(FIVE)
    assert store.claim("w", after(FIVE) - 1) is None
    assert ids(store) == []
    claimed = claim(store, after(FIVE))
    assert (claimed.id, claimed.command, claimed.cwd, claimed.max_retries) == (run_id(FIVE), "true", "/", 3)
    assert run_id(FIVE) == "s-20270115T0805Z"
    found = the(store)
    assert (found.last_slot, found.next_slot) == (iso(after(FIVE)), iso(after(2 * FIVE)))
    assert (found.last_job, found.last_state, found.note) == (run_id(FIVE), "processing", None)
    assert store.next_due() == after(2 * FIVE)


def test_a_slot_becomes_a_job_once(store: Store, other: Store) -> None:
    put(store, overlap="allow")
    for each in (store, other, store):
        each.claim("w", after(FIVE))
    assert ids(store) == [run_id(FIVE)]


def test_slot_after_slot(store: Store) -> None:
    put(store)
    done = [each for seconds in range(0, 4 * FIVE, MINUTE) for each in work_off(store, seconds)]
    assert done == [run_id(number * FIVE) for number in (1, 2, 3)]


def test_a_run_waits_in_the_order_of_its_slot(store: Store) -> None:
    put(store)
    add(store, "before", now=after(FIVE - 1))
    add(store, "after", now=after(FIVE + 1))
    assert work_off(store, FIVE + 2) == ["before", run_id(FIVE), "after"]


def test_a_worker_that_ends_a_job_makes_the_next_run(store: Store) -> None:
    put(store)
    add(store, "long")
    claimed = claim(store)
    verdict = judge("succeeded", 1, 3, 2, 86_400)
    done = store.finish(claimed, Outcome("succeeded"), verdict, after(400), after(400), "w")
    assert done.recorded
    assert done.following is not None
    assert done.following.id == run_id(FIVE)


def test_a_run_that_fails_is_retried_and_dies_as_any_job(store: Store) -> None:
    put(store, max_retries=1)
    finish(store, claim(store, after(FIVE)), "failed", after(FIVE))
    finish(store, claim(store, after(FIVE + 3)), "failed", after(FIVE + 3))
    assert store.get(run_id(FIVE)).state == "dead"
    assert the(store).last_state == "dead"


def test_very_many_that_are_due_at_once(store: Store) -> None:
    for number in range(120):
        put(store, f"s{number}")
    done = work_off(store, FIVE)
    assert sorted(done) == sorted(run_id(FIVE, f"s{number}") for number in range(120))
    assert store.next_due() == after(2 * FIVE)


def test_drained_workers_wait_for_no_schedule(store: Store) -> None:
    put(store)
    assert store.is_drained(T0)
    assert store.is_drained(after(FIVE)), "what nobody has seen"
    claimed = claim(store, after(FIVE))
    assert not store.is_drained(after(FIVE))
    finish(store, claimed, "succeeded", after(FIVE))
    assert store.is_drained(after(FIVE))


def test_the_next_slot_is_told_with_the_overview(store: Store) -> None:
    assert store.overview(T0).next_slot is None
    put(store, "late", "@daily")
    put(store, "soon")
    assert store.overview(T0).next_slot == ("soon", iso(after(FIVE)))
    store.schedules.pause(["soon"])
    assert store.overview(T0).next_slot == ("late", iso(after(16 * 3600)))


def test_a_store_without_schedules_never_imports_what_they_need(backend: Backend) -> None:
    def look() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("cronsim", "zoneinfo")]:
            del sys.modules[name]
        mine = backend.open()
        add(mine, "a")
        finish(mine, claim(mine))
        assert not {"cronsim", "zoneinfo"} & set(sys.modules)
        put(mine, zone="Europe/Berlin")
        claim(mine, after(FIVE))
        assert {"cronsim", "zoneinfo"} <= set(sys.modules)

    in_child(look)


def test_slots_become_jobs_also_while_the_queue_is_paused(store: Store) -> None:
    put(store, missed="skip")
    store.pause([], T0)
    assert store.claim("w", after(FIVE)) is None
    assert store.get(run_id(FIVE)).state == PENDING
    store.resume([], after(FIVE + 100))
    assert claim(store, after(FIVE + 100)).id == run_id(FIVE)


def test_runs_of_a_group_keep_to_its_limit(store: Store) -> None:
    store.set_limit("g", 1, T0)
    for name in ("a", "b"):
        made = new_schedule(name, "*/5 * * * *", {"command": "true", "cwd": "/", "group": "g"}, max_retries=3, now=T0)
        store.schedules.put(made, T0)
    first = claim(store, after(FIVE))
    assert store.claim("other", after(FIVE)) is None
    finish(store, first, "succeeded", after(FIVE + 1))
    assert claim(store, after(FIVE + 1)).id == run_id(FIVE, "b")


# Overlapping


def waits(store: Store) -> None:
    add(store, "before", now=after(FIVE - 1))
    assert claim(store, after(FIVE)).id == "before"


def runs(store: Store) -> None:
    claim(store, after(FIVE))


def backs_off(store: Store) -> None:
    verdict = judge("failed", 1, 3, 10_000, 86_400)
    store.finish(claim(store, after(FIVE)), Outcome("failed", exit_code=1), verdict, after(FIVE), after(FIVE))


@pytest.mark.parametrize(("meanwhile", "state"), [(waits, PENDING), (runs, PROCESSING), (backs_off, PENDING)])
def test_no_run_while_the_last_one_waits_runs_or_retries(
    store: Store, meanwhile: Callable[[Store], None], state: str
) -> None:
    put(store)
    meanwhile(store)
    assert store.get(run_id(FIVE)).state == state
    store.claim("other", after(2 * FIVE))
    assert run_id(2 * FIVE) not in ids(store)
    found = the(store)
    assert (found.last_slot, found.next_slot) == (iso(after(2 * FIVE)), iso(after(3 * FIVE)))
    assert found.last_job == run_id(FIVE)
    assert found.note == f"{run_id(2 * FIVE)} was skipped: {run_id(FIVE)} is still {state}"


@pytest.mark.parametrize("end", ["succeeded", "dead", "cancelled"])
def test_the_next_slot_is_run_once_the_last_run_has_ended(store: Store, end: str) -> None:
    put(store, max_retries=0)
    first = claim(store, after(FIVE))
    store.claim("other", after(2 * FIVE))
    if end == "cancelled":
        store.cancel([first.id], after(2 * FIVE))
    finish(store, first, "succeeded" if end == "succeeded" else "failed", after(2 * FIVE + 1))
    assert claim(store, after(3 * FIVE)).id == run_id(3 * FIVE)
    assert the(store).note is None


def test_a_dead_run_that_is_put_back_is_a_run_that_waits(store: Store) -> None:
    put(store, max_retries=0)
    finish(store, claim(store, after(FIVE)), "failed", after(FIVE))
    store.revive([run_id(FIVE)], ["dead"], after(FIVE + 1))
    claim(store, after(FIVE + 1))
    assert store.claim("other", after(2 * FIVE)) is None


def test_runs_overlap_where_they_may(store: Store) -> None:
    put(store, overlap="allow")
    assert [claim(store, after(number * FIVE)).id for number in (1, 2, 3)] == [run_id(n * FIVE) for n in (1, 2, 3)]


# Missing


def test_of_three_days_that_a_machine_slept_one_run_is_made_up_for(store: Store) -> None:
    put(store, expression="0 3 * * *")
    put(store, "often")
    # From Friday, 8:00, to Monday, 10:02.
    slept = 3 * DAY + 2 * 3600 + 2 * MINUTE
    done = work_off(store, slept)
    assert sorted(done) == ["often-20270118T1000Z", "s-20270118T0300Z"]
    assert the(store).next_slot == "2027-01-19T03:00:00.000000Z"
    assert the(store, "often").next_slot == "2027-01-18T10:05:00.000000Z"
    assert work_off(store, slept + 1) == []


def test_what_was_missed_is_not_run_where_that_is_wished(store: Store) -> None:
    put(store, missed="skip")
    assert work_off(store, 3 * DAY + 2 * MINUTE) == []
    found = the(store)
    assert found.note == f"slot {iso(after(3 * DAY))} was missed"
    assert (found.last_slot, found.next_slot) == (iso(after(3 * DAY)), iso(after(3 * DAY + FIVE)))
    assert work_off(store, 3 * DAY + FIVE + 59) == [run_id(3 * DAY + FIVE)]
    assert the(store).note is None


def test_a_slot_at_which_all_workers_were_busy_is_not_missed(store: Store) -> None:
    put(store, missed="skip")
    add(store, "long")
    claimed = claim(store)
    verdict = judge("succeeded", 1, 3, 2, 86_400)
    done = store.finish(claimed, Outcome("succeeded"), verdict, after(FIVE + 200), after(FIVE + 200), "w")
    assert done.following is not None
    assert done.following.id == run_id(FIVE)


# Being changed


def test_what_is_paused_makes_no_jobs_and_misses_none(store: Store) -> None:
    put(store)
    (paused,) = store.schedules.pause(["s"])
    assert (paused.paused, paused.next_slot) == (True, None)
    assert store.next_due() is None
    assert store.claim("w", after(7 * FIVE)) is None
    (resumed,) = store.schedules.resume(["s"], after(7 * FIVE + 1))
    assert (resumed.paused, resumed.next_slot) == (False, iso(after(8 * FIVE)))
    assert work_off(store, 8 * FIVE) == [run_id(8 * FIVE)]


def test_a_pause_wins_over_a_slot_that_nobody_has_seen(store: Store) -> None:
    put(store)
    store.schedules.pause(["s"])
    store.schedules.resume(["s"], after(FIVE + 1))
    assert work_off(store, FIVE + 2) == []


def test_a_resume_of_what_is_not_paused_changes_nothing(store: Store) -> None:
    put(store)
    store.schedules.resume(["s"], after(FIVE + 1))
    assert work_off(store, FIVE + 2) == [run_id(FIVE)], "the slot that is due is not lost"
    store.schedules.pause(["s"])
    assert store.schedules.pause(["s"])[0].paused


def test_other_times_leave_a_slot_that_is_due_behind(store: Store) -> None:
    put(store)
    put(store, expression="0 * * * *", now=after(FIVE + 1), replace=True)
    assert work_off(store, FIVE + 2) == []
    assert work_off(store, 3600) == [run_id(3600)]


def test_another_command_is_run_for_the_slot_that_is_due(store: Store) -> None:
    put(store)
    changed = schedule()._replace(job={"command": "false", "cwd": "/", "max_retries": 0})
    store.schedules.put(changed, after(FIVE + 1), replace=True)
    assert claim(store, after(FIVE + 2)).command == "false"


def test_a_schedule_that_is_replaced_keeps_its_pause_and_its_last_run(store: Store) -> None:
    put(store)
    claim(store, after(FIVE))
    put(store, expression="*/10 * * * *", now=after(FIVE + 1), replace=True)
    assert store.claim("other", after(2 * FIVE)) is None
    assert the(store).note == f"{run_id(2 * FIVE)} was skipped: {run_id(FIVE)} is still processing"
    store.schedules.pause(["s"])
    assert put(store, expression="@daily", now=after(2 * FIVE), replace=True).paused
    assert the(store).next_slot is None


def test_the_jobs_of_a_schedule_that_is_removed_stay(store: Store) -> None:
    put(store)
    claimed = claim(store, after(FIVE))
    store.schedules.remove(["s"])
    assert finish(store, claimed)
    assert store.claim("w", after(2 * FIVE)) is None
    assert ids(store) == [run_id(FIVE)]


# Never twice


def test_no_slot_twice_when_the_clock_is_set_back(store: Store) -> None:
    put(store)
    assert work_off(store, FIVE + 1) == [run_id(FIVE)]
    assert work_off(store, 0) == []
    store.schedules.pause(["s"])
    store.schedules.resume(["s"], T0)
    assert the(store).next_slot == iso(after(2 * FIVE)), "the one at which it was already is not new"
    put(store, expression="*/1 * * * *", replace=True)
    assert the(store).next_slot == iso(after(FIVE + MINUTE))


def test_no_slot_twice_when_its_schedule_was_made_anew(store: Store) -> None:
    put(store)
    assert work_off(store, FIVE) == [run_id(FIVE)]
    store.schedules.remove(["s"])
    put(store)
    assert work_off(store, FIVE) == []
    assert the(store).note == f"{run_id(FIVE)} was there already"
    assert work_off(store, 2 * FIVE) == [run_id(2 * FIVE)]


def test_a_doubled_hour_has_two_slots(store: Store) -> None:
    berlin = 1_792_886_400 * SECOND  # 2026-10-25T00:00:00Z
    put(store, expression="*/30 2 * * *", zone="Europe/Berlin", now=berlin - 1, overlap="allow")
    moments = [berlin + number * 600 * SECOND for number in range(15)]
    made = [claimed.id for now in moments if (claimed := store.claim("w", now)) is not None]
    assert made == [f"s-20261025T{each}Z" for each in ("0000", "0030", "0100", "0130")]


def test_eight_processes_that_see_a_slot_at_once_make_one_job(backend: Backend, store: Store) -> None:
    put(store, overlap="allow")
    gate, latch = os.pipe()

    def see(name: str) -> None:
        mine = backend.open()
        mine.version()
        os.close(latch)
        os.read(gate, 1)  # until nobody holds the latch any more
        for number in range(1, 21):
            mine.claim(name, after(number * FIVE))

    children = [Child(lambda name=f"w{number}": see(name)) for number in range(8)]  # type: ignore[misc]
    os.close(latch)
    for child in children:
        child.join()
    os.close(gate)
    assert sorted(ids(store)) == [run_id(number * FIVE) for number in range(1, 21)]


@pytest.mark.parametrize("verb", ["pause", "remove", "replace"])
def test_whoever_comes_second_finds_all_or_nothing_done(backend: Backend, store: Store, verb: str) -> None:
    """A slot is due, one sees it and another changes its schedule: there is a run and a note of it, or neither."""
    for number in range(25):
        put(store, f"s{number}")

    def change() -> None:
        mine = backend.open()
        for number in random.sample(range(25), 25):
            if verb == "replace":
                put(mine, f"s{number}", "@daily", now=after(FIVE), replace=True)
            else:
                getattr(mine.schedules, verb)([f"s{number}"])

    def see() -> None:
        mine = backend.open()
        for _ in range(25):
            mine.claim("w", after(FIVE))

    for child in [Child(change), Child(see)]:
        child.join()
    made = set(ids(store))
    left = {each.name: each for each in store.schedules.all()}
    for number in range(25):
        name = f"s{number}"
        was_run = run_id(FIVE, name) in made
        if name in left:
            assert (left[name].last_slot is not None) == was_run
            assert left[name].paused == (verb == "pause")
        else:
            assert verb == "remove"
    while store.claim("w", after(FIVE)) is not None:
        pass
    assert set(ids(store)) == made, "what was changed before it was seen is not run"


@pytest.mark.parametrize("statement", ["INSERT INTO jobs", "UPDATE schedules", "SET state = 'processing'"])
def test_a_worker_that_is_killed_as_it_makes_a_run_leaves_nothing_half_done(
    backend: Backend, store: Store, statement: str
) -> None:
    put(store)

    def die() -> None:
        mine = backend.open()
        assert isinstance(mine, SQLiteStore)
        with mine._connections.using() as connection:
            connection.set_trace_callback(
                lambda text: os.kill(os.getpid(), signal.SIGKILL) if statement in text else None
            )
        mine.claim("w", after(FIVE))

    child = Child(die)
    with pytest.raises(AssertionError, match="ended with -9"):
        child.join()
    assert ids(store) == []
    assert the(store).last_slot is None
    assert claim(store, after(FIVE)).id == run_id(FIVE)
    assert ids(store) == [run_id(FIVE)]


# What is wrong with a schedule


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("zone", "Mars/Base", "no time zone 'Mars/Base'"),
        ("expression", "nonsense", "wrong number of fields"),
        ("job", "{", "Expecting property name"),
        ("job", "[]", "not an object"),
        ("job", '{"command": ""}', "command: is empty"),
        ("job", '{"colour": "red"}', "unknown key"),
    ],
)
def test_a_schedule_that_cannot_be_run_is_paused_and_keeps_nobody_from_work(
    tmp_path: Path, column: str, value: str, says: str
) -> None:
    """As one whose zone is known where it was made, but not where the workers are."""
    backend = SQLiteBackend(tmp_path / "home")
    store = backend.open()
    put(store)
    put(store, "well")
    direct = sqlite3.connect(backend.path)
    direct.execute(f"UPDATE schedules SET {column} = ? WHERE name = 's'", (value,))
    direct.commit()
    assert work_off(store, FIVE) == [run_id(FIVE, "well")]
    paused, note = direct.execute("SELECT paused, note FROM schedules WHERE name = 's'").fetchone()
    direct.close()
    assert paused
    assert note.startswith("paused by itself: ")
    assert says in note
    assert store.next_due() == after(2 * FIVE)
    put(store, now=after(FIVE + 1), replace=True)
    store.schedules.resume(["s"], after(FIVE + 1))
    assert work_off(store, 2 * FIVE) == [run_id(2 * FIVE), run_id(2 * FIVE, "well")]
    store.close()
