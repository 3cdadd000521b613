"""Who is retried, and when."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.model import OUTCOMES
from queuectl.retry import Verdict, backoff, judge, may_retry


def test_the_delay_is_the_base_to_the_power_of_the_attempts() -> None:
    assert [backoff(attempts, 2, 86_400) for attempts in range(1, 6)] == [2, 4, 8, 16, 32]
    assert backoff(3, 1.5, 86_400) == 3.375
    assert backoff(7, 1, 86_400) == 1
    assert backoff(7, 0, 86_400) == 0
    assert backoff(2, 0.5, 86_400) == 0.25


def test_the_delay_is_capped() -> None:
    assert backoff(16, 2, 86_400) == 65_536
    assert backoff(17, 2, 86_400) == 86_400
    assert backoff(1, 10, 3) == 3
    assert backoff(5, 2, 0) == 0


@pytest.mark.parametrize("base", [2, 3_153_600_000, 1.0000001e9])
def test_a_power_beyond_all_numbers_is_the_cap_and_takes_no_time(base: float) -> None:
    begin = time.monotonic()
    assert backoff(1_000_000_000, base, 86_400) == 86_400
    assert time.monotonic() - begin < 1


@given(st.integers(1, 10**9), st.floats(0, 3e9) | st.integers(0, 3 * 10**9), st.floats(0, 3e9))
def test_every_delay_lies_between_zero_and_the_cap(attempts: int, base: float, cap: float) -> None:
    delay = backoff(attempts, base, cap)
    assert math.isfinite(delay)
    assert 0 <= delay <= cap


def test_so_many_retries_after_the_first_start() -> None:
    assert [may_retry(attempts, 2) for attempts in (1, 2, 3)] == [True, True, False]
    assert not may_retry(1, 0)


FAILURES = ("failed", "signaled", "timed_out", "crashed", "not_started")


@pytest.mark.parametrize(("kind", "left"), [(kind, left) for kind in OUTCOMES for left in (True, False)])
def test_the_verdict_on_every_outcome(kind: str, left: bool) -> None:
    verdict = judge(kind, 2, 2 if left else 1, 2, 86_400)
    expected = {
        "succeeded": Verdict("completed"),
        "cancelled": Verdict("cancelled"),
        "released": Verdict("pending", delay=None, charged=False),
        **dict.fromkeys(FAILURES, Verdict("pending", delay=4) if left else Verdict("dead")),
    }
    assert verdict == expected[kind]


@given(st.integers(0, 50))
def test_a_job_that_always_fails_starts_once_more_than_it_has_retries(max_retries: int) -> None:
    starts = 1
    while judge("failed", starts, max_retries, 2, 10).state == "pending":
        starts += 1
    assert starts == max_retries + 1
