"""When a failed job runs again: pure rules, no clock and no database."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.model import CANCELLED, COMPLETED, DEAD, PENDING, RELEASED, STOPPED, SUCCEEDED


def may_retry(attempts: int, max_retries: int) -> bool:
    """Whether a job that was charged ``attempts`` starts may start once more.

    ``max_retries`` counts the retries after the first start, so at most ``max_retries + 1``
    starts are charged.
    """
    return attempts <= max_retries


def backoff(attempts: int, base: float, cap: float) -> float:
    """Seconds until the next start: ``base ** attempts``, at most ``cap``.

    ``attempts`` is the number of starts charged so far, 1 after the first failure.
    """
    try:
        # Of floats: an exact power of a large whole number takes for ever.
        delay = float(base) ** attempts
    except OverflowError:
        return cap
    return min(delay, cap)


class Verdict(NamedTuple):
    """What becomes of a job after an attempt.

    ``delay`` is the seconds until it may start again, None unless it failed and is retried.
    ``charged`` tells whether the start counts against ``max_retries``.
    """

    state: str
    delay: float | None = None
    charged: bool = True


def judge(kind: str, attempts: int, max_retries: int, base: float, cap: float) -> Verdict:
    """Decide what becomes of a job whose attempt ended as ``kind``.

    ``attempts`` counts the starts charged so far, this one among them.
    """
    if kind == SUCCEEDED:
        return Verdict(COMPLETED)
    if kind == STOPPED:
        return Verdict(CANCELLED)
    if kind == RELEASED:
        return Verdict(PENDING, charged=False)
    if may_retry(attempts, max_retries):
        return Verdict(PENDING, delay=backoff(attempts, base, cap))
    return Verdict(DEAD)
