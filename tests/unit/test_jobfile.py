"""Files of jobs: lines that are alike are taken together, and nobody can tell but by the time it takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import InvalidInput, Queue, jobfile, model
from queuectl.cli import sources
from queuectl.model import NewJob

HEADS = [
    '{"command": "',
    '{"cwd":"/srv","command":"',
    '{"command" : "true", "batch": "',
    ' { "command":"',
    '{"env": {"command": "A"}, "command": "',
    '{"env": {"command": "',
    '{"batch": "b\\"", "command": "',
    '{"unique": "\\"command\\": \\"", "command": "',
    '{"group":"?","command": "',
    '{"priority": 1, "command": "',
    '{"priority": true, "command": "',
    '[{"command": "',
    '{"command": ["',
    '{"',
    "",
]
COMMANDS = [
    "true",
    "true",
    "",
    " ",
    "?",
    "??????",
    "b",
    "ünd ☃",
    "command",
    '\\"',
    "\\",
    "\\u0000",
    "\\ud800",
    "\\n",
    "\t",
    "\x7f",
    '"',
    '","cwd":"/',
    '"},{"command": "',
    '"}\n{"command": "',
    '"}\n\n{"command": "',
    '"\n, "cwd": "',
    "x" * 200,
]
TAILS = [
    '"}',
    '"}',
    '"}\r',
    '" } ',
    '","cwd":"/srv"}',
    '", "command": "false"}',
    '", "env": {"A": "1", "B": "2"}}',
    '", "timeout": 10}',
    '", "timeout": NaN}',
    '", "nice": 1}',
    '"}}',
    '"]}',
    '"}]',
    '"},{}',
    '"}{',
    '"}, ',
    '"',
    "",
]
ODD = [
    "",
    " \t",
    "\x0b",
    "5",
    "1},{",
    '{"command": "true"',
    '"cwd": "/"}',
    '{"a":1',
    "}",
    "\ufeff",
    "\0",
    "\udcff",
    "[",
    "]",
]

LINES = st.one_of(
    st.tuples(
        st.sampled_from(HEADS), st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=12), st.sampled_from(TAILS)
    ).map(lambda parts: [f"{parts[0]}{command}{parts[2]}" for command in parts[1]]),
    st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=12).map(
        lambda commands: [json.dumps({"command": command, "cwd": "/"}) for command in commands]
    ),
    st.sampled_from(ODD).map(lambda line: [line]),
)


class Taking:
    """A queue that only takes jobs in."""

    jobs: Collection[NewJob] = ()

    def add_checked(self, jobs: Iterable[NewJob]) -> Collection[str]:
        self.jobs = list(jobs)
        return ()

    def limited_groups(self) -> list[str]:
        return []


def taken(content: bytes, **options: Any) -> Any:
    """The jobs in a file; or the error, without the file's name."""
    queue = Taking()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            sources.add_job_file(cast(Queue, queue), file.name, options, lambda: None)
        except InvalidInput as error:
            return str(error).replace(file.name, "FILE")
    return list(map(repr, queue.jobs))  # true is not 1


def one_by_one(content: bytes, **options: Any) -> Any:
    """As :func:`taken`, with each line decoded and checked by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobfile._Like, "commands", lambda self, lines: None)
        return taken(content, **options)


@settings(max_examples=200)
@given(st.lists(LINES, min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 200), st.booleans())
def test_lines_that_are_taken_together_are_read_as_each_by_itself(
    groups: list[list[str]], at_once: int, chunk: int, has_options: bool
) -> None:
    content = "\n".join(chain.from_iterable(groups)).encode("utf-8", "surrogateescape")
    options = {"cwd": "/tmp", "timeout": "5m", "env": {"A": "x"}} if has_options else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobfile, "_AT_ONCE", at_once)
        patch.setattr(jobfile, "_CHUNK", chunk)
        assert taken(content, **options) == one_by_one(content, **options)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"command": "', '"}'),
        ('{"cwd":"/", "command" :"', '" , "timeout": 5, "env": {"A": "1"}}\r'),
        ('{"batch": "true0", "command": "', '", "priority": 7}'),
        ('{"env": {"command": "?"}, "command": "', '"}  '),
    ],
)
def test_lines_that_differ_in_their_command_are_taken_together(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "jobs"
    file.write_text("".join(f"{before}echo 'ünd' {number}{after}\n" for number in range(300)), newline="")
    entries = list(jobfile.read_jobs(str(file)))
    together = [entry for entry in entries if entry.commands is not None]
    assert [(entry.number, len(entry.commands or ())) for entry in together] == [(101, 100), (201, 100)]
    assert [command for entry in together for command in entry.commands or ()] == [
        f"echo 'ünd' {number}" for number in range(100, 300)
    ]
    assert len(entries) == 102
    assert taken(file.read_bytes()) == one_by_one(file.read_bytes())


PLAIN = '{"command": "echo 1"}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"command": "}', "is not JSON: Unterminated string starting at"),
        ('{"command": "a"b"}', "is not JSON: Expecting ',' delimiter"),
        ('{"command": "a"},{"command": "b"}', "is not JSON: Extra data"),
        ('{"command": "a\tb"}', "is not JSON: Invalid control character at"),
        ('{"command": "a\\"}', "is not JSON: Unterminated string starting at"),
        ('{"command": "a", "command": "b"}', "the key 'command' is there twice in one object"),
        ('{"command": ""}', "command: is empty"),
        ('{"command": " \u3000"}', "command: is empty"),
        ('{"command": "a\\u0000"}', "command: contains a NUL byte, which no program can be passed"),
        ('{"command": "a\\ud800"}', "command: is not UTF-8 text"),
        ('{"command": "' + "x" * 131072 + '"}', "command: has 131072 bytes"),
        ('{"command": null}', "a job needs a command"),
        ('{"command": 5}', "command: 5 is not text"),
        ('{"command": ["a"]}', 'command: ["a"] is not text'),
        ('{"command": "a"', "is not JSON: Expecting ',' delimiter"),
        ('"cwd": "/"}', "is not JSON: Extra data"),
    ],
)
@pytest.mark.parametrize(("number", "count"), [(2, 250), (100, 250), (101, 250), (150, 250), (200, 250), (101, 101)])
def test_what_is_wrong_with_a_line_among_many_that_are_alike(number: int, count: int, line: str, says: str) -> None:
    lines = [PLAIN] * count
    lines[number - 1] = line
    content = "\n".join(lines).encode()
    assert str(taken(content)).startswith(f"FILE, line {number}: {says}")
    assert taken(content) == one_by_one(content)


@pytest.mark.parametrize(
    ("line", "another"),
    [
        ('{"batch": "a", "command": "a"}', '{"batch": "b", "command": "a"}'),
        ('{"env": {"command": "a"}, "command": "a"}', '{"env": {"command": "b"}, "command": "a"}'),
        ('{"command": "command"}', '{"batch": "command"}'),
        ('{"command": "a", "priority": 1}', '{"command": "a", "priority": true}'),
        ('{"command": "a"}', ' {"command": "a"}'),
        ('{"command": "a"}', '{"Command": "a"}'),
        ('{"command": "\\u0061"}', '{"command": "b"}'),
        ('{"command": "a"}', ""),
        ('{"command": "a"}', '{"command": "a"}\r'),
        ('{"priority": 1, "command": ": 1, "}', '{"priority": 2, "command": ": 1, "}'),
    ],
)
def test_a_line_after_many_that_are_almost_like_it(line: str, another: str) -> None:
    for lines in ([line] * 100 + [another], [line] * 100 + [another] * 100 + [line] * 100):
        content = "\n".join(lines).encode()
        assert taken(content) == one_by_one(content)


def test_a_command_is_too_long_together_with_the_variables_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_START_BYTES", 500)
    lines = [
        json.dumps({"command": "x" * (50 if number < 131 else 400), "env": {"A": "y" * 100}})
        for number in range(1, 140)
    ]
    content = "\n".join(lines).encode()
    assert str(taken(content)).startswith("FILE, line 131: the command and its variables have 511 bytes")
    assert taken(content) == one_by_one(content)
