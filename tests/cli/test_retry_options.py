"""``--retry-on``, ``--no-retry-on``, ``--backoff-base``: kept, shown, and refused when they are bad."""

from __future__ import annotations

import json

import pytest
from program import Bench

WORDS = ("--retry-on", "78,2,64-77", "--no-retry-on", "70", "--backoff-base", "1.5")


def test_they_are_kept_and_shown(bench: Bench) -> None:
    assert bench.run("enqueue", *WORDS, "--command", "true").out == "1\n"
    job = bench.queue.get("1")
    assert (job.retry_on, job.no_retry_on, job.backoff_base) == ("2,64-78", "70", 1.5)
    shown = json.loads(bench.run("show", "1", "--json").out)
    assert (shown["retry_on"], shown["no_retry_on"], shown["backoff_base"]) == ("2,64-78", "70", 1.5)
    lines = [line.split(maxsplit=2) for line in bench.run("show", "1").lines]
    assert ["retry", "on", "exit code 2,64-78"] in lines
    assert ["backoff", "base", "1.5"] in lines
    bench.run("enqueue", "--command", "true")
    assert "retry on" not in bench.run("show", "2").out


def test_a_job_file_may_say_it_too(bench: Bench) -> None:
    entries = [{"retry_on": [2, "64-78"], "backoff_base": 0}, {"no_retry_on": 3, "backoff_base": "1.5"}, {}]
    content = "".join(json.dumps({"command": "true", **each}) + "\n" for each in entries).encode()
    assert bench.run("enqueue", "--job-file", "-", "--retry-on", "9", stdin=content).code == 0
    kept = [(job.retry_on, job.no_retry_on, job.backoff_base) for job in bench.queue.jobs()]
    assert kept == [("2,64-78", None, 0), ("9", "3", 1.5), ("9", None, None)]


@pytest.mark.parametrize("option", ["--retry-on", "--no-retry-on"])
@pytest.mark.parametrize("codes", ["", "x", "0", "256", "5-2", "1,,2"])
def test_bad_codes(bench: Bench, option: str, codes: str) -> None:
    result = bench.run("enqueue", option, codes, "--command", "true")
    assert result.code == 2
    assert f"{option}: " in result.err.splitlines()[-1]
    assert bench.queue.jobs() == []


@pytest.mark.parametrize("base", ["", "x", "-1", "nan", "inf", "1e400"])
def test_bad_bases(bench: Bench, base: str) -> None:
    result = bench.run("enqueue", "--backoff-base", base, "--command", "true")
    assert result.code == 2
    assert "--backoff-base: " in result.err
    assert bench.queue.jobs() == []
