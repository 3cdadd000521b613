"""When a worker leaves the next jobs to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit.support import StandingClock

from queuectl.crowd import Crowd, ready_processes, usable_processors
from queuectl.hand import SHORT

TIRELESS = 4
"""Workers that never rest on two processors."""


class Machine:
    """Two processors, and so many processes for them."""

    def __init__(self) -> None:
        self.ready = 7
        self.clock = StandingClock()

    def worker(self, number: int = TIRELESS + 1) -> Crowd:
        return Crowd(number, clock=self.clock, processors=2, ready=lambda: self.ready)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_worker_too_many_rests_longer_and_longer(machine: Machine) -> None:
    spare = machine.worker()
    rests = [spare.rest(SHORT / 2, seq) for seq in (1000, 2000, 3000, 4000)]
    assert rests[0] > 0
    assert rests[1] == 2 * rests[0]
    assert rests[2] == rests[3] == max(rests)
    machine.ready = 2
    assert spare.rest(SHORT / 2, 5000) == 0
    machine.ready = 7
    assert spare.rest(SHORT / 2, 6000) == rests[0], "it begins anew"


def test_the_first_ones_never_rest(machine: Machine) -> None:
    assert [machine.worker(number).rest() > 0 for number in range(1, TIRELESS + 3)] == [False] * TIRELESS + [True] * 2


def test_nobody_rests_whose_jobs_take_longer(machine: Machine) -> None:
    assert machine.worker().rest(2 * SHORT, 1) == 0


@pytest.mark.parametrize("ready", [1, 6, 0])
def test_nobody_rests_while_a_processor_is_free(machine: Machine, ready: int) -> None:
    """Or where the system does not tell."""
    machine.ready = ready
    assert machine.worker().rest(SHORT / 2, 1) == 0


def test_nobody_rests_where_others_do_less_meanwhile(machine: Machine) -> None:
    """They have long jobs, or other programs have the processors."""
    spare = machine.worker()
    rest = spare.rest(SHORT / 2, 1000)
    spare.go_on(1000 + int(2 * rest / (SHORT / 2)))
    assert spare.rest(SHORT / 2, 2000) > 0, "they did twice as much"
    spare.go_on(2003)
    assert spare.rest(SHORT / 2, 2003) == 0, "they did next to nothing"
    machine.clock.forward(0.5)
    assert spare.rest(SHORT / 2, 2100) == 0, "nor soon after it"
    machine.clock.forward(0.6)
    assert spare.rest(SHORT / 2, 2200) == rest


def test_a_rest_at_first_tells_nothing_of_others(machine: Machine) -> None:
    spare = machine.worker()
    assert spare.rest() > 0
    spare.go_on(1)
    assert spare.rest(SHORT / 2, 1) > 0


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="the system does not tell")
def test_what_this_system_tells() -> None:
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)
    assert ready_processes() >= 1, "we run"
