"""Kill a worker between every two steps that matter: each time the account balances."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from stage import Point, Stage

SUCCEEDED, CRASHED = ["succeeded"], ["crashed", "succeeded"]

WORKER: dict[str, tuple[Point, Sequence[str], Sequence[str]]] = {
    "as it begins": (Point("queuectl.worker", "run", "call"), SUCCEEDED, SUCCEEDED),
    "before a claim": (Point("queuectl.worker", "_claim_now", "call"), SUCCEEDED, SUCCEEDED),
    "in the transaction of a claim": (Point("queuectl.store.sqlite", "_claim"), SUCCEEDED, SUCCEEDED),
    "claimed": (Point("queuectl.worker", "_claim_now"), CRASHED, SUCCEEDED),
    "log opened": (Point("queuectl.joblog", "open_for_append"), CRASHED, SUCCEEDED),
    "log noted": (Point("queuectl.slot", "opened"), CRASHED, SUCCEEDED),
    "spawned": (Point("queuectl.proctree", "spawn"), CRASHED, SUCCEEDED),
    "PID recorded": (Point("queuectl.slot", "started"), CRASHED, SUCCEEDED),
    "first process ended": (Point("queuectl.runner", "_wait_for_first_process"), CRASHED, SUCCEEDED),
    "the rest killed": (Point("queuectl.runner", "_end_at_once"), CRASHED, SUCCEEDED),
    "before its end is noted": (Point("queuectl.slot", "ended", "call"), CRASHED, SUCCEEDED),
    "end noted": (Point("queuectl.slot", "ended"), SUCCEEDED, SUCCEEDED),
    "log closed": (Point("queuectl.runner", "run"), SUCCEEDED, SUCCEEDED),
    "before its outcome is stored": (Point("queuectl.worker", "_settle_now", "call"), SUCCEEDED, SUCCEEDED),
    "in the transaction of its outcome": (Point("queuectl.store.sqlite", "_finish"), SUCCEEDED, SUCCEEDED),
    "outcome stored, the next one claimed": (Point("queuectl.store.sqlite", "settle"), SUCCEEDED, CRASHED),
    "after its last word": (Point("queuectl.link", "close"), SUCCEEDED, SUCCEEDED),
}
"""With how the attempts of two jobs, run one after the other, are to end."""


def run_until_drained(stage: Stage, point: Point) -> None:
    """Run two jobs; the worker dies at a point, the first time that it gets there."""
    for name in ("first", "second"):
        stage.add_job(name)
    stage.bait.touch()
    done = stage.launch("worker-run", "--count", "1", "--drain", point=point, where="below").wait()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WORKER)
def test_a_worker_dies(stage: Stage, name: str) -> None:
    point, first, second = WORKER[name]
    run_until_drained(stage, point)
    stage.assert_all_is_well()
    assert (stage.outcomes("first"), stage.outcomes("second")) == (first, second)


def test_a_point_that_is_never_reached_is_told(stage: Stage) -> None:
    run_until_drained(stage, Point("queuectl.worker", "no_such_function"))
    assert stage.bait.exists()
    with pytest.raises(AssertionError, match="never reached"):
        stage.assert_all_is_well()
