"""Jobs that are added by many: what they have in common is handed over once, and none gets what is another's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.backends import T0, Backend, SQLiteBackend, after, job, memory

from queuectl import model
from queuectl.model import Job, NewJob
from queuectl.spool import Spool

VALUES: dict[str, list[Any]] = {
    "command": ["true", "echo 'ünd'"],
    "cwd": ["/", "/srv"],
    "max_retries": [None, 0, 5],
    "start": [{}, {}, {"delay": 0.0}, {"delay": 1.5}, {"run_at": T0 - 5}, {"run_at": after(60)}],
    "timeout": [None, 0.0, 1.5],
    "env": [{}, {"A": "1", "B": "2"}, {"B": "2", "A": "1"}],
    "export": [{}, {"C": "3"}],
    "priority": [0, 1, -1],
    "group": ["default", "g"],
    "batch": [None, "b"],
    "retry_on": [None, "1"],
    "no_retry_on": [None, "2-3"],
    "backoff_base": [None, 1, 1.5],
}


def with_start(start: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**values, **start}


@st.composite
def fields_of_jobs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Fields of some jobs; only a few are not the same in all."""
    same = {name: draw(st.sampled_from(values)) for name, values in VALUES.items()}
    varied = draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=4))
    count = draw(st.integers(1, 12))
    return [
        with_start(**{**same, **{name: draw(st.sampled_from(VALUES[name])) for name in varied}}) for _ in range(count)
    ]


def added(jobs: list[NewJob], *, together: bool, spooled: bool = False) -> tuple[list[str], list[Job], list[str]]:
    """What a store holds to which jobs were added together, or one by one: the ids that were told, and the jobs."""
    with tempfile.TemporaryDirectory(dir=memory()) as directory:
        store = SQLiteBackend(Path(directory) / "home").open()
        try:
            if together:
                ids = list(store.add(Spool(iter(jobs)) if spooled else jobs, T0, 3))
            else:
                ids = [job_id for each in jobs for job_id in store.add([each], T0, 3)]
            found = store.jobs()
            return ids, found, [repr(list(each.env.items())) for each in found]
        finally:
            store.close()


@settings(max_examples=60)
@given(fields_of_jobs(), st.integers(1, 5), st.booleans())
def test_jobs_added_together_are_as_if_each_was_added_by_itself(
    fields: list[dict[str, Any]], piece: int, spooled: bool
) -> None:
    jobs = [NewJob(**each) for each in fields]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_PIECE", piece)
        assert added(jobs, together=True, spooled=spooled) == added(jobs, together=False)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, "k", "l", "m", "n"]), st.sampled_from(["return", "replace"])),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 12),
)
def test_jobs_with_keys_added_together_are_as_if_each_was_added_by_itself(
    keys: list[tuple[str | None, str]], piece: int
) -> None:
    jobs = [job(f"j{place}", unique=key, if_exists=way) for place, (key, way) in enumerate(keys)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_PIECE", piece)
        ids, found, _ = added(jobs, together=True)
    assert (ids, found) == added(jobs, together=False)[:2]


def test_ids_and_numbers_are_told_in_their_order(backend: Backend) -> None:
    store = backend.open()
    jobs = [job(f"j{place}" if place % 3 == 0 or 600 <= place < 1200 else None) for place in range(1700)]
    told = list(store.add(Spool(iter(jobs)), T0, 3))
    assert told == [each.id or str(place) for place, each in enumerate(jobs, 1)]
    assert told == [each.id for each in store.jobs()]
    store.close()
