"""Looking at a queue again and again: what is seen anew, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl import Queue, StoreError
from queuectl.clock import Clock
from queuectl.model import STATES, Glance, Outcome
from queuectl.observer import Observer
from queuectl.retry import Verdict
from queuectl.store.sqlite import SQLiteStore


class SetClock(Clock):
    """A clock that stands, until it is set."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def monotonic(self) -> float:
        return self.moment


class SlowStore(SQLiteStore):
    """To count its jobs takes as long as is said."""

    def __init__(self, path: str, clock: SetClock) -> None:
        super().__init__(path, 30)
        self.takes = 0.0
        self.counted = 0
        self._clock = clock

    def glance(self, now: int, most: int, *, count: bool = True) -> Glance:
        if count:
            self.counted += 1
            self._clock.moment += self.takes
        return super().glance(now, most, count=count)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue.init(tmp_path / "queuectl.db")


def test_nothing_has_changed_until_something_does(queue: Queue) -> None:
    clock = SetClock()  # by a real one, the first look may take so long that jobs are not counted again at once
    store = SlowStore(queue.home.database, clock)
    observer = Observer(lambda: store, queue.home, clock)
    assert observer.look().counts == dict.fromkeys(STATES, 0)
    assert not observer.has_changed()
    queue.enqueue("true", id="a")
    assert observer.has_changed()
    assert observer.look().counts["pending"] == 1
    assert not observer.has_changed()
    other = Queue(queue.home.database)
    other.cancel("a")
    assert observer.has_changed()
    assert observer.look().counts["cancelled"] == 1
    Path(queue.home.supervisor_state).write_text("{}")
    assert observer.has_changed(), "workers say something else"
    observer.look()
    assert not observer.has_changed()


def test_where_counting_takes_long_it_is_done_less_often_but_at_last(queue: Queue) -> None:
    clock = SetClock()
    store = SlowStore(queue.home.database, clock)
    observer = Observer(lambda: store, queue.home, clock)
    store.takes = 0.5
    observer.look()
    for number in range(3):
        queue.enqueue("true")
        clock.moment += 1
        assert observer.has_changed()
        assert observer.look().counts["pending"] == 0, number
        assert not observer.has_changed()
    assert store.counted == 1
    clock.moment += 3
    assert observer.has_changed(), "the counts are old"
    assert observer.look().counts["pending"] == 3
    assert not observer.has_changed()
    clock.moment += 100
    assert not observer.has_changed()
    assert store.counted == 2


def test_after_an_error_it_takes_what_lies_there(queue: Queue, tmp_path: Path) -> None:
    queue.enqueue("true", id="a")
    observer = queue.observe()
    observer.look()
    kept = tmp_path / "kept"
    for name in ("queuectl.db", "queuectl.db-wal", "queuectl.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(StoreError):
        observer.look()
    with pytest.raises(StoreError):
        observer.look()
    other = Queue.init(kept / "queuectl.db")
    other.enqueue("true")
    other.enqueue("true")
    other.close()
    for path in kept.glob("queuectl.db*"):
        path.rename(tmp_path / path.name)
    assert observer.look().counts["pending"] == 2


def test_there_is_no_pace_where_nothing_ends(queue: Queue) -> None:
    clock = SetClock()
    store = SlowStore(queue.home.database, clock)
    observer = Observer(lambda: store, queue.home, clock)
    picture = observer.look()
    clock.moment += 10
    assert observer.aged(picture).rate is None
    assert observer.look().rate is None


def test_the_pace_grows_old_only_where_nothing_is_left_to_be_counted(queue: Queue) -> None:
    clock = SetClock()
    store = SlowStore(queue.home.database, clock)
    observer = Observer(lambda: store, queue.home, clock)
    observer.look()
    jobs = [queue.enqueue("true", max_retries=0).id for _ in range(10)]
    for _ in jobs:
        claim = store.claim("worker-1", 1)
        assert claim is not None
        assert store.finish(claim, Outcome("succeeded"), Verdict("completed"), 1, 1)[0]
    clock.moment += 10
    store.takes = 10
    picture = observer.look()
    assert picture.rate == pytest.approx(0.5)
    clock.moment += 20
    assert observer.aged(picture).rate == pytest.approx(0.25)
    queue.enqueue("true")
    picture = observer.look()
    assert picture.counts["pending"] == 0
    assert picture.rate == pytest.approx(0.5), "that of when it was counted last"
    clock.moment += 5
    assert observer.aged(picture).rate == picture.rate
