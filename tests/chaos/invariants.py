"""What holds after any round, whatever was dealt: each check returns its violations, a line each."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from ground import Ground, describe
from jobs import BY_NAME, GROUP, LIMIT
from ledger import ACCEPTED, REFUSED, Batch, Frozen, Ledger
from organizer import SCHEDULE

from queuectl.model import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    DEAD,
    NOT_STARTED,
    RELEASED,
    STOPPED,
    SUCCEEDED,
    TIMED_OUT,
    Attempt,
    Job,
)
from queuectl.store.sqlite import SQLiteStore

_NEAR = 1.0
"""Seconds within which a removal of the logs may have kept an attempt from opening its own."""


@dataclass
class Account:
    """All that the queue recorded."""

    jobs: list[Job] = field(default_factory=list)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)

    def outcomes(self) -> Counter[str]:
        """How many attempts ended in which way."""
        return Counter(str(attempt.outcome) for each in self.attempts.values() for attempt in each)


def check(ground: Ground) -> tuple[Account, list[str]]:
    """Take the account, and hold everything against it."""
    found = [*_what_is_left(ground), *_integrity(ground)]
    jobs = ground.queue.jobs()
    account = Account(jobs, {job.id: ground.queue.attempts(job.id) for job in jobs})
    found += ground.ledger.violations
    found += ground.evidence.complaints()
    found += _batches(ground.ledger, account)
    found += _limit(account)
    found += _keys(account)
    found += _schedule(account)
    for frozen in ground.ledger.frozen:
        found += _stood_still(frozen, account, ground.ledger)
    for job in jobs:
        attempts = account.attempts[job.id]
        for violation in (
            *_ending(job, attempts, ground.ledger),
            *_numbering(job, attempts),
            *_outcomes(job, attempts, ground.ledger),
            *_evidence(job, attempts, ground),
            *_log(job, attempts, ground),
        ):
            found.append(f"job {job.id} ({_kind(job)}): {violation}")
    return account, found


def _kind(job: Job) -> str:
    return job.env.get("CHAOS_KIND", "unknown")


def _what_is_left(ground: Ground) -> Iterator[str]:
    """Call it first: the last command has just returned, and nothing may be there any more."""
    for process in ground.inhabitants():
        yield f"process left: {describe(process)}"
    for path in sorted(Path(ground.home.run).glob("*.pid")):
        yield f"PID file left: {path.name}"
    if ground.is_running():
        yield "the supervisor's lock is held"


def _limit(account: Account) -> Iterator[str]:
    """At no moment more jobs of the group ran than may."""
    moments = []
    for job in account.jobs:
        for attempt in account.attempts[job.id] if job.group == GROUP else ():
            moments += [(attempt.started_at, 1), (attempt.ended_at or "9999", -1)]
    running = 0
    for moment, change in sorted(moments):
        running += change
        if running > LIMIT:
            yield f"{running} jobs of the group ran at {moment}"


def _keys(account: Account) -> Iterator[str]:
    """No two jobs with the same key ran at the same time."""
    runs: dict[str, list[tuple[str, str, str]]] = {}
    for job in account.jobs:
        for attempt in account.attempts[job.id] if job.unique is not None else ():
            runs.setdefault(str(job.unique), []).append((attempt.started_at, attempt.ended_at or "9999", job.id))
    for key, each in runs.items():
        for (_, ended, one), (started, _, other) in pairwise(sorted(each)):
            if ended > started:
                yield f"jobs {one} and {other} ran at the same time with the key {key}"


def _schedule(account: Account) -> Iterator[str]:
    """It runs, and a run begins when the one before is over, whatever became of that."""
    runs = [account.attempts[job.id] for job in account.jobs if _is_scheduled(job) and account.attempts[job.id]]
    spans = sorted((attempts[0].started_at, attempts[-1].ended_at or "9999") for attempts in runs)
    for (_, ended), (started, _) in pairwise(spans):
        if ended > started:
            yield f"a run of the schedule began at {started}, the one before ended at {ended}"


def _is_scheduled(job: Job) -> bool:
    return job.env.get("CHAOS_BATCH") == SCHEDULE


def _stood_still(frozen: Frozen, account: Account, ledger: Ledger) -> Iterator[str]:
    """Nothing began that was on hold or paused."""
    for job in account.jobs:
        if frozen.job_id not in (None, job.id) or frozen.group not in (None, job.group):
            continue
        # Who takes a job back into the queue meanwhile wants it to run.
        if frozen.job_id is not None and any(deed.what == "retry" for deed in ledger.deeds.get(job.id, [])):
            continue
        for attempt in account.attempts[job.id]:
            if frozen.begun < _seconds(attempt.started_at) < frozen.ended:
                yield f"job {job.id} started at {attempt.started_at}, amid {frozen}"


def _integrity(ground: Ground) -> Iterator[str]:
    store = SQLiteStore(ground.home.database, 30)
    yield from store.faults()
    store.close()
    connection = sqlite3.connect(ground.home.database)
    try:
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"integrity_check: {line}"
        for row in connection.execute("PRAGMA foreign_key_check"):
            yield f"foreign_key_check: {row}"
    finally:
        connection.close()


def _batches(ledger: Ledger, account: Account) -> Iterator[str]:
    """Accepted is there, refused is not, and of what nobody knows all or nothing is; and there is no more."""
    there = Counter(job.env.get("CHAOS_BATCH") for job in account.jobs if not _is_scheduled(job))
    ids = {job.id for job in account.jobs}
    for batch in ledger.batches:
        yield from _batch(batch, there.pop(batch.label, 0), ids)
    for label, count in there.items():
        yield f"{count} jobs of a batch {label} that nobody enqueued"


def _batch(batch: Batch, count: int, ids: set[str]) -> Iterator[str]:
    wanted = {ACCEPTED: (batch.size,), REFUSED: (0,)}.get(batch.answer, (0, batch.size))
    if count not in wanted:
        yield f"batch {batch.label} of {batch.size}, {batch.answer}: {count} are there"
    if batch.answer == ACCEPTED:
        for missing in sorted(set(batch.ids) - ids):
            yield f"accepted job {missing} is missing"


def _ending(job: Job, attempts: list[Attempt], ledger: Ledger) -> Iterator[str]:
    """It ended in one way, which agrees with its attempts and with what users did to it."""
    last = attempts[-1].outcome if attempts else None
    deeds = ledger.deeds.get(job.id, [])
    retried = sum(deed.what == "retry" and deed.answer != REFUSED for deed in deeds)
    succeeded = sum(attempt.outcome == SUCCEEDED for attempt in attempts)
    if not job.ended:
        yield f"is {job.state}"
    if job.state == COMPLETED and last != SUCCEEDED:
        yield f"is completed, though its last attempt {last}"
    if job.state != COMPLETED and last == SUCCEEDED and not deeds:
        yield f"is {job.state}, though its last attempt succeeded"
    if succeeded > 1 + retried:
        yield f"succeeded {succeeded} times, with {retried} retries by users"
    if job.state == DEAD and job.attempts < job.max_retries + 1:
        yield f"is dead after {job.attempts} charged starts of {job.max_retries + 1}"
    charged = sum(attempt.outcome != RELEASED for attempt in attempts)
    if job.attempts > min(job.max_retries + 1, charged) or (not deeds and job.attempts != charged):
        yield f"was charged {job.attempts} starts (at most {job.max_retries + 1}), and {charged} are recorded"
    if (
        job.state == CANCELLED
        and not _is_doomed(job)
        and not any(deed.what == "cancel" and deed.answer != REFUSED for deed in deeds)
    ):
        yield "is cancelled, which nobody asked for"
    yield from _last_deed(job, attempts, ledger)


def _is_doomed(job: Job) -> bool:
    """Whether it could not start any more, since one that it needed did not complete."""
    return job.state == CANCELLED and (job.reason or "").startswith("needs job ")


def _last_deed(job: Job, attempts: list[Attempt], ledger: Ledger) -> Iterator[str]:
    """What a user was told last about a job has come true."""
    deeds = [deed for deed in ledger.deeds.get(job.id, []) if deed.answer != REFUSED]
    if not deeds or deeds[-1].answer != ACCEPTED:
        return
    last = deeds[-1]
    if last.what == "cancel":
        if job.state != CANCELLED:
            yield f"is {job.state}, though its cancelling was confirmed"
        for attempt in attempts:
            if _seconds(attempt.started_at) > last.ended:
                yield f"attempt {attempt.number} began after its cancelling was confirmed"
    elif not _is_doomed(job) and not any(_seconds(attempt.started_at) >= last.begun for attempt in attempts):
        yield "did not run again, though its retry was confirmed"


def _numbering(job: Job, attempts: list[Attempt]) -> Iterator[str]:
    """Numbers have no gap, and times do not overlap."""
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        yield f"attempts are numbered {[attempt.number for attempt in attempts]}"
    for earlier, later in pairwise(attempts):
        if earlier.ended_at is None or _seconds(earlier.ended_at) > _seconds(later.started_at):
            yield f"attempt {later.number} began at {later.started_at}, {earlier.number} ended at {earlier.ended_at}"
    for attempt in attempts:
        if attempt.ended_at is not None and _seconds(attempt.ended_at) < _seconds(attempt.started_at):
            yield f"attempt {attempt.number} ended before it began"


def _outcomes(job: Job, attempts: list[Attempt], ledger: Ledger) -> Iterator[str]:
    """Each attempt ended as its kind ends, or by what was dealt to it."""
    kind = BY_NAME[_kind(job)]
    was_cancelled = any(deed.what == "cancel" and deed.answer != REFUSED for deed in ledger.deeds.get(job.id, []))
    for attempt in attempts:
        excused = {CRASHED, RELEASED} | ({STOPPED} if was_cancelled else set())
        if attempt.outcome == NOT_STARTED and ledger.log_was_removed(job.id, _seconds(attempt.started_at) - _NEAR):
            continue
        if (job.id, attempt.number) not in ledger.killed and attempt.outcome not in kind.outcomes | excused:
            yield f"attempt {attempt.number} {attempt.outcome}: {attempt.reason}"
        if attempt.outcome == TIMED_OUT and _duration(attempt) < 0.99 * (job.timeout or 0):
            yield f"attempt {attempt.number} was timed out after {_duration(attempt):.3f} s of {job.timeout}"
        if attempt.leftover:
            yield f"attempt {attempt.number} left {attempt.leftover}"


def _evidence(job: Job, attempts: list[Attempt], ground: Ground) -> Iterator[str]:
    """What succeeded ran to its end, and what ran is recorded."""
    began, done = ground.evidence.began(job.id), ground.evidence.done(job.id)
    for attempt in attempts:
        if attempt.outcome == SUCCEEDED and attempt.number not in done:
            yield f"attempt {attempt.number} succeeded without having come to its end"
        if attempt.outcome == NOT_STARTED and attempt.number in began:
            yield f"attempt {attempt.number} was started, but is recorded as not started"
    for number in sorted(began - {attempt.number for attempt in attempts}):
        yield f"attempt {number} ran and is not recorded"


def _log(job: Job, attempts: list[Attempt], ground: Ground) -> Iterator[str]:
    """Each attempt that started a process has its slice of the log, which begins with its first line."""
    path = ground.home.log(job.id)
    content = Path(path).read_bytes() if os.path.exists(path) else b""
    began = ground.evidence.began(job.id)
    for attempt in attempts:
        if attempt.outcome == NOT_STARTED or ground.ledger.log_was_removed(job.id, _seconds(attempt.started_at)):
            continue
        offset, size = attempt.log_offset, attempt.log_bytes
        if offset is None or size is None or not 0 <= offset <= offset + size <= len(content):
            yield f"attempt {attempt.number} has the slice {offset}+{size} of a log of {len(content)} bytes"
        elif attempt.number in began:
            wanted = f"begin {job.id} {attempt.number}\n".encode()
            if not content[offset : offset + size].startswith(wanted):
                line = content[offset : offset + size][:60]
                yield f"attempt {attempt.number} ({attempt.outcome}) has a slice {offset}+{size} that begins {line!r}"


def _duration(attempt: Attempt) -> float:
    return _seconds(attempt.ended_at or attempt.started_at) - _seconds(attempt.started_at)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
