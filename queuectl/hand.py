"""What a worker holds at one time: jobs that were claimed ahead, and outcomes that are not stored yet.

A transaction takes as long as a short job. So where one short job follows another, some are claimed at once, and their
outcomes stored at once, with the next claims; what each came to is noted in the slot meanwhile. All of it lasts a
fraction of a second: then what ended is stored, and what has not begun is given back.
"""

from __future__ import annotations

from collections import deque

from queuectl.clock import Clock
from queuectl.model import Claim
from queuectl.retry import Ending
from queuectl.slot import PLACES

LONGEST = 0.1
"""Seconds after a claim in which the last of what was claimed with it begins, and what ended is stored."""
SHORT = LONGEST / PLACES
"""Seconds that a job takes at most to count as short."""
_IN_A_ROW = 8
"""Short jobs after which the next are taken to be short, too."""


class Hand:
    """The claims and the endings of one worker. Times are monotonic, in seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead: deque[Claim] = deque()
        self.endings: list[Ending] = []
        self.unbegun: list[Claim] = []
        """What is to be given back. It may have been, where the database failed: so none of it is begun any more."""
        self.begun: Claim | None = None
        """The claim that runs, when the database does not know yet that it has begun."""
        self.until = 0.0
        """When all of this is to be settled."""
        self._short_ones = 0

    @property
    def most(self) -> int:
        """How many jobs to claim at once."""
        return PLACES if self._short_ones >= _IN_A_ROW else 1

    @property
    def patience(self) -> float | None:
        """Seconds until all of this is to be settled, though a job runs; None when there is nothing."""
        if not (self.ahead or self.unbegun or self.endings or self.begun):
            return None
        return max(0.0, self.until - self._clock.monotonic())

    def take(self, claims: list[Claim], claimed_at: float) -> Claim | None:
        """Hold what was claimed at one stroke; returns the first of it."""
        if len(claims) < 2 <= self.most:
            self._short_ones = 0  # too few wait, or they are of another kind: it is not tried again with each
        if not claims:
            return None
        self.ahead.extend(claims[1:])
        self.until = claimed_at + LONGEST
        return claims[0]

    def begin(self, started_at: int) -> Claim:
        """Take the next of what was claimed ahead, to begin at a time in microseconds since the epoch."""
        self.begun = self.ahead.popleft()._replace(started_at=started_at)
        return self.begun

    def put_back(self) -> None:
        """Begin none of what is claimed ahead."""
        self.unbegun.extend(self.ahead)
        self.ahead.clear()

    def postpone(self, pause: float) -> None:
        """Settle all of it some seconds from now: it could not be done."""
        self.until = self._clock.monotonic() + pause

    def forget(self) -> None:
        """All of it was settled."""
        self.endings.clear()
        self.unbegun.clear()
        self.begun = None

    def note(self, ending: Ending, took: float) -> None:
        """Hold the ending of the claim that ran for some seconds."""
        self.endings.append(ending)
        self.begun = None
        self._short_ones = self._short_ones + 1 if took <= SHORT else 0
