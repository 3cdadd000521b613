"""The one loop of a worker, for both modes: claim, run, record, wait."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from queuectl import recall, wake
from queuectl.clock import SECOND, SYSTEM_CLOCK, Clock, Instant
from queuectl.crowd import Crowd
from queuectl.errors import StoreBusy, StoreDamaged, StoreError
from queuectl.hand import Hand
from queuectl.home import Home
from queuectl.link import READY, WorkerLink
from queuectl.model import NOT_STARTED, Claim, Settled
from queuectl.pruning import Janitor
from queuectl.retry import Ending, fraction, verdict_on
from queuectl.runner import ABANDON, CANCEL, Assignment, Order, Runner, Series, assignment
from queuectl.settings import Live, Settings
from queuectl.store.base import Store

logger = logging.getLogger(__name__)

_STORE_PAUSE = 0.5
"""Seconds before a database that could not be used is tried again."""
_GLANCE = 0.05
"""Seconds before a worker whose job runs looks again whether nobody else writes."""
_LONGEST_SLEEP = 10.0
_STEP = 1.0
"""Seconds by which the wall clock must fall behind the monotonic one to count as set back; drift is far less."""

Result = TypeVar("Result")


class Worker:
    """Works on jobs until it is told to stop, its supervisor dies, or, draining, nothing is left."""

    def __init__(
        self,
        name: str,
        home: Home,
        store: Store,
        runner: Runner,
        link: WorkerLink,
        settings: Live,
        crowd: Crowd,
        *,
        drain: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        draw: Callable[[], float] = fraction,
    ) -> None:
        self.name = name
        self._home = home
        self._store = store
        self._runner = runner
        self._link = link
        self._drain = drain
        self._clock = clock
        self._draw = draw
        self._settings = settings
        wake.make_fifo(home.wake)  # unless somebody removed it, it is there
        self._wake = wake.open_fifo(home.wake)
        self._woken = 0
        self._hand = Hand(clock)
        self._claimed = Instant(0, 0.0)
        self._began_at = 0.0
        self._mark = 0
        self._crowd = crowd
        self._rest = 0.0
        """Seconds for which the next jobs are left to others."""
        self._failing: set[str] = set()
        """What could not be done with the database when it was last tried."""
        self._lead = self._lead_of_wall_clock()
        self._janitor = Janitor(home, store)

    def run(self) -> bool:
        """Work; returns whether it ended because the queue is drained."""
        self._link.tell(READY)
        self._rest = self._crowd.rest_at_first()
        try:
            return self._work_on()
        finally:
            self._janitor.rest()
            # What it was woken for, or watched for, is for another now.
            wake.pass_on(self._wake, max(1, self._woken))
            os.close(self._wake)

    def _work_on(self) -> bool:
        claim: Claim | None = None
        while claim is not None or not self._link.stopping:
            if not self._hand.endings:  # what takes time must not come between a look for a recall and a start
                self._heed_clock()
                self._tidy(busy=claim is not None)
            if claim is None and not self._runner.is_ready:
                self._wait_for_runner()
                continue
            if claim is None and self._rest:
                self._link.listen(self._rest)
                self._rest = self._crowd.rest_on()
                continue
            if claim is None:
                claim = self._claim()
            if claim is not None:
                self._crowd.go_on(claim.seq)
                self._janitor.rest()
                claim = self._work(claim)
            elif self._is_drained():
                return True
            else:
                self._wait_for_work()
        return False

    def _heed_clock(self) -> None:
        """See to jobs in back-off when the wall clock was set back: they would wait until it shows their time again."""
        lead = self._lead_of_wall_clock()
        if lead < self._lead - _STEP:
            restarted = self._try("restart", lambda: self._store.restart_back_offs(self._clock.now()))
            if restarted is None:
                return
            if restarted:
                logger.warning(
                    "%s: the clock was set back by %.0f seconds; the back-off of %d jobs begins anew",
                    self.name,
                    self._lead - lead,
                    restarted,
                )
        self._lead = lead

    def _tidy(self, *, busy: bool) -> None:
        """Remove some of what the setting ``retention`` does not keep."""
        now = self._clock.monotonic()
        if not self._janitor.is_due(now):
            return
        try:
            self._janitor.tidy(self._settings.current().retention, self._clock.now(), now, busy=busy)
        except StoreError as error:
            # Jobs do not need it: it is tried again in a minute, and nothing waits for it.
            logger.warning("%s: cannot remove what retention does not keep: %s", self.name, error)

    def _lead_of_wall_clock(self) -> float:
        return self._clock.now() / SECOND - self._clock.monotonic()

    def _claim(self) -> Claim | None:
        claim = self._try("claim", self._claim_now)
        if claim is not None:
            wake.pass_on(self._wake, max(self._woken - 1, self._guards_needed()))
        if not self._failing:
            self._woken = 0
        return claim

    def _claim_now(self) -> Claim | None:
        return self._store.claim(self.name, self._moment_of_claim)

    def _moment_of_claim(self) -> int:
        """By the wall clock, and before this: what is measured from then on by the other clock is rather too short."""
        self._claimed = Instant(self._clock.now(), self._clock.monotonic())
        self._began_at = self._claimed.at
        if self._hand.most > 1:
            # Nobody else can write now: whoever changes something later has this changed later still.
            self._mark = recall.mark(self._home)
        return self._claimed.on

    def _guards_needed(self) -> int:
        """1 when somebody else must watch for the next scheduled job, since this worker gets busy."""
        return 1 if self._try("look ahead", self._store.next_due) is not None else 0

    def _work(self, claim: Claim) -> Claim | None:
        """Run a claimed job and see to what came of it; the next claim, if there is one already."""
        settings = self._settings.current()
        orders = _OrdersFor(claim, self._link, self._store, self._hand, self._settle_early)
        outcome = self._runner.run(
            self._assignment(claim, settings), orders, lambda: self._series([claim, *self._hand.ahead], settings)
        )
        if outcome.kind == NOT_STARTED:
            self._link.listen(0)  # what waits for a process hears of a stop by that
        ended_at = self._runner.next_began or self._clock.monotonic()
        verdict = verdict_on(claim, outcome, settings, self._draw)
        took = ended_at - self._began_at
        self._hand.note(Ending(claim, outcome, verdict, self._claimed.wall_clock(ended_at)), took)
        if self._may_begin_another():
            return self._begin_another()
        self._rest = self._crowd.rest(took, claim.seq)
        return self._settle()

    def _assignment(self, claim: Claim, settings: Settings) -> Assignment:
        return assignment(claim, settings, self._home.log(claim.id), self._home.database)

    def _series(self, claims: list[Claim], settings: Settings) -> Series:
        tasks = [self._assignment(claim, settings) for claim in claims]
        return Series(tasks, self._claimed, self._hand.until, self._mark)

    def _begin_another(self) -> Claim:
        """Begin what was claimed ahead, or has begun already. The database learns of it with its end, or before long."""
        self._began_at = self._runner.next_began or self._clock.monotonic()
        return self._hand.begin(self._claimed.wall_clock(self._began_at))

    def _may_begin_another(self) -> bool:
        """Whether there is a job that was claimed ahead, and nothing that speaks against it; or it has begun."""
        return self._runner.next_began is not None or (
            bool(self._hand.ahead)
            and not self._link.stopping
            and self._clock.monotonic() < self._hand.until
            and recall.mark(self._home) == self._mark
            and self._runner.is_ready
        )

    def _settle(self) -> Claim | None:
        """Store what ended, however long the database takes, unless we are to end; the next claim.

        Then it is for a rescuer to record what our runner noted. Raises :class:`StoreError`.
        """
        self._hand.put_back()
        while True:
            settled = self._try("record", self._settle_now)
            if settled is not None:
                break
            if self._link.order is not None:
                lost = " and ".join(f"{each.claim.id} ({each.outcome.kind})" for each in self._hand.endings)
                raise StoreError(f"the outcome of job {lost} could not be stored")
        self._tell(settled, is_busy=bool(settled.following))
        return self._hand.take(settled.following, self._claimed.at)

    def _settle_now(self) -> Settled:
        goes_on = self._runner.is_ready and not self._link.stopping and not self._rest
        return self._store.settle(
            self._hand.endings,
            self._moment_of_claim,
            unbegun=self._hand.unbegun,
            next_for=self.name if goes_on else None,
            most=self._hand.most,
        )

    def _settle_early(self) -> None:
        """See to all but the job that runs, for it takes long. It must not wait for the database: it is tried again."""
        hand = self._hand
        hand.put_back()
        try:
            settled = self._store.settle(
                hand.endings, self._clock.now, begun=hand.begun, unbegun=hand.unbegun, patiently=False
            )
        except StoreBusy:
            hand.postpone(_GLANCE)
            return
        except StoreError as error:
            self._note_failure("record", error)
            hand.postpone(_STORE_PAUSE)
            return
        self._note_success("record")
        self._tell(settled, is_busy=True)

    def _tell(self, settled: Settled, *, is_busy: bool) -> None:
        """Tell of what was recorded, and others of what they may do now."""
        for ending, recorded in zip(self._hand.endings, settled.recorded, strict=True):
            job_id, kind = ending.claim.id, ending.outcome.kind
            if not recorded:
                logger.warning("%s: job %s was given on, its outcome (%s) is void", self.name, job_id, kind)
            for name in ending.outcome.leftover:
                logger.error("%s: job %s left a process that cannot be ended: %s", self.name, job_id, name)
        are_delayed = any(ending.verdict.delay is not None for ending in self._hand.endings)
        self._hand.forget()
        wake.pass_on(self._wake, max(settled.ready, int(are_delayed and is_busy)))

    def _wait_for_runner(self) -> None:
        """What cannot run a job claims none, and leaves to others what it was woken for, or watched for."""
        wake.pass_on(self._wake, max(1, self._woken))
        self._woken = 0
        self._janitor.rest()
        self._link.listen(None, self._runner.signs)

    def _is_drained(self) -> bool:
        return self._drain and bool(self._try("count", lambda: self._store.is_drained(self._clock.now())))

    def _wait_for_work(self) -> None:
        """Sleep until there may be something to claim, or something to hear."""
        due = self._try("look ahead", self._store.next_due)
        timeout = _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, (due - self._clock.now()) / SECOND + 0.001)
        if self._failing:
            timeout = min(timeout, _STORE_PAUSE)
        tidying = self._janitor.wait(self._settings.current().retention, self._clock.monotonic())
        if tidying is not None:
            timeout = min(timeout, tidying)
        while not self._link.stopping:
            ready = self._link.listen(max(0.0, timeout), (self._wake,))
            if not ready:
                return
            self._woken += wake.drain(self._wake)
            if self._woken:
                return

    def _try(self, what: str, verb: Callable[[], Result]) -> Result | None:
        """Use the store; when it cannot be used, say so once, wait a little, and return None.

        The trouble is over when what failed works again: a full disk can still be read. Raises :class:`StoreDamaged`
        while draining: whoever waits for the end would wait for ever.
        """
        try:
            result = verb()
        except StoreError as error:
            if self._drain and isinstance(error, StoreDamaged):
                raise
            self._note_failure(what, error)
            self._link.listen(_STORE_PAUSE)
            return None
        self._note_success(what)
        return result

    def _note_failure(self, what: str, error: StoreError) -> None:
        if not self._failing:
            logger.error("%s: %s; waiting for it", self.name, error)
        self._failing.add(what)

    def _note_success(self, what: str) -> None:
        if what in self._failing:
            self._failing.remove(what)
            if not self._failing:
                logger.info("%s: the database can be used again", self.name)


class _OrdersFor:
    """What may end one attempt before its time: the supervisor's word, its death, or a cancel.

    When an attempt goes on for longer than its worker's ``hand`` may wait, ``settle`` is called.
    """

    def __init__(self, claim: Claim, link: WorkerLink, store: Store, hand: Hand, settle: Callable[[], None]) -> None:
        self._claim = claim
        self._link = link
        self._store = store
        self._hand = hand
        self._settle = settle
        self._cancelled = False
        self._is_blind = False
        self._has_told = False
        self._told: Order | None = None

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> Order | None:
        """As :meth:`queuectl.runner.Orders.wait`; each order is returned once."""
        order = self._news()
        if order is None:
            self._listen(timeout, also)
            order = self._news()
        return order

    def _listen(self, timeout: float | None, also: tuple[int, ...]) -> None:
        pauses = (timeout, self._hand.patience, _STORE_PAUSE if self._is_blind else None)
        self._link.listen(min((pause for pause in pauses if pause is not None), default=None), also)
        if self._hand.patience == 0:
            self._settle()

    def _news(self) -> Order | None:
        order = self._link.order or (CANCEL if self._is_cancelled() else None)
        if order is self._told:
            return None
        self._told = order
        return order

    @property
    def is_abandoned(self) -> bool:
        """As :attr:`queuectl.runner.WorkerOrders.is_abandoned`."""
        return self._link.order is ABANDON

    @property
    def is_called(self) -> bool:
        """As :attr:`queuectl.runner.WorkerOrders.is_called`."""
        return self._link.stopping or self._link.may_be_cancelled or self._hand.patience == 0

    def attend(self, descriptor: int | None = None) -> bool:
        """As :meth:`queuectl.runner.WorkerOrders.attend`."""
        also = () if descriptor is None else (descriptor,)
        return bool(self._link.listen(None if self.is_called else self._hand.patience, also))

    def _is_cancelled(self) -> bool:
        if self._link.may_be_cancelled and not self._cancelled:
            self._link.may_be_cancelled = False
            self._hand.put_back()  # it may be one of these that was meant
            try:
                self._cancelled = self._store.is_cancel_requested(self._claim, patiently=False)
                self._is_blind = False
            except StoreError as error:
                # It is looked again before long; the job itself needs no database.
                if not self._has_told:
                    logger.warning("cannot tell whether job %s was cancelled: %s", self._claim.id, error)
                self._has_told = self._is_blind = self._link.may_be_cancelled = True
        return self._cancelled
