"""Which variables a job takes along from where it was enqueued."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl import InvalidInput
from queuectl.exports import taken
from queuectl.model import MAX_START_BYTES, new_job

SHELL = {
    b"HOME": b"/home/ada",
    b"EMPTY": b"",
    b"ODD": "ä=b\n$(id)".encode(),
    b"BASH_FUNC_f%%": b"() { :; }",
    b"QUEUECTL_DB_PATH": b"/q.db",
    b"QUEUECTL_JOB_ID": b"7",
    b"PWD": b"/home/ada/first",
    b"OLDPWD": b"/",
    b"SHLVL": b"2",
    b"_": b"/usr/bin/queuectl",
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("HOME", {"HOME": "/home/ada"}),
        (" HOME , EMPTY,HOME", {"HOME": "/home/ada", "EMPTY": ""}),
        (["ODD"], {"ODD": "ä=b\n$(id)"}),
        (("PWD", "QUEUECTL_DB_PATH"), {"PWD": "/home/ada/first", "QUEUECTL_DB_PATH": "/q.db"}),
    ],
)
def test_what_is_named_is_taken(names: Any, expected: dict[str, str]) -> None:
    assert taken(names, "export", SHELL) == expected


def test_all_leaves_out_what_each_shell_sets_and_what_is_queuectls_own() -> None:
    assert set(taken("ALL", "export", SHELL)) == {"HOME", "EMPTY", "ODD", "BASH_FUNC_f%%"}
    assert set(taken("PWD,ALL", "export", SHELL)) == {"HOME", "EMPTY", "ODD", "BASH_FUNC_f%%", "PWD"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("NONE", "NONE is not set here"),
        ("HOME,NONE,NO", "NONE, NO are not set here"),
        ("all", "all is not set here"),
        ("", "not a list of names"),
        ("HOME,,ODD", "not a list of names"),
        ([], "not a list of names"),
        ([7], "not a list of names"),
        (7, "not a list of names"),
        ({"HOME": "x"}, "not a list of names"),
        ("HOME=x", "that is for --env"),
        ("QUEUECTL_JOB_ID", "is set by the worker"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_mistakes(names: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"^--export: .*{says}"):
        taken(names, "--export", SHELL)


@pytest.mark.parametrize("names", ["BAD", "ALL"])
def test_what_is_not_utf8_is_refused_by_its_name(names: str) -> None:
    with pytest.raises(InvalidInput, match="--export: BAD is not UTF-8 text"):
        taken(names, "--export", {**SHELL, b"BAD": b"\xff"})
    with pytest.raises(InvalidInput, match="--export: B\ufffd is not UTF-8 text"):
        taken("ALL", "--export", {b"B\xff": b"x"})


def test_one_that_no_program_can_be_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONG", "x" * (128 * 1024))
    with pytest.raises(InvalidInput, match=r"^export: LONG has more than 131071 bytes"):
        new_job({"command": "true", "export": "LONG"})


def test_what_is_too_large_as_a_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"LONG{number}" for number in range(MAX_START_BYTES // 100_000)]
    for name in names:
        monkeypatch.setenv(name, "x" * 100_000)
    assert len(new_job({"command": "true", "export": names}).export) == len(names)
    with pytest.raises(InvalidInput, match=f"more than the {MAX_START_BYTES} that a program can be passed"):
        new_job({"command": "true", "export": names, "env": {"MORE": "x" * 100_000}})
    # What takes the place of another does not count twice.
    new_job({"command": "true", "export": names, "env": {"LONG0": "x" * 100_000}})
