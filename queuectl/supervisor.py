"""The supervisor: starts workers, replaces dead ones, stops them, and puts right what they left.

It has one thread, holds no database open while it forks, and runs no job itself.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass

from queuectl import files, leftovers, pidfile, wake
from queuectl.clock import SYSTEM_CLOCK, Clock, after, iso
from queuectl.crew import Crew, Member, ProcessCrew, ThreadCrew
from queuectl.errors import QueueError, StoreDamaged, StoreError
from queuectl.home import Home
from queuectl.host import STORE_PATIENCE, Terms
from queuectl.inbox import HEEDED, Inbox
from queuectl.link import DRAINED, END_GENTLY, END_NOW, LOOK_FOR_CANCEL, SPOILT, STOP, USUAL_PACE, Pace
from queuectl.model import PENDING
from queuectl.processes import UNKILLABLE_WAIT
from queuectl.proctree import Family, become_subreaper
from queuectl.stopping import Request, Stop, longest, take_request
from queuectl.store.connection import file_identity
from queuectl.store.sqlite import open_store

logger = logging.getLogger(__name__)

SIGNALS = (*HEEDED, signal.SIGCHLD)
MAX_WORKERS = 512

_LONGEST_PAUSE = 10.0
_ORPHAN_PAUSE = 0.02
_STORE_PAUSE = 0.5
_UNTOLD_PAUSE = 1.0
"""Seconds before what ``worker-status`` shows is written again, where the disk was full."""
_GAP = 5.0
"""Seconds that a poll may end late before we conclude that we were stopped meanwhile."""
_STEADY = 30.0
"""Seconds after which a worker that dies was not killed by what killed the one before."""
_LONGEST_BACKOFF = 30.0


def _back_off(deaths: int) -> float:
    """Seconds until what died that often in a row is replaced."""
    return 0.0 if deaths == 1 else min(_LONGEST_BACKOFF, 0.5 * 2.0 ** min(deaths - 2, 10))


@dataclass(frozen=True)
class Orders:
    """What somebody asked of a supervisor: how many workers, of which mode, whether to drain, and how patiently."""

    count: int
    mode: str = "process"
    drain: bool = False
    pace: Pace = USUAL_PACE


class Supervisor:
    """Runs until it is stopped or, draining, until nothing is left to do. The caller holds the lock.

    ``on_ready`` is called once when all workers are there, ``on_stopping`` when a stop begins, or is to come
    sooner, with the seconds that it takes at most.
    """

    def __init__(
        self,
        home: Home,
        orders: Orders,
        terms: Terms,
        *,
        inbox: Inbox | None = None,
        clock: Clock = SYSTEM_CLOCK,
        on_ready: Callable[[], None] = lambda: None,
        on_stopping: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.home = home
        self.orders = orders
        self.clock = clock
        self.inbox = inbox if inbox is not None else Inbox(SIGNALS)
        self.crew: Crew = ThreadCrew(terms) if orders.mode == "thread" else ProcessCrew(terms)
        self.members: list[Member] = []
        self.family = Family(known=self.crew.processes)
        self.settings = terms.settings
        self.control = wake.open_fifo(home.control)
        self.started_at = clock.now()
        self.stop: Stop | None = None
        self._jobs_end_by: str | None = None
        self.status = 0
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_stopping = on_stopping
        self._orphans_since: float | None = None
        self._mend_at = 0.0
        self._told = ""
        self._is_untold = False
        self._store_troubled = False
        self._replaced = 0
        self._is_drained = False
        self._is_all_recorded = True
        self._ground = self._look_at_ground()
        self._myself = pidfile.myself()

    def run(self) -> int:
        """Supervise; returns the exit status: 0, or 128 + signal when the stop was forced."""
        become_subreaper()
        self.family.reap()
        if not self.family.is_childless:
            # A shell that became us by exec may have had children: they are nobody's orphans.
            self.family.abandon()
        for number in range(1, self.orders.count + 1):
            self.members.append(Member(number))
        workers = "1 worker" if self.orders.count == 1 else f"{self.orders.count} workers"
        logger.info("%s (%s mode) on %s", workers, self.orders.mode, self.home.database)
        while True:
            self._start_due_members()
            self._announce_when_ready()
            self._tell_state()
            if not self.members:
                break
            self._listen()
            self._reap()
            self._heed_signals()
            self._heed_requests()
            self._stop_on_lost_ground()
            self._kill_the_hung()
            self._end_orphans()
            self._put_right_what_died()
            self._let_go_of_the_retired()
            self._enforce_stop()
        self._leave()
        return self.status

    # --- listening

    def _listen(self) -> None:
        """Wait for a signal, a worker's word, a request, or the time of the next thing to do."""
        timeout = self._time_to_next()
        asleep_at = self.clock.monotonic()
        poll = select.poll()
        lines = {member.line.fileno(): member for member in self.members if member.line is not None}
        for descriptor in (self.inbox.fileno(), self.control, *lines):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(1000 * timeout)]
        now = self.clock.monotonic()
        if now - asleep_at > timeout + _GAP:
            self._renew_leases(now)
        for descriptor in ready:
            if descriptor in lines:
                lines[descriptor].hear(now)

    def _time_to_next(self) -> float:
        now = self.clock.monotonic()
        times = [now + (_UNTOLD_PAUSE if self._is_untold else _LONGEST_PAUSE)]
        if self._orphans_since is not None:
            times.append(now + _ORPHAN_PAUSE)
        if self._orphans_since is None:
            times += [self._given_on_at(member) for member in self.members if member.has_ended]
            times += [max(self._mend_at, member.mend_at) for member in self.crew.maimed(self.members)]
        times += [member.start_at for member in self.members if member.pid == 0]
        times += [member.heard_at + self.orders.pace.lease for member in self.members if member.line is not None]
        if self.stop is not None and self.stop.next_step_at is not None:
            times.append(self.stop.next_step_at)
        return max(0.0, min(times) - now)

    def _renew_leases(self, now: float) -> None:
        """We were stopped, or the machine slept: nobody could be heard, which is nobody's fault."""
        logger.info("was stopped for a while; all workers get a new lease")
        for member in self.members:
            member.heard_at = now

    def _reap(self) -> None:
        self._kill_the_stopped()
        self.family.reap()
        for pid in list(self.family.statuses):
            del self.family.statuses[pid]
            self.crew.reaped(pid, self.members)
        for member in self.members:
            if member.own_process == 0 and member.line is not None:
                member.hear(self.clock.monotonic())  # a last word comes before the end

    def _kill_the_stopped(self) -> None:
        """A worker that somebody stopped (SIGSTOP) holds its job and does nothing: end it."""
        for pid in list(self.crew.processes()):
            try:
                seen = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                continue
            if seen is not None:
                logger.error("process %d of the workers was stopped: killing it", pid)
                os.kill(pid, signal.SIGKILL)

    # --- signals and requests

    def _heed_signals(self) -> None:
        for number in self.inbox.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop_at_signal(number)
            elif number == signal.SIGQUIT:
                self._stop_now(128 + number)
            elif number == signal.SIGHUP:
                logger.info("settings are read again")
                self.settings.current()
            elif number == signal.SIGTTIN:
                self._add_worker()
            elif number == signal.SIGTTOU:
                self._retire_worker()

    def _stop_at_signal(self, number: int) -> None:
        if self.stop is None:
            self._begin_stop(self.settings.current().stop_timeout)
        else:
            self._stop_now(128 + number)

    def _begin_stop(self, timeout: float) -> None:
        """No new claims; running jobs have ``timeout`` seconds to finish."""
        logger.info("stopping: running jobs have %g seconds", timeout)
        now = self.clock.monotonic()
        before = self.stop
        self.stop = Stop(deadline=now + timeout) if before is None else before.no_later_than(now + timeout)
        if self.stop != before:
            self._jobs_end_by = iso(after(self.clock.now(), self.stop.deadline - now))
        self._on_stopping(longest(timeout, self.settings.current().kill_grace))
        self._tell_all(STOP)

    def _stop_now(self, status: int) -> None:
        """End what runs, and exit with ``status``."""
        logger.info("stopping now")
        self.status = status
        if self.stop is None or not self.stop.now:  # a third signal gives nobody more time
            self.stop = Stop(deadline=self.clock.monotonic(), now=True)
            self._jobs_end_by = None
            self._on_stopping(longest(0, 0))
        self._tell_all(END_NOW)

    def _heed_requests(self) -> None:
        """Look at what others asked for: a stop, or the end of a cancelled job."""
        is_asked = wake.drain(self.control) > 0
        request = take_request(self.home)
        if request is not None and self._is_for_another(request):
            logger.info("a stop that was asked of a supervisor before this one is void")
        elif request is not None:
            if request.now:
                self._stop_now(128 + signal.SIGQUIT)
            else:
                self._begin_stop(self.settings.current().stop_timeout if request.timeout is None else request.timeout)
        if is_asked:
            self._tell_all(LOOK_FOR_CANCEL)

    def _is_for_another(self, request: Request) -> bool:
        """Whether a request is meant for a supervisor before this one: our PID file would have told our name."""
        return request.to not in (None, self._myself) and pidfile.read(self.home.supervisor_pid) == self._myself

    def _look_at_ground(self) -> tuple[object, object]:
        """What we stand on: which database, and which lock."""
        return file_identity(self.home.database), file_identity(self.home.supervisor_lock)

    @property
    def _is_lock_lost(self) -> bool:
        """Whether what we hold is no longer the lock: workers of these names may be another supervisor's now."""
        return file_identity(self.home.supervisor_lock) != self._ground[1]

    def _stop_on_lost_ground(self) -> None:
        """The queue was deleted or replaced: nothing can be recorded any more. Or the lock was: another may run."""
        if self.status == StoreError.exit_code or self._look_at_ground() == self._ground:
            return
        lost = self.home.supervisor_lock if self._look_at_ground()[0] == self._ground[0] else self.home.database
        logger.error("%s was deleted or replaced while workers ran: stopping", lost)
        self._stop_now(StoreError.exit_code)

    def _tell_all(self, message: bytes) -> None:
        for member in self.members:
            member.tell(message)

    def _add_worker(self) -> None:
        if self.stop is None and len(self.members) < MAX_WORKERS:
            taken = {member.number for member in self.members}
            self.members.append(Member(next(number for number in range(1, MAX_WORKERS + 1) if number not in taken)))
            logger.info("one worker more")

    def _retire_worker(self) -> None:
        staying = [member for member in self.members if not member.retiring]
        if len(staying) > 1:
            logger.info("one worker fewer: %s finishes what it runs", staying[-1].name)
            staying[-1].retiring = True
            staying[-1].tell(STOP)
            if staying[-1].pid == 0:  # it waits to be started
                self.members.remove(staying[-1])

    # --- deaths

    def _kill_the_hung(self) -> None:
        lease = self.orders.pace.lease
        now = self.clock.monotonic()
        for member in self.members:
            if member.line is not None and now >= member.heard_at + lease:
                logger.error("%s gave no sign of life for %g seconds: killing it", member.name, lease)
                member.heard_at = now
                self.crew.kill(member)

    def _end_orphans(self) -> None:
        """Kill what dead workers left: it fell to us, and belongs to nobody else."""
        self.family.reap()
        if self.family.statuses:
            self._reap()
        if not self._may_have_orphans() or self.family.is_gone:
            self._orphans_since = None
            return
        now = self.clock.monotonic()
        if self._orphans_since is None:
            self._orphans_since = now
        if now - self._orphans_since > UNKILLABLE_WAIT:
            for name in self.family.abandon():
                logger.error("a dead worker left a process that cannot be ended: %s", name)
            self._orphans_since = None
            return
        self.family.kill()

    def _may_have_orphans(self) -> bool:
        """Nothing falls to us while every worker lives; so nothing is searched for either: a look at all processes takes long.

        Nor is it after a last word: what that worker left it could not end either, and has told of.
        """
        return any(
            member.pid != 0 and not member.last_word and (member.line is None or member.own_process == 0)
            for member in self.members
        )

    def _put_right_what_died(self) -> None:
        """Record the attempts of dead workers and see to their replacement, once nothing of theirs is left."""
        now = self.clock.monotonic()
        if self._orphans_since is not None or now < self._mend_at:
            return
        self._mend_the_maimed()
        dead = [
            member
            for member in self.members
            if member.has_ended and not member.last_word and now >= self._given_on_at(member)
        ]
        if not dead:
            return
        is_ours = self._look_at_ground() == self._ground
        if is_ours and not self._rescue({member.name for member in dead}):
            self._mend_at = now + _STORE_PAUSE
            if self.stop is None or not self.stop.ordered:
                return
            # Somebody waits for us to leave. What is claimed stays so, and the next start records it.
            logger.error("what dead workers ran is left for the next start to record")
            self._is_all_recorded = False
        for member in dead:
            self._remove_pid_file(member)
            self._replace(member)

    def _given_on_at(self, member: Member) -> float:
        """When what a member left is put right. In a stop nobody takes its place, so it need not be replaceable."""
        return self._mend_at if self.stop is not None else max(self._mend_at, member.replaceable_at)

    def _mend_the_maimed(self) -> None:
        """See to workers that lost a process which can be replaced under them; those that lose it often wait."""
        now = self.clock.monotonic()
        for member in self.crew.maimed(self.members):
            if now < member.mend_at and self.stop is None:
                continue
            member.mends = 1 if now - member.mend_at > _STEADY else member.mends + 1
            member.mend_at = now + _back_off(member.mends + 1)
            logger.warning("%s lost its keeper process; it gets another (loss %d in a row)", member.name, member.mends)
            try:
                self.crew.mend(member)
            except OSError as error:
                logger.error("cannot start a keeper for %s: %s", member.name, error.strerror)

    def _remove_pid_file(self, member: Member) -> None:
        path = self.home.worker_pid(member.number)
        identity = pidfile.read(path)
        # A thread may have died alone, or its process have a successor already.
        if identity is None or not identity.lives:
            files.remove(path)

    def _rescue(self, workers: set[str]) -> bool:
        try:
            # Whoever wants us to leave has waited for the worker already.
            is_urgent = self.stop is not None and self.stop.ordered
            store = open_store(self.home, _STORE_PAUSE if is_urgent else STORE_PATIENCE)
            try:
                rescued = leftovers.rescue(
                    self.home, store, self.settings.current(), self.clock, workers, "its worker died"
                )
            finally:
                store.close()
        except QueueError as error:
            if not self._store_troubled:
                logger.error("cannot record what dead workers ran: %s; waiting for it", error)
            self._store_troubled = True
            if self.orders.drain and isinstance(error, StoreDamaged):
                self._drain_no_more()
            return False
        self._store_troubled = False
        wake.workers(self.home, rescued)
        return True

    def _replace(self, member: Member) -> None:
        now = self.clock.monotonic()
        if self.stop is not None or member.retiring:
            self.members.remove(member)
            return
        deaths = 1 if now - member.started_at > _STEADY else member.deaths + 1
        delay = _back_off(deaths)
        logger.warning("%s died; another takes its place in %g seconds (death %d in a row)", member.name, delay, deaths)
        self._replaced += 1
        replacement = Member(member.number, deaths=deaths, start_at=now + delay)
        self.members[self.members.index(member)] = replacement

    def _let_go_of_the_retired(self) -> None:
        for member in [member for member in self.members if member.has_ended and member.last_word]:
            self._remove_pid_file(member)  # it may have died after its last word
            self.members.remove(member)
            if member.last_word == SPOILT:
                self._drain_no_more()
            elif member.last_word == DRAINED and self.stop is None:
                logger.info("%s", self._what_a_drain_leaves())
                self._is_drained = True
                self._announce_when_ready()
                self._begin_stop(self.settings.current().stop_timeout)
        if self.stop is not None:
            self.members = [member for member in self.members if member.pid != 0]

    def _drain_no_more(self) -> None:
        """The database is damaged, and nobody may be there to mend it. What cannot be recorded, the next start does."""
        self._is_all_recorded = False
        if self.status != StoreError.exit_code:
            self._stop_now(StoreError.exit_code)

    def _what_a_drain_leaves(self) -> str:
        """That all is done, or how much waits for what no worker can give."""
        waiting = 0
        try:
            store = open_store(self.home, _STORE_PAUSE)
            try:
                waiting = store.counts()[PENDING]
            finally:
                store.close()
        except QueueError as error:
            logger.warning("cannot tell what still waits: %s", error)
        if not waiting:
            return "nothing is left to do"
        jobs = "1 job waits" if waiting == 1 else f"{waiting} jobs wait"
        return f"nothing is left that may run; {jobs}, being paused, held or for later: 'queuectl why ID' tells more"

    # --- starting and stopping

    def _start_due_members(self) -> None:
        now = self.clock.monotonic()
        for member in self.members:
            if member.pid == 0 and member.start_at <= now and self.stop is None:
                try:
                    self.crew.start(member)
                except OSError as error:
                    member.deaths += 1
                    delay = max(1.0, _back_off(member.deaths))
                    logger.error("cannot start %s: %s; trying again in %g seconds", member.name, error.strerror, delay)
                    member.start_at = now + delay
                    continue
                member.started_at = member.heard_at = now

    def _announce_when_ready(self) -> None:
        """All workers were there; or they found nothing to do before all of them were."""
        all_there = self.stop is None and all(member.is_ready for member in self.members)
        if self._on_ready is not None and (all_there or self._is_drained):
            self._tell_state()
            self._on_ready()
            self._on_ready = None

    def _enforce_stop(self) -> None:
        """See to it that a stop ends: hand back at its deadline, and kill workers that don't end then."""
        if self.stop is None:
            return
        now = self.clock.monotonic()
        patience = UNKILLABLE_WAIT + 5 + (0 if self.stop.now else self.settings.current().kill_grace)
        if not self.stop.ordered and now >= self.stop.deadline:
            self.stop = self.stop.enforced(now + patience)
            self._tell_all(END_NOW if self.stop.now else END_GENTLY)
        elif self.stop.ordered and now >= self.stop.deadline:
            self.stop = self.stop.enforced(now + patience)
            for member in self.members:
                logger.error("%s does not end: killing it", member.name)
                self.crew.kill(member)

    def _leave(self) -> None:
        self.crew.dismiss()
        while self.crew.processes():
            self._reap()
            poll = select.poll()
            poll.register(self.inbox.fileno(), select.POLLIN)
            if self.crew.processes():
                poll.poll(1000)
        if not self._is_lock_lost:
            # One that died after its last word may have been let go of when its process was not quite dead.
            leftovers.remove_pid_files(self.home)
            if self._is_all_recorded:
                leftovers.forget(self.home)
        logger.info("stopped")

    # --- telling

    def _tell_state(self) -> None:
        """Write what ``worker-status`` shows, when it changed."""
        state = json.dumps(
            {
                "pid": os.getpid(),
                "started_at": iso(self.started_at),
                "mode": self.orders.mode,
                "count": self.orders.count,
                "drain": self.orders.drain,
                "stopping": self.stop is not None,
                "jobs_end_by": self._jobs_end_by,
                "replaced": self._replaced,
                "workers": [
                    {"name": member.name, "pid": member.pid, "ready": member.is_ready}
                    for member in sorted(self.members, key=lambda member: member.number)
                    if member.pid
                ],
            }
        )
        if state != self._told and not self._is_lock_lost:
            try:
                files.write_atomically(self.home.supervisor_state, state)
                self._told = state
                self._is_untold = False
            except OSError as error:
                if not self._is_untold:
                    logger.warning("cannot write %s: %s", self.home.supervisor_state, error.strerror)
                self._is_untold = True
