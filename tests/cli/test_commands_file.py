"""``enqueue --commands``: a job for each line of a file, which is its command."""

from __future__ import annotations

import json

import pytest
from program import Bench
from test_enqueue import peak_memory


def commands(bench: Bench) -> list[str]:
    return [job.command for job in bench.queue.jobs()]


def write(bench: Bench, content: bytes) -> None:
    (bench.directory / "cmds").write_bytes(content)


def test_a_job_for_each_line_as_it_is(bench: Bench) -> None:
    write(bench, b"echo \"a  b\" | tr a-z A-Z\n  cd /tmp && ls > 'x y'\necho {} $HOME # not all of it\n")
    result = bench.run("enqueue", "--commands", "cmds")
    assert (result.code, result.out, result.err) == (0, "1\n2\n3\n", "")
    assert commands(bench) == [
        'echo "a  b" | tr a-z A-Z',
        "  cd /tmp && ls > 'x y'",
        "echo {} $HOME # not all of it",
    ]


@pytest.mark.parametrize("content", [b"true\nfalse\n", b"true\nfalse"])
def test_standard_input(bench: Bench, content: bytes) -> None:
    assert bench.run("enqueue", "--commands", "-", stdin=content).lines == ["1", "2"]
    assert commands(bench) == ["true", "false"]


def test_empty_lines_and_comments_are_no_jobs(bench: Bench) -> None:
    write(bench, b"#!/bin/sh\n\ntrue\n \t \n  # one more\n#false\nfalse\n")
    assert bench.run("enqueue", "--commands", "cmds").lines == ["1", "2"]
    assert commands(bench) == ["true", "false"]


@pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n"])
@pytest.mark.parametrize("more", [[], ["--json"], ["--wait"]])
def test_no_command_is_nothing_to_do(bench: Bench, content: bytes, more: list[str]) -> None:
    result = bench.run("enqueue", "--commands", "-", *more, stdin=content)
    assert (result.code, result.out.strip(), result.err) == (0, "[]" if more == ["--json"] else "", "")
    assert commands(bench) == []


def test_all_other_options_hold_for_each_job(bench: Bench) -> None:
    bench.run("enqueue", "--id", "first", "--command", "true")
    words = "--max-retries 1 --delay 1h --timeout 5 --cwd /tmp --env A=b --batch night --group g --after first"
    result = bench.run("enqueue", "--commands", "-", *words.split(), "--json", stdin=b"true\nfalse\n")
    jobs = json.loads(result.out)
    assert [job["command"] for job in jobs] == ["true", "false"]
    for job in jobs:
        assert (job["max_retries"], job["timeout"], job["cwd"], job["env"]) == (1, 5, "/tmp", {"A": "b"})
        assert (job["batch"], job["group"], job["blockers"]) == ("night", "g", 1)
        assert job["next_run_at"] is not None


def test_the_print_of_one_job_is_an_array_too(bench: Bench) -> None:
    result = bench.run("enqueue", "--commands", "-", "--json", stdin=b"true\n")
    assert [job["id"] for job in json.loads(result.out)] == ["1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"true\n\xff\n", "cmds, line 2: is not UTF-8 text"),
        (b"true\n\n#\nb\0c\n", "cmds, line 4: is binary (it holds a NUL byte)"),
        (b"true\n" + b"x" * 131_072, "cmds, line 2: has more than the 131071 bytes"),
        (b"true\n" + b"x" * 3_000_000 + b"\ntrue\n", "cmds, line 2: has more than the 131071 bytes"),
        ("\ufefftrue\n".encode(), "cmds: begins with a byte order mark"),
    ],
)
def test_what_is_no_list_of_commands_is_refused_whole(bench: Bench, content: bytes, says: str) -> None:
    write(bench, content)
    result = bench.run("enqueue", "--commands", "cmds")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"queuectl: error: {says}")
    assert result.err.count("\n") == 1
    assert commands(bench) == []


@pytest.mark.parametrize("place", ["missing", "", ".", "/dev/zero", "cmds/x"])
def test_what_cannot_be_read(bench: Bench, place: str) -> None:
    write(bench, b"true\n")
    result = bench.run("enqueue", "--commands", place)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert commands(bench) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--id a", "--id and --unique name one job, and --commands may make many"),
        ("--unique a", "--id and --unique name one job, and --commands may make many"),
        ("--command true", "--command and --commands exclude each other"),
        ("--command-file cmds", "--command-file and --commands exclude each other"),
        ("--job-file cmds", "--commands and --job-file exclude each other"),
        ("--each cmds", "--each and --commands exclude each other"),
        ("--commands cmds", "--commands is given more than once"),
        ("-0", "--each"),
        ("-- true", "--commands and a command after -- exclude each other"),
    ],
)
def test_mistakes(bench: Bench, words: str, says: str) -> None:
    write(bench, b"true\n")
    result = bench.run("enqueue", "--commands", "cmds", *words.split())
    assert result.code == 2
    assert says in result.err
    assert commands(bench) == []


@pytest.mark.long
def test_a_hundred_thousand_commands_take_little_memory(bench: Bench) -> None:
    peaks = {}
    for count in (15_000, 100_000):
        write(bench, "".join(f"echo {number} | wc\n" for number in range(count)).encode())
        peaks[count] = peak_memory(bench, "enqueue", "--commands", "cmds")
    assert bench.queue.counts()["pending"] == 115_000
    assert bench.queue.get("115000").command == "echo 99999 | wc"
    assert peaks[100_000] < 1.3 * peaks[15_000], peaks
