"""Kill a worker between every two steps in which a slot becomes a job: there is one job of it in the end."""

from __future__ import annotations

import pytest
from stage import Point, Stage
from unit.support import HandClock

from queuectl import Queue
from queuectl.clock import SECOND, SYSTEM_CLOCK

POINTS = {
    "a slot is seen": (Point("queuectl.store.schedules", "fire", "call"), ["succeeded"]),
    "its job is added": (Point("queuectl.store.sqlite", "_add_run"), ["succeeded"]),
    "the next slot is noted": (Point("queuectl.store.schedules", "fire"), ["succeeded"]),
    "its job is claimed": (Point("queuectl.store.sqlite", "claim"), ["crashed", "succeeded"]),
}
"""With how the attempts of the job are to end."""


@pytest.mark.parametrize("name", POINTS)
def test_a_worker_dies_while_it_makes_a_run(stage: Stage, name: str) -> None:
    point, outcomes = POINTS[name]
    then = SYSTEM_CLOCK.now() - 86_400 * SECOND
    queue = Queue(stage.farm.home.database, clock=HandClock(then))
    queue.add_schedule("s", "@daily", stage.telling(), cwd=str(stage.farm.directory))
    queue.close()
    stage.bait.touch()
    done = stage.launch("worker-run", "--count", "1", "--drain", point=point, where="below").wait()
    assert done.returncode == 0, done.stderr
    (job,) = stage.farm.queue.jobs()
    assert stage.outcomes(job.id) == outcomes
    stage.assert_all_is_well()
