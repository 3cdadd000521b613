"""What a store of jobs can do: the verbs that every database must pass the conformance tests for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from queuectl.model import (
    Added,
    Attempt,
    Claim,
    Finished,
    Glance,
    GroupState,
    Job,
    Needed,
    NewJob,
    Outcome,
    Overview,
    Pruned,
    Settled,
    Stopped,
)
from queuectl.retry import Ending, Verdict

if TYPE_CHECKING:
    from queuectl.schedule import NewSchedule, Schedule

Discard: TypeAlias = "Callable[[Sequence[str]], Collection[str]]"
"""Removes the logs of jobs, given by their ids; the ids of those that are gone now."""


class Schedules(Protocol):
    """The schedules in a store. Verbs that take several names deal with all of them or, raising, with none.

    Whoever claims a job makes those of the slots that are due before, each once.
    """

    def put(self, new: NewSchedule, now: int, *, replace: bool = False) -> Schedule:
        """Add a schedule, or with ``replace`` put it in the place of one with its name. Its first slot is after ``now``.

        One in the place of another with the same times goes on where that one is, and stays paused. Raises
        :class:`~queuectl.errors.Conflict` when the name exists, and ``replace`` is not asked for.
        """

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""

    def remove(self, names: Sequence[str]) -> list[Schedule]:
        """Forget schedules; their jobs stay. Returns what they were. Raises ``NoSuchSchedule``."""

    def pause(self, names: Sequence[str]) -> list[Schedule]:
        """Make no more jobs of some schedules, also for slots that nobody has seen yet. Raises ``NoSuchSchedule``."""

    def run(self, name: str, now: int) -> str:
        """Make the job of a schedule now, as if ``now`` was one of its slots; its id. The slots stay as they are.

        Raises ``NoSuchSchedule``, and ``Conflict`` where the last run is not over and none may overlap it.
        """

    def resume(self, names: Sequence[str], now: int) -> list[Schedule]:
        """Have paused schedules go on with their first slot after ``now``. Raises ``NoSuchSchedule``."""


Moment: TypeAlias = "int | Callable[[], int]"
"""A time in microseconds since the epoch; or a clock, which is read when nobody else can write any more.

To wait for the others takes a while. By a time from before, an attempt would begin while others, which made room for
it, had not ended.
"""


class Store(Protocol):
    """A durable set of jobs. Times are microseconds since the epoch.

    Verbs that take several jobs deal with all of them or, raising, with none. Every change of
    a claimed job is fenced by ``(claim.seq, claim.number)``.
    """

    @property
    def schedules(self) -> Schedules:
        """The schedules."""

    def add(self, jobs: Collection[NewJob], now: int, max_retries: int) -> Added:
        """Add jobs, any number of them, and return their ids. ``max_retries`` is for those that name none.

        Raises :class:`~queuectl.errors.JobExists` when an id exists already.
        """

    def get(self, job_id: str) -> Job:
        """One job. Raises :class:`~queuectl.errors.NoSuchJob`."""

    def jobs(self, states: Collection[str] = (), limit: int | None = None, batch: str | None = None) -> list[Job]:
        """Jobs in the order they were added; of some states, or of a batch, only, and at most ``limit``.

        Raises :class:`~queuectl.errors.NoSuchBatch`.
        """

    def attempts(self, job_id: str) -> list[Attempt]:
        """Every start of a job, oldest first, the running one last. Raises ``NoSuchJob``."""

    def states(self, ids: Collection[str]) -> dict[str, str]:
        """The states of those of ``ids`` that exist."""

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; every state is named."""

    def counts_of_batch(self, batch: str) -> dict[str, int]:
        """As :meth:`counts`, of the jobs of a batch; all are 0 where there is no such batch."""

    def overview(self, now: int) -> Overview:
        """Counts, the job that may run and waited longest, and the next that may run later, by itself."""

    def glance(self, now: int, most: int, *, count: bool = True) -> Glance:
        """What there is to watch, with at most so many dead jobs, and as many that wait for a retry.

        Only to ``count`` takes longer where there are more jobs.
        """

    def ended_since(self, moment: int) -> tuple[int, int | None]:
        """How many jobs completed or died after a moment, and when the first of them did; cheap.

        It looks only at some of those that were enqueued last. Of very many, the number and the time are those of these.
        """

    def cancel(self, ids: Sequence[str], now: int) -> Stopped:
        """Cancel waiting jobs, ask for the end of running ones; returns the ids of the latter.

        A job that is cancelled already is fine. Raises ``NoSuchJob``, and ``Conflict`` for a
        job that ended otherwise.
        """

    def cancel_batch(self, batch: str, now: int) -> Stopped:
        """As :meth:`cancel`, of those jobs of a batch that wait or run. Raises ``NoSuchBatch``."""

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
        """Put jobs that are in one of ``states`` back to pending, all of them (of ``batch``) when ``ids`` is None.

        ``with_dependents``: also those that were cancelled because one of them did not complete, and need no other
        that did not. With ``hold`` the others, which were chosen, are held at once. Their charged
        attempts are reset to 0, their history stays. Returns their ids. Raises ``NoSuchJob``, ``NoSuchBatch``, and ``Conflict``
        for a job in another state, for one that needs what did not complete or was removed before it did, and for a key that another has.
        """

    def claim(self, worker: str, now: Moment) -> Claim | None:
        """Take the first job that may run now, for ``worker``; None when there is none.

        Before that, the slots of schedules that are due become jobs, as :func:`queuectl.schedule.turn` says.
        """

    def claims(self, workers: Collection[str] | None = None) -> list[Claim]:
        """The jobs that some workers hold, or all when None; of each worker, what it has begun comes last."""

    def is_any_ahead(self, groups: Collection[str]) -> bool:
        """Whether a job of some groups (of any, when none is named) is claimed ahead."""

    def is_cancel_requested(self, claim: Claim, *, patiently: bool = True) -> bool:
        """Whether somebody asked for the end of this very attempt. Unless ``patiently``, no writer is waited for."""

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is still good: its attempt is the one that runs."""

    def finish(
        self, claim: Claim, outcome: Outcome, verdict: Verdict, ended_at: int, now: Moment, next_for: str | None = None
    ) -> Finished:
        """Record how an attempt ended, and claim the next job for worker ``next_for``, at one stroke.

        When it was not recorded, the claim was lost and nothing was changed. A cancel that was asked for wins
        over every outcome. Slots of schedules that came due while the job ran are not missed.
        """

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
        """As :meth:`finish`, for several attempts of one worker at one stroke.

        With more than one for ``most``, jobs are claimed ahead: up to so many in all, where more wait than anybody has
        hands for. These are jobs that never started, and need no place in a group. Nobody else can have them; but they have not
        begun, and their claims tell no time of a start. When one of them has ``begun`` and takes long, that is noted,
        with the time in the claim. The ``unbegun`` are given back, as if they had never been claimed.
        Raises ``StoreBusy``, not ``patiently`` at once, where somebody else writes.
        """

    def edit(self, job_id: str, changes: Mapping[str, Any], now: int) -> int:
        """Change fields of a waiting job; how many workers to wake because of it.

        ``changes`` has fields of :class:`~queuectl.model.NewJob`, but for the id; in the place of a delay and a
        time it has ``starts_at``, in microseconds since the epoch. Raises ``NoSuchJob``, and ``Conflict`` for a
        job that does not wait, for fewer retries than it has used, and for a key that another has.
        """

    def hold(self, ids: Sequence[str], now: int) -> None:
        """Keep waiting jobs from starting until they are released. Raises ``NoSuchJob``, ``Conflict``."""

    def hold_batch(self, batch: str, now: int) -> list[str]:
        """As :meth:`hold`, of those jobs of a batch that wait and are not held. Returns their ids. Raises ``NoSuchBatch``."""

    def release(self, ids: Sequence[str], now: int) -> int:
        """Let jobs start that were held; how many workers to wake. Raises ``NoSuchJob``, ``Conflict``."""

    def release_batch(self, batch: str, now: int) -> tuple[list[str], int]:
        """As :meth:`release`, of those jobs of a batch that are held: their ids, too. Raises ``NoSuchBatch``."""

    def needs(self, job_id: str) -> list[Needed]:
        """The jobs that one was to wait for. Raises ``NoSuchJob``."""

    def way_back(self, job_id: str) -> str | None:
        """The command that runs an ended job again, with all that must come with it; None when nothing can.

        Raises ``NoSuchJob``.
        """

    def groups(self) -> list[GroupState]:
        """The default group, those that were set up, and those that waiting or running jobs name."""

    def limited_groups(self) -> list[str]:
        """The names of the groups that have a limit. It counts no jobs."""

    def set_limit(self, group: str, limit: int | None, now: int) -> int:
        """Have at most ``limit`` jobs of a group run at once (None for any number); how many more may run now."""

    def remove_group(self, group: str, now: int) -> int:
        """Forget a group's limit and pause; how many more of its jobs may run now. Raises ``NoSuchGroup``."""

    def pause(self, groups: Sequence[str], now: int) -> None:
        """Start no more jobs of some groups, or of the whole queue when none is named. Raises ``NoSuchGroup``."""

    def resume(self, groups: Sequence[str], now: int) -> int:
        """Undo :meth:`pause`, and every pause when no group is named; how many workers to wake."""

    def is_paused(self) -> bool:
        """Whether the whole queue is paused."""

    def restart_back_offs(self, now: int) -> int:
        """Let jobs whose back-off began later than ``now`` wait their delay from now on; how many there were.

        Those were put there before the wall clock was set back, and would wait for it to come there again.
        """

    def next_due(self) -> int | None:
        """When the next job becomes ready by itself, or a slot is due; None when none does. In a paused queue no job does."""

    def is_drained(self, now: int) -> bool:
        """Whether nothing runs and nothing may run without further help, but for jobs scheduled for later."""

    def faults(self) -> list[str]:
        """What is wrong with the store itself, or with what it tells about its jobs; reads all of it."""

    def logged(self) -> Iterator[tuple[str, int]]:
        """The jobs whose attempts wrote output, each with the size that its log has at least."""

    def forget_output(self, ids: Collection[str]) -> None:
        """Note that the output of these jobs' attempts is gone."""

    def prune(self, states: Collection[str], before: int, most: int, discard: Discard) -> Pruned:
        """Remove at most so many jobs that are in one of ``states``, ended all, since before a time.

        A job that was cancelled because one that it needs did not complete stays as long as that one, which may bring
        it back, unless it completes after all.
        Their attempts go with them, and what told who needed them. That their logs are to go is noted, and the logs
        of the jobs that were removed before, by whomever, are handed to ``discard`` by their ids. It is called while
        nobody can start a job; those that it returns are gone, others are for the next time.
        """

    def count_old(self, states: Collection[str], before: int) -> int:
        """How many jobs :meth:`prune` would find."""

    def count_old_logs(self) -> int:
        """How many logs of removed jobs may still be there."""

    def give_back(self, pages: int, reserve: float = 0) -> bool:
        """Give some space that is free in the database back to the file system; whether there is more.

        That share of the whole is kept for what comes.
        """

    def newest(self) -> int | None:
        """When the job that was added last was added; None when there never was one."""

    def version(self) -> int:
        """Changes when another connection changed something; cheap."""

    def close(self) -> None:
        """Close this thread's connection. The store stays usable and opens another when asked."""
