"""Who is retried, and when."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.model import OUTCOMES, Claim, Outcome, RetryPolicy
from queuectl.retry import Verdict, backoff, fraction, judge, may_retry, spread, verdict_on
from queuectl.settings import Settings


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


@pytest.mark.parametrize(
    ("policy", "retried"),
    [
        (RetryPolicy(), {1, 2, 5, 64, 70, 255}),
        (RetryPolicy(retry_on="2,64-78"), {2, 64, 70}),
        (RetryPolicy(no_retry_on="2,64-78"), {1, 5, 255}),
        (RetryPolicy(retry_on="1-100", no_retry_on="64-78"), {1, 2, 5}),
    ],
)
def test_which_exit_codes_are_retried(policy: RetryPolicy, retried: set[int]) -> None:
    for code in (1, 2, 5, 64, 70, 255):
        verdict = judge("failed", 1, 3, 2, 10, exit_code=code, policy=policy)
        expected = (
            Verdict("pending", delay=2)
            if code in retried
            else Verdict("dead", reason=f"exit code {code}, which is not retried")
        )
        assert verdict == expected


@pytest.mark.parametrize("kind", [kind for kind in OUTCOMES if kind != "failed"])
def test_a_policy_speaks_of_exit_codes_only(kind: str) -> None:
    """What crashed may have an exit code, too: that of its last moments, while it was ended."""
    policy = RetryPolicy(retry_on="3", no_retry_on="7")
    assert judge(kind, 1, 3, 2, 10, exit_code=7, policy=policy) == judge(kind, 1, 3, 2, 10)


def test_where_no_retries_are_left_that_is_the_reason() -> None:
    policy = RetryPolicy(no_retry_on="7")
    assert judge("failed", 4, 3, 2, 10, exit_code=7, policy=policy) == Verdict("dead")


def test_the_base_of_a_policy_takes_the_place_of_the_setting() -> None:
    assert judge("failed", 3, 9, 2, 100, policy=RetryPolicy(backoff_base=3)).delay == 27
    assert judge("failed", 3, 9, 2, 10, policy=RetryPolicy(backoff_base=3)).delay == 10
    assert judge("failed", 3, 9, 2, 10, policy=RetryPolicy(backoff_base=0)).delay == 0


@pytest.mark.parametrize(("drawn", "delay"), [(0.0, 4), (0.5, 8), (0.75, 10)])
def test_a_delay_is_spread_evenly(drawn: float, delay: float) -> None:
    assert spread(8, 0.5, 100, lambda: drawn) == delay
    assert spread(8, 0, 100, lambda: drawn) == 8
    assert spread(0, 1, 100, lambda: drawn) == 0


def test_at_the_cap_delays_are_spread_below_it() -> None:
    """If all that are too long became the cap, jobs that failed together would come together again."""
    assert [spread(100, 0.5, 100, lambda drawn=drawn: drawn) for drawn in (0, 0.5, 1)] == [50, 75, 100]  # type: ignore[misc]


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 0.999999))
def test_a_spread_delay_keeps_its_limits(delay: float, jitter: float, drawn: float) -> None:
    cap = 2e5
    found = spread(min(delay, cap), jitter, cap, lambda: drawn)
    assert 0 <= found <= cap
    assert abs(found - min(delay, cap)) <= jitter * min(delay, cap) + 1e-6


def test_what_is_drawn_is_a_fraction_and_another_each_time() -> None:
    drawn = {fraction() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= each < 1 for each in drawn)
    assert min(drawn) < 0.5 < max(drawn)


def test_a_claim_is_judged_by_its_own_policy_and_the_settings_in_force() -> None:
    claim = Claim(1, "a", 5, 2, 3, "false", "/", {}, None, "w", 0, RetryPolicy(no_retry_on="7", backoff_base=3))
    current = Settings(backoff_base=2, backoff_max=100, backoff_jitter=1)
    assert verdict_on(claim, Outcome("failed", 1), current, lambda: 0.25) == Verdict("pending", delay=4.5)
    assert verdict_on(claim, Outcome("failed", 7), current).state == "dead"
    plain = claim._replace(policy=RetryPolicy())
    assert verdict_on(plain, Outcome("failed", 7), current, lambda: 0.5) == Verdict("pending", delay=4)
