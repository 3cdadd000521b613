"""The library: a queue of shell commands, as scripts and services use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queuectl import files, settings, wake
from queuectl.clock import SECOND, SYSTEM_CLOCK, Clock, after, seconds
from queuectl.errors import InvalidInput, WaitTimeout
from queuectl.home import Home, Location, locate, locate_new
from queuectl.model import (
    CANCELLED,
    DEAD,
    ENDED,
    STATES,
    Attempt,
    GroupState,
    Job,
    Needed,
    NewJob,
    Overview,
    changes,
    group_name,
    new_job,
)
from queuectl.settings import Settings
from queuectl.store import schema
from queuectl.store.sqlite import open_store

if TYPE_CHECKING:
    from queuectl.model import Stopped
    from queuectl.observer import Observer
    from queuectl.schedule import Schedule
    from queuectl.store.base import Store
    from queuectl.waiting import Watch


class Queue:
    """A durable queue in one directory.

    ``Queue()`` finds it as the command line does: ``QUEUECTL_DB_PATH``, else the nearest
    ``queuectl.db`` in the current directory or a parent. A path that is named is made at the
    first ``enqueue``. An object may be used by several threads, and goes on in a child after a
    fork. Whatever a method confirmed is on disk.

    Raises :class:`~queuectl.errors.NoSuchQueue` when none was named and none is found. Every
    method raises :class:`~queuectl.errors.StoreError` when the database cannot be used; where it is
    locked, once ``busy_timeout`` seconds have passed (default: the setting).
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        busy_timeout: float | None = None,
    ) -> None:
        self._location: Location = locate(path)
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._opened: Store | None = None

    @classmethod
    def init(cls, path: str | os.PathLike[str] | None = None) -> Queue:
        """Make the queue at ``path`` (default: in the current directory), unless it exists, and open it."""
        home = locate_new(path)
        schema.create(home, settings.load(home.settings).busy_timeout, anew=True)
        queue = cls(home.database)
        queue._store()
        home.make_directories()
        home.mark()
        return queue

    @property
    def home(self) -> Home:
        """The paths of this queue."""
        return self._location.home

    @property
    def settings(self) -> Settings:
        """The settings in force now. Raises ``InvalidInput`` when their file is broken."""
        return settings.load(self.home.settings)

    def require(self) -> None:
        """Raise :class:`~queuectl.errors.NoSuchQueue` or ``StoreError`` unless the queue can be used."""
        self._store().version()

    def make(self) -> None:
        """Make the queue if its path was named and nothing is there; then as :meth:`require`."""
        if self._location.explicit and not self.home.exists:
            schema.create(self.home, self.settings.busy_timeout, anew=False)
        self._store()
        # A database that was restored, or made in an instant before a crash, is this home's queue from now on.
        if os.path.isdir(self.home.run) and files.read_small(self.home.marker) is None:
            self.home.mark()

    def enqueue(
        self,
        command: str,
        *,
        id: str | None = None,  # the job's own word for it
        max_retries: int | None = None,
        delay: float | str | None = None,
        run_at: str | None = None,
        timeout: float | str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        priority: int | None = None,
        group: str | None = None,
        after: str | Sequence[str] | None = None,
        after_any: str | Sequence[str] | None = None,
        unique: str | None = None,
        if_exists: str | None = None,
        batch: str | None = None,
        retry_on: str | int | Sequence[int | str] | None = None,
        no_retry_on: str | int | Sequence[int | str] | None = None,
        backoff_base: float | None = None,
        export: str | Sequence[str] | None = None,
    ) -> Job:
        """Add one job and return it.

        ``delay`` and ``timeout`` are seconds or text such as ``10m``; ``run_at`` is ISO-8601. The
        job runs in ``cwd``, or else in the current directory. Jobs of higher ``priority`` start first. It waits
        until the jobs ``after`` have completed, and those ``after_any`` have ended. When a job with the key
        ``unique`` waits or runs, ``if_exists`` tells what happens: ``return`` (default) returns that one,
        ``reject`` raises ``Conflict``, ``replace`` cancels it, if it waits. ``batch`` is a label that any number
        of jobs may have. With ``retry_on`` only failures with these exit codes (such as ``2,64-78``) are
        retried, and none with those in ``no_retry_on``; ``backoff_base`` takes the place of the setting.
        ``export`` names variables of this process (or ``ALL``) that the job takes along; nobody is shown their
        values. Raises ``InvalidInput``, ``NoSuchJob`` for one to wait for, and ``Conflict`` when the id exists.
        """
        fields = {
            "id": id,
            "command": command,
            "max_retries": max_retries,
            "delay": delay,
            "run_at": run_at,
            "timeout": timeout,
            "cwd": cwd,
            "env": env,
            "priority": priority,
            "group": group,
            "after": after,
            "after_any": after_any,
            "unique": unique,
            "if_exists": if_exists,
            "batch": batch,
            "retry_on": retry_on,
            "no_retry_on": no_retry_on,
            "backoff_base": backoff_base,
            "export": export,
        }
        return self.enqueue_many([fields])[0]

    def enqueue_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[Job]:
        """Add jobs, all or none, and return them in the same order. Keys are those of a job file."""
        ids = self.add_many(jobs)
        return [self.get(job_id) for job_id in ids]

    def add_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """As :meth:`enqueue_many`, but returns the ids alone."""
        return list(self._add(list(_checked(list(jobs)))))

    def add_checked(self, jobs: Iterable[NewJob]) -> Collection[str]:
        """Add jobs that were checked, all or none, and return their ids. Of any number, few are in memory at a time.

        What ``jobs`` raises goes on; nothing is added then, and no queue is made.
        """
        if isinstance(jobs, list):
            return self._add(jobs)
        from queuectl.spool import Spool

        return self._add(Spool(jobs))

    def _add(self, jobs: Collection[NewJob]) -> Collection[str]:
        self.make()
        if not jobs:
            return ()
        if self._is_strangers and any(job.export for job in jobs):
            raise self._secrets_refused()
        added = self._store().add(jobs, self._clock.now(), self.settings.max_retries)
        wake.workers(self.home, len(added) + added.freed)
        return added

    def add_schedule(
        self,
        name: str,
        expression: str,
        command: str,
        *,
        tz: str = "UTC",
        overlap: str = "skip",
        missed: str = "once",
        replace: bool = False,
        **job: Any,
    ) -> Schedule:
        """Have a job made whenever a cron expression comes true in a time zone, and return the schedule.

        ``job`` are the other keys of a job file, such as ``timeout`` and ``env``; ``max_retries``, the directory and
        the values of ``export`` are fixed now. ``overlap`` ``skip`` makes none while the last one waits, runs or is in back-off; ``allow``
        does. When nobody is there at a slot, ``missed`` ``once`` makes one job for all that were missed, ``skip``
        none. Raises ``InvalidInput``, and ``Conflict`` when the name exists, unless that one is to be replaced.
        """
        from queuectl.schedule import new_schedule

        now, fields = self._clock.now(), {**job, "command": command}
        if fields.get("export") and self._is_strangers:
            raise self._secrets_refused()
        retries = self.settings.max_retries
        new = new_schedule(
            name, expression, fields, zone=tz, overlap=overlap, missed=missed, max_retries=retries, now=now
        )
        made = self._store().schedules.put(new, now, replace=replace)
        wake.workers(self.home, 1)  # an idle one, to sleep no longer than to the first slot
        return made

    def schedules(self) -> list[Schedule]:
        """Every schedule, by name."""
        return self._store().schedules.all()

    def remove_schedules(self, *names: str) -> list[Schedule]:
        """Forget schedules, all of them or, raising ``NoSuchSchedule``, none. Their jobs stay."""
        return self._store().schedules.remove(names)

    def pause_schedules(self, *names: str) -> list[Schedule]:
        """Make no more jobs of schedules; all of them or, raising ``NoSuchSchedule``, none."""
        return self._store().schedules.pause(names)

    def resume_schedules(self, *names: str) -> list[Schedule]:
        """Have paused schedules go on with the next slot from now; all of them or, raising, none."""
        resumed = self._store().schedules.resume(names, self._clock.now())
        wake.workers(self.home, 1)
        return resumed

    def run_schedule(self, name: str) -> Job:
        """Make the job of a schedule now, also of a paused one, as if this was one of its slots, and return it.

        Raises ``NoSuchSchedule``, and ``Conflict`` where the last run is not over and none may overlap it.
        """
        made = self._store().schedules.run(name, self._clock.now())
        wake.workers(self.home, 1)
        return self.get(made)

    @property
    def _is_strangers(self) -> bool:
        """Whether the queue is another user's, and nobody named it: they may have put it in our way."""
        return not self._location.explicit and self.home.foreign_owner is not None

    def _secrets_refused(self) -> InvalidInput:
        return InvalidInput(
            f"{self.home.database} belongs to {self.home.foreign_owner}, who could read the variables that are exported: "
            "name this queue with --db, or QUEUECTL_DB_PATH, where that is meant"
        )

    def get(self, job_id: str) -> Job:
        """One job. Raises :class:`~queuectl.errors.NoSuchJob`."""
        return self._store().get(job_id)

    def jobs(
        self, state: str | Collection[str] | None = None, limit: int | None = None, *, batch: str | None = None
    ) -> list[Job]:
        """Jobs in the order they were enqueued; of one state or several, or of a batch, only, and at most ``limit``.

        Raises :class:`~queuectl.errors.NoSuchBatch`.
        """
        states = (state,) if isinstance(state, str) else tuple(state or ())
        for name in states:
            if name not in STATES:
                raise InvalidInput(f"no state {name!r} (there are {', '.join(STATES)})")
        if limit is not None and limit < 0:
            raise InvalidInput(f"limit: {limit} is negative")
        return self._store().jobs(states, limit, batch)

    def counts(self, *, batch: str | None = None) -> dict[str, int]:
        """How many jobs there are, or are in a batch, by state. Raises ``NoSuchBatch``."""
        return self._store().counts() if batch is None else self.watch(batch=batch).counts

    def overview(self) -> Overview:
        """Counts, the job that waited longest, the next that may run later by itself, and the next slot of a schedule."""
        return self._store().overview(self._clock.now())

    def observe(self) -> Observer:
        """Look at the jobs and the workers again and again."""
        from queuectl.observer import Observer

        return Observer(self._store, self.home, self._clock)

    def attempts(self, job_id: str) -> list[Attempt]:
        """Every start of a job, oldest first. Raises ``NoSuchJob``."""
        return self._store().attempts(job_id)

    def cancel(self, *ids: str) -> None:
        """Cancel waiting jobs, and ask workers to end running ones; all of them or, raising, none."""
        self._heed(self._store().cancel(ids, self._clock.now()))

    def cancel_batch(self, batch: str) -> list[str]:
        """As :meth:`cancel`, of those jobs of a batch that wait or run. Returns their ids. Raises ``NoSuchBatch``."""
        return self._heed(self._store().cancel_batch(batch, self._clock.now()))

    def _heed(self, stopped: Stopped) -> list[str]:
        """Tell workers of what a cancel came to."""
        if stopped.running:
            from queuectl import recall

            recall.claims(self.home)
            wake.supervisor(self.home)
        wake.workers(self.home, stopped.ready)
        return stopped.ids

    def retry(self, *ids: str, with_dependents: bool = False, hold: bool = False) -> list[str]:
        """Run ended jobs again, with all their retries; all of them or, raising, none. Returns their ids.

        ``with_dependents``: also the jobs that were cancelled because they needed one of these. ``hold``: all but those
        dependents are held from the first moment, so that they can be edited.
        """
        return self._revive(ids, ENDED, with_dependents=with_dependents, hold=hold)

    def retry_batch(self, batch: str, *, with_dependents: bool = False, hold: bool = False) -> list[str]:
        """As :meth:`retry`, of those jobs of a batch that are dead or cancelled. Raises ``NoSuchBatch``."""
        return self._revive(None, (DEAD, CANCELLED), with_dependents=with_dependents, batch=batch, hold=hold)

    def retry_dead(self, *ids: str, with_dependents: bool = False, hold: bool = False) -> list[str]:
        """As :meth:`retry`, of jobs that are dead; of every one when no id is given."""
        return self._revive(ids or None, (DEAD,), with_dependents=with_dependents, hold=hold)

    def edit(self, job_id: str, *, unset: str | Collection[str] = (), **fields: Any) -> Job:
        """Change a job while it waits: any field that :meth:`enqueue` takes, but for its id; None leaves one as it is.

        ``env``, ``export``, ``after`` and ``after_any`` each take the place of all that was there of the same kind.
        Those that ``unset`` names, such as ``timeout`` or ``unique``, are as if :meth:`enqueue` had not been given them.
        Raises ``InvalidInput``, ``NoSuchJob``, and ``Conflict`` when it does not wait any more.
        """
        changed = changes(fields, (unset,) if isinstance(unset, str) else tuple(unset))
        if changed.get("export") and self._is_strangers:
            raise self._secrets_refused()
        if "max_retries" in changed and changed["max_retries"] is None:
            changed["max_retries"] = self.settings.max_retries
        now = self._clock.now()
        delay, run_at = changed.pop("delay", None), changed.pop("run_at", None)
        if delay is not None or run_at is not None:
            changed["starts_at"] = after(now, delay) if delay is not None else run_at
        wake.workers(self.home, self._store().edit(job_id, changed, now))
        return self.get(job_id)

    def hold(self, *ids: str) -> None:
        """Keep waiting jobs from starting until they are released; all of them or, raising, none."""
        self._store().hold(ids, self._clock.now())

    def hold_batch(self, batch: str) -> list[str]:
        """As :meth:`hold`, of those jobs of a batch that wait and are not held. Returns their ids. Raises ``NoSuchBatch``."""
        return self._store().hold_batch(batch, self._clock.now())

    def release(self, *ids: str) -> None:
        """Let jobs start that were held; all of them or, raising, none."""
        wake.workers(self.home, self._store().release(ids, self._clock.now()))

    def release_batch(self, batch: str) -> list[str]:
        """As :meth:`release`, of those jobs of a batch that are held. Returns their ids. Raises ``NoSuchBatch``."""
        released, to_wake = self._store().release_batch(batch, self._clock.now())
        wake.workers(self.home, to_wake)
        return released

    def needs(self, job_id: str) -> list[Needed]:
        """The jobs that one was to wait for. Raises ``NoSuchJob``."""
        return self._store().needs(job_id)

    def way_back(self, job_id: str) -> str | None:
        """The command that runs an ended job again, with all that must come with it; None when nothing can.

        Raises ``NoSuchJob``.
        """
        return self._store().way_back(job_id)

    def groups(self) -> list[GroupState]:
        """The groups: ``default``, those that were set up, and those that waiting or running jobs name."""
        return self._store().groups()

    def limited_groups(self) -> list[str]:
        """The names of the groups that have a limit: a quicker answer than :meth:`groups`, which counts jobs."""
        return self._store().limited_groups()

    def set_group(self, name: str, limit: int | None) -> None:
        """Have at most ``limit`` jobs of a group run at once, over all workers; None for any number."""
        if limit is not None and limit < 1:
            raise InvalidInput(f"limit: {limit} is less than 1")
        ready = self._store().set_limit(group_name(name), limit, self._clock.now())
        self._hold_back([name])
        wake.workers(self.home, ready)

    def remove_group(self, name: str) -> None:
        """Forget a group's limit and pause; its jobs stay. Raises ``NoSuchGroup``."""
        wake.workers(self.home, self._store().remove_group(name, self._clock.now()))

    def pause(self, *groups: str) -> None:
        """Start no more jobs of some groups, or of the whole queue when none is named. Raises ``NoSuchGroup``."""
        self._store().pause(groups, self._clock.now())
        self._hold_back(groups)

    def resume(self, *groups: str) -> None:
        """Undo :meth:`pause`; of all groups and the queue itself when none is named. Raises ``NoSuchGroup``."""
        wake.workers(self.home, self._store().resume(groups, self._clock.now()))

    def _hold_back(self, groups: Collection[str]) -> None:
        """Have what workers claimed ahead wait as well, of some groups, or of all when none is named."""
        from queuectl import recall  # few commands need it

        recall.claims(self.home)
        recall.wait(self._store(), groups)

    @property
    def paused(self) -> bool:
        """Whether the whole queue is paused."""
        return self._store().is_paused()

    def _revive(
        self,
        ids: Sequence[str] | None,
        states: Sequence[str],
        *,
        with_dependents: bool,
        batch: str | None = None,
        hold: bool,
    ) -> list[str]:
        now = self._clock.now()
        revived = self._store().revive(ids, states, now, with_dependents=with_dependents, batch=batch, hold=hold)
        wake.workers(self.home, len(revived))
        return revived

    def prune(
        self,
        older_than: float | str,
        states: str | Collection[str] | None = None,
        *,
        dry_run: bool = False,
        on_progress: Callable[[int], None] = lambda jobs: None,
    ) -> int:
        """Remove jobs that ended longer ago than this, with their attempts and logs; how many there were.

        ``older_than`` is seconds or text such as ``7d``. Of the ended states all may be named; by default
        ``completed`` and ``cancelled`` jobs go. With ``dry_run`` nothing is changed. The work is done in small
        transactions, so that nobody waits for long; what is interrupted is done in part. ``on_progress`` is called after each,
        with how many jobs are gone by then.
        """
        from queuectl import pruning

        chosen = (states,) if isinstance(states, str) else tuple(states or pruning.DEFAULT_STATES)
        for name in chosen:
            if name not in ENDED:
                raise InvalidInput(f"only ended jobs can be removed ({', '.join(ENDED)}), not {name!r}")
        before = self._clock.now() - round(seconds(older_than, "older_than") * SECOND)
        if dry_run:
            return self._store().count_old(chosen, before)
        return pruning.prune(self.home, self._store(), chosen, before, on_progress)

    def wait(
        self, ids: Collection[str] | None = None, timeout: float | None = None, *, batch: str | None = None
    ) -> bool:
        """Block until the jobs, or all of a batch, have ended, or with None until nothing waits or runs.

        Returns whether all of them completed; of all jobs, or a batch, those that ended before count too.
        Raises :class:`~queuectl.errors.WaitTimeout` after ``timeout`` seconds, ``NoSuchJob`` for
        an unknown id, ``NoSuchBatch``.
        """
        watch = self.watch(ids, batch=batch)
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while not watch.over:
            left = None if deadline is None else deadline - self._clock.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(f"not all had ended after {timeout:g} seconds; they go on")
            watch.pause(1.0 if left is None else left)
            watch.look()
        return watch.all_completed

    def watch(self, ids: Collection[str] | None = None, *, batch: str | None = None) -> Watch:
        """Watch jobs (of a batch, or all, when None) until they have ended. Raises ``NoSuchJob``, ``NoSuchBatch``."""
        from queuectl.waiting import Watch

        if ids is not None and batch is not None:
            raise InvalidInput("ids and a batch exclude each other: give one of them")
        return Watch(self._store(), (ids,) if isinstance(ids, str) else ids, batch)

    def change_setting(self, key: str, value: object | None) -> Settings:
        """Set one setting, or with None go back to its default. Raises ``InvalidInput``.

        This also mends a key whose value in the file is bad, and with None takes out one that is unknown.
        """
        patience = settings.load_or_defaults(self.home.settings).busy_timeout
        if self._opened is None:
            self._opened = open_store(self.home, patience)
        self._opened.version()  # the queue is there
        with schema.locked(self.home, patience):
            return settings.change(self.home.settings, key, value)

    def close(self) -> None:
        """Close this thread's connection; the object stays usable."""
        if self._opened is not None:
            self._opened.close()

    def _store(self) -> Store:
        if self._opened is None:
            patience = self.settings.busy_timeout if self._busy_timeout is None else self._busy_timeout
            self._opened = open_store(self.home, patience)
        return self._opened


def _checked(entries: Sequence[Mapping[str, Any]]) -> Iterator[NewJob]:
    """Each as a job; an error says which one it is about."""
    for number, fields in enumerate(entries, 1):
        try:
            yield new_job(fields)
        except InvalidInput as error:
            raise InvalidInput(
                f"job {number} of {len(entries)}: {error}" if len(entries) > 1 else str(error)
            ) from error
