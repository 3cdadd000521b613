"""Kill a worker that holds several jobs: what ended counts, what ran runs again, and what had not begun costs nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from stage import Point, Stage

JOBS = 130
"""So many that some are left for others when one worker claims several."""
DRAIN = ("worker-run", "--count", "1", "--drain")
LONG = "brief17"
"""Takes long. It is the second of four that are claimed together: after eight that are claimed alone, and two fours."""
TAKES_LONG = "test $QUEUECTL_ATTEMPT -gt 1 || { exec 2> /dev/null; sleep 5; }"
"""What kills the sleep before its shell has that tell of it."""
LONGER, FOREVER = 0.5, 60
"""Seconds for which the worker holds what it claimed ahead: less than that one takes, and more than any."""

AHEAD = {
    "before the next one begins": (Point("queuectl.worker", "_begin_another", "call"), FOREVER, 0, 3),
    "as the next one begins": (Point("queuectl.worker", "_begin_another"), FOREVER, 0, 3),
    "before what ended is stored": (Point("queuectl.worker", "_settle_early", "call"), LONGER, 1, 2),
    "in the transaction that gives back": (Point("queuectl.store.sqlite", "_give_back"), LONGER, 1, 2),
    "what ended is stored": (Point("queuectl.worker", "_settle_early"), LONGER, 1, 0),
}
"""With how many attempts have crashed, those that ran; and how many were handed back, having been claimed ahead."""


@pytest.mark.parametrize("with_supervisor", [False, True], ids=["worker", "all"])
@pytest.mark.parametrize("name", AHEAD)
def test_a_worker_dies_with_its_hands_full(stage: Stage, name: str, with_supervisor: bool) -> None:
    point, ahead_for, crashed, handed_back = AHEAD[name]
    stage.add_brief_jobs(JOBS, **{LONG: TAKES_LONG})
    stage.bait.touch()
    stage.launch(*DRAIN, point=point, where="below", with_supervisor=with_supervisor, ahead_for=ahead_for).wait()
    if with_supervisor:
        assert stage.launch(*DRAIN).wait().returncode == 0
    stage.assert_all_is_well()
    jobs = stage.farm.queue.jobs()
    ways = Counter(tuple(stage.outcomes(job.id)) for job in jobs)
    assert ways[("crashed", "succeeded")] == crashed
    assert ways[("released", "succeeded")] == handed_back
    assert ways[("succeeded",)] == JOBS - crashed - handed_back
    assert all(job.attempts == 1 + ("crashed" in stage.outcomes(job.id)) for job in jobs)
    assert not Path(stage.farm.home.run, "slot-worker-1").exists()
