"""A power loss as SQLite meets it: the database and the beginning of its log, of one moment."""

from __future__ import annotations

import bisect
import contextlib
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from queuectl import Queue, settings
from queuectl.model import Claim, Outcome
from queuectl.retry import judge
from queuectl.store.sqlite import SQLiteStore

HEADER = 32
FRAME = 24 + 4096
"""What one page takes in the log (https://www.sqlite.org/fileformat2.html#the_write_ahead_log)."""

State = dict[str, tuple[str, int, int]]


def state_of(queue: Queue) -> State:
    """What can be lost: each job's state, its charged attempts, and how many there are in its history."""
    with contextlib.closing(sqlite3.connect(queue.home.database)) as connection:
        rows = connection.execute(
            "SELECT id, state, attempts, (SELECT count(*) FROM attempts WHERE job_seq = seq) + (state = 'processing')"
            " FROM jobs"
        )
        return {job_id: (state, charged, ran) for job_id, state, charged, ran in rows}


@dataclass(frozen=True)
class Disk:
    """What lies on the disk at one moment, and what was confirmed up to which byte of the log."""

    database: bytes
    log: bytes
    begin: int
    """Below this byte, the log is in the database already, and in part only: it cannot be missing."""
    history: list[tuple[int, State]]

    @property
    def end(self) -> int:
        """The end of what belongs to this round of the log."""
        return self.history[-1][0]

    def confirmed(self, cut: int) -> State:
        """All that was confirmed when the log was this long."""
        return [state for end, state in self.history if end <= cut][-1]

    def put(self, home: Path, log: bytes) -> Queue:
        """Lay it down in a directory of its own, with a log that the power loss left."""
        home.mkdir(parents=True)
        (home / "run").mkdir()
        (home / "queuectl.db").write_bytes(self.database)
        (home / "queuectl.db-wal").write_bytes(log)
        return Queue(home / "queuectl.db")


@dataclass
class Load:
    """The only writer of a queue: it enqueues, cancels, claims, records and retries, all by the dice."""

    queue: Queue
    dice: random.Random
    history: list[tuple[int, State]] = field(default_factory=list)
    now: int = 1_700_000_000_000_000
    _claims: list[Claim] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._path = Path(self.queue.home.database)
        self._log = Path(f"{self._path}-wal")
        self._workers = SQLiteStore(str(self._path), 30, durable=False)

    def run(self, steps: int) -> None:
        """Do some steps, and note after each how long the log is and what holds then."""
        for _ in range(steps):
            self.now += 1000
            self.dice.choices((self._add, self._cancel, self._claim, self._finish, self._retry), (3, 1, 4, 3, 1))[0]()
            self.note()

    def note(self) -> None:
        self.history.append((written(self._log.read_bytes()), state_of(self.queue)))

    def checkpoint(self) -> int:
        """Bring the log into the database; the bytes of it that are there now. Nobody but a reader is in the way."""
        with self._workers._connections.using() as connection:
            _, _, frames = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return HEADER + int(frames) * FRAME

    def begin_anew(self) -> None:
        """Bring all of the log into the database; the next write goes to its beginning again."""
        assert self.checkpoint() == self.history[-1][0]
        self.history[:] = [(0, self.history[-1][1])]
        self._add()
        self.note()

    def disk(self, begin: int = 0) -> Disk:
        """What is on the disk now. Nobody writes meanwhile."""
        return Disk(self._path.read_bytes(), self._log.read_bytes(), begin, list(self.history))

    def close(self) -> None:
        self._workers.close()
        self.queue.close()

    def _add(self) -> None:
        job = {"command": f"echo {'x' * self.dice.choice((1, 6000))}", "max_retries": self.dice.choice((0, 3))}
        self.queue.add_many([job] * self.dice.choice((1, 1, 5)))

    def _cancel(self) -> None:
        self._one_of("pending", "processing", do=self.queue.cancel)

    def _retry(self) -> None:
        self._one_of("dead", "cancelled", do=self.queue.retry)

    def _one_of(self, *states: str, do: Callable[[str], object]) -> None:
        if ids := [job.id for job in self.queue.jobs(state=states)]:
            do(self.dice.choice(ids))

    def _claim(self) -> None:
        claim = self._workers.claim("worker-1", self.now)
        if claim is not None:
            self._claims.append(claim)

    def _finish(self) -> None:
        if self._claims:
            claim = self._claims.pop(self.dice.randrange(len(self._claims)))
            kind, code = self.dice.choice((("succeeded", 0), ("failed", 1), ("released", None)))
            verdict = judge(kind, claim.attempts, claim.max_retries, 0, settings.DEFAULTS.backoff_max)
            self._workers.finish(claim, Outcome(kind, exit_code=code), verdict, self.now, self.now)


def written(log: bytes) -> int:
    """The length of the log's present round: what lies behind it is of rounds before."""
    salts, end = log[16:24], HEADER if len(log) >= HEADER else 0
    while len(log) >= end + FRAME and log[end + 8 : end + 16] == salts:
        end += FRAME
    return end


def agreed(one: bytes, other: bytes) -> int:
    """How many bytes they begin with alike."""
    return bisect.bisect(range(min(len(one), len(other))), 0, key=lambda at: one[: at + 1] != other[: at + 1])
