"""When a failed job runs again: pure rules, no clock and no database."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from queuectl.model import (
    ANY_FAILURE,
    CANCELLED,
    COMPLETED,
    DEAD,
    FAILED,
    PENDING,
    RELEASED,
    STOPPED,
    SUCCEEDED,
    Claim,
    Outcome,
    RetryPolicy,
)
from queuectl.settings import Settings


def may_retry(attempts: int, max_retries: int) -> bool:
    """Whether a job that was charged ``attempts`` starts may start once more.

    ``max_retries`` counts the retries after the first start, so at most ``max_retries + 1``
    starts are charged.
    """
    return attempts <= max_retries


def is_worth_a_retry(policy: RetryPolicy, kind: str, exit_code: int | None) -> bool:
    """Whether a job's policy lets it run again after such a failure.

    It speaks of exit codes only: a timeout, a signal, a crash, and what could not be started are
    nothing that the command has decided, and are retried as always.
    """
    if kind != FAILED or exit_code is None or policy is ANY_FAILURE:
        return True
    from queuectl.codes import includes

    if policy.retry_on is not None and not includes(policy.retry_on, exit_code):
        return False
    return policy.no_retry_on is None or not includes(policy.no_retry_on, exit_code)


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


def fraction() -> float:
    """A number drawn evenly from 0 up to, but without, 1; another one in each process, also after a fork."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def spread(delay: float, jitter: float, cap: float, draw: Callable[[], float] = fraction) -> float:
    """A delay drawn evenly from those that differ from ``delay`` by ``jitter`` of it at most (0 to 1).

    It is at most ``cap``. What lies beyond is not drawn at all: jobs whose back-off has reached the cap
    must not come all at once after all.
    """
    if not jitter:
        return delay
    least, most = delay * (1 - jitter), min(delay * (1 + jitter), cap)
    return least + (most - least) * draw()


class Verdict(NamedTuple):
    """What becomes of a job after an attempt.

    ``delay`` is the seconds until it may start again, None unless it failed and is retried.
    ``charged`` tells whether the start counts against ``max_retries``. ``reason`` is why the job is in its
    state, where that is more than how the attempt ended.
    """

    state: str
    delay: float | None = None
    charged: bool = True
    reason: str | None = None


class Ending(NamedTuple):
    """How the attempt that a claim stands for ended, when (in microseconds since the epoch), and what becomes of its job."""

    claim: Claim
    outcome: Outcome
    verdict: Verdict
    ended_at: int


def judge(
    kind: str,
    attempts: int,
    max_retries: int,
    base: float,
    cap: float,
    *,
    exit_code: int | None = None,
    policy: RetryPolicy = ANY_FAILURE,
    jitter: float = 0,
    draw: Callable[[], float] = fraction,
) -> Verdict:
    """Decide what becomes of a job whose attempt ended as ``kind``.

    ``attempts`` counts the starts charged so far, this one among them. ``base`` is for a policy that names none.
    """
    if kind == SUCCEEDED:
        return Verdict(COMPLETED)
    if kind == STOPPED:
        return Verdict(CANCELLED)
    if kind == RELEASED:
        return Verdict(PENDING, charged=False)
    if not may_retry(attempts, max_retries):
        return Verdict(DEAD)
    if not is_worth_a_retry(policy, kind, exit_code):
        return Verdict(DEAD, reason=f"exit code {exit_code}, which is not retried")
    delay = backoff(attempts, base if policy.backoff_base is None else policy.backoff_base, cap)
    return Verdict(PENDING, delay=spread(delay, jitter, cap, draw))


def verdict_on(claim: Claim, outcome: Outcome, current: Settings, draw: Callable[[], float] = fraction) -> Verdict:
    """Decide what becomes of a claimed job, under its own policy and the settings in force."""
    return judge(
        outcome.kind,
        claim.attempts,
        claim.max_retries,
        current.backoff_base,
        current.backoff_max,
        exit_code=outcome.exit_code,
        policy=claim.policy,
        jitter=current.backoff_jitter,
        draw=draw,
    )
