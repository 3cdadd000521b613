"""``watch`` where nobody looks on: one picture, as text or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from farm import Farm, eventually
from program import Bench, execute

from queuectl.model import STATES


def test_one_picture(bench: Bench) -> None:
    bench.ended("failed", "exit 3 # \x1b[2J", exit_code=3, reason="exit code 3")
    bench.ended()
    bench.queue.enqueue("true", id="later", delay=7200)
    result = bench.run("watch")
    assert result.code == 0
    assert "jobs     1 pending (1 for later), 0 processing, 1 completed, 1 dead, 0 cancelled" in result.lines
    assert "workers  none running" in result.lines
    assert next(line.split() for line in result.lines if "exit code 3" in line)[:2] == ["1", "dead"]
    assert r"exit 3 # \x1b[2J" in result.out
    assert "\x1b" not in result.out


def test_groups_and_a_pause(bench: Bench) -> None:
    bench.queue.set_group("gpu", 2)
    bench.queue.enqueue("true", id="a", group="gpu")
    bench.queue.pause("gpu")
    lines = bench.run("watch").lines
    place = lines.index("GROUP    LIMIT  RUNNING  WAITING  STATE")
    assert [line.split() for line in lines[place + 1 : place + 3]] == [
        ["default", "none", "0", "0", "open"],
        ["gpu", "2", "0", "1", "paused"],
    ]
    bench.queue.pause()
    assert "pace     paused: 'queuectl resume' lets jobs start again" in bench.run("watch").lines
    bench.queue.resume("gpu")
    lines = bench.run("watch").lines
    place = lines.index("GROUP    LIMIT  RUNNING  WAITING  STATE")
    assert [line.split()[-1] for line in lines[place + 1 : place + 3]] == ["paused", "paused"]
    picture = json.loads(bench.run("watch", "--json").out)
    assert picture["paused"] is True
    assert picture["groups"] == json.loads(bench.run("group", "list", "--json").out)


def test_a_process_ends_at_once_whatever_its_streams_are(bench: Bench) -> None:
    bench.queue.enqueue("true", id="waits")
    for arguments in (["watch"], ["watch", "--json"]):
        done = execute(bench.directory, *arguments)
        assert done.code == 0
        assert done.err == ""
    assert json.loads(done.out)["jobs"] == {**dict.fromkeys(STATES, 0), "pending": 1}


def test_json_of_a_queue_at_work(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("exit 3", id="fails", max_retries=0)
    farm.queue.enqueue("exit 3", id="fails-again", max_retries=1)
    for number in range(3):
        farm.queue.enqueue("sleep 0.2", id=f"done-{number}")
    farm.queue.enqueue(f"sleep {farm.token}", id="runs")
    farm.queue.enqueue("true", id="later", delay=7200)
    farm.queue.change_setting("backoff_base", 3600)
    farm.start(2, mode)

    def told() -> dict:  # type: ignore[type-arg]
        done = farm.run("watch", "--json")
        assert done.returncode == 0, done.stderr
        picture: dict = json.loads(done.stdout)  # type: ignore[type-arg]
        return picture

    eventually(
        lambda: told()["jobs"] == {**dict.fromkeys(STATES, 0), "pending": 2, "processing": 1, "completed": 3, "dead": 1}
    )
    picture = told()
    assert list(picture) == [
        "database",
        "jobs",
        "scheduled",
        "held",
        "blocked",
        "rate",
        "eta_seconds",
        "next_scheduled",
        "supervisor",
        "workers",
        "failures",
        "groups",
        "paused",
    ]
    assert picture["database"] == str(farm.home.database)
    assert picture["scheduled"] == 1
    assert picture["next_scheduled"]["id"] == "fails-again"
    assert picture["supervisor"]["pid"] == farm.supervisor()
    assert sorted(worker["state"] for worker in picture["workers"]) == ["idle", "running"]
    busy = next(worker for worker in picture["workers"] if worker["state"] == "running")
    assert (busy["job"], busy["command"], busy["attempts"]) == ("runs", f"sleep {farm.token}", 1)
    assert {(job["id"], job["reason"]) for job in picture["failures"]} == {
        ("fails", "exit code 3"),
        ("fails-again", "exit code 3"),
    }
    eventually(lambda: (told()["rate"] or 0) > 0, "what ended lately tells how fast it goes")
    assert told()["eta_seconds"] > 0


def test_there_is_no_queue(elsewhere: Path) -> None:
    for arguments in (["watch"], ["watch", "--json"]):
        done = execute(elsewhere, *arguments)
        assert (done.code, done.out) == (3, "")
        assert "queuectl init" in done.err
    assert list(elsewhere.iterdir()) == []


def test_who_reads_may_go_away(bench: Bench) -> None:
    for _ in range(5):
        bench.ended("failed", "x" * 100_000, exit_code=3)
    import subprocess

    from program import PROGRAM, environment

    script = '"$@" | head -1; exit ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *PROGRAM, "watch"],
        cwd=bench.directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
