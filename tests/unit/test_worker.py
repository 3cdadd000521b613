"""The loop of a worker, with jobs that are over at once: how often it goes to the database, and what stops it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from farm import PATIENCE
from unit.support import StandingClock

from queuectl import Queue, recall
from queuectl.crowd import Crowd
from queuectl.errors import StoreBusy, StoreError
from queuectl.home import Home
from queuectl.link import LOOK_FOR_CANCEL, STOP, WorkerLink
from queuectl.model import SUCCEEDED, Claim, Outcome
from queuectl.runner import CANCEL, Assignment, Orders
from queuectl.settings import Live
from queuectl.slot import PLACES
from queuectl.store.sqlite import RESERVE, SQLiteStore, open_store
from queuectl.worker import Worker

JOBS = 200


class Others(Crowd):
    """Other workers, in whose favour one rests for some seconds at first, or after some jobs, by their numbers."""

    def __init__(self) -> None:
        self.at_first = 0.0
        self.rests: dict[int, float] = {}
        self.told: list[int] = []

    def rest_at_first(self) -> float:
        return self.at_first

    def rest(self, took: float, seq: int) -> float:
        return self.rests.get(seq, 0)

    def rest_on(self) -> float:
        return 0

    def go_on(self, seq: int) -> None:
        self.told.append(seq)


class Bench:
    """A worker whose jobs do nothing but what ``during`` says of them, by their ids."""

    is_ready = True
    signs: tuple[int, ...] = ()
    next_began = None

    def __init__(self, home: Home) -> None:
        self.clock = StandingClock()
        self.store = open_store(home, 5)
        self.home = home
        self.during: dict[str, Callable[[Orders], object]] = {}
        self.ran: list[str] = []
        self.settled: list[tuple[int, int]] = []
        """How many ends each transaction recorded, and how many jobs it gave back."""
        ours, self.supervisor = socket.socketpair()
        self.link = WorkerLink(ours, heartbeat=10 * PATIENCE)
        self.crowd = Others()
        self.worker = Worker(
            "w",
            home,
            self,
            self,
            self.link,
            Live(home.settings, print),
            self.crowd,
            drain=True,
            clock=self.clock,  # type: ignore[arg-type]
        )

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.store, verb)

    failure: StoreError | None = None
    """What the database meets when somebody settles."""

    def settle(self, endings: Any, *arguments: Any, unbegun: Any = (), **options: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        self.settled.append((len(endings), len(unbegun)))
        return SQLiteStore.settle(self.store, endings, *arguments, unbegun=unbegun, **options)

    def run(self, task: Assignment, orders: Orders, series: object) -> Outcome:
        self.ran.append(task.job_id)
        self.during.get(task.job_id, lambda orders: None)(orders)
        return Outcome(SUCCEEDED, 0)

    def close(self) -> None:
        self.store.close()
        self.link.close(b"")
        self.supervisor.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    queue = Queue.init(tmp_path / "queuectl.db")
    queue.add_many([{"command": "true"}] * JOBS)
    queue.close()
    made = Bench(queue.home)
    yield made
    made.close()


def states(bench: Bench) -> dict[str, int]:
    return {state: number for state, number in bench.store.counts().items() if number}


def test_short_jobs_are_claimed_and_recorded_several_at_once(bench: Bench) -> None:
    assert bench.worker.run()
    assert bench.ran == [str(number) for number in range(1, JOBS + 1)], "in their order"
    assert states(bench) == {"completed": JOBS}
    ends = [number for number, _ in bench.settled]
    # Some until they are known to be short, and one after the other when no more are left than others have hands for.
    assert ends[:8] == [1] * 8
    assert ends[8:].count(PLACES) == (JOBS - RESERVE - 8) // PLACES
    assert set(ends) == {1, PLACES}
    assert all(given_back == 0 for _, given_back in bench.settled)


def test_nothing_that_takes_time_comes_between_jobs_that_were_claimed_together(bench: Bench) -> None:
    """A pause that is confirmed meanwhile would not be heard before the next one begins."""
    looks: list[int] = []
    bench.worker._tidy = lambda busy: looks.append(len(bench.ran))  # type: ignore[method-assign]
    assert bench.worker.run()
    assert looks[:8] == list(range(8))
    together = [first for first, second in pairwise(looks) if second - first == PLACES]
    assert len(together) == (JOBS - RESERVE - 8) // PLACES


def test_a_database_that_fails_while_a_job_runs_is_told_of_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def take_long(orders: Orders) -> None:
        bench.failure = StoreError("the disk is full")
        for _ in range(20):
            bench.clock.forward(1)
            orders.wait(0)
        assert caplog.text.count("the disk is full") == 1
        bench.failure = StoreBusy("somebody writes")
        for _ in range(20):
            bench.clock.forward(1)
            orders.wait(0)
        bench.failure = None
        bench.clock.forward(1)
        orders.wait(0)
        assert states(bench) == {"completed": 29, "processing": 1, "pending": JOBS - 30}

    bench.during["30"] = take_long
    assert bench.worker.run()
    assert states(bench) == {"completed": JOBS}
    assert "somebody writes" not in caplog.text


def test_long_jobs_are_claimed_one_by_one(bench: Bench) -> None:
    for number in range(1, JOBS + 1):
        bench.during[str(number)] = lambda _: bench.clock.forward(1)
    assert bench.worker.run()
    assert set(bench.settled) == {(1, 0)}


def test_a_stop_gives_back_what_has_not_begun(bench: Bench) -> None:
    def stop(_: Orders) -> None:
        bench.link.stopping = True

    bench.during["30"] = stop
    assert not bench.worker.run()
    assert bench.ran[-1] == "30"
    assert states(bench) == {"completed": 30, "pending": JOBS - 30}
    assert bench.settled[-1][1] > 0
    assert bench.store.faults() == []


def test_a_recall_gives_back_what_has_not_begun(bench: Bench) -> None:
    def pause(_: Orders) -> None:
        bench.store.pause([], bench.clock.now())
        recall.claims(bench.home)

    bench.during["30"] = pause
    assert bench.worker.run(), "of a paused queue nothing is left to be done"
    assert bench.ran[-1] == "30"
    assert states(bench) == {"completed": 30, "pending": JOBS - 30}


def test_what_is_cancelled_before_it_begins_does_not_begin(bench: Bench) -> None:
    def cancel(_: Orders) -> None:
        bench.store.cancel(["31"], bench.clock.now())
        recall.claims(bench.home)

    bench.during["30"] = cancel
    assert bench.worker.run()
    assert "31" not in bench.ran
    assert states(bench) == {"completed": JOBS - 1, "cancelled": 1}
    assert bench.store.attempts("31") == []


def test_a_cancel_is_heard_though_the_job_that_runs_is_not_meant(bench: Bench) -> None:
    """Where the disk is full nothing is recalled: then the supervisor's word must do."""

    def cancel(orders: Orders) -> None:
        bench.store.cancel(["31"], bench.clock.now())
        bench.supervisor.send(LOOK_FOR_CANCEL)
        assert orders.wait(0) is None

    bench.during["30"] = cancel
    assert bench.worker.run()
    assert "31" not in bench.ran
    assert states(bench) == {"completed": JOBS - 1, "cancelled": 1}
    assert bench.store.attempts("31") == []


def test_a_cancel_that_cannot_be_seen_is_looked_for_again(bench: Bench) -> None:
    looks: list[str] = []
    heard: list[object] = []

    def look(claim: Claim, *, patiently: bool) -> bool:
        assert not patiently, "its job may have a timeout"
        looks.append(claim.id)
        if len(looks) < 3:
            raise StoreBusy("locked")
        return True

    def run_on(orders: Orders) -> None:
        bench.supervisor.send(LOOK_FOR_CANCEL)
        heard.extend(order for _ in range(4) if (order := orders.wait(PATIENCE / 4)))

    bench.is_cancel_requested = look
    bench.during["30"] = run_on
    assert bench.worker.run()
    assert (looks, heard) == (["30"] * 3, [CANCEL]), "not at the next sign of life only"


def test_what_takes_long_is_noted_and_the_rest_given_back_while_it_runs(bench: Bench) -> None:
    def take_long(orders: Orders) -> None:
        before = states(bench)
        assert before["processing"] > 1
        assert bench.store.get("31").started_at is None
        bench.clock.forward(1)
        orders.wait(0)
        assert states(bench) == {"completed": 30, "processing": 1, "pending": JOBS - 31}
        assert bench.store.get("31").started_at is not None
        orders.wait(0)

    bench.during["31"] = take_long
    assert bench.worker.run()
    assert states(bench) == {"completed": JOBS}
    assert bench.store.faults() == []


def test_a_worker_that_rests_claims_nothing_with_what_it_records(bench: Bench) -> None:
    """And hears of a stop meanwhile."""

    def look(orders: Orders) -> None:
        assert states(bench) == {"completed": 1, "processing": 1, "pending": JOBS - 2}

    bench.crowd.rests = {1: 0.01, 3: 10 * PATIENCE}
    bench.during["2"] = look
    bench.during["3"] = lambda orders: bench.supervisor.send(STOP)
    assert not bench.worker.run()
    assert bench.ran == ["1", "2", "3"]
    assert states(bench) == {"completed": 3, "pending": JOBS - 3}
    assert bench.crowd.told == [1, 2, 3]


def test_a_worker_may_rest_before_its_first_job(bench: Bench) -> None:
    bench.crowd.at_first = 10 * PATIENCE
    bench.supervisor.send(STOP)
    assert not bench.worker.run()
    assert bench.ran == []
