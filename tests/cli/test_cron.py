"""``cron``: schedules on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from program import Bench, Result
from unit.support import HandClock

from queuectl import Conflict, Queue
from queuectl.clock import SECOND, SYSTEM_CLOCK

DAILY = ("30 4 * * *", "--tz", "Europe/Berlin")


def added(bench: Bench, *args: Any) -> Result:
    result = bench.run("cron", "add", *args)
    assert result.code == 0, result.err
    return result


def shown(bench: Bench, *args: str) -> Any:
    result = bench.run("cron", *(args or ("list",)), "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def in_the_past(bench: Bench, days: float) -> Queue:
    """The bench's queue, as somebody used it so many days ago."""
    then = SYSTEM_CLOCK.now() - round(days * 86_400 * SECOND)
    return Queue(bench.queue.home.database, clock=HandClock(then))


def test_add_and_list(bench: Bench) -> None:
    result = added(bench, "nightly", *DAILY, "--", "echo", "a b", "$HOME")
    assert result.out == ""
    assert "queuectl: schedule nightly runs next" in result.err
    assert " 04:30 CE" in result.err, "CET, or CEST"
    lines = bench.run("cron", "list").lines
    assert lines[0].split() == ["NAME", "EXPRESSION", "ZONE", "NEXT", "STATE", "LAST", "JOB", "COMMAND"]
    assert lines[1].startswith("nightly  30 4 * * *  Europe/Berlin  ")
    assert lines[1].endswith("active  -     -    echo 'a b' '$HOME'")
    assert len(lines) == 6
    assert all(" 04:30 CE" in line for line in lines[1:])
    assert bench.run("cron").lines == lines


def test_what_json_tells(bench: Bench) -> None:
    options = (
        "--timeout",
        "10m",
        "--max-retries",
        "1",
        "--cwd",
        "/",
        "--env",
        "A=b",
        "--overlap",
        "allow",
        "--group",
        "g",
        "--priority",
        "2",
        *("--batch", "b", "--retry-on", "75", "--no-retry-on", "1-9", "--backoff-base", "3"),
    )
    result = bench.run("cron", "add", "x", *DAILY, *options, "--missed", "skip", "--command", "true", "--json")
    assert result.code == 0
    (listed,) = shown(bench)
    assert json.loads(result.out) == listed
    assert len(listed.pop("upcoming")) == 5
    assert listed.pop("next_slot").endswith("00.000000Z")
    job = {"command": "true", "timeout": 600.0, "max_retries": 1, "cwd": "/", "env": {"A": "b"}}
    job |= {"group": "g", "priority": 2, "batch": "b", "retry_on": "75", "no_retry_on": "1-9", "backoff_base": 3.0}
    nothing = dict.fromkeys(("last_slot", "last_job", "last_state", "note"))
    assert listed == {
        "name": "x",
        "expression": "30 4 * * *",
        "zone": "Europe/Berlin",
        "overlap": "allow",
        "missed": "skip",
        "paused": False,
        "job": job,
        **nothing,
    }


def test_directory_and_retries_are_fixed_when_it_is_made(bench: Bench) -> None:
    bench.run("config", "set", "max_retries", "7")
    added(bench, "x", "@daily", "--cwd", "sub", "--command", "true")
    bench.run("config", "set", "max_retries", "1")
    (listed,) = shown(bench)
    assert listed["job"] == {"command": "true", "cwd": str(bench.directory / "sub"), "max_retries": 7}


def test_what_is_exported_is_kept_and_hidden(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "correct horse")
    monkeypatch.setenv("OTHER", "battery staple")
    options = ("--export", "TOKEN", "--export", "OTHER", "--env", "A=b", "--command", "true")
    printed = bench.run("cron", "add", "x", "@daily", *options, "--json").out
    looks = (["cron"], ["cron", "list", "--json"], ["cron", "pause", "x", "--json"], ["cron", "resume", "x", "--json"])
    told = printed + "".join(bench.run(*look).out for look in looks)
    assert "correct horse" not in told
    assert json.loads(printed)["job"]["export"] == ["TOKEN", "OTHER"]
    assert bench.queue.schedules()[0].job["export"] == ["TOKEN", "OTHER"]
    in_the_past(bench, 2).add_schedule("y", "@daily", "true", export=["TOKEN"], env={"A": "b"})
    monkeypatch.delenv("TOKEN")
    claim = bench.claim()
    assert claim.id.startswith("y-")
    assert claim.env == {"A": "b", "TOKEN": "correct horse"}
    assert bench.queue.get(claim.id).export == ("TOKEN",)
    refused = bench.run("cron", "add", "z", "@daily", "--export", "TOKEN", "--command", "true")
    assert (refused.code, refused.err) == (2, "queuectl: error: --export: TOKEN is not set here\n")


def test_a_command_from_a_file(bench: Bench) -> None:
    result = bench.run("cron", "add", "x", "@daily", "--command-file", "-", stdin=b"echo 'a\nb'\n")
    assert result.code == 0
    assert shown(bench)[0]["job"]["command"] == "echo 'a\nb'"


def test_the_next_five_times_with_seconds(bench: Bench) -> None:
    added(bench, "x", "15 0 12 1 1 *", "--command", "true")
    assert all(" 12:00:15 UTC" in line for line in bench.run("cron", "list").lines[1:6])


def test_names_are_dealt_with_together(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        added(bench, name, "@hourly", "--command", "true")
    assert bench.run("cron", "pause", "a", "b").err == "queuectl: 2 schedules paused\n"
    assert [each["paused"] for each in shown(bench)] == [True, True, False]
    assert [each["name"] for each in shown(bench, "resume", "b")] == ["b"]
    assert bench.run("cron", "remove", "a", "c").err == "queuectl: 2 schedules removed\n"
    assert [(each["name"], each["paused"]) for each in shown(bench)] == [("b", False)]
    for verb in ("pause", "resume", "remove"):
        result = bench.run("cron", verb, "b", "nothing")
        assert (result.code, result.err) == (3, "queuectl: error: no schedule nothing\n")
    assert len(shown(bench)) == 1
    added(bench, "nightly", *DAILY, "--command", "true")
    assert bench.run("cron", "remove", "nigthly").err == "queuectl: error: no schedule nigthly: did you mean nightly?\n"


def test_a_paused_schedule_has_no_next_time(bench: Bench) -> None:
    added(bench, "a", "@hourly", "--command", "true")
    bench.run("cron", "pause", "a")
    assert bench.run("cron", "list").lines[1].split() == ["a", "0", *"****", "UTC", "-", "paused", "-", "-", "true"]
    assert shown(bench)[0]["upcoming"] == []
    result = added(bench, "a", "@daily", "--replace", "--command", "true")
    assert result.err == "queuectl: schedule a is replaced, and still paused: see 'queuectl cron resume'\n"


def test_a_name_that_exists(bench: Bench) -> None:
    added(bench, "a", "@hourly", "--command", "true")
    result = bench.run("cron", "add", "a", "@daily", "--command", "false")
    assert result.code == 4
    assert result.err == "queuectl: error: schedule a exists already: replace it with --replace, or remove it first\n"
    assert shown(bench)[0]["expression"] == "0 * * * *"
    added(bench, "a", "@daily", "--replace", "--command", "false")
    assert shown(bench)[0]["expression"] == "0 0 * * *"


BAD = {
    ("x", "* * * *", "--command", "true"): "has 4 fields, not five",
    ("x", "daily", "--command", "true"): "has 1 field, not five",
    ("x", "61 * * * *", "--command", "true"): "bad minute",
    ("x", "0 0 30 2 *", "--command", "true"): "never comes true",
    ("x", "@reboot", "--command", "true"): "is not known",
    ("x", "", "--command", "true"): "give five fields",
    ("a b", "@daily", "--command", "true"): "name 'a b' is not valid",
    ("x" * 65, "@daily", "--command", "true"): "is not valid",
    ("x", "@daily", "--tz", "Mars", "--command", "true"): "no time zone 'Mars'",
    ("x", "@daily", "--overlap", "maybe", "--command", "true"): "'maybe' is not one of 'skip', 'allow'",
    ("x", "@daily", "--missed", "twice", "--command", "true"): "'twice' is not one of 'once', 'skip'",
    ("x", "@daily", "--max-retries", "-1", "--command", "true"): "--max-retries",
    ("x", "@daily", "--timeout", "soon", "--command", "true"): "--timeout",
    ("x", "@daily", "--command", ""): "--command: is empty",
    ("x", "@daily", "--", ""): "the command after -- is empty",
    ("x", "@daily"): "nothing to run",
    ("x", "@daily", "--command", "true", "--", "true"): "more than one command",
    ("x", "*", "*", "*", "*", "*", "--", "true"): "an expression is one word",
    ("x", "@daily", "true"): "a command goes after --",
    ("x", "--", "echo", "hi"): "give a name and an expression",
    ("x",): "Missing argument 'EXPRESSION'",
    ("x", "@daily", "--delay", "5", "--command", "true"): "--delay",
}


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_bad_input(bench: Bench, words: tuple[str, ...]) -> None:
    result = bench.run("cron", "add", *words)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("queuectl: error: ")
    assert BAD[words] in result.err.splitlines()[-1]
    assert shown(bench) == []


def test_no_queue_is_made_for_a_schedule(elsewhere: Path, bench: Bench) -> None:
    result = bench.run("--db", elsewhere / "none" / "queuectl.db", "cron", "add", "x", "@daily", "--command", "true")
    assert result.code == 3
    assert not (elsewhere / "none").exists()


def test_what_became_of_a_slot_is_told(bench: Bench) -> None:
    half_an_hour_ago = (SYSTEM_CLOCK.now() // (60 * SECOND) + 30) % 60
    in_the_past(bench, 4).add_schedule("strict", f"{half_an_hour_ago} * * * *", "true", missed="skip")
    in_the_past(bench, 3).add_schedule("often", "*/5 * * * *", "true")
    listed = bench.run("cron", "list").lines
    assert [line.split()[0] for line in listed if " due " in line] == ["often", "strict"]
    status = bench.run("status").out
    assert "next slot  strict, due for" in status
    assert "none running: start them" in status
    done = bench.play("succeeded")
    assert done.startswith("often-")
    out = bench.run("cron", "list").out
    assert f"  completed  {done}  true\n" in out
    assert "strict: slot " in out
    assert " was missed" in out
    assert json.loads(bench.run("status", "--json").out)["next_slot"]["schedule"] == "often"


def test_the_next_slot_in_status(bench: Bench) -> None:
    assert json.loads(bench.run("status", "--json").out)["next_slot"] is None
    assert "next slot" not in bench.run("status").out
    added(bench, "x", "0 4 1 1 *", "--command", "true")
    told = json.loads(bench.run("status", "--json").out)["next_slot"]
    assert told == {"schedule": "x", "at": shown(bench)[0]["next_slot"]}
    assert "next slot  x, in " in bench.run("status").out


def test_the_library_says_the_same(bench: Bench) -> None:
    made = bench.queue.add_schedule("x", "@daily", "true", tz="Europe/Berlin", timeout="10m", env={"A": "b"})
    assert bench.queue.schedules() == [made]
    assert made.as_dict().items() <= shown(bench)[0].items()
    assert bench.queue.pause_schedules("x")[0].paused
    assert bench.queue.resume_schedules("x")[0].next_slot == made.next_slot
    assert bench.queue.remove_schedules("x") == [made]


def test_names_and_zones_are_completed(bench: Bench) -> None:
    added(bench, "nightly", *DAILY, "--command", "true")
    assert "\tnightly\t" in bench.run("__complete", "zsh", "cron", "pause", "ni").out
    assert (
        "\tEurope/Berlin\t" in bench.run("__complete", "zsh", "cron", "add", "x", "@daily", "--tz", "Europe/Berl").out
    )


def test_a_schedule_is_run_now(bench: Bench) -> None:
    added(bench, "x", "@yearly", "--timeout", "5", "--batch", "b", "--command", "echo hi")
    before = shown(bench)[0]
    result = bench.run("cron", "run", "x")
    assert (result.code, result.err) == (0, "")
    job = bench.queue.get(result.out.strip())
    assert re.fullmatch(r"x-\d{8}T\d{4}(\d\d)?Z", job.id)
    assert (job.command, job.timeout, job.batch, job.state) == ("echo hi", 5, "b", "pending")
    assert shown(bench)[0] == {**before, "last_job": job.id, "last_state": "pending"}, "its slots stay as they are"
    again = bench.run("cron", "run", "x")
    said = f"queuectl: error: schedule x: its last job, {job.id}, is still pending\n"
    assert (again.code, again.out, again.err) == (4, "", said)
    bench.play("succeeded")
    bench.queue.prune(0)
    bench.run("cron", "pause", "x")
    assert json.loads(bench.run("cron", "run", "x", "--json").out)["state"] == "pending"
    unknown = bench.run("cron", "run", "nobody")
    assert (unknown.code, unknown.err) == (3, "queuectl: error: no schedule nobody\n")


def test_runs_may_overlap_where_that_was_said_but_each_second_has_one(bench: Bench) -> None:
    queue = in_the_past(bench, 2)
    queue.add_schedule("x", "@yearly", "true", overlap="allow")
    assert queue.run_schedule("x").state == "pending"
    with pytest.raises(Conflict, match="is there already"):
        queue.run_schedule("x")
    assert bench.run("cron", "run", "x").code == 0
    assert bench.queue.counts()["pending"] == 2
