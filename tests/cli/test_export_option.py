"""``--export``: kept with the job, and hidden from whoever looks."""

from __future__ import annotations

import json
import sqlite3

import pytest
from program import Bench

SECRET = "correct horse"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("OTHER", "battery staple")


def everything_shown(bench: Bench, job_id: str) -> str:
    looks = (["show", job_id], ["show", job_id, "--json"], ["list"], ["list", "--json"], ["status", "--json"], ["dlq"])
    return "".join(bench.run(*look).out for look in looks)


def test_values_are_kept_and_hidden(bench: Bench) -> None:
    printed = bench.run(
        "enqueue", "--export", "TOKEN", "--export", "OTHER", "--env", "A=b", "--command", "true", "--json"
    )
    job = json.loads(printed.out)
    assert (job["env"], job["export"]) == ({"A": "b"}, ["TOKEN", "OTHER"])
    assert SECRET not in printed.out + everything_shown(bench, "1")
    lines = [line.split() for line in bench.run("show", "1").lines]
    assert ["environment", "A=b"] in lines
    assert ["TOKEN", "(hidden)"] in lines
    assert bench.queue.get("1").export == ("TOKEN", "OTHER")
    claim = bench.store.claim("worker-1", 1 << 62)
    assert claim is not None
    assert claim.env == {"A": "b", "TOKEN": SECRET, "OTHER": "battery staple"}


def test_a_value_that_is_said_explicitly_wins(bench: Bench) -> None:
    bench.run("enqueue", "--export", "TOKEN,OTHER", "--env", "TOKEN=mine", "--command", "true")
    lines = bench.run("show", "1").out
    assert "TOKEN=mine" in lines
    assert "TOKEN (hidden)" not in lines
    claim = bench.store.claim("worker-1", 1 << 62)
    assert claim is not None
    assert claim.env == {"TOKEN": "mine", "OTHER": "battery staple"}


def test_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECTL_DEBUG", "1")
    bench.run("enqueue", "--export", "ALL", "--command", "true")
    names = bench.queue.get("1").export
    assert {"TOKEN", "OTHER", "PATH"} <= set(names)
    assert not {"PWD", "SHLVL", "_"} & set(names)
    assert not [name for name in names if name.startswith("QUEUECTL_")]
    assert SECRET not in everything_shown(bench, "1")


def test_a_job_file_names_variables_too(bench: Bench) -> None:
    entries = [{"export": ["TOKEN"]}, {"export": "TOKEN,OTHER"}, {}]
    content = "".join(json.dumps({"command": "true", **each}) + "\n" for each in entries).encode()
    assert bench.run("enqueue", "--job-file", "-", "--export", "OTHER", stdin=content).code == 0
    assert [job.export for job in bench.queue.jobs()] == [("TOKEN",), ("TOKEN", "OTHER"), ("OTHER",)]


def test_very_many_jobs_take_it_along(bench: Bench) -> None:
    """Beyond some thousand, jobs wait in a file until all are read."""
    content = b'{"command": "true"}\n' * 10_500
    assert bench.run("enqueue", "--job-file", "-", "--export", "TOKEN", stdin=content).code == 0
    for job_id in ("1", "10500"):
        assert bench.queue.get(job_id).export == ("TOKEN",)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("", "not a list of names"),
        ("NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is not set here"),
        ("TOKEN,", "not a list of names"),
        ("TOKEN=x", "that is for --env"),
    ],
)
def test_mistakes(bench: Bench, names: str, says: str) -> None:
    result = bench.run("enqueue", "--export", names, "--command", "true")
    assert (result.code, bench.queue.jobs()) == (2, [])
    assert "--export: " in result.err
    assert says in result.err


def test_what_is_not_utf8_and_what_is_too_large(bench: Bench) -> None:
    result = bench.execute("enqueue", "--export", "ALL", "--command", "true", env={"ODD": "\udcff"})
    assert result.code == 2
    assert result.err.endswith("queuectl: error: --export: ODD is not UTF-8 text\n")
    large = {f"LARGE{number}": "x" * 100_000 for number in range(19)}
    result = bench.execute("enqueue", "--export", "ALL", "--command", "true", env=large)
    assert result.code == 2
    assert "that a program can be passed" in result.err
    assert bench.queue.jobs() == []


def test_the_values_are_in_the_database_which_is_private(bench: Bench) -> None:
    bench.run("enqueue", "--export", "TOKEN", "--command", "true")
    connection = sqlite3.connect(bench.queue.home.database)
    kept = connection.execute("SELECT env FROM jobs").fetchone()[0]
    connection.close()
    assert json.loads(kept) == [{}, {"TOKEN": SECRET}]
