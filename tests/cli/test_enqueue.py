"""``enqueue``: what its options and files become."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from farm import measuring
from program import PROGRAM, Bench, environment


def stored(bench: Bench, job_id: str) -> Any:
    return bench.queue.get(job_id)


def test_id_is_all_that_is_printed(bench: Bench) -> None:
    result = bench.run("enqueue", "--command", "echo hi", "--id", "a.b-c_1")
    assert (result.code, result.out, result.err) == (0, "a.b-c_1\n", "")
    assert stored(bench, "a.b-c_1").command == "echo hi"


def test_every_option_is_kept(bench: Bench) -> None:
    arguments = ["--max-retries", "7", "--run-at", "2030-01-31T08:00+02:00", "--timeout", "10m", "--cwd", "sub"]
    result = bench.run("enqueue", "--command", "true", *arguments, "--env", "A=b=c", "--env", "E=", "--json")
    job = json.loads(result.out)
    assert job["max_retries"] == 7
    assert job["next_run_at"] == "2030-01-31T06:00:00.000000Z"
    assert job["timeout"] == 600
    assert job["cwd"] == str(bench.directory / "sub")
    assert job["env"] == {"A": "b=c", "E": ""}
    assert job == stored(bench, job["id"]).as_dict()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["echo", "hi"], "echo hi"),
        (["echo", "a  b", "$HOME", "it's"], """echo 'a  b' '$HOME' 'it'"'"'s'"""),
        (["echo hi"], "'echo hi'"),
        (["grep", "--", "-x", "f"], "grep -- -x f"),
        (["ls", "-l", "--json", "--help"], "ls -l --json --help"),
    ],
)
def test_words_are_quoted_for_the_shell(bench: Bench, words: list[str], command: str) -> None:
    result = bench.run("enqueue", "--max-retries", "0", "--", *words)
    assert stored(bench, result.out.strip()).command == command


def test_what_is_probably_a_mistake_is_told_of_and_accepted(bench: Bench) -> None:
    place = bench.directory / "missing"
    said = f"queuectl: there is no directory {place}: unless it is made in time, the job cannot be started\n"
    for words in (
        ("enqueue", "--cwd", "missing", "--command", "true"),
        ("enqueue", "--cwd", "missing", "--each", "-", "--", "true"),
        ("enqueue", "--cwd", "missing", "--commands", "-"),
        ("edit", "1", "--cwd", "missing"),
        ("cron", "add", "nightly", "@daily", "--cwd", "missing", "--", "true"),
    ):
        result = bench.run(*words, stdin=b"a\nb\n")
        assert result.code == 0
        assert result.err.splitlines(keepends=True).count(said) == 1, words
    one_word = bench.run("enqueue", "--", "echo hi there")
    said = "queuectl: 'echo hi there' is one word, and so the name of one program: did you mean --command?\n"
    assert (one_word.code, one_word.err) == (0, said)
    (bench.directory / "my tool").write_text("")
    for words in (("--", "./my tool"), ("--", "echo", "a b"), ("--cwd", ".", "--", "true")):
        assert bench.run("enqueue", *words).err == ""


def test_command_file_loses_only_the_line_end_that_closes_it(bench: Bench) -> None:
    (bench.directory / "f").write_bytes("echo ä\n  echo two  \n".encode())
    assert stored(bench, bench.run("enqueue", "--command-file", "f").out.strip()).command == "echo ä\n  echo two  "
    result = bench.run("enqueue", "--command-file", "-", stdin=b"echo stdin\n")
    assert stored(bench, result.out.strip()).command == "echo stdin"


def test_longest_command_fits(bench: Bench) -> None:
    (bench.directory / "f").write_bytes(b": " + b"x" * 131_069 + b"\n")
    assert bench.run("enqueue", "--command-file", "f").code == 0


@pytest.mark.parametrize(
    "content",
    [
        '[{"command": "a"}, {"command": "b"}]',
        '[\n  {"command": "a"},\n  {"command": "b"}\n]\n',
        '{"command": "a"}\n{"command": "b"}\n',
        '\n{"command": "a"}\n\n  {"command": "b"}',
        '{"command": "a"}\r\n{"command": "b"}\r\n',
    ],
)
def test_job_file_in_all_its_forms(bench: Bench, content: str) -> None:
    (bench.directory / "jobs").write_text(content, newline="")
    result = bench.run("enqueue", "--job-file", "jobs")
    assert result.lines == ["1", "2"]
    assert [job.command for job in bench.queue.jobs()] == ["a", "b"]
    assert bench.run("enqueue", "--job-file", "-", stdin=content.encode()).lines == ["3", "4"]


@pytest.mark.parametrize("content", ['{"command": "a"}', '{\n  "command": "a",\n  "env": {"A": "b"}\n}\n'])
def test_job_file_with_one_object(bench: Bench, content: str) -> None:
    result = bench.run("enqueue", "--job-file", "-", "--json", stdin=content.encode())
    assert [job["command"] for job in json.loads(result.out)] == ["a"]


def test_full_model_of_a_fresh_job_is_accepted(bench: Bench) -> None:
    content = {
        "id": "job1",
        "command": "echo hi",
        "state": "pending",
        "attempts": 0,
        "max_retries": 3,
        "created_at": "2025-11-04T10:30:00Z",
        "updated_at": "2025-11-04T10:30:00Z",
        "next_run_at": None,
    }
    assert bench.run("enqueue", "--job-file", "-", stdin=json.dumps(content).encode()).out == "job1\n"


def test_options_are_defaults_for_a_job_file(bench: Bench) -> None:
    lines = [
        {"command": "a"},
        {"command": "b", "max_retries": 1, "run_at": "2031-01-01", "env": {"A": "own"}, "cwd": "/", "timeout": 0},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    options = ["--max-retries", "9", "--delay", "1h", "--env", "A=default", "--cwd", "/tmp", "--timeout", "5"]
    result = bench.run("enqueue", "--job-file", "-", "--json", *options, stdin=content)
    silent, own = json.loads(result.out)
    assert (silent["max_retries"], silent["env"], silent["cwd"], silent["timeout"]) == (9, {"A": "default"}, "/tmp", 5)
    assert silent["next_run_at"] is not None
    assert (own["max_retries"], own["env"], own["cwd"], own["timeout"]) == (1, {"A": "own"}, "/", 0)
    assert own["next_run_at"] == "2031-01-01T00:00:00.000000Z"


def test_big_batch_is_fast_enough_and_whole(bench: Bench) -> None:
    content = b'{"command": "true"}\n' * 20_000
    result = bench.run("enqueue", "--job-file", "-", stdin=content)
    assert len(result.lines) == len(set(result.lines)) == 20_000
    assert bench.queue.counts()["pending"] == 20_000


def test_named_queue_is_made_on_first_use(elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from program import call

    assert call("--db", "a/q.db", "enqueue", "--command", "true").out == "1\n"
    assert call("enqueue", "--db", "a/q.db", "--command", "true").out == "2\n"
    monkeypatch.setenv("QUEUECTL_DB_PATH", str(elsewhere / "b" / "q.db"))
    assert call("enqueue", "--command", "true").out == "1\n"
    assert call("list", "--db", "a/q.db", "--json").out.count('"id"') == 2


def test_queue_is_found_from_below_and_the_job_stays_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    below = bench.directory / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    result = bench.run("enqueue", "--command", "true")
    assert stored(bench, result.out.strip()).cwd == str(below)
    assert os.listdir(below) == []


@pytest.mark.long
def test_a_large_job_file_takes_little_memory(bench: Bench) -> None:
    """It is read line by line, and still accepted whole or not at all."""
    peaks = {}
    for count in (15_000, 60_000):
        lines = '{"command": "true"}\n' * count
        (bench.directory / "jobs").write_text(lines)
        peaks[count] = peak_memory(bench, "enqueue", "--job-file", "jobs")
    assert bench.queue.counts()["pending"] == 75_000
    assert peaks[60_000] < 1.3 * peaks[15_000], peaks
    (bench.directory / "jobs").write_text(lines + '{"command": ""}\n')
    refused = bench.run("enqueue", "--job-file", "jobs")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "queuectl: error: jobs, line 60001: command: is empty\n"
    assert bench.queue.counts()["pending"] == 75_000


def peak_memory(bench: Bench, *words: str) -> int:
    """Of a command that succeeds, in KiB."""
    command = measuring([*PROGRAM, "--db", bench.queue.home.database, *words])
    done = subprocess.run(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=100, check=True
    )
    return int(done.stderr)
