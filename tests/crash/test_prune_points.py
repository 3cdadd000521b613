"""Kill who removes old jobs between every two steps: no job loses its log, and no log stays without its job."""

from __future__ import annotations

import os

import pytest
from farm import Farm, eventually
from stage import Point, Stage
from trap import Trap

POINTS = {
    "before the first transaction": Point("queuectl.store.sqlite", "prune", "call"),
    "in the first transaction": Point("queuectl.store.sqlite", "_discard_logs"),
    "jobs removed": Point("queuectl.pruning", "prune_some"),
    "before a log is removed": Point("queuectl.pruning", "_remove_log", "call"),
    "a log removed": Point("queuectl.pruning", "_remove_log"),
    "logs removed": Point("queuectl.pruning", "_remove_logs"),
}


def assert_nobody_lost_a_log(farm: Farm) -> None:
    for job in farm.queue.jobs():
        assert os.path.exists(farm.home.log(job.id)), job


@pytest.mark.parametrize("name", [*POINTS, "before space is given back"])
@pytest.mark.parametrize("mode", ["process"])
def test_a_prune_is_killed(stage: Stage, name: str) -> None:
    farm = stage.farm
    point = POINTS.get(name, Point("queuectl.store.sqlite", "give_back", "call"))
    farm.queue.add_many([{"command": "echo output"}] * 5)
    assert farm.run("worker-run", "--count", "1", "--drain").returncode == 0
    stage.bait.touch()
    trap = Trap("launched", point.event, point.module, point.function, str(stage.bait))
    farm.launch("prune", "--older-than", "0", prepare=trap.set).wait()
    assert not stage.bait.exists(), "the point was never reached"
    assert_nobody_lost_a_log(farm)
    assert farm.run("doctor", "--repair").returncode == 0
    assert_nobody_lost_a_log(farm)
    assert len(os.listdir(farm.home.logs)) == len(farm.queue.jobs())
    farm.queue.prune(0)
    assert (farm.queue.jobs(), os.listdir(farm.home.logs)) == ([], [])


@pytest.mark.parametrize("name", POINTS)
def test_a_worker_dies_that_removes_what_is_old(stage: Stage, name: str) -> None:
    """Another takes over."""
    farm, point = stage.farm, POINTS[name]
    farm.queue.add_many([{"command": "echo output"}] * 5)
    assert farm.run("worker-run", "--count", "1", "--drain").returncode == 0
    farm.queue.change_setting("retention", 0.001)
    stage.bait.touch()
    stage.launch("worker-run", "--count", "2", point=point, where="below")
    eventually(lambda: not stage.bait.exists(), "the point is reached")
    eventually(lambda: not farm.queue.jobs() and not os.listdir(farm.home.logs), "all is gone")
    farm.stop()
