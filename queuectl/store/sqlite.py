"""The store in one SQLite file. Each verb is one transaction over named queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from queuectl import clock
from queuectl.errors import Conflict, JobExists, NoSuchBatch, NoSuchGroup, NoSuchJob, did_you_mean, named
from queuectl.home import Home
from queuectl.model import (
    ANY_FAILURE,
    CANCELLED,
    COMPLETED,
    CRASHED,
    DEFAULT_GROUP,
    ENDED,
    PENDING,
    PROCESSING,
    REJECT,
    RETURN,
    STATES,
    STOPPED,
    Added,
    Attempt,
    Claim,
    Columns,
    Finished,
    Glance,
    GroupState,
    Job,
    Needed,
    NewJob,
    Outcome,
    Overview,
    Pruned,
    RetryPolicy,
    Settled,
    Stopped,
    columns_of,
    is_job_id,
    jobs_in,
    pieces,
    whole,
)
from queuectl.store import queries
from queuectl.store.connection import Connections
from queuectl.store.rows import (
    BACK_OFF,
    HELD_BACK,
    PLACE_NEEDED,
    READY,
    as_json,
    attempt_from,
    claim_from,
    job_from,
    policy_of,
    policy_text,
    running_attempt,
    slot_from,
    variables_of,
    variables_text,
)

if TYPE_CHECKING:
    from queuectl.retry import Ending, Verdict
    from queuectl.store.base import Discard, Moment, Schedules
    from queuectl.store.following import Following

WHOLE_QUEUE = ""
"""The name of the group whose pause is that of all jobs."""
_EDITED = ("command", "cwd", "timeout", "max_retries", "priority", "group_name", "unique_key", "batch")
_EDITED_AS = {"group": "group_name", "unique": "unique_key"}
_NEEDS = frozenset(("after", "after_any"))
"""The fields of a job that a user may change while it waits, and its columns that have other names."""
CANCELLED_WAITING = "cancelled while it waited"
_GLANCE = 0.1
"""Seconds that a look waits which must not take long, where not even a read is possible now."""
RESERVE = 100
"""Ready jobs that are left when some are claimed ahead: with fewer, other workers would soon have nothing to do."""
_INCREMENTAL = 2
"""The mode of ``PRAGMA auto_vacuum`` in which a file becomes shorter when it is told to."""
_MOST = (1 << 63) - 1


class SQLiteStore:
    """A :class:`~queuectl.store.base.Store` in the SQLite database at ``path``, which must exist.

    ``durable`` False is for workers: a power loss may undo the last moments of what they
    recorded, so that a job runs once more; nothing that a user was told is affected. Writers take turns
    by a lock on the directory ``turns``, where one is given. Threads have a connection each, or ``shared`` one.
    """

    def __init__(
        self, path: str, busy_timeout: float, *, durable: bool = True, turns: str | None = None, shared: bool = False
    ) -> None:
        self.path = path
        self._connections = Connections(
            path, busy_timeout, synchronous="FULL" if durable else "NORMAL", turns=turns, shared=shared
        )
        self._sql = queries.load()

    @property
    def schedules(self) -> Schedules:
        from queuectl.store.schedules import SQLiteSchedules  # few commands deal with these

        return SQLiteSchedules(self._connections, self._sql, self._add_run)

    def add(self, jobs: Collection[NewJob], now: int, max_retries: int) -> Added:
        with self._connections.transaction() as connection:
            first = self._next_seq(connection)
            while True:
                connection.execute("SAVEPOINT batch")
                try:
                    others, freed, doomed = self._insert(connection, jobs, first, now, max_retries)
                    break
                except sqlite3.IntegrityError:
                    connection.execute("ROLLBACK TO batch")
                    former, first = first, self._after_collision(connection, jobs, first)
                    if first == former:
                        raise
        return Added(jobs, first, others, freed, doomed)

    def _next_seq(self, connection: sqlite3.Connection) -> int:
        last = connection.execute(self._sql["last_seq"]).fetchone()
        return last[0] + 1 if last else 1

    def _insert(
        self, connection: sqlite3.Connection, jobs: Iterable[NewJob], first: int, now: int, max_retries: int
    ) -> tuple[dict[int, str], int, dict[str, str]]:
        """Add jobs.

        The ids of those that are there already, in whose place none was added; for how many of the former
        ones to wake a worker; and why (by id) some were cancelled at once.
        """
        needs: list[tuple[int, str, bool]] = []
        groups: set[str] = set()
        others: dict[int, str] = {}
        stand_ins: dict[str, str] = {}
        replacing: set[int] = set()
        doomed: dict[str, str] = {}
        freed = 0
        end = 0
        for piece, rival in chain.from_iterable(self._by_keys(connection, each) for each in pieces(jobs)):
            place, end = end, end + len(piece["command"])
            if rival is not None:
                holder, ready, replaces = self._make_way(connection, rival, now)
                freed += ready
                if replaces:
                    replacing.add(first + place)
                if holder is not None:
                    others[place] = holder
                    if rival.id is not None:
                        stand_ins[rival.id] = holder
                    continue
            groups.update(piece["group"])
            _add_rows(connection, _rows(piece, max_retries), first + place, now)
            if piece["after"] != ((),) or piece["after_any"] != ((),):
                for seq, job in enumerate(jobs_in(piece), first + place):
                    needs += _needs(seq, job.after, job.after_any)
        restricted = [
            each for each in groups if connection.execute(self._sql["is_restricted"], {"group": each}).fetchone()
        ]
        if restricted:
            connection.execute(self._sql["queue_up"], {"first": first})
            self._following(connection, now).settle(restricted)
        if needs:
            needs = [(seq, stand_ins.get(needed, needed), however) for seq, needed, however in needs]
            for row in self._following(connection, now).depend(needs, first):
                if row["seq"] in replacing:
                    taker = f"a job with the key {row['unique_key']!r}"
                    raise Conflict(f"{taker} would replace the one that waits, and never start: it {row['reason']}")
                doomed[row["id"]] = row["reason"]
        return others, freed, doomed

    def _by_keys(self, connection: sqlite3.Connection, piece: Columns) -> Iterator[tuple[Columns, NewJob | None]]:
        """What to add together of a piece, in its order; with a job that is alone there because another may have its key."""

        def is_held(key: str) -> bool:
            return connection.execute(self._sql["holder_of_key"], (key,)).fetchone() is not None

        keys = [key for key in whole(piece["unique"], piece) if key is not None]
        if len(set(keys)) == len(keys) and not any(map(is_held, keys)):
            yield piece, None
            return
        for has_key, some in groupby(jobs_in(piece), lambda job: job.unique is not None):
            jobs = list(some)
            yield from ((columns_of([job]), job) for job in jobs) if has_key else ((columns_of(jobs), None),)

    def _make_way(self, connection: sqlite3.Connection, job: NewJob, now: int) -> tuple[str | None, int, bool]:
        """See to the job that has a new one's key.

        Its id when that is to be returned instead; how many workers to wake for those that waited for it; and whether
        it was replaced.
        """
        holder = connection.execute(self._sql["holder_of_key"], (job.unique,)).fetchone()
        if holder is None:
            return None, 0, False
        if job.if_exists == RETURN:
            return str(holder["id"]), 0, False
        if job.if_exists == REJECT or holder["state"] == PROCESSING:
            raise _key_is_held(holder)
        reason = f"replaced by a later job with the key {job.unique!r}"
        following = self._following(connection, now)
        self._cancel_waiting(connection, following, [holder["id"]], now, reason)
        return None, following.to_wake, True

    def _cancel_waiting(
        self, connection: sqlite3.Connection, following: Following, ids: Sequence[str], now: int, reason: str
    ) -> None:
        values = {"ids": as_json(list(ids)), "now": now, "reason": reason}
        cancelled = connection.execute(self._sql["cancel_waiting"], values).fetchall()
        following.settle_all(cancelled)
        following.failed([row["seq"] for row in cancelled])

    def _after_collision(self, connection: sqlite3.Connection, jobs: Iterable[NewJob], first: int) -> int:
        """Find which ids are taken; from which number on there is none among the numbers that we would give.

        Raises ``JobExists`` when it is one that a user gave. This takes as much memory as all of these.
        """

        def exists(job_id: str) -> bool:
            return connection.execute(self._sql["has_id"], (job_id,)).fetchone() is not None

        def has_holder(job: NewJob) -> bool:
            return connection.execute(self._sql["holder_of_key"], (job.unique,)).fetchone() is not None

        given: set[str] = set()
        keys: set[str] = set()
        for job in jobs:
            if job.unique is not None:
                if job.if_exists == RETURN and (job.unique in keys or has_holder(job)):
                    continue  # another stands for it
                keys.add(job.unique)
            if job.id is not None and job.id in given:
                raise JobExists(f"job {job.id} is there twice in what was to be added")
            if job.id is not None and exists(job.id):
                raise JobExists(f"job {job.id} exists already")
            if job.id is not None:
                given.add(job.id)
        numbers = (seq for seq, job in enumerate(jobs, first) if job.id is None)
        return max((seq + 1 for seq in numbers if str(seq) in given or exists(str(seq))), default=first)

    def get(self, job_id: str) -> Job:
        return job_from(self._row(job_id))

    def _row(self, job_id: str) -> sqlite3.Row:
        # What is no id may not even be text that can be looked up.
        rows = self._read("get", (job_id,)) if is_job_id(job_id) else []
        if not rows:
            raise NoSuchJob(f"no job {named(job_id)}")
        return rows[0]

    def jobs(self, states: Collection[str] = (), limit: int | None = None, batch: str | None = None) -> list[Job]:
        most = -1 if limit is None else min(limit, _MOST)
        if batch is not None:
            chosen = as_json(list(states)) if states else None
            with self._connections.snapshot():
                self._require_batch(batch)
                rows = self._read("list_by_batch", {"batch": batch, "states": chosen, "limit": most})
            return [job_from(row) for row in rows]
        if not states:
            return [job_from(row) for row in self._read("list_all", {"limit": most})]
        with self._connections.snapshot() as connection:
            found = [
                connection.execute(self._sql["list_by_state"], {"state": state, "limit": most}).fetchall()
                for state in set(states)
            ]
        rows = sorted(chain(*found), key=lambda row: row["seq"])
        return [job_from(row) for row in (rows if limit is None else rows[:limit])]

    def attempts(self, job_id: str) -> list[Attempt]:
        with self._connections.snapshot():
            row = self._row(job_id)
            ended = [attempt_from(each) for each in self._read("attempts", (row["seq"],))]
        has_begun = row["state"] == PROCESSING and row["started_at"] is not None
        return [*ended, running_attempt(row)] if has_begun else ended

    def states(self, ids: Collection[str]) -> dict[str, str]:
        # SQLite ends a text of JSON at a NUL: "a\0" would be found as "a".
        known = as_json(list(filter(is_job_id, ids)))
        return dict(tuple(row) for row in self._read("states_of", {"ids": known}))

    def counts(self) -> dict[str, int]:
        return self._counted(self._read("counts"))

    def counts_of_batch(self, batch: str) -> dict[str, int]:
        # As with ids: what is no name may not even be text that can be looked up.
        return self._counted(self._read("counts_of_batch", {"batch": batch}) if is_job_id(batch) else ())

    def _require_batch(self, batch: str) -> None:
        if not (is_job_id(batch) and self._value("has_batch", {"batch": batch})):
            raise NoSuchBatch(f"no batch {named(batch)}")

    def _ids_in_batch(self, batch: str, states: Sequence[str]) -> list[str]:
        self._require_batch(batch)
        return [row["id"] for row in self._read("ids_in_batch", {"batch": batch, "states": as_json(list(states))})]

    @staticmethod
    def _counted(rows: Iterable[sqlite3.Row]) -> dict[str, int]:
        return {**dict.fromkeys(STATES, 0), **dict(tuple(row) for row in rows)}

    def overview(self, now: int) -> Overview:
        with self._connections.snapshot() as connection:
            counts = self._counted(connection.execute(self._sql["counts"]))
            oldest = connection.execute(self._sql["oldest_waiting"], {"now": now}).fetchone()
            upcoming = connection.execute(self._sql["next_scheduled"], {"now": now}).fetchone()
            slot = connection.execute(self._sql["next_slot"]).fetchone()
            paused = [row["name"] for row in connection.execute(self._sql["paused_groups"])]
            held, blocked = self._held_back()
        return Overview(
            counts,
            job_from(oldest) if oldest else None,
            job_from(upcoming) if upcoming else None,
            slot_from(slot) if slot else None,
            [name for name in paused if name != WHOLE_QUEUE],
            held,
            blocked,
        )

    def _held_back(self) -> tuple[int, int]:
        """How many jobs are held, and how many others wait for jobs."""
        found = dict(tuple(row) for row in self._read("counts_held_back"))
        return found.get(1, 0), found.get(0, 0)

    def glance(self, now: int, most: int, *, count: bool = True) -> Glance:
        with self._connections.snapshot():

            def jobs(name: str, **values: object) -> list[Job]:
                return [job_from(row) for row in self._read(name, values)]

            counts = self.counts() if count else None
            held, blocked = self._held_back() if count else (None, None)
            return Glance(
                counts,
                self._value("count_scheduled", {"now": now}) if count else None,
                jobs("list_by_state", state=PROCESSING, limit=-1),
                jobs("dead_last", limit=most) + jobs("retried_next", limit=most),
                next(iter(jobs("next_scheduled", now=now)), None),
                None if counts is None else self._groups(counts),
                self.is_paused(),
                held,
                blocked,
            )

    def ended_since(self, moment: int) -> tuple[int, int | None]:
        jobs, first = self._read("ended_since", {"moment": moment})[0]
        return jobs, first

    def cancel(self, ids: Sequence[str], now: int) -> Stopped:
        with self._connections.transaction() as connection:
            states = self._states_of_all(ids)
            for job_id, state in states.items():
                if state not in (PENDING, PROCESSING, CANCELLED):
                    raise Conflict(f"job {job_id} has ended already: it is {state}")
            return self._cancel(connection, states, now)

    def cancel_batch(self, batch: str, now: int) -> Stopped:
        with self._connections.transaction() as connection:
            chosen = self._ids_in_batch(batch, (PENDING, PROCESSING))
            return self._cancel(connection, self._states_of_all(chosen), now)

    def _cancel(self, connection: sqlite3.Connection, states: Mapping[str, str], now: int) -> Stopped:
        """Cancel jobs, by id, of which each is in a state in which that can be."""
        connection.execute(self._sql["cancel_running"], {"ids": as_json(list(states)), "now": now})
        following = self._following(connection, now)
        self._cancel_waiting(connection, following, list(states), now, CANCELLED_WAITING)
        running = [job_id for job_id, state in states.items() if state == PROCESSING]
        return Stopped(running, following.to_wake, list(states))

    def revive(
        self,
        ids: Sequence[str] | None,
        states: Sequence[str],
        now: int,
        *,
        with_dependents: bool = False,
        batch: str | None = None,
        hold: bool = False,
    ) -> list[str]:
        with self._connections.transaction() as connection:
            if batch is not None:
                chosen = self._ids_in_batch(batch, states)
            elif ids is None:
                chosen = [row["id"] for row in self._read("ids_in_states", {"states": as_json(list(states))})]
            else:
                found = self._states_of_all(ids)
                for job_id, state in found.items():
                    if state not in states:
                        wanted = states[0] if len(states) == 1 else "ended"
                        raise Conflict(f"job {job_id} is {state}, not {wanted}")
                chosen = list(found)
            if with_dependents:
                seqs = [row["seq"] for row in self._read("seqs_of", {"ids": as_json(chosen)})]
                revived = list(dict.fromkeys([*chosen, *self._following(connection, now).doomed_by(seqs)]))
            else:
                revived = chosen
            self._revive(connection, revived, now)
            if hold:
                self._hold(connection, chosen, now)
        return revived

    def _revive(self, connection: sqlite3.Connection, ids: Sequence[str], now: int) -> None:
        for forsaken in self._read("forsaken", {"ids": as_json(list(ids))}):
            raise Conflict(
                f"job {forsaken['id']} {forsaken['reason']} and was pruned: enqueue it anew without that one"
            )
        following = self._following(connection, now)
        try:
            revived = connection.execute(self._sql["revive"], {"ids": as_json(list(ids)), "now": now}).fetchall()
        except sqlite3.IntegrityError as error:
            keys = self._read("keys_in_use", {"ids": as_json(list(ids))})
            held = f"job {keys[0]['id']} has the key {keys[0]['unique_key']!r}" if keys else "two of them have one key"
            raise Conflict(f"cannot put back: {held}, and of those that wait or run only one may") from error
        following.settle_all(revived)
        following.revived([row["seq"] for row in revived])

    def _states_of_all(self, ids: Iterable[str]) -> dict[str, str]:
        """The states of jobs, in the order in which they were named. Raises ``NoSuchJob``."""
        wanted = list(dict.fromkeys(ids))
        known = self.states(wanted)
        for job_id in wanted:
            if job_id not in known:
                raise NoSuchJob(f"no job {named(job_id)}")
        return {job_id: known[job_id] for job_id in wanted}

    def claim(self, worker: str, now: Moment) -> Claim | None:
        if not self._value("is_work_ready", {"now": _read(now)}):
            return None
        with self._connections.transaction() as connection:
            begun = _read(now)
            return self._claim(connection, worker, begun, begun)

    def _claims(self, connection: sqlite3.Connection, worker: str, now: int, busy_since: int, most: int) -> list[Claim]:
        """The first ready job, and up to so many in all that come after it, claimed ahead."""
        first = self._claim(connection, worker, now, busy_since)
        if first is None:
            return []
        claims = [first]
        if most > 1:
            moment = {"worker": worker, "now": now}
            values = moment | {"most": most - 1, "reserve": RESERVE, "first": first.seq}
            for row in _execute(connection, "ready_ahead", values).fetchall():
                if not row["may_be_ahead"]:
                    break  # those after it must not overtake it
                claims.append(claim_from(row))
                _execute(connection, "claim", moment | claims[-1]._asdict())
        return claims

    def _claim(self, connection: sqlite3.Connection, worker: str, now: int, busy_since: int) -> Claim | None:
        moment = {"worker": worker, "now": now}
        row = _execute(connection, "first_ready", moment).fetchone()
        if row["slots_due"] or row["jobs_due"]:
            if row["slots_due"]:
                from queuectl.store.schedules import fire

                fire(connection, self._sql, self._add_run, now, busy_since)
            self._promote(connection, now)
            row = _execute(connection, "first_ready", moment).fetchone()
        if row["seq"] is None:
            return None
        claim = claim_from(row)
        _execute(connection, "claim", {**moment, **claim._asdict()})
        return claim

    def _promote(self, connection: sqlite3.Connection, now: int) -> None:
        """Have jobs whose time has come be ready, or wait for a place."""
        promoted = connection.execute(self._sql["promote"], {"now": now}).fetchall()
        queued = {row["group_name"] for row in promoted if row["lane"] == PLACE_NEEDED}
        if queued:
            self._following(connection, now).settle(queued)

    def _add_run(self, connection: sqlite3.Connection, job: NewJob, now: int) -> int:
        """Add the run of a schedule; its seq."""
        seq = self._next_seq(connection)
        self._insert(connection, [job], seq, now, job.max_retries or 0)
        return seq

    def claims(self, workers: Collection[str] | None = None) -> list[Claim]:
        names = None if workers is None else as_json(list(workers))
        found = [claim_from(row) for row in self._read("claimed_by", {"workers": names})]
        return sorted(found, key=lambda claim: claim.started_at or 0)

    def is_any_ahead(self, groups: Collection[str]) -> bool:
        return bool(self._value("is_any_ahead", {"groups": as_json(list(groups)) if groups else None}))

    def is_cancel_requested(self, claim: Claim, *, patiently: bool = True) -> bool:
        # One that is shared may be with another thread, which waits for its turn to write. It is closed at once: as long as
        # a process has any connection open, a new one finds what an older one knew of files that were replaced since.
        connections = self._connections if patiently else Connections(self.path, _GLANCE)
        try:
            with connections.using() as connection:
                fence = {"seq": claim.seq, "number": claim.number}
                return any(row[0] for row in connection.execute(self._sql["is_cancel_requested"], fence))
        finally:
            if connections is not self._connections:
                connections.close()

    def holds(self, claim: Claim) -> bool:
        return bool(self._read("is_cancel_requested", {"seq": claim.seq, "number": claim.number}))

    def finish(
        self, claim: Claim, outcome: Outcome, verdict: Verdict, ended_at: int, now: Moment, next_for: str | None = None
    ) -> Finished:
        from queuectl.retry import Ending  # commands that record none start faster without

        recorded, following, ready = self.settle([Ending(claim, outcome, verdict, ended_at)], now, next_for=next_for)
        return Finished(recorded[0], following[0] if following else None, ready)

    def settle(
        self,
        endings: Sequence[Ending],
        now: Moment,
        *,
        begun: Claim | None = None,
        unbegun: Sequence[Claim] = (),
        next_for: str | None = None,
        most: int = 1,
        patiently: bool = True,
    ) -> Settled:
        begin = self._connections.transaction if patiently else self._connections.prompt_transaction
        with begin() as connection:
            moment = _read(now)
            recorded, ready, later = [], 0, 0
            for ending in endings:
                made = self._finish(connection, ending, moment)
                recorded.append(made is not None)
                if made is not None:
                    ready, later = ready + made[0], max(later, made[1])
            for claim in unbegun:
                ready += self._give_back(connection, claim, moment)
            if begun is not None:
                _execute(connection, "begin", begun._asdict())
            following: list[Claim] = []
            if next_for is not None:
                busy_since = (endings[0].claim.started_at if endings else None) or moment
                following = self._claims(connection, next_for, moment, busy_since, most)
        # Some of those that may run now are for this worker, if it goes on.
        return Settled(recorded, following, max(ready - len(following), later))

    def _give_back(self, connection: sqlite3.Connection, claim: Claim, now: int) -> int:
        """Have a job that was claimed ahead, and has not begun, wait as before; how many workers to wake for it."""
        values = {"seq": claim.seq, "number": claim.number, "worker": claim.worker, "now": now}
        row = _execute(connection, "unbegun", values).fetchone()
        if row is None:
            return 0
        _execute(connection, "give_back", values)
        following = self._following(connection, now)
        if row["cancel_requested"]:
            self._cancel_waiting(connection, following, [claim.id], now, CANCELLED_WAITING)
        else:
            following.ready = 1
            # Meanwhile it may have become one that needs a place, or others.
            following.settle_all([row])
            if row["needs_others"]:
                following.wait_for_needs([claim.seq])
        return following.to_wake

    def _finish(self, connection: sqlite3.Connection, ending: Ending, now: int) -> tuple[int, int] | None:
        """How many jobs may run now that could not before, and 1 when some will later; None when the claim was lost."""
        claim, outcome, verdict, ended_at = ending
        fence = {"seq": claim.seq, "number": claim.number}
        row = _execute(connection, "running", fence).fetchone()
        if row is None:
            return None
        kind = outcome.kind
        if row["cancel_requested"]:
            # One that was confirmed wins over any outcome.
            verdict = verdict._replace(state=CANCELLED, delay=None, reason="cancelled while it ran")
            kind = kind if kind == CRASHED else STOPPED
        values = {
            **outcome._asdict(),
            **fence,
            "worker": claim.worker,
            "outcome": kind,
            "leftover": as_json(outcome.leftover) if outcome.leftover else None,
            "started_at": claim.started_at,
            "ended_at": max(ended_at, claim.started_at or ended_at),
        }
        _execute(connection, "add_attempt", values)
        is_over = verdict.state != PENDING
        values |= {
            "state": verdict.state,
            "reason": verdict.reason or outcome.reason,
            "refund": 0 if verdict.charged else 1,
            "now": now,
        }
        if is_over:
            _execute(connection, "finish", values)
        else:
            _execute(connection, "put_back", values | _waiting(verdict, now))
        is_needed, needs_others = is_over and row["is_needed"], not is_over and row["needs_others"]
        if not (row["placed"] or is_needed or needs_others):
            return 0, 0
        following = self._following(connection, now)
        if row["placed"]:
            connection.execute(self._sql["leave_place"], {"seq": claim.seq})
            following.settle([row["group_name"]], only_left=is_over)
        if is_needed:
            (following.completed if verdict.state == COMPLETED else following.failed)([claim.seq])
        if needs_others:
            following.wait_for_needs([claim.seq])  # some of these may have been put back meanwhile
        return following.ready, following.later

    def edit(self, job_id: str, changes: Mapping[str, Any], now: int) -> int:
        with self._connections.transaction() as connection:
            row = self._row(job_id)
            if row["state"] != PENDING:
                way = f"; 'queuectl retry {job_id} --hold' has it wait" if row["state"] in ENDED else ""
                raise Conflict(f"job {job_id} is {row['state']}: only a waiting job can be edited{way}")
            if changes.get("max_retries", row["attempts"]) < row["attempts"]:
                used = f"{row['attempts']} of its starts"
                raise Conflict(
                    f"job {job_id} has used {used}: max_retries must be {row['attempts']} at least, or cancel it"
                )
            values = {key: row[key] for key in (*_EDITED, "seq", "due", "next_run_at", "rescheduled")} | {"now": now}
            values |= {_EDITED_AS.get(key, key): value for key, value in changes.items() if key not in _NEEDS}
            env, export = variables_of(row)
            values["env"] = variables_text(changes.get("env", env), changes.get("export", export))
            policy = policy_of(row)._replace(**{key: changes[key] for key in RetryPolicy._fields if key in changes})
            values["retry_policy"] = None if policy == ANY_FAILURE else policy_text(policy)
            if "starts_at" in changes:
                starts_at = changes["starts_at"]
                values |= {"due": max(now, starts_at), "next_run_at": starts_at, "rescheduled": True}
            try:
                connection.execute(self._sql["edit"], values)
            except sqlite3.IntegrityError as error:
                holder = connection.execute(self._sql["holder_of_key"], (values["unique_key"],)).fetchone()
                raise _key_is_held(holder) from error
            following = self._following(connection, now)
            if not _NEEDS.isdisjoint(changes):
                following.depend_anew(row["seq"], **{kind: changes[kind] for kind in _NEEDS.intersection(changes)})
            # What waited for its turn, or its time, keeps it.
            following.let_go([row["seq"]], now if row["lane"] == HELD_BACK else 0)
            following.settle_all([row])
            return following.to_wake

    def hold(self, ids: Sequence[str], now: int) -> None:
        with self._connections.transaction() as connection:
            self._require_waiting(ids, "held")
            self._hold(connection, ids, now)

    def hold_batch(self, batch: str, now: int) -> list[str]:
        with self._connections.transaction() as connection:
            waiting = self._ids_in_batch(batch, (PENDING,))
            held = self._hold(connection, waiting, now)
            return [job_id for job_id in waiting if job_id in held]

    def _hold(self, connection: sqlite3.Connection, ids: Sequence[str], now: int) -> set[str]:
        """Hold waiting jobs; those that were not held before."""
        held = connection.execute(self._sql["hold"], {"ids": as_json(list(ids)), "now": now}).fetchall()
        self._following(connection, now).settle_all(held)
        return {row["id"] for row in held}

    def release(self, ids: Sequence[str], now: int) -> int:
        with self._connections.transaction() as connection:
            self._require_waiting(ids, "released")
            return self._release(connection, ids, now)[1]

    def release_batch(self, batch: str, now: int) -> tuple[list[str], int]:
        with self._connections.transaction() as connection:
            waiting = self._ids_in_batch(batch, (PENDING,))
            released, to_wake = self._release(connection, waiting, now)
            return [job_id for job_id in waiting if job_id in released], to_wake

    def _release(self, connection: sqlite3.Connection, ids: Sequence[str], now: int) -> tuple[set[str], int]:
        """Release waiting jobs; those that were held, and how many workers to wake."""
        released = connection.execute(self._sql["release"], {"ids": as_json(list(ids)), "now": now}).fetchall()
        following = self._following(connection, now)
        following.let_go([row["seq"] for row in released])
        return {row["id"] for row in released}, following.to_wake

    def _require_waiting(self, ids: Sequence[str], what: str) -> None:
        for job_id, state in self._states_of_all(ids).items():
            if state != PENDING:
                raise Conflict(f"job {job_id} is {state}: only a waiting job can be {what}")

    def groups(self) -> list[GroupState]:
        with self._connections.snapshot():
            return self._groups(self.counts())

    def _groups(self, counts: Mapping[str, int]) -> list[GroupState]:
        rows = self._read("groups")
        rest = {state: counts[state] - sum(row[state] for row in rows) for state in (PENDING, PROCESSING)}
        return [
            GroupState(
                row["name"],
                row["max_running"],
                bool(row["paused"]),
                row[PENDING] if row["name"] != DEFAULT_GROUP else rest[PENDING],
                row[PROCESSING] if row["name"] != DEFAULT_GROUP else rest[PROCESSING],
            )
            for row in rows
        ]

    def limited_groups(self) -> list[str]:
        return [row["name"] for row in self._read("limited_groups")]

    def set_limit(self, group: str, limit: int | None, now: int) -> int:
        with self._connections.transaction() as connection:
            return self._change_group(connection, now, "set_limit", group=group, limit=limit)

    def remove_group(self, group: str, now: int) -> int:
        with self._connections.transaction() as connection:
            self._require_groups([group])
            return self._change_group(connection, now, "remove_group", group=group)

    def pause(self, groups: Sequence[str], now: int) -> None:
        with self._connections.transaction() as connection:
            self._require_groups(groups, or_named=True)
            for group in groups or (WHOLE_QUEUE,):
                self._change_group(connection, now, "set_paused", group=group, paused=1)

    def resume(self, groups: Sequence[str], now: int) -> int:
        with self._connections.transaction() as connection:
            self._require_groups(groups, or_named=True)
            chosen = groups or [row["name"] for row in self._read("paused_groups")]
            ready = sum(self._change_group(connection, now, "set_paused", group=group, paused=0) for group in chosen)
            # Those that waited for the whole queue are not told from any others.
            if WHOLE_QUEUE not in chosen:
                return ready
            waiting: int = self._value("counted_ready", {"now": now})
            return max(ready + waiting, int(self.next_due() is not None))

    def _change_group(self, connection: sqlite3.Connection, now: int, change: str, **values: object) -> int:
        """Change one group; how many of its jobs may run now."""
        group = str(values["group"])
        following = self._following(connection, now)
        was_restricted = bool(following.restricted([group]))
        connection.execute(self._sql[change], values)
        following.restrict(group, was_restricted)
        return following.ready

    def _require_groups(self, names: Collection[str], *, or_named: bool = False) -> None:
        known = [row["name"] for row in self._read("groups")]
        unknown = sorted(set(names).difference(known))
        if or_named:  # to look at all jobs that have ended takes a while
            unknown = [name for name in unknown if not self._value("is_named", {"group": name})]
        if unknown:
            hint = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
            raise NoSuchGroup(f"no group {named(', '.join(unknown))}{hint}")

    def is_paused(self) -> bool:
        return bool(self._value("is_paused"))

    def needs(self, job_id: str) -> list[Needed]:
        with self._connections.snapshot():
            return [Needed(*row) for row in self._read("needed_by", {"seq": self._row(job_id)["seq"]})]

    def way_back(self, job_id: str) -> str | None:
        with self._connections.snapshot() as connection:
            row = self._row(job_id)
            if self._read("forsaken", {"ids": as_json([job_id])}):
                return None
            return self._following(connection, 0).way_back(row["seq"], job_id)

    def restart_back_offs(self, now: int) -> int:
        with self._connections.transaction() as connection:
            return connection.execute(self._sql["restart_back_offs"], {"now": now}).rowcount

    def next_due(self) -> int | None:
        due: int | None = self._value("next_due")
        return due

    def is_drained(self, now: int) -> bool:
        return not self._value("has_work_left", {"now": now})

    def faults(self) -> list[str]:
        with self._connections.snapshot() as connection:
            damage = [row[0] for row in connection.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
            return damage or [
                f"job {row['id']} {row['fault']}"
                for name in ("contradictions", "stranded")
                for row in connection.execute(self._sql[name])
            ]

    def logged(self) -> Iterator[tuple[str, int]]:
        with self._connections.using() as connection:
            for row in connection.execute(self._sql["logged"]):
                yield row["id"], row["size"]

    def forget_output(self, ids: Collection[str]) -> None:
        with self._connections.transaction() as connection:
            connection.execute(self._sql["forget_output"], (as_json(list(ids)),))

    def prune(self, states: Collection[str], before: int, most: int, discard: Discard) -> Pruned:
        if not self._value("is_any_old", {"states": as_json(list(states)), "before": before}):
            return Pruned(0, more=False)
        # On disk before the logs go: no power loss may bring a job back whose log is gone.
        with self._connections.durable_transaction() as connection:
            if self._discard_logs(connection, most, discard):
                return Pruned(0, more=True)
            removed = 0
            while removed < most:
                rows: list[sqlite3.Row] = []
                for state in states:
                    values = {"state": state, "before": before, "most": most - removed - len(rows)}
                    rows += connection.execute(self._sql["old_jobs"], values)
                removed += len(rows)
                # What was doomed because of these may go with them.
                if not (rows and self._remove(connection, as_json([row["seq"] for row in rows]))):
                    break
        return Pruned(removed, more=removed > 0)

    def _remove(self, connection: sqlite3.Connection, seqs: str) -> bool:
        """Remove jobs; whether others were to come back with them, and cannot any more."""
        forsaken = connection.execute(self._sql["forsake"], {"seqs": seqs}).rowcount
        for name in ("note_old_logs", "delete_attempts", "delete_needs", "delete_dependents", "delete_jobs"):
            connection.execute(self._sql[name], {"seqs": seqs})
        return forsaken > 0

    def _discard_logs(self, connection: sqlite3.Connection, most: int, discard: Discard) -> bool:
        """Have logs removed whose jobs are gone; whether there are more.

        Meanwhile nobody can start a job, so that a log whose name another job took over, but never used, is not its own.
        """
        noted = connection.execute(self._sql["old_logs"], {"most": most + 1}).fetchall()
        if not noted:
            return False
        done = discard([row["id"] for row in noted if not row["starts"]])
        taken_over = [row["id"] for row in noted if row["starts"]]
        connection.execute(self._sql["forget_old_logs"], {"ids": as_json([*done, *taken_over])})
        return len(done) + len(taken_over) < len(noted) or len(noted) > most

    def count_old(self, states: Collection[str], before: int) -> int:
        with self._connections.snapshot():
            old = sum(self._value("count_old_jobs", {"state": state, "before": before}) for state in states)
            if CANCELLED in states:
                old += self._value("count_old_dependents", {"states": as_json(list(states)), "before": before})
            return int(old)

    def count_old_logs(self) -> int:
        return int(self._value("count_old_logs"))

    def give_back(self, pages: int, reserve: float = 0) -> bool:
        with self._connections.using() as connection:
            free, mode, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("freelist_count", "auto_vacuum", "page_count")
            )
            # A database that was not made by us keeps its size.
            if free <= size * reserve or mode != _INCREMENTAL:
                return False
            # A plain execute() would take one step of it, and one step gives one page back.
            connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")
            # The file becomes shorter when what is in the log is written back to it.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return bool(free - pages > size * reserve)

    def newest(self) -> int | None:
        rows = self._read("newest")
        return rows[0][0] if rows else None

    def version(self) -> int:
        return self._connections.version()

    def close(self) -> None:
        self._connections.close()

    def _following(self, connection: sqlite3.Connection, now: int) -> Following:
        from queuectl.store.following import Following  # few changes mean something for others

        return Following(connection, self._sql, now)

    def _read(self, name: str, values: dict[str, object] | tuple[object, ...] = ()) -> list[sqlite3.Row]:
        with self._connections.using() as connection:
            return connection.execute(self._sql[name], values).fetchall()

    def _value(self, name: str, values: dict[str, object] | tuple[object, ...] = ()) -> Any:
        """The first column of the only row."""
        return self._read(name, values)[0][0]


def open_store(home: Home, busy_timeout: float, *, durable: bool = True) -> SQLiteStore:
    """Open the queue's database. Raises ``NoSuchQueue``, ``Conflict``, ``StoreError``."""
    store = SQLiteStore(home.database, busy_timeout, durable=durable, turns=home.run)
    check(home, store)
    return store


def check(home: Home, store: SQLiteStore) -> None:
    """Open a store that was made, and see that it is the queue's database. Raises as :func:`open_store`."""
    home.require()
    store.version()
    home.check_sole_database()


def _key_is_held(holder: sqlite3.Row) -> Conflict:
    """That a job cannot have a key, since another one with it waits or runs."""
    return Conflict(f"job {holder['id']} with the key {holder['unique_key']!r} is {holder['state']}")


def _execute(connection: sqlite3.Connection, name: str, values: Mapping[str, object]) -> sqlite3.Cursor:
    """Run a statement that every job needs."""
    sql, pick = queries.positional(name)
    return connection.execute(sql, pick(values))


def _read(now: Moment) -> int:
    return now if isinstance(now, int) else now()


def _needs(seq: int, after: Iterable[str], after_any: Iterable[str]) -> list[tuple[int, str, bool]]:
    """What a job waits for, as :meth:`Following.depend` takes it."""
    return [*((seq, needed, False) for needed in after), *((seq, needed, True) for needed in after_any)]


def _add_rows(connection: sqlite3.Connection, rows: Columns, first: int, now: int) -> None:
    """Add jobs by one statement. What they have in common is handed over once."""
    varied = tuple(name for name, column in rows.items() if len(column) > 1 or name == "command")
    common = tuple(name for name in rows if name not in varied)
    values = zip(*(rows[name] for name in varied), strict=True)
    connection.execute(
        _add(common, varied, len(rows["command"])),
        (now, first, clock.LATEST, *(rows[name][0] for name in common), *chain.from_iterable(values)),
    )


@lru_cache(maxsize=64)
def _add(common: tuple[str, ...], varied: tuple[str, ...], count: int) -> str:
    """The statement that adds so many jobs, which have some columns in common."""
    columns = [
        *(f"?{number} AS {name}" for number, name in enumerate(common, 4)),
        *(f"column{number} AS {name}" for number, name in enumerate(varied, 2)),
    ]
    marks = ", ?" * len(varied)
    rows = (f"({place}{marks})" for place in range(count))
    return queries.load()["add"].replace("COLUMNS", ", ".join(columns)).replace("ROWS", ", ".join(rows))


def _rows(jobs: Columns, max_retries: int) -> Columns:
    """New jobs as the columns that :func:`_add` names."""
    return {
        "id": jobs["id"],
        "command": jobs["command"],
        "cwd": jobs["cwd"],
        "env": _each(variables_text, jobs["env"], jobs["export"]),
        "timeout": jobs["timeout"],
        "max_retries": _each(lambda given: max_retries if given is None else given, jobs["max_retries"]),
        "delay": _each(lambda delay: round(delay * clock.SECOND) if delay else None, jobs["delay"]),
        "run_at": jobs["run_at"],
        "priority": jobs["priority"],
        "group_name": jobs["group"],
        "unique_key": jobs["unique"],
        "batch": jobs["batch"],
        "retry_policy": _each(_retry_policy, jobs["retry_on"], jobs["no_retry_on"], jobs["backoff_base"]),
    }


def _each(made: Callable[..., object], *columns: tuple[Any, ...]) -> tuple[object, ...]:
    """A column made of others, in each of which there is one value, or one for each job."""
    count = max(map(len, columns))
    return tuple(map(made, *(column if len(column) == count else column * count for column in columns)))


def _retry_policy(*policy: Any) -> str | None:
    return None if policy == ANY_FAILURE else policy_text(RetryPolicy(*policy))


def _waiting(verdict: Verdict, now: int) -> dict[str, int | None]:
    """Where a job waits after an attempt. A job that was handed back keeps its place in the order."""
    if verdict.delay is None:
        return {"lane": READY, "due": None}
    due = clock.after(now, verdict.delay)
    return {"lane": BACK_OFF if due > now else READY, "due": due}
