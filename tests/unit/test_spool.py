"""The spool: any number of jobs, in order, on disk beyond some."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from queuectl.errors import InvalidInput, StoreError
from queuectl.model import NewJob
from queuectl.spool import Spool


def jobs(count: int) -> Iterator[NewJob]:
    for number in range(count):
        yield NewJob(
            f"echo 'ünd' {number}",
            "/srv",
            f"j{number}" if number % 3 else None,
            number % 5 or None,
            0.5 * number or None,
            number << 40 if number % 2 else None,
            1.25 if number % 7 else None,
            {"A": str(number)} if number % 11 else {},
        )


@pytest.mark.parametrize("count", [0, 1, 9_999, 10_000, 10_001, 12_345])
def test_jobs_come_back_as_they_went_in(count: int) -> None:
    spool = Spool(jobs(count))
    assert len(spool) == count
    assert bool(spool) == (count > 0)
    assert list(spool) == list(jobs(count))
    assert all(isinstance(job, NewJob) for job in spool)


def test_it_is_read_in_several_places_at_once() -> None:
    spool = Spool(jobs(12_000))
    assert all(one == other for one, other in zip(spool, spool, strict=True))


def test_what_is_equal_and_yet_not_the_same_comes_back_as_it_was() -> None:
    variables = [{"A": "1", "B": "2"}, {"B": "2", "A": "1"}]
    given = [NewJob("true", "/", timeout=(0.0, -0.0)[place], env=variables[place]) for place in (0, 1, 1, 0)]
    assert list(map(repr, Spool(iter(given)))) == list(map(repr, given))


def test_what_jobs_have_in_common_is_kept_once() -> None:
    given = [NewJob("true", "/srv", id=f"j{number}") for number in range(250)]
    (piece,) = Spool(iter(given)).pieces()
    assert {name for name, column in piece.items() if len(column) > 1} == {"id", "command"}
    assert piece["cwd"] == ("/srv",)


def test_what_goes_wrong_with_a_late_job_is_told() -> None:
    def failing() -> Iterator[NewJob]:
        yield from jobs(11_000)
        raise InvalidInput("no more")

    with pytest.raises(InvalidInput, match="no more"):
        Spool(failing())


def test_there_is_no_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    list(Spool(jobs(10_000)))
    with pytest.raises(StoreError, match="cannot keep the jobs in /dev/full until all are read: Not a directory"):
        Spool(jobs(10_001))
