"""A job's own word about its retries, from the enqueue to the claim, and what is told of it."""

from __future__ import annotations

from store.backends import T0, add, after, claim

from queuectl.model import ANY_FAILURE, Outcome, RetryPolicy
from queuectl.retry import verdict_on
from queuectl.settings import DEFAULTS
from queuectl.store.base import Store


def end(store: Store, kind: str, exit_code: int | None = None) -> None:
    claimed = claim(store)
    outcome = Outcome(kind, exit_code, reason=None if exit_code is None else f"exit code {exit_code}")
    store.finish(claimed, outcome, verdict_on(claimed, outcome, DEFAULTS), T0, T0)


def test_a_claim_carries_the_policy(store: Store) -> None:
    add(store, "own", retry_on="2,64-78", no_retry_on="70", backoff_base=1.5)
    add(store, "base", backoff_base=0)
    add(store, "none")
    policies = [claim(store).policy for _ in range(3)]
    assert policies == [RetryPolicy("2,64-78", "70", 1.5), RetryPolicy(backoff_base=0), ANY_FAILURE]
    assert [each.policy for each in store.claims()] == policies
    job = store.get("own")
    assert (job.retry_on, job.no_retry_on, job.backoff_base) == ("2,64-78", "70", 1.5)
    job = store.get("none")
    assert (job.retry_on, job.no_retry_on, job.backoff_base) == (None, None, None)


def test_a_code_that_is_not_retried_ends_the_job_and_is_the_reason(store: Store) -> None:
    add(store, "a", no_retry_on="64")
    end(store, "failed", 64)
    job = store.get("a")
    assert (job.state, job.attempts, job.next_run_at) == ("dead", 1, None)
    assert job.reason == "exit code 64, which is not retried"
    (attempt,) = store.attempts("a")
    assert (attempt.outcome, attempt.exit_code, attempt.reason) == ("failed", 64, "exit code 64")


def test_put_back_by_hand_it_has_its_policy_still(store: Store) -> None:
    add(store, "a", no_retry_on="64")
    end(store, "failed", 64)
    store.revive(["a"], ["dead"], T0)
    assert store.get("a").reason is None
    end(store, "failed", 64)
    assert store.get("a").state == "dead"
    store.revive(["a"], ["dead"], T0)
    end(store, "timed_out")
    assert store.get("a").state == "pending"


def test_a_cancel_that_was_confirmed_wins_over_the_verdict(store: Store) -> None:
    add(store, "a", no_retry_on="64")
    claimed = claim(store)
    store.cancel(["a"], T0)
    outcome = Outcome("failed", 64, reason="exit code 64")
    store.finish(claimed, outcome, verdict_on(claimed, outcome, DEFAULTS), T0, after(1))
    assert (store.get("a").state, store.get("a").reason) == ("cancelled", "cancelled while it ran")
