"""What somebody sees who watches a queue: its jobs, its workers, how fast it goes, and what failed last."""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl import control
from queuectl.clock import SECOND, SYSTEM_CLOCK, Clock
from queuectl.home import Home
from queuectl.model import COMPLETED, DEAD, DEFAULT_GROUP, PENDING, PROCESSING, Glance, GroupState, Job

if TYPE_CHECKING:
    from queuectl.store.base import Store

MOST_FAILURES = 100
"""How many jobs that failed are looked at: enough for a tall terminal, and few enough to be read at once."""

RUNNING, IDLE, STARTING, LOST = "running", "idle", "starting", "lost"
"""What a worker does. One that is lost holds a job, but belongs to no supervisor that runs."""


class Worker(NamedTuple):
    """A worker, and the job that it runs. Of one that is lost, there is no PID."""

    name: str
    pid: int | None
    state: str
    job: Job | None

    def as_dict(self) -> dict[str, Any]:
        """The worker as JSON shows it."""
        job = self.job
        return {
            "name": self.name,
            "pid": self.pid,
            "state": self.state,
            "job": job.id if job else None,
            "command": job.command if job else None,
            "attempts": job.attempts if job else None,
            "max_retries": job.max_retries if job else None,
            "started_at": job.started_at if job else None,
            "cancel_requested": job.cancel_requested if job else None,
        }


class Picture(NamedTuple):
    """A queue and its workers at one moment.

    ``rate`` is how many jobs completed or died a second lately, None where none did or that cannot be told. ``failures`` are the
    jobs that are dead, or wait to be retried, those that failed last first.
    """

    counts: Mapping[str, int]
    scheduled: int
    rate: float | None
    next_scheduled: Job | None
    supervisor: Mapping[str, Any] | None
    workers: Sequence[Worker]
    failures: Sequence[Job]
    groups: Sequence[GroupState]
    paused: bool
    held: int = 0
    blocked: int = 0

    @property
    def seconds_left(self) -> float | None:
        """How long it takes at this rate until all has ended that runs or waits, but for what is held or scheduled for later.

        None where nothing waits: what runs then may be of another kind than what ended, and never end.
        """
        waiting = self.counts[PENDING] - self.scheduled - self.held
        if not self.rate or waiting <= 0 or self.paused:
            return None
        return (waiting + self.counts[PROCESSING]) / self.rate

    @property
    def has_groups(self) -> bool:
        """Whether there is more to say of groups than that every job is of the default one."""
        return any(group.name != DEFAULT_GROUP or group.limit is not None or group.paused for group in self.groups)

    def as_dict(self) -> dict[str, Any]:
        """The picture as JSON shows it."""
        return {
            "jobs": dict(self.counts),
            "scheduled": self.scheduled,
            "held": self.held,
            "blocked": self.blocked,
            "rate": self.rate,
            "eta_seconds": self.seconds_left,
            "next_scheduled": self.next_scheduled and self.next_scheduled.as_dict(),
            "supervisor": self.supervisor and dict(self.supervisor),
            "workers": [worker.as_dict() for worker in self.workers],
            "failures": [job.as_dict() for job in self.failures],
            "groups": [{**group.as_dict(), "paused": group.paused or self.paused} for group in self.groups],
            "paused": self.paused,
        }


class Observer:
    """Looks at a queue again and again. Both is cheap, but for the counts of very many jobs: they may be a little older."""

    _SHARE = 0.1
    """How much of the time counting may take, at the most."""
    _SHORT = 0.02
    """Seconds that count as nothing: then it is always done."""

    def __init__(self, store: Callable[[], "Store"], home: Home, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._seen: object = None
        self._pace: Pace | None = None
        self._counted: Glance | None = None
        self._is_counted = False
        self._next_count = 0.0
        self._paced_at = 0.0

    def has_changed(self) -> bool:
        """Whether another look may show something new. Raises ``QueueError``."""
        return self._signs() != self._seen or (not self._is_counted and self._clock.monotonic() >= self._next_count)

    def aged(self, picture: Picture) -> Picture:
        """A picture that was taken a while ago, when nothing has changed since: it goes slower by now."""
        return picture._replace(rate=self._rate_at(self._clock.monotonic()))

    def look(self) -> Picture:
        """The queue as it is now. Raises ``QueueError``.

        After an error, the next look takes whatever lies at the database's path by then for the queue.
        """
        try:
            return self._look()
        except BaseException:
            self._store().close()
            raise

    def _look(self) -> Picture:
        self._seen = self._signs()  # before the rest: what changes in between is seen the next time
        glance, counted = self._glance()
        counts, scheduled, groups = counted.counts, counted.scheduled, counted.groups
        assert counts is not None
        assert scheduled is not None
        assert groups is not None
        supervisor, workers = self._fleet(glance)
        return Picture(
            counts,
            scheduled,
            self._rate(counts),
            glance.next_scheduled,
            supervisor,
            workers,
            sorted(glance.failures, key=lambda job: job.ended_at or job.updated_at, reverse=True),
            groups,
            glance.paused,
            counted.held or 0,
            counted.blocked or 0,
        )

    def _glance(self) -> tuple[Glance, Glance]:
        """What there is to see, and the last look at which jobs were counted: this one, unless that takes long."""
        started = self._clock.monotonic()
        self._is_counted = self._counted is None or started >= self._next_count
        glance = self._store().glance(self._clock.now(), MOST_FAILURES, count=self._is_counted)
        if self._is_counted:
            self._counted = glance
            ended = self._clock.monotonic()
            took = ended - started
            self._next_count = ended + (took / self._SHARE if took > self._SHORT else 0)
        assert self._counted is not None
        return glance, self._counted

    def _signs(self) -> object:
        """What differs when jobs or workers have changed."""
        try:
            state = os.stat(self._home.supervisor_state)
        except OSError:
            return self._store().version(), control.is_running(self._home)
        return self._store().version(), control.is_running(self._home), state.st_mtime_ns, state.st_ino

    def _fleet(self, glance: Glance) -> tuple[Mapping[str, Any] | None, list[Worker]]:
        """The supervisor and its workers, and the workers that hold a job, but are none of these."""
        # Of the jobs that a worker claimed, those that it has not begun yet come first, and go.
        held = {job.worker: job for job in sorted(glance.running, key=lambda job: job.started_at or "")}
        supervisor, told = control.fleet(self._home)
        workers = []
        for each in told:
            job = held.pop(each["name"], None)
            state = RUNNING if job else IDLE if each["ready"] else STARTING
            workers.append(Worker(each["name"], each["pid"], state, job))
        workers.extend(Worker(str(name), None, LOST, job) for name, job in held.items())
        return supervisor, workers

    def _rate(self, counts: Mapping[str, int]) -> float | None:
        ended = counts[COMPLETED] + counts[DEAD]
        moment = self._clock.monotonic()
        if self._pace is None:
            self._pace = Pace(moment, ended)
            now = self._clock.now()
            jobs, first = self._store().ended_since(now - round(Pace.WINDOW * SECOND))
            if first is not None and first < now:  # how long before the first of them nothing ended, nobody knows
                self._pace = Pace(moment - (now - first) / SECOND, ended - jobs + 1)
        if self._is_counted:
            self._pace.add(moment, ended)
            self._paced_at = moment
        return self._rate_at(moment)

    def _rate_at(self, moment: float) -> float | None:
        assert self._pace is not None
        # Where jobs have ended that were not counted yet, it did not become slower.
        return self._pace.rate_at(moment if self._is_counted else self._paced_at) or None


class Pace:
    """How fast a number grows: over the last minute, or less where it was not seen for as long."""

    WINDOW = 60.0
    """Seconds that count."""
    _SHORTEST = 2.0
    """Seconds below which what was seen is chance."""
    _APART = 0.5
    """Seconds between two samples that are kept."""

    def __init__(self, moment: float, number: int) -> None:
        self._grown = 0
        self._last = number
        self._samples = deque([(moment, 0)])

    def add(self, moment: float, number: int) -> None:
        """Note the number at a moment (monotonic, in seconds). Where it shrank, it grew by nothing."""
        self._grown += max(0, number - self._last)
        self._last = number
        if len(self._samples) > 1 and moment - self._samples[-2][0] < self._APART:
            self._samples.pop()
        self._samples.append((moment, self._grown))

    def rate_at(self, moment: float) -> float | None:
        """How much it grew a second until a moment; None when it was not seen for long enough."""
        while len(self._samples) > 1 and moment - self._samples[1][0] >= self.WINDOW:
            self._samples.popleft()
        first, before = self._samples[0]
        first = max(first, moment - self.WINDOW)
        return (self._grown - before) / (moment - first) if moment - first >= self._SHORTEST else None
