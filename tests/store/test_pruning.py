"""Removing what ended long ago, a few at a time, and giving its space back."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from store.backends import T0, add, after, claim, finish, job
from unit.support import HandClock

from queuectl import Queue, pruning
from queuectl.clock import SECOND
from queuectl.errors import Conflict, InvalidInput, NoSuchJob, StoreError
from queuectl.home import Home
from queuectl.model import ENDED, Pruned
from queuectl.pruning import Janitor, prune
from queuectl.store.base import Store
from queuectl.store.sqlite import SQLiteStore
from queuectl.waiting import Watch


def all_kinds(store: Store) -> None:
    """A job in each state; the ended ones ended a second after one another."""
    for number, kind in enumerate(("succeeded", "failed"), 1):
        add(store, kind, max_retries=0)
        assert finish(store, claim(store), kind, after(number))
    add(store, "cancelled", "waiting", "running")
    store.cancel(["cancelled"], after(3))
    store.edit("running", {"priority": 1}, T0)
    assert claim(store).id == "running"


def test_only_what_ended_before_goes(store: Store) -> None:
    all_kinds(store)
    assert store.count_old(ENDED, after(3)) == 2
    assert store.prune(ENDED, after(3), 100, list) == (2, True)
    assert [each.id for each in store.jobs()] == ["cancelled", "waiting", "running"]
    with pytest.raises(NoSuchJob):
        store.attempts("succeeded")
    assert store.prune(("pending", "processing"), after(99), 100, list) == (0, False)
    assert store.prune(ENDED, after(99), 100, list) == (1, True)
    assert store.prune(ENDED, after(99), 100, list) == (0, False)
    assert store.faults() == []


def test_only_the_named_states_go(store: Store) -> None:
    all_kinds(store)
    assert store.prune(("dead",), after(99), 100, list).jobs == 1
    assert [each.id for each in store.jobs()] == ["succeeded", "cancelled", "waiting", "running"]


def test_at_most_so_many_go_at_once(store: Store) -> None:
    all_kinds(store)
    for left in (2, 1, 0):
        assert store.prune(ENDED, after(99), 1, list) == (1, True)
        assert store.count_old(ENDED, after(99)) == left
    assert [each.id for each in store.jobs()] == ["waiting", "running"]


def test_numbers_are_not_given_out_again(store: Store) -> None:
    (first,) = store.add([job(max_retries=0)], T0, 3)
    assert finish(store, claim(store), "succeeded", T0)
    assert store.prune(ENDED, after(1), 9, list).jobs == 1
    assert list(store.add([job()], T0, 3)) == [str(int(first) + 1)]


def test_logs_go_when_it_is_certain_that_their_jobs_are_gone(store: Store, other: Store) -> None:
    """Who is killed in between leaves logs without a job, never a job without its log."""
    all_kinds(store)
    handed: list[str] = []

    def discard(ids: Sequence[str]) -> Sequence[str]:
        handed.extend(ids)
        return ids

    assert store.prune(ENDED, after(99), 9, discard) == (3, True)
    assert (handed, store.count_old_logs()) == ([], 2)
    assert other.prune((), 0, 9, discard) == (0, False)
    assert sorted(handed) == ["failed", "succeeded"], "what never started has no log"
    assert store.count_old_logs() == 0


def test_logs_that_cannot_go_now_are_for_the_next_time(store: Store) -> None:
    all_kinds(store)
    assert store.prune(ENDED, after(2), 9, list).jobs == 1

    def failing(ids: Sequence[str]) -> Sequence[str]:
        raise StoreError("cannot remove it")

    with pytest.raises(StoreError, match="cannot remove it"):
        store.prune(ENDED, after(99), 9, failing)
    assert (len(store.jobs()), store.count_old_logs()) == (4, 1), "nothing more is removed before"
    assert store.prune(ENDED, after(99), 9, lambda ids: []) == (0, True)
    assert store.prune(ENDED, after(99), 9, list) == (2, True)


def test_a_log_is_left_to_another_job_of_its_name(store: Store) -> None:
    add(store, "a", "b", max_retries=0)
    for _ in range(2):
        assert finish(store, claim(store))
    assert store.prune(ENDED, after(1), 9, list).jobs == 2
    add(store, "a", "b")
    assert claim(store).id == "a"
    handed: list[str] = []

    def discard(ids: Sequence[str]) -> Sequence[str]:
        handed.extend(ids)
        return ids

    assert store.prune(ENDED, after(1), 9, discard) == (0, False)
    assert (handed, store.count_old_logs()) == (["b"], 0), "b has none of its own yet"


def test_a_dependent_goes_on_without_what_it_needed(store: Store) -> None:
    add(store, "a", "b")
    store.add([job("c", after=("a", "b"))], T0, 3)
    assert finish(store, claim(store))
    assert store.prune(ENDED, after(1), 9, list).jobs == 1
    assert store.get("c").blockers == 1
    assert finish(store, claim(store))
    assert claim(store).id == "c"
    assert store.faults() == []


def test_a_pruned_job_cannot_be_retried_and_a_retried_one_not_pruned(store: Store, other: Store) -> None:
    add(store, "a", "b", max_retries=0)
    for _ in range(2):
        assert finish(store, claim(store), "failed")
    other.revive(["a"], ["dead"], T0)
    assert store.prune(ENDED, after(1), 9, list).jobs == 1
    with pytest.raises(NoSuchJob):
        other.revive(["b"], ["dead"], T0)
    with pytest.raises(Conflict):
        other.revive(["a"], ["dead"], T0)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """Two days later."""
    home = Queue.init(tmp_path / "queuectl.db").home
    return Queue(home.database, clock=HandClock(after(2 * 86_400)))


def ended(queue: Queue, count: int, command: str = "true") -> SQLiteStore:
    """A queue's store, with jobs that ended at T0, and a log of each, as if they had run."""
    store = SQLiteStore(queue.home.database, 30)
    ids = list(store.add([job(command=command) for _ in range(count)], T0, 3))
    store.cancel(ids, T0)
    with store._connections.transaction() as connection:
        connection.execute("UPDATE jobs SET starts = 1")
        connection.execute(
            "INSERT INTO attempts (job_seq, number, started_at, ended_at, outcome) "
            "SELECT seq, 1, created_at, created_at, 'cancelled' FROM jobs"
        )
    for job_id in ids:
        Path(queue.home.log(job_id)).write_text("output")
    return store


def test_logs_go_with_their_jobs(queue: Queue) -> None:
    store = ended(queue, 1200)
    stays = queue.enqueue("true")
    Path(queue.home.log(stays.id)).write_text("")
    assert queue.prune("1d") == 1200
    assert [each.id for each in queue.jobs()] == [stays.id]
    assert os.listdir(queue.home.logs) == [f"{stays.id}.log"]
    store.close()


def test_a_dry_run_changes_nothing(queue: Queue) -> None:
    store = ended(queue, 3)
    assert queue.prune(0, dry_run=True) == 3
    assert len(queue.jobs()) == len(os.listdir(queue.home.logs)) == 3
    with pytest.raises(InvalidInput, match="only ended jobs can be removed"):
        queue.prune(0, "pending")
    store.close()


def test_space_comes_back(queue: Queue) -> None:
    store = ended(queue, 0)
    ids = list(store.add([job(command="x" * 5000) for _ in range(3000)], T0, 3))
    store.cancel(ids, T0)
    store.close()
    full = os.path.getsize(queue.home.database)
    assert queue.prune("1d") == 3000
    queue.close()
    assert os.path.getsize(queue.home.database) < full / 10


@pytest.fixture
def janitors(queue: Queue) -> Iterator[list[Janitor]]:
    """Two, of workers of one queue with 700 jobs that completed or were cancelled at T0, and one that died then."""
    store = ended(queue, 700)
    store.add([job("dead", max_retries=0)], T0, 0)
    assert finish(store, claim(store), "failed", T0)
    both = [Janitor(Home(queue.home.database), store) for _ in range(2)]
    yield both
    for each in both:
        each.rest()
    store.close()


def test_a_janitor_looks_now_and_then_and_keeps_what_is_young(queue: Queue, janitors: list[Janitor]) -> None:
    janitor, _ = janitors
    assert janitor.wait(0, 5.0) is None
    janitor.tidy(0, after(99), 5.0)
    janitor.tidy(100, after(99), 5.0)
    assert len(queue.jobs()) == 701
    assert janitor.wait(100, 5.0) == Janitor.PACE
    assert not janitor.is_due(4.9 + Janitor.PACE)
    assert janitor.is_due(5.0 + Janitor.PACE)
    janitor.tidy(50, after(99), 5.0 + Janitor.PACE)
    assert 1 < len(queue.jobs()) < 701
    for second in range(66, 99):
        if janitor.is_due(second):
            janitor.tidy(50, after(99), second)
    assert [each.id for each in queue.jobs()] == ["dead"], "it is for somebody to look at"
    assert os.listdir(queue.home.logs) == []


def test_one_janitor_at_a_time_is_in_office(queue: Queue, janitors: list[Janitor]) -> None:
    one, two = janitors
    one.tidy(50, after(99), 5.0)
    left = len(queue.jobs())
    two.tidy(50, after(99), 5.0)
    assert left == len(queue.jobs()) < 701
    assert (one.is_due(6.0), two.is_due(6.0)) == (True, False)
    one.rest()
    for second in range(70, 99):
        two.tidy(50, after(99), second)
        one.tidy(50, after(99), second)
        assert one.wait(50, second) == Janitor.PACE
        if two.wait(50, second) == Janitor.PACE:
            break
    assert [each.id for each in queue.jobs()] == ["dead"]


def test_a_busy_janitor_does_little_and_leaves_the_office(queue: Queue, janitors: list[Janitor]) -> None:
    one, two = janitors

    def left() -> int:
        return len(queue.jobs()) + len(os.listdir(queue.home.logs))

    one.tidy(50, after(99), 5.0, busy=True)
    then = left()
    assert then < 1401
    assert (one.is_due(5.5), one.is_due(6.0)) == (False, True)
    two.tidy(50, after(99), 5.0)
    assert left() < then


def test_a_janitor_that_fails_looks_again_later(queue: Queue, janitors: list[Janitor]) -> None:
    one, two = janitors
    one.tidy(50, after(99), 5.0)
    logs = Path(queue.home.logs)
    (first, *_) = sorted(logs.iterdir())
    logs.rename(logs.with_name("kept"))
    logs.symlink_to("job_logs")  # a name that leads nowhere
    with pytest.raises(StoreError, match="cannot remove the log"):
        one.tidy(50, after(99), 6.0)
    assert one.wait(50, 6.0) == Janitor.PACE
    logs.unlink()
    logs.with_name("kept").rename(logs)
    two.tidy(50, after(99), 6.0)
    assert not first.exists(), "another took over"


def test_what_lies_in_the_place_of_a_log_is_no_obstacle(queue: Queue) -> None:
    store = ended(queue, 2)
    one, two = (Path(queue.home.log(each)) for each in ("1", "2"))
    one.unlink()
    one.mkdir()
    two.unlink()
    two.symlink_to(queue.home.database)
    assert queue.prune(0) == 2
    assert (one.is_dir(), os.path.lexists(two), os.path.exists(queue.home.database)) == (True, False, True)
    store.close()


def test_large_logs_do_not_keep_others_waiting(queue: Queue) -> None:
    """However long each takes, one transaction removes only so many."""
    store = ended(queue, 20)
    assert pruning.prune_some(queue.home, store, ENDED, after(1), 0.0) == (20, True)
    for left in range(19, 0, -1):
        assert pruning.prune_some(queue.home, store, ENDED, after(1), 0.0) == (0, True)
        assert len(os.listdir(queue.home.logs)) == left
    assert pruning.prune_some(queue.home, store, ENDED, after(1), 0.0) == (0, False)
    assert os.listdir(queue.home.logs) == []
    store.close()


def test_removal_and_retry_of_the_same_jobs_at_once(queue: Queue) -> None:
    """Each is removed or put back, whole."""
    store = ended(queue, 200)
    revived: list[str] = []

    def put_back() -> None:
        again = SQLiteStore(queue.home.database, 30)
        for number in range(200, 0, -1):
            with contextlib.suppress(NoSuchJob):
                revived.extend(again.revive([str(number)], ENDED, after(2)))
        again.close()

    thread = threading.Thread(target=put_back)
    thread.start()
    removed = 0
    more = True
    while more:
        jobs, more = store.prune(ENDED, after(1), 3, list)
        removed += jobs
    thread.join()
    assert removed + len(revived) == 200
    assert sorted(each.id for each in queue.jobs()) == sorted(revived)
    assert set(queue.counts().items()) >= {("pending", len(revived)), ("cancelled", 0)}
    assert store.faults() == []
    store.close()


def test_who_waits_for_a_job_that_is_pruned(queue: Queue) -> None:
    """What was seen of its end counts; where nothing was, nobody claims that all went well."""
    store = SQLiteStore(queue.home.database, 30)
    add(store, "a", "b", "c", max_retries=0)
    watch = Watch(store, ["a", "b", "c"])
    assert finish(store, claim(store))
    watch.look()
    assert store.prune(ENDED, after(1), 9, list).jobs == 1
    watch.look()
    assert (watch.counts["completed"], watch.counts["pending"]) == (1, 2)
    assert finish(store, claim(store), "failed")
    assert store.prune(ENDED, after(1), 9, list).jobs == 1
    with pytest.raises(NoSuchJob, match="job b was pruned before"):
        watch.look()
    store.close()


def test_others_come_in_between(queue: Queue) -> None:
    """Each transaction removes a bounded number."""
    store = ended(queue, 1600)
    sizes: list[int] = []
    real = store.prune

    def noted(*arguments: object) -> Pruned:
        done = real(*arguments)  # type: ignore[arg-type]
        sizes.append(done.jobs)
        return done

    store.prune = noted  # type: ignore[method-assign, assignment]
    assert prune(queue.home, store, ENDED, T0 + SECOND) == 1600
    assert max(sizes) <= 500
    store.close()


def pipeline(store: Store) -> None:
    """``a``, which failed for good, and ``b`` to ``d``, of which each needs the one before; all at T0."""
    add(store, "a", max_retries=0)
    store.add([job("b", after=("a",)), job("c", after=("b",)), job("d", after_any=("a",))], T0, 3)
    assert finish(store, claim(store), "failed")
    store.cancel(["d"], T0)


def left(store: Store) -> str:
    return "".join(each.id for each in store.jobs())


def pruned(store: Store, *states: str, before: int = after(1), most: int = 100) -> int:
    """How many go, which is what was foretold."""
    removed = store.count_old(states, before)
    total = 0
    while (step := store.prune(states, before, most, list)).more:
        assert step.jobs <= most
        total += step.jobs
    assert total == removed
    assert store.count_old(states, before) == 0
    assert store.faults() == []
    return removed


def test_what_can_come_back_with_a_job_that_stays_is_kept(store: Store) -> None:
    pipeline(store)
    assert pruned(store, "completed", "cancelled") == 1
    assert left(store) == "abc", "d was cancelled by its user"
    assert store.revive(["a"], ["dead"], T0, with_dependents=True) == ["a", "b", "c"]
    for _ in "abc":
        assert finish(store, claim(store))
    assert pruned(store, "completed", "cancelled") == 3


def test_what_needs_a_job_that_was_removed_before_it_completed_never_starts(store: Store) -> None:
    pipeline(store)
    assert pruned(store, "dead") == 1
    said = "job b needs job a, which did not complete and was pruned: enqueue it anew without that one"
    with pytest.raises(Conflict, match=said):
        store.revive(["b"], ENDED, T0)
    with pytest.raises(Conflict, match="job c needs job b, which is cancelled"):
        store.revive(["c"], ENDED, T0)
    assert store.revive(["d"], ENDED, T0) == ["d"], "it needed only an end"
    assert store.revive(None, ["dead"], T0, with_dependents=True) == []


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize("named", [("dead", "cancelled"), ("cancelled", "dead")])
def test_it_goes_with_that_job(store: Store, named: tuple[str, ...], most: int) -> None:
    pipeline(store)
    assert pruned(store, *named, most=most) == 4


def test_it_goes_once_that_job_has_gone_or_completed(store: Store, other: Store) -> None:
    pipeline(store)
    assert pruned(store, "dead") == 1
    assert pruned(other, "cancelled") == 3
    pipeline(store)
    store.revive(["a"], ["dead"], T0)
    assert pruned(store, "cancelled") == 1
    assert left(store) == "abc", "it may fail once more"
    assert finish(store, claim(store))
    assert pruned(store, "cancelled") == 2
    assert left(store) == "a"


def test_what_is_younger_than_what_it_needed_goes_later(store: Store) -> None:
    add(store, "a")
    store.add([job("b", after=("a",)), job("c", after=("b",))], T0, 3)
    store.cancel(["a"], T0)
    store.add([job("late", after=("c",))], after(5), 3)
    assert pruned(store, "cancelled", before=after(2)) == 3
    assert left(store) == "late"
    assert pruned(store, "cancelled", before=after(9)) == 1


def test_of_several_that_it_needs_one_that_is_gone_is_enough(store: Store) -> None:
    add(store, "a", "b", max_retries=0)
    store.add([job("c", after=("a", "b")), job("d", after=("c",)), job("e", after=("b",))], T0, 3)
    store.cancel(["a"], T0)
    assert finish(store, claim(store), "failed")
    assert pruned(store, "cancelled") == 3
    assert left(store) == "be"


def test_a_long_pipeline_goes_in_a_few_steps(store: Store) -> None:
    """In whichever order its jobs stand."""
    many = 700
    later = [job(f"r{n}", after=(f"r{n + 1}",)) for n in range(many)]
    sooner = [job(f"s{n}", after=(f"s{n - 1}" if n else "root",)) for n in range(many)]
    store.add([*later, job(f"r{many}", after=("root",)), job("root"), *sooner], T0, 3)
    store.cancel(["root"], T0)
    steps = 0
    while store.prune(("cancelled",), after(1), 500, list).more:
        steps += 1
    assert (left(store), steps) == ("", 3)
