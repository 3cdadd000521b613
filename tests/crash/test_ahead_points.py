"""Kill a worker that holds several jobs: what ended counts, what ran runs again, and what had not begun costs nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from stage import Point, Stage

JOBS = 130
"""So many that some are left for others when one worker claims several."""
DRAIN = ("worker-run", "--count", "1", "--drain")
LONG = "brief20"
"""Takes long, after short ones."""

LONGER, FOREVER = 0.5, 60
"""Seconds for which the worker holds what it claimed ahead: less than that one takes, and more than any."""

AHEAD = {
    "before the next one begins": (Point("queuectl.worker", "_begin_ahead", "call"), FOREVER, 0),
    "as the next one begins": (Point("queuectl.worker", "_begin_ahead"), FOREVER, 0),
    "before what ended is stored": (Point("queuectl.worker", "_settle_early", "call"), LONGER, 1),
    "in the transaction that gives back": (Point("queuectl.store.sqlite", "_give_back"), LONGER, 1),
    "what ended is stored": (Point("queuectl.worker", "_settle_early"), LONGER, 1),
}
"""With how many attempts have crashed: those that ran, but for what ended."""


@pytest.mark.parametrize("with_supervisor", [False, True], ids=["worker", "all"])
@pytest.mark.parametrize("name", AHEAD)
def test_a_worker_dies_with_its_hands_full(stage: Stage, name: str, with_supervisor: bool) -> None:
    point, ahead_for, crashed = AHEAD[name]
    stage.add_brief_jobs(JOBS, **{LONG: "test $QUEUECTL_ATTEMPT -gt 1 || sleep 5"})
    stage.bait.touch()
    stage.launch(*DRAIN, point=point, where="below", with_supervisor=with_supervisor, ahead_for=ahead_for).wait()
    if with_supervisor:
        assert stage.launch(*DRAIN).wait().returncode == 0
    stage.assert_all_is_well()
    jobs = stage.farm.queue.jobs()
    ways = Counter(tuple(stage.outcomes(job.id)) for job in jobs)
    assert ways[("crashed", "succeeded")] == crashed
    handed_back = ways[("released", "succeeded")]
    assert ways[("succeeded",)] == JOBS - crashed - handed_back
    assert 0 <= handed_back <= 3
    if "begin" in name:
        assert handed_back >= 1, "the worker had claimed ahead"
    assert all(job.attempts == 1 + ("crashed" in stage.outcomes(job.id)) for job in jobs)
    assert not Path(stage.farm.home.run, "slot-worker-1").exists()
