"""What a worker holds: how many jobs it claims at once, and for how long."""

from __future__ import annotations

import pytest
from unit.support import HandClock

from queuectl.hand import LONGEST, Hand
from queuectl.model import SUCCEEDED, Claim, Outcome
from queuectl.retry import Ending, Verdict
from queuectl.slot import PLACES

INSTANT = 0.001
ENOUGH = 8


class MonotonicClock(HandClock):
    def monotonic(self) -> float:
        return self.time / 1_000_000


def claim(seq: int, started_at: int | None = None) -> Claim:
    return Claim(seq, str(seq), 1, 1, 3, "true", "/", {}, None, "w", started_at)


def ending(seq: int) -> Ending:
    return Ending(claim(seq, 5), Outcome(SUCCEEDED, 0), Verdict("completed"), 7)


def experienced(clock: HandClock) -> Hand:
    """The hand of a worker that has run short jobs only."""
    hand = Hand(clock)
    for seq in range(ENOUGH):
        hand.note(ending(seq), INSTANT)
    hand.forget()
    return hand


def test_several_are_claimed_only_after_several_short_jobs() -> None:
    hand = Hand(HandClock())
    for seq in range(ENOUGH):
        assert hand.most == 1
        hand.note(ending(seq), INSTANT)
    assert hand.most == PLACES
    hand.note(ending(9), LONGEST)
    assert hand.most == 1


def test_it_is_not_tried_again_at_once_where_nothing_could_be_claimed_ahead() -> None:
    hand = experienced(HandClock())
    assert hand.take([claim(1)], 0) == claim(1)
    assert hand.most == 1
    hand = experienced(HandClock())
    assert hand.take([], 0) is None
    assert hand.most == 1


def test_the_first_is_begun_and_the_others_are_held_for_a_while() -> None:
    clock = MonotonicClock()
    hand = experienced(clock)
    assert hand.patience is None
    assert hand.take([claim(1), claim(2), claim(3)], clock.monotonic()) == claim(1)
    assert list(hand.ahead) == [claim(2), claim(3)]
    assert hand.most == PLACES
    assert hand.patience == pytest.approx(LONGEST, abs=1e-3)
    clock.forward(LONGEST / 2)
    assert hand.patience == pytest.approx(LONGEST / 2, abs=1e-3)
    clock.forward(LONGEST)
    assert hand.patience == 0
    hand.postpone(5)
    assert hand.patience == pytest.approx(5, abs=1e-3)
    assert hand.begin(77) == hand.begun == claim(2, 77)
    assert list(hand.ahead) == [claim(3)]


def test_whatever_is_not_settled_has_a_time() -> None:
    hand = experienced(MonotonicClock())
    hand.note(ending(1), INSTANT)
    assert hand.patience is not None
    hand.forget()
    assert hand.patience is None
    hand.begun = claim(1, 7)
    assert hand.patience is not None
    hand.forget()
    assert hand.patience is None
    hand.take([claim(1), claim(2)], 0)
    hand.put_back()
    assert (list(hand.ahead), hand.unbegun) == ([], [claim(2)])
    assert hand.patience is not None
    hand.forget()
    assert (hand.unbegun, hand.patience) == ([], None)
