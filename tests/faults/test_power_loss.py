"""Power loss: whatever part of the log reached the disk, all that was confirmed before is there, and nothing half."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance
from faults.power import FRAME, HEADER, Disk, Load, State, agreed, state_of

from queuectl import Queue

SEED = 20_260_401
CUTS = 30
"""At the borders of so many frames of each disk, and at so many bytes of any kind."""


@contextlib.contextmanager
def loaded(home: Path) -> Iterator[Load]:
    load = Load(Queue.init(home / "queuectl.db"), random.Random(SEED))
    try:
        load.note()
        yield load
    finally:
        load.close()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    with loaded(tmp_path / "source") as load:
        yield load


def never_checkpointed(load: Load) -> Disk:
    """All is in the log."""
    load.run(60)
    return load.disk()


def begun_anew(load: Load) -> Disk:
    """The log was brought into the database, and is written from its beginning again, over what was there."""
    load.run(60)
    load.begin_anew()
    load.run(25)
    disk = load.disk()
    assert 0 < disk.end < len(disk.log), "there are frames of the round before behind the end"
    return disk


def half_way(load: Load) -> Disk:
    """A reader held its view of an earlier moment: the log is in the database up to there, and goes on."""
    load.run(30)
    reader = sqlite3.connect(load.queue.home.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM jobs").fetchone()
    load.run(25)
    begin = load.checkpoint()
    assert HEADER < begin < load.history[-1][0]
    reader.execute("COMMIT")
    reader.close()
    return load.disk(begin)


DISKS = (never_checkpointed, begun_anew, half_way)


def opened(queue: Queue) -> State:
    """What a queue holds when it is opened after the power loss; it is sound."""
    try:
        found = state_of(queue)
        assert_books_balance(queue)
    finally:
        queue.close()
    connection = sqlite3.connect(queue.home.database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return found


def cuts_of(disk: Disk, dice: random.Random) -> list[int]:
    """Where the log is cut: at borders of frames, a byte before and after, and anywhere."""
    frames = dice.choices(
        range((disk.begin - HEADER) // FRAME if disk.begin else 0, (disk.end - HEADER) // FRAME), k=CUTS
    )
    borders = [HEADER + number * FRAME + off for number in frames for off in (-1, 0, 1)]
    anywhere = [dice.randint(disk.begin, disk.end) for _ in range(CUTS)]
    return sorted({cut for cut in (0, 1, *borders, *anywhere, disk.end) if disk.begin <= cut <= disk.end})


@pytest.fixture(scope="module", params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """By the same dice for all: what becomes of it, becomes of copies."""
    with loaded(tmp_path_factory.mktemp("source")) as load:
        make: Callable[[Load], Disk] = request.param
        return make(load)


def test_the_log_cut_anywhere(disk: Disk, tmp_path: Path) -> None:
    cuts = cuts_of(disk, random.Random(SEED))
    assert len(cuts) > 100
    for cut in cuts:
        home = tmp_path / "cut"
        assert opened(disk.put(home, disk.log[:cut])) == disk.confirmed(cut), f"cut at {cut} of {disk.end}"
        shutil.rmtree(home)


def zeros(log: bytearray, at: int, dice: random.Random) -> None:
    """The file was made longer, and what was written into it did not come through."""
    log[at:] = bytes(len(log) - at)


def garbage(log: bytearray, at: int, dice: random.Random) -> None:
    """The sectors held something else before."""
    log[at:] = dice.randbytes(len(log) - at + dice.randrange(FRAME))


def torn(log: bytearray, at: int, dice: random.Random) -> None:
    """One sector of a frame did not come through, and all that follows did."""
    log[at : at + 512] = dice.randbytes(512)


def flipped(log: bytearray, at: int, dice: random.Random) -> None:
    """One bit is wrong."""
    log[at] ^= 1 << dice.randrange(8)


@pytest.mark.parametrize("spoil", [zeros, garbage, torn, flipped])
def test_a_log_that_is_spoilt_from_somewhere_on(
    disk: Disk, spoil: Callable[[bytearray, int, random.Random], None], tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    for number in range(12):
        log = bytearray(disk.log)
        at = dice.randrange(max(HEADER, disk.begin), disk.end - 512)
        spoil(log, at, dice)
        spoilt = bytes(log)
        home = tmp_path / str(number)
        assert opened(disk.put(home, spoilt)) == disk.confirmed(agreed(disk.log, spoilt)), (
            f"spoilt at {at} of {disk.end}"
        )
        shutil.rmtree(home)


@pytest.mark.parametrize("seed", range(3))
def test_what_ran_at_the_power_loss_runs_again(load: Load, seed: int, mode: str, tmp_path: Path) -> None:
    disk = never_checkpointed(load)
    running = [
        end for end, state in disk.history if sum(what == "processing" for what, *_ in state.values()) in (2, 3, 4)
    ]
    cut = random.Random(seed).choice(running) + 777
    home = tmp_path / "home"
    queue = disk.put(home, disk.log[:cut])
    lost = [job.id for job in queue.jobs(state="processing")]
    before = {job_id: len(queue.attempts(job_id)) for job_id in lost}
    waiting = [job.id for job in queue.jobs(state="pending")]
    queue.close()
    farm = Farm(home)
    try:
        farm.run("config", "set", "backoff_base", "0")
        farm.start(2, mode)
        farm.queue.wait(timeout=PATIENCE)
        for job_id in lost:
            outcomes = [attempt.outcome for attempt in farm.queue.attempts(job_id)][before[job_id] - 1 :]
            job = farm.queue.get(job_id)
            assert outcomes[0] in ("crashed", "cancelled")
            assert (job.state, outcomes[1:]) in (("completed", ["succeeded"]), ("dead", []), ("cancelled", []))
            if job.state == "completed":
                assert Path(farm.home.log(job_id)).read_text().startswith("x")
        assert {farm.queue.get(job_id).state for job_id in waiting} <= {"completed"}
        assert_books_balance(farm.queue)
    finally:
        farm.clean_up()
