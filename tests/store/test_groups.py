"""Groups with limits, pauses, holds and priorities: which job a claim takes, and which it may not."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from random import Random

import pytest
from steps import steps_of
from store.backends import T0, add, after, claim, finish, job

from queuectl import Queue
from queuectl.errors import Conflict, NoSuchGroup, NoSuchJob
from queuectl.model import ENDED, GroupState, Outcome
from queuectl.retry import judge
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore


def claims(store: Store, now: int = T0) -> list[str]:
    """Claim for new workers as long as there is something to claim."""
    taken: list[str] = []
    while (got := store.claim(f"w{len(store.claims())}", now)) is not None:
        taken.append(got.id)
    return taken


def end(store: Store, job_id: str, kind: str = "succeeded", now: int = T0) -> None:
    held = next(each for each in store.claims() if each.id == job_id)
    assert finish(store, held, kind, now)


# --- priorities


def test_higher_priorities_come_first_and_then_time_and_order(store: Store) -> None:
    add(store, "a", "b")
    add(store, "low", priority=-1)
    add(store, "high", "high2", priority=2)
    add(store, "higher", priority=3)
    assert claims(store) == ["higher", "high", "high2", "a", "b", "low"]


# --- limits


def test_a_limit_holds_over_all_workers(store: Store) -> None:
    store.set_limit("g", 2, T0)
    add(store, "a", "b", "c", "d", group="g")
    add(store, "free")
    assert claims(store) == ["a", "b", "free"]
    end(store, "b")
    assert claims(store) == ["c"]
    end(store, "a")
    end(store, "c")
    assert claims(store) == ["d"]
    assert store.claim("w", T0) is None


def test_a_finished_job_makes_room_at_once_for_the_same_worker(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    first = claim(store)
    done = store.finish(first, Outcome("succeeded"), judge("succeeded", 1, 1, 2, 9), T0, T0, "w")
    assert done.recorded
    assert done.following is not None
    assert done.following.id == "b"


def test_a_retried_job_gives_its_place_to_others_meanwhile(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    assert claims(store) == ["a"]
    end(store, "a", "failed")
    assert claims(store) == ["b"]
    assert claims(store, after(100)) == [], "its back-off is over, but the place is taken"
    end(store, "b", now=after(101))
    assert claims(store, after(102)) == ["a"]


def test_a_job_that_is_handed_back_keeps_its_turn(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    assert claims(store) == ["a"]
    end(store, "a", "released")
    assert claims(store) == ["a"]


def test_within_a_group_priorities_hold_though_another_was_to_be_next(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "early", group="g")
    add(store, "urgent", group="g", priority=1)
    assert claims(store) == ["urgent"]


def test_a_limit_that_is_set_later_counts_what_runs(store: Store) -> None:
    add(store, "a", "b", "c", "d", group="g")
    first, second = claim(store), claim(store)
    store.set_limit("g", 1, T0)
    assert claims(store) == []
    assert finish(store, first)
    assert claims(store) == [], "one still runs"
    assert finish(store, second)
    assert claims(store) == ["c"]
    store.set_limit("g", 3, T0)
    assert claims(store) == ["d"]


@pytest.mark.parametrize("how", ["removed", "unlimited"])
def test_without_its_limit_all_of_a_group_may_run(store: Store, how: str) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", "c", group="g")
    assert claims(store) == ["a"]
    ready = store.remove_group("g", T0) if how == "removed" else store.set_limit("g", None, T0)
    assert ready == 2, "so many workers are to be woken"
    assert claims(store) == ["b", "c"]
    for name in "abc":
        end(store, name)
    add(store, "e", "f", group="g")
    assert claims(store) == ["e", "f"]


def test_the_default_group_can_have_a_limit(store: Store) -> None:
    add(store, "a", "b")
    store.set_limit("default", 1, T0)
    assert claims(store) == ["a"]


@pytest.mark.parametrize("way", ["cancel", "hold"])
def test_a_waiting_job_that_goes_leaves_its_place_to_the_next(store: Store, way: str) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    if way == "cancel":
        assert store.cancel(["a"], T0).ready == 1
    else:
        store.hold(["a"], T0)
    assert claims(store) == ["b"]


def test_scheduled_and_revived_jobs_need_a_place_too(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", group="g")
    add(store, "later", group="g", delay=5)
    assert claims(store) == ["a"]
    assert claims(store, after(6)) == []
    end(store, "a", now=after(7))
    store.revive(["a"], ENDED, after(7))
    assert claims(store, after(8)) == ["later"]
    end(store, "later", now=after(8))
    assert claims(store, after(9)) == ["a"]


def test_groups_are_listed_with_what_is_in_them(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    add(store, "c", group="other")
    add(store, "d")
    claims(store)
    assert store.groups() == [
        GroupState("default", None, False, 0, 1),
        GroupState("g", 1, False, 1, 1),
        GroupState("other", None, False, 0, 1),
    ]
    assert store.limited_groups() == ["g"]
    with pytest.raises(NoSuchGroup):
        store.remove_group("none", T0)


# --- pause


def test_of_a_paused_group_nothing_starts(store: Store) -> None:
    add(store, "a", "b", group="g")
    add(store, "free")
    assert claim(store).id == "a"
    store.pause(["g"], T0)
    add(store, "c", group="g")
    assert claims(store) == ["free"]
    assert store.is_drained(T0) is False, "a runs"
    end(store, "a")
    end(store, "free")
    assert store.is_drained(T0), "what is paused needs further help"
    assert store.resume(["g"], T0) == 2
    assert not store.is_drained(T0)
    assert claims(store) == ["b", "c"]


def test_a_pause_keeps_the_limit(store: Store) -> None:
    store.set_limit("g", 1, T0)
    add(store, "a", "b", group="g")
    store.pause(["g"], T0)
    assert claims(store) == []
    store.resume(["g"], T0)
    assert claims(store) == ["a"]


def test_the_whole_queue_is_paused(store: Store) -> None:
    add(store, "a")
    add(store, "retried", max_retries=3)
    assert claim(store).id == "a"
    store.pause([], T0)
    assert store.is_paused()
    assert claims(store) == []
    add(store, "new", group="unheard")
    assert claims(store) == []
    end(store, "a")
    assert store.is_drained(T0)
    assert store.resume([], T0) == 2
    assert not store.is_paused()
    assert claims(store) == ["retried", "new"]


def test_to_resume_all_ends_every_pause(store: Store) -> None:
    add(store, "a", group="g")
    store.pause(["g"], T0)
    store.pause([], T0)
    store.resume(["g"], T0)
    assert claims(store) == [], "the whole queue still is"
    store.pause(["g"], T0)
    store.resume([], T0)
    assert claims(store) == ["a"]


def test_a_group_that_nobody_knows_cannot_be_paused(store: Store) -> None:
    for change in (store.pause, store.resume):
        with pytest.raises(NoSuchGroup, match="no group nobody"):
            change(["default", "nobody"], T0)
    assert [each.paused for each in store.groups()] == [False]


# --- hold


def test_a_held_job_does_not_start_until_it_is_released(store: Store) -> None:
    add(store, "a", "b")
    add(store, "later", delay=5)
    store.hold(["a", "later"], T0)
    store.hold(["a"], T0)
    assert store.get("a").held
    assert claims(store, after(10)) == ["b"]
    end(store, "b")
    assert store.is_drained(after(10))
    assert store.release(["a", "later"], T0) == 1
    assert claims(store) == ["a"]
    assert claims(store, after(6)) == ["later"], "it waits for its time still"


def test_all_are_held_or_none(store: Store) -> None:
    add(store, "a", "b")
    assert claim(store).id == "a"
    for change in (store.hold, store.release):
        with pytest.raises(Conflict, match="job a is processing"):
            change(["b", "a"], T0)
        with pytest.raises(NoSuchJob):
            change(["b", "nobody"], T0)
    assert claims(store) == ["b"]


# --- what must always hold


class Life:
    """What users and workers do, by dice."""

    groups = ("default", "g", "h")

    def __init__(self, store: Store, dice: Random) -> None:
        self.store, self.dice, self.now, self.number = store, dice, T0, 0
        self.deeds = [self.add, self.add, self.claim, self.claim, self.end, self.end, self.change, self.limit]
        self.deeds += [self.pause, self.edit, self.revive]

    def step(self) -> None:
        self.now += self.dice.randrange(3) * 1_000_000
        self.dice.choice(self.deeds)()

    def some(self, *states: str) -> list[str]:
        found = [each.id for each in self.store.jobs(states)]
        return [self.dice.choice(found)] if found else []

    def add(self) -> None:
        fields = {"priority": self.dice.randrange(3), "group": self.dice.choice(self.groups)}
        delay = self.dice.choice((None, None, 2))
        new = [job(delay=delay, **fields) for _ in range(self.dice.randrange(1, 4))]
        assert len(self.store.add(new, self.now, 2)) == len(new)

    def claim(self) -> None:
        self.number += 1
        self.store.claim(f"w{self.number}", self.now)

    def end(self) -> None:
        if self.store.claims():
            kind = self.dice.choice(("succeeded", "failed", "released", "crashed"))
            assert finish(self.store, self.dice.choice(self.store.claims()), kind, self.now)

    def change(self) -> None:
        change = self.dice.choice((self.store.hold, self.store.release, self.store.cancel))
        change(self.some("pending"), self.now)

    def limit(self) -> None:
        self.store.set_limit(self.dice.choice(self.groups), self.dice.choice((None, 1, 2)), self.now)

    def pause(self) -> None:
        self.dice.choice((self.store.pause, self.store.resume))(["default"], self.now)

    def edit(self) -> None:
        for job_id in self.some("pending"):
            changes = {"group": self.dice.choice(self.groups), "priority": self.dice.randrange(3)}
            self.store.edit(job_id, changes, self.now)

    def revive(self) -> None:
        self.store.revive(self.some(*ENDED), ENDED, self.now)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_limit_is_exceeded_and_nobody_is_forgotten(store: Store, seed: int) -> None:
    assert isinstance(store, SQLiteStore)
    life = Life(store, Random(seed))
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        for _ in range(220):
            life.step()
            check(store, connection)
    now = life.now
    groups = life.groups
    store.resume([], now)
    for group in groups:
        store.set_limit(group, None, now)
    held_back = [each.id for each in store.jobs(("pending",)) if each.held]
    store.release(held_back, now)
    for _ in range(2000):
        now += 10_000_000
        got = store.claim("last", now)
        if got is not None:
            assert finish(store, got, "succeeded", now)
        elif store.claims():
            assert finish(store, store.claims()[0], "succeeded", now)
        else:
            break
    assert all(each.ended for each in store.jobs())


def check(store: SQLiteStore, connection: sqlite3.Connection) -> None:
    """Places are taken by those that run or are next, no more than there are; and no place stays free for nothing."""
    assert store.faults() == []
    limits = dict(connection.execute("SELECT name, places FROM restricted"))
    rows = connection.execute(
        "SELECT id, state, lane, placed, group_name, priority, due, seq, held FROM jobs"
    ).fetchall()
    for group in ("default", "g", "h"):
        mine = [row for row in rows if row[4] == group]
        placed = [row for row in mine if row[3]]
        queued = [row for row in mine if row[2] == 4]
        assert all(row[1] == "processing" or row[2] == 0 for row in placed)
        if group not in limits:
            assert not placed
            assert not queued
            continue
        assert not [row for row in mine if (row[1] == "processing" or row[2] == 0) and not row[3]]
        running = sum(row[1] == "processing" for row in mine)
        assert len(placed) <= max(limits[group], running)
        assert not queued or len(placed) >= limits[group]
        ready = [row for row in placed if row[2] == 0]
        if queued and ready:
            rank = [(-row[5], row[6], row[7]) for row in ready], [(-row[5], row[6], row[7]) for row in queued]
            assert max(rank[0]) < min(rank[1])


# --- claims stay cheap


def steps_of_claims(store: SQLiteStore) -> int:
    def work(store: SQLiteStore) -> None:
        for _ in range(10):
            assert finish(store, claim(store))

    return steps_of(store, work)


def test_a_claim_is_as_cheap_whatever_waits(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, beside 20,000 blocked jobs, and 1,000 groups of which one has room."""
    queue = Queue.init(tmp_path / "queuectl.db")
    store = SQLiteStore(queue.home.database, 30)
    add(store, *(f"a{n}" for n in range(30)))
    alone = steps_of_claims(store)
    add(store, "held")
    store.hold(["held"], T0)
    store.add([job(after=("held",), priority=9) for _ in range(20_000)], T0, 3)
    for number in range(1000):
        store.set_limit(f"g{number}", 1, T0)
    store.add([job(group=f"g{n % 1000}") for n in range(3000)], T0, 3)
    connection = sqlite3.connect(store.path)
    connection.execute(
        "UPDATE jobs SET state = 'processing', worker = 'x', lane = NULL WHERE placed AND group_name <> 'g7'"
    )
    connection.commit()
    connection.close()
    beside = steps_of_claims(store)
    store.close()
    assert beside < 1.5 * alone + 200, (alone, beside)


def test_adding_is_as_cheap_beside_many_groups(tmp_path: Path) -> None:
    store = SQLiteStore(Queue.init(tmp_path / "queuectl.db").home.database, 30)

    def adding() -> int:
        return steps_of(store, lambda store: store.add([job(group="g0")], T0, 3))

    store.set_limit("g0", 1, T0)
    adding()
    alone = adding()
    for number in range(1, 1000):
        store.set_limit(f"g{number}", 1, T0)
    beside = adding()
    store.close()
    assert beside < alone + 3_000, (alone, beside)


def test_an_edit_keeps_a_jobs_turn(store: Store) -> None:
    add(store, "a")
    add(store, "b", now=after(1))
    store.edit("a", {"timeout": 9.0}, after(2))
    assert claims(store, after(3)) == ["a", "b"]


def test_what_waits_for_its_time_only_has_a_worker_woken(store: Store) -> None:
    """Idle workers sleep until the next time that they know of."""
    add(store, "a", "b", delay=60)
    store.hold(["a"], T0)
    assert store.release(["a"], T0) == 1
    assert store.edit("b", {"starts_at": after(5)}, T0) == 1


def test_while_all_is_paused_no_worker_waits_for_a_time(store: Store) -> None:
    """It would look at once, again and again, when that is over."""
    store.pause([], T0)
    add(store, "a", "b", delay=1)
    assert store.claim("w", after(2)) is None
    assert store.next_due() is None
    assert store.resume([], after(2)) == 2, "both are due"
    store.pause([], after(2))
    assert store.resume([], T0) == 1, "one is to watch"
    assert store.next_due() == after(1)
