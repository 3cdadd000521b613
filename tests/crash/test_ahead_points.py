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
BETWEEN_TWO = {
    "before the next one begins": Point("queuectl.keeper", "_may_begin_another", "call"),
    "as the next one begins": Point("queuectl.keeper", "_may_begin_another"),
}
"""Where a keeper dies that runs several attempts one after the other."""


def ways_of(stage: Stage) -> Counter[tuple[str | None, ...]]:
    """How many jobs went which way."""
    return Counter(tuple(stage.outcomes(job.id)) for job in stage.farm.queue.jobs())


@pytest.mark.parametrize("with_supervisor", [False, True], ids=["worker", "all"])
@pytest.mark.parametrize("name", AHEAD)
def test_a_worker_dies_with_its_hands_full(stage: Stage, name: str, with_supervisor: bool) -> None:
    point, ahead_for, crashed, handed_back = AHEAD[name]
    if point.function == "_begin_another" and stage.mode == "thread":
        handed_back = 0  # by the time a thread hears of the first, its keeper has run all four
    stage.add_brief_jobs(JOBS, **{LONG: TAKES_LONG})
    stage.bait.touch()
    stage.launch(*DRAIN, point=point, where="below", with_supervisor=with_supervisor, ahead_for=ahead_for).wait()
    if with_supervisor:
        assert stage.launch(*DRAIN).wait().returncode == 0
    stage.assert_all_is_well()
    jobs, ways = stage.farm.queue.jobs(), ways_of(stage)
    assert ways[("crashed", "succeeded")] == crashed
    assert ways[("released", "succeeded")] == handed_back
    assert ways[("succeeded",)] == JOBS - crashed - handed_back
    assert all(job.attempts == 1 + ("crashed" in stage.outcomes(job.id)) for job in jobs)
    assert not Path(stage.farm.home.run, "slot-worker-1").exists()


@pytest.mark.parametrize("mode", ["thread"])
@pytest.mark.parametrize("with_supervisor", [False, True], ids=["keeper", "all"])
@pytest.mark.parametrize("name", BETWEEN_TWO)
def test_a_keeper_dies_between_two_jobs(stage: Stage, name: str, with_supervisor: bool) -> None:
    """What it ran has ended, and what it was to run after that is given back, by its thread or by a rescuer."""
    stage.add_brief_jobs(JOBS)
    stage.bait.touch()
    stage.launch(*DRAIN, point=BETWEEN_TWO[name], where="below", with_supervisor=with_supervisor).wait()
    if with_supervisor:
        assert stage.launch(*DRAIN).wait().returncode == 0
    stage.assert_all_is_well()
    ways = ways_of(stage)
    assert ways[("succeeded",)] + ways[("released", "succeeded")] == JOBS
    assert with_supervisor or not ways[("released", "succeeded")], "a thread that lives gives back without a trace"
