"""When a worker leaves the next jobs to others."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.support import StandingClock

from queuectl.crowd import MACHINE, Crowd, Machine
from queuectl.hand import SHORT

TIRELESS = 4
"""Workers that never rest on two processors."""


class TwoProcessors(Machine):
    """A machine of two processors, and so many processes for them."""

    def __init__(self) -> None:
        self.all = 2
        self.ready = 7
        self.clock = StandingClock()

    def processors(self) -> int:
        return self.all

    def usable_processors(self) -> int:
        return 2

    def ready_processes(self) -> int:
        return self.ready

    def worker(self, number: int = TIRELESS + 1) -> Crowd:
        return Crowd(number, clock=self.clock, machine=self)


@pytest.fixture
def machine() -> TwoProcessors:
    return TwoProcessors()


def whole(machine: TwoProcessors, crowd: Crowd, first: float) -> float:
    """How long a rest becomes that begins with so many seconds."""
    naps = [first]
    while naps[-1]:
        machine.clock.forward(naps[-1])
        naps.append(crowd.rest_on())
    return sum(naps)


def test_a_worker_too_many_rests_longer_and_longer(machine: TwoProcessors) -> None:
    spare = machine.worker()
    rests = [whole(machine, spare, spare.rest(SHORT / 2, seq)) for seq in (1000, 2000, 3000, 4000)]
    assert rests[0] > 0
    assert rests[1] == pytest.approx(2 * rests[0])
    assert rests[2] == pytest.approx(rests[3]) == max(rests)
    machine.ready = 2
    assert spare.rest(SHORT / 2, 5000) == 0
    machine.ready = 7
    assert whole(machine, spare, spare.rest(SHORT / 2, 6000)) == rests[0], "it begins anew"


def test_a_rest_is_over_when_a_processor_has_nothing_to_do(machine: TwoProcessors) -> None:
    spare = machine.worker()
    spare.rest(SHORT / 2, 1000)
    nap = spare.rest(SHORT / 2, 2000)
    machine.clock.forward(nap)
    machine.ready = 2
    assert spare.rest_on() > 0
    machine.ready = 1
    assert spare.rest_on() == 0


def test_the_first_ones_never_rest(machine: TwoProcessors) -> None:
    assert [machine.worker(number).rest(SHORT / 2, 1) > 0 for number in range(1, TIRELESS + 3)] == [
        False
    ] * TIRELESS + [True] * 2


def test_nobody_rests_whose_jobs_take_longer(machine: TwoProcessors) -> None:
    assert machine.worker().rest(2 * SHORT, 1) == 0


@pytest.mark.parametrize("ready", [1, 6, 0])
def test_nobody_rests_while_a_processor_is_free(machine: TwoProcessors, ready: int) -> None:
    """Or where the system does not tell."""
    machine.ready = ready
    assert machine.worker().rest(SHORT / 2, 1) == 0


def test_it_is_the_whole_machine_that_is_looked_at(machine: TwoProcessors) -> None:
    """What the system tells is of all its processors: where only some may be used, others may be who has the rest."""
    machine.all = 64
    machine.ready = 100
    assert machine.worker().rest(SHORT / 2, 1) == 0
    machine.ready = 200
    assert machine.worker().rest(SHORT / 2, 1) > 0


def test_nobody_rests_where_others_do_less_meanwhile(machine: TwoProcessors) -> None:
    """They have long jobs, or other programs have the processors."""
    spare = machine.worker()
    rest = whole(machine, spare, spare.rest(SHORT / 2, 1000))
    spare.go_on(1000 + int(2 * rest / (SHORT / 2)))
    assert whole(machine, spare, spare.rest(SHORT / 2, 2000)) > 0, "they did twice as much"
    spare.go_on(2003)
    assert spare.rest(SHORT / 2, 2003) == 0, "they did next to nothing"
    machine.clock.forward(0.5)
    assert spare.rest(SHORT / 2, 2100) == 0, "nor soon after it"
    machine.clock.forward(0.6)
    assert whole(machine, spare, spare.rest(SHORT / 2, 2200)) == rest


def test_a_rest_at_first_tells_nothing_of_others(machine: TwoProcessors) -> None:
    machine.ready = 3
    assert machine.worker(TIRELESS).rest_at_first() == 0
    assert machine.worker().rest(SHORT / 2, 1) == 0
    spare = machine.worker()
    assert spare.rest_at_first() > 0, "to start workers takes processors, too"
    spare.go_on(1)
    machine.ready = 7
    assert spare.rest(SHORT / 2, 1) > 0


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="the system does not tell")
def test_what_this_system_tells() -> None:
    assert 1 <= MACHINE.usable_processors() <= MACHINE.processors()
    assert MACHINE.ready_processes() >= 1, "we run"
