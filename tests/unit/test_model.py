"""What a job may look like when it comes in."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import InvalidInput
from queuectl.clock import timestamp
from queuectl.model import MAX_COMMAND_BYTES, MAX_RETRIES_LIMIT, NewJob, new_job, working_directory

KIB_128 = 128 * 1024


def made(**fields: Any) -> NewJob:
    return new_job({"command": "true", **fields})


def test_the_least_and_the_most(place: Path) -> None:
    assert new_job({"command": "true"}) == NewJob(command="true", cwd=str(place))
    assert new_job(
        {
            "id": "nightly.1",
            "command": "make\nreport",
            "max_retries": 0,
            "delay": "10m",
            "timeout": 1.5,
            "cwd": "/srv",
            "env": {"A": "1", "B": ""},
        }
    ) == NewJob("make\nreport", "/srv", "nightly.1", 0, 600, None, 1.5, {"A": "1", "B": ""})
    assert made(run_at="2030-01-31T08:00Z").run_at == timestamp("2030-01-31T08:00Z")


def test_null_is_as_if_it_were_left_out(place: Path) -> None:
    keys = ("id", "max_retries", "delay", "run_at", "timeout", "cwd", "env", "state", "attempts", "next_run_at")
    assert made(**dict.fromkeys(keys)) == made()


@pytest.mark.parametrize("value", ["a", "7", "A.b-c_d", "x" * 128, "0"])
def test_ids(value: str) -> None:
    assert made(id=value).id == value


WRONG: list[tuple[str, Any]] = [
    *(
        ("id", value)
        for value in ("", "a b", ".a", "-a", "_a", "a/b", "../a", "x" * 129, "ä", "a\n", "a\0", "٣", 7, True)
    ),
    *(("command", value) for value in (None, "", "  \n\t", 7, True, [], ["true"], {}, "a\0b", "\udcff", "a\ud800")),
    *(("max_retries", value) for value in (-1, 1.0, 1.5, "3", True, False, [], float("nan"), MAX_RETRIES_LIMIT + 1)),
    ("max_retries", 10**5000),
    *(("delay", value) for value in (-1, True, "soon", [], {}, float("nan"), 1e400, 10**400, 10**5000, "1h30m", "")),
    *(("timeout", value) for value in (-0.5, False, "long", [], float("nan"), float("-inf"), 1e400, "")),
    *(("run_at", value) for value in (5, True, "soon", "2030-02-30", "1969-01-01", [], "")),
    *(("next_run_at", value) for value in (5, "soon")),
    *(("cwd", value) for value in ("", 7, True, [], "a\0b", "/\udcff")),
    *(("env", value) for value in ([], "A=1", 7, True)),
    *(("env", {name: "1"}) for name in ("", "A=B", "A\0", "\udcff")),
    *(("env", {"A": value}) for value in (1, None, True, [], "a\0", "\udcff")),
    *(("state", value) for value in ("processing", "completed", "dead", "cancelled", "", "PENDING", 0, False, [])),
    *(("attempts", value) for value in (1, -1, 0.0, "0", False, True, [])),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key}-{number}" for number, (key, _) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(**{key: value})
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["comand", "priority ", "ID", "", "worker", "outcome", 7])
def test_an_unknown_key_is_refused(key: Any) -> None:
    with pytest.raises(InvalidInput, match="unknown key"):
        new_job({"command": "true", key: 1})


@pytest.mark.parametrize("value", [None, 7, "true", [], ["command"], True])
def test_what_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="a job is an object"):
        new_job(value)


def test_a_job_needs_a_command() -> None:
    with pytest.raises(InvalidInput, match="needs a command"):
        new_job({"id": "a"})


@pytest.mark.parametrize("letter", ["x", "é", "€"])
def test_a_command_of_128_kib_less_one_byte_is_the_longest(letter: str) -> None:
    width = len(letter.encode())
    longest = letter * ((KIB_128 - 1) // width) + "x" * ((KIB_128 - 1) % width)
    assert len(longest.encode()) == KIB_128 - 1 == MAX_COMMAND_BYTES
    assert made(command=longest).command == longest
    with pytest.raises(InvalidInput, match="131072 bytes"):
        made(command=longest + "x")


def test_the_longest_command_is_one_that_the_system_runs() -> None:
    padding = MAX_COMMAND_BYTES - len("exit 7 #")
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7 #" + "x" * padding], {})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_variable_is_bounded_with_its_name() -> None:
    name = "N" * 100
    room = MAX_COMMAND_BYTES - len(f"{name}=")
    assert len(made(env={name: "x" * room}).env[name]) == room
    with pytest.raises(InvalidInput, match="more than 131071 bytes"):
        made(env={name: "x" * (room + 1)})


def test_the_full_model_of_a_fresh_job_is_accepted(place: Path) -> None:
    full = {
        "id": "a",
        "command": "true",
        "state": "pending",
        "attempts": 0,
        "max_retries": 3,
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "whatever",
        "next_run_at": None,
    }
    assert new_job(full) == NewJob("true", str(place), "a", 3)
    due = new_job({**full, "next_run_at": "2030-01-31T08:00:00Z"})
    assert due.run_at == timestamp("2030-01-31T08:00:00Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"delay": 5, "run_at": "2030-01-31"},
        {"delay": 0, "run_at": "2030-01-31"},
        {"delay": 5, "next_run_at": "2030-01-31"},
        {"run_at": "2030-01-31", "next_run_at": "2030-01-31"},
    ],
)
def test_one_start_time_is_enough(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        made(**fields)


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"/srv"


def test_working_directories(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert working_directory(None) == str(place)
    assert working_directory("sub/../a b") == f"{place}/a b"
    assert working_directory(Path("/srv/data/")) == "/srv/data"
    with pytest.raises(InvalidInput):
        working_directory(BytesPath())
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for value in (None, "relative"):
        with pytest.raises(InvalidInput, match="name one with --cwd"):
            working_directory(value)
    assert working_directory("/srv") == "/srv"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(
    ["id", "command", "max_retries", "delay", "run_at", "timeout", "cwd", "env", "state", "attempts"]
)


@given(st.dictionaries(keys | st.text(max_size=5), json_values, max_size=6))
def test_any_json_is_a_job_or_refused_and_a_job_can_be_stored(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInput):
        job = new_job(fields)
        assert json.dumps(dict(job.env)).encode()
        assert job.command.strip()
        assert job.command.encode()
        assert os.path.isabs(job.cwd)
