"""Whatever happens to jobs, in whatever order: a store does what a page of plain Python says."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store.backends import BACKENDS, T0, job, memory, micros

from queuectl import Conflict, NoSuchJob
from queuectl.clock import SECOND, iso
from queuectl.model import STATES, Claim, Outcome
from queuectl.retry import judge

BASE, CAP = 2, 5
"""Of the back-off: the cap is reached with the third failure."""

ENDED = ("completed", "dead", "cancelled")
FAILURES = ("failed", "signaled", "timed_out", "crashed", "not_started")
KINDS = ("succeeded", *FAILURES, "cancelled", "released", "released", "released")


@dataclass
class Expected:
    """A job as it should be. ``lane`` says why a pending one waits: ready, scheduled or back-off."""

    max_retries: int
    due: int
    lane: str
    next_run_at: int | None
    state: str = "pending"
    attempts: int = 0
    is_cancelled: bool = False
    history: list[str | None] = field(default_factory=list)


class Model:
    """What a store should do. Jobs are kept in the order they were added."""

    def __init__(self) -> None:
        self.jobs: dict[str, Expected] = {}
        self.pruned: set[str] = set()

    def add(self, name: str, now: int, max_retries: int, delay: int) -> None:
        due = now + delay * SECOND
        self.jobs[name] = Expected(max_retries, due, "scheduled" if delay else "ready", due if delay else None)

    def claim(self, now: int) -> str | None:
        waiting = {name: each for name, each in self.jobs.items() if each.state == "pending"}
        for each in waiting.values():
            if each.due <= now:
                each.lane = "ready"
        ready = [name for name, each in waiting.items() if each.lane == "ready"]
        first = min(ready, key=lambda name: self.jobs[name].due, default=None)
        if first is not None:
            taken = self.jobs[first]
            taken.state, taken.next_run_at = "processing", None
            taken.attempts += 1
            taken.history.append(None)
        return first

    def holds(self, name: str, number: int) -> bool:
        return name in self.jobs and self.jobs[name].state == "processing" and len(self.jobs[name].history) == number

    def finish(self, name: str, number: int, kind: str, now: int) -> bool:
        if not self.holds(name, number):
            return False
        done = self.jobs[name]
        done.history[-1] = "cancelled" if done.is_cancelled and kind != "crashed" else kind
        charged, done.attempts = done.attempts, done.attempts - (kind == "released")
        if done.is_cancelled or kind == "cancelled":
            done.state = "cancelled"
        elif kind == "succeeded":
            done.state = "completed"
        elif kind == "released":
            done.state, done.lane = "pending", "ready"
        elif charged > done.max_retries:
            done.state = "dead"
        else:
            done.state, done.lane = "pending", "back-off"
            done.due = done.next_run_at = now + min(BASE**charged, CAP) * SECOND
        return True

    def cancel(self, name: str) -> bool:
        """Whether that is allowed."""
        wanted = self.jobs[name]
        if wanted.state == "processing":
            wanted.is_cancelled = True
        elif wanted.state == "pending":
            wanted.state, wanted.next_run_at = "cancelled", None
        return wanted.state in ("processing", "cancelled")

    def revive(self, name: str, now: int) -> None:
        again = self.jobs[name]
        again.state, again.lane, again.due, again.attempts, again.is_cancelled = "pending", "ready", now, 0, False

    def prune(self, states: set[str]) -> set[str]:
        """The names of those that go."""
        gone = {name for name, each in self.jobs.items() if each.state in states}
        self.pruned |= gone
        self.jobs = {name: each for name, each in self.jobs.items() if name not in gone}
        return gone

    def in_lane(self, *lanes: str) -> list[int]:
        return [each.due for each in self.jobs.values() if each.state == "pending" and each.lane in lanes]

    def is_drained(self, now: int) -> bool:
        runs = any(each.state == "processing" for each in self.jobs.values())
        due = any(due <= now for due in self.in_lane("scheduled"))
        return not (runs or due or self.in_lane("ready", "back-off"))


class StoreMachine(RuleBasedStateMachine):
    """Two stores on one database, as two programs have them, side by side with the model."""

    make_backend = staticmethod(BACKENDS["sqlite"])

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="queuectl-machine-", dir=memory())
        backend = self.make_backend(Path(self.directory) / "home")
        self.stores = itertools.cycle([backend.open(), backend.open()])
        self.model = Model()
        self.now = T0
        self.claims: list[Claim] = []

    @property
    def store(self):  # type: ignore[no-untyped-def]
        return next(self.stores)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            for _ in range(2):
                self.store.close()
            shutil.rmtree(self.directory)

    @rule(seconds=st.sampled_from([0.000001, 1, 2, 4, 60, -1, -3, -1000]))
    def time_passes_or_goes_back(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    @rule(batch=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 1, 3])), min_size=1, max_size=3))
    def add(self, batch: list[tuple[int, int]]) -> None:
        added = self.store.add([job(max_retries=retries, delay=delay) for retries, delay in batch], self.now, 9)
        assert len(set(added) - self.model.jobs.keys() - self.model.pruned) == len(batch)
        for name, (retries, delay) in zip(added, batch, strict=True):
            self.model.add(name, self.now, retries, delay)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def add_what_exists(self, data: st.DataObject) -> None:
        with pytest.raises(Conflict):
            self.store.add([job(), job(self._some_job(data))], self.now, 9)

    @rule()
    def claim(self) -> None:
        self._compare_claim(self.store.claim("w", self.now))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def finish(self, data: st.DataObject, kind: str) -> None:
        self._finish(data.draw(st.sampled_from(self._held() or self.claims)), kind)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def finish_any_claim_ever_made_and_claim_the_next(self, data: st.DataObject, kind: str) -> None:
        done = data.draw(st.sampled_from(self.claims))
        verdict = judge(kind, done.attempts, done.max_retries, BASE, CAP)
        recorded, following, _ = self.store.finish(done, Outcome(kind), verdict, self.now, self.now, "w")
        assert recorded == self.model.finish(done.id, done.number, kind, self.now)
        self._compare_claim(following)

    @precondition(lambda self: self._lost_to_another_attempt())
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def finish_an_attempt_that_was_given_on(self, data: st.DataObject, kind: str) -> None:
        self._finish(data.draw(st.sampled_from(self._lost_to_another_attempt())), kind)

    @precondition(lambda self: self._held())
    @rule(data=st.data(), kind=st.sampled_from(["succeeded", "failed", "crashed", "cancelled", "released"]))
    def cancel_a_running_job_that_ends_in_that_moment(self, data: st.DataObject, kind: str) -> None:
        running = data.draw(st.sampled_from(self._held()))
        assert self.store.cancel([running.id], self.now).running == [running.id]
        assert self.model.cancel(running.id)
        self._finish(running, kind)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = self._some_job(data)
        if self.model.cancel(name):
            running = self.model.jobs[name].state == "processing"
            assert self.store.cancel([name], self.now).running == ([name] if running else [])
        else:
            with pytest.raises(Conflict):
                self.store.cancel([name], self.now)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel_several_of_which_one_does_not_exist(self, data: st.DataObject) -> None:
        name = self._some_job(data)
        # Of two errors, either may be told.
        ended = self.model.jobs[name].state in ("completed", "dead")
        with pytest.raises((Conflict, NoSuchJob) if ended else NoSuchJob):
            self.store.cancel([name, "unknown"], self.now)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        ended = [name for name, each in self.model.jobs.items() if each.state in ENDED]
        name = data.draw(st.sampled_from(ended)) if ended else self._some_job(data)
        if ended:
            assert self.store.revive([name], ENDED, self.now) == [name]
            self.model.revive(name, self.now)
        else:
            with pytest.raises(Conflict):
                self.store.revive([name], ENDED, self.now)

    @rule()
    def revive_all_that_are_dead(self) -> None:
        dead = [name for name, each in self.model.jobs.items() if each.state == "dead"]
        assert self.store.revive(None, ["dead"], self.now) == dead
        for name in dead:
            self.model.revive(name, self.now)

    @rule(states=st.sets(st.sampled_from(STATES)), most=st.integers(1, 3))
    def prune(self, states: set[str], most: int) -> None:
        started = {name for name, each in self.model.jobs.items() if each.history}
        discarded: list[str] = []

        def discard(ids: list[str]) -> list[str]:
            discarded.extend(ids[:2])
            return ids[:2]

        removed, more = 0, True
        while more:
            jobs, more = self.store.prune(states, self.now + 10_000 * SECOND, most, discard)
            removed += jobs
        gone = self.model.prune(states & set(ENDED))
        assert removed == len(gone)
        assert sorted(discarded) == sorted(gone & started)

    @invariant()
    def every_job_is_as_it_should_be(self) -> None:
        if not hasattr(self, "model"):
            return
        found = self.store.jobs()
        assert [each.id for each in found] == list(self.model.jobs)
        for each in found:
            expected = self.model.jobs[each.id]
            assert (each.state, each.attempts, each.next_run_at) == (
                expected.state,
                expected.attempts,
                iso(expected.next_run_at),
            ), each.id
            attempts = self.store.attempts(each.id)
            assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
            assert [attempt.outcome for attempt in attempts] == expected.history
            moments = [micros(t) for attempt in attempts for t in (attempt.started_at, attempt.ended_at) if t]
            assert moments == sorted(moments), "attempts never overlap"

    @invariant()
    def the_queue_as_a_whole_is_as_it_should_be(self) -> None:
        if not hasattr(self, "model"):
            return
        states = [each.state for each in self.model.jobs.values()]
        assert self.store.counts() == {state: states.count(state) for state in STATES}
        assert self.store.is_drained(self.now) == self.model.is_drained(self.now)
        assert self.store.next_due() == min(self.model.in_lane("scheduled", "back-off"), default=None)
        for each in self.claims[-5:]:
            held = self.model.holds(each.id, each.number)
            assert self.store.holds(each) == held
            assert self.store.is_cancel_requested(each) == (held and self.model.jobs[each.id].is_cancelled)

    def _held(self) -> list[Claim]:
        return [each for each in self.claims if self.model.holds(each.id, each.number)]

    def _lost_to_another_attempt(self) -> list[Claim]:
        running = {name for name, each in self.model.jobs.items() if each.state == "processing"}
        return [each for each in self.claims if each.id in running and each not in self._held()]

    def _finish(self, done: Claim, kind: str) -> None:
        recorded = self.model.finish(done.id, done.number, kind, self.now)
        verdict = judge(kind, done.attempts, done.max_retries, BASE, CAP)
        assert self.store.finish(done, Outcome(kind), verdict, self.now, self.now) == (recorded, None, 0)

    def _compare_claim(self, claimed: Claim | None) -> None:
        expected = self.model.claim(self.now)
        assert (claimed.id if claimed else None) == expected
        if claimed:
            mine = self.model.jobs[claimed.id]
            assert (claimed.number, claimed.attempts) == (len(mine.history), mine.attempts)
            self.claims.append(claimed)

    def _some_job(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(list(self.model.jobs)))


TestStore = pytest.mark.timeout(400)(pytest.mark.long(StoreMachine.TestCase))
# To find the shortest way to a failure may take minutes: add Phase.shrink for that.
TestStore.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate]
)
