"""What a job takes along from the shell that enqueued it, found by the job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from farm import Farm, eventually


def enqueue(farm: Farm, *words: str, **env: str) -> None:
    command_in(farm, "enqueue", *words, **env)


def command_in(farm: Farm, *words: str, **env: str) -> None:
    command = [sys.executable, "-m", "queuectl", *words]
    subprocess.run(command, cwd=farm.directory, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)


def environment_of(farm: Farm, job_id: str) -> dict[str, str]:
    text = Path(farm.home.log(job_id)).read_bytes().decode()
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def test_a_job_finds_them_in_the_place_of_the_workers_own(farm: Farm, mode: str) -> None:
    odd = "ä 'b' \"c\"\n$(id)"
    words = ("--command", "exec env -0", "--cwd", "/")
    enqueue(farm, "--id", "some", "--export", "WHO,ODD", "--env", "MORE=1", *words, WHO="enqueuer", ODD=odd)
    enqueue(farm, "--id", "all", "--export", "ALL", *words, WHO="enqueuer", QUEUECTL_DB_PATH=farm.home.database)
    enqueue(farm, "--id", "none", *words, WHO="enqueuer")
    start = [sys.executable, "-m", "queuectl", "worker-start", "--count", "1", "--mode", mode]
    worker = {**os.environ, "WHO": "worker", "ONLY": "worker"}
    subprocess.run(start, cwd=farm.directory, env=worker, check=True, stdout=subprocess.DEVNULL)
    assert farm.queue.wait(timeout=60)
    some, everything, none = (environment_of(farm, job_id) for job_id in ("some", "all", "none"))
    assert (some["WHO"], some["ODD"], some["MORE"], some["ONLY"]) == ("enqueuer", odd, "1", "worker")
    assert (everything["WHO"], everything["ONLY"]) == ("enqueuer", "worker")
    assert none["WHO"] == "worker"
    assert "QUEUECTL_DB_PATH" not in everything.keys() - os.environ.keys()
    assert everything["PWD"] == "/"
    for found, job_id in ((some, "some"), (everything, "all")):
        assert found["QUEUECTL_JOB_ID"] == job_id
        assert found["QUEUECTL_QUEUE"] == farm.home.database


def test_a_schedule_takes_them_along_from_where_it_was_added(farm: Farm, mode: str) -> None:
    words = ("--export", "WHO,MINE", "--cwd", "/", "--command", "exec env -0")
    command_in(farm, "cron", "add", "s", "* * * * * *", *words, WHO="user", MINE="1")
    command_in(farm, "worker-start", "--count", "1", "--mode", mode, WHO="worker", ONLY="worker")
    eventually(lambda: farm.queue.jobs("completed"))
    (schedule,) = farm.queue.pause_schedules("s")
    assert schedule.note is None
    found = environment_of(farm, farm.queue.jobs("completed")[0].id)
    assert (found["WHO"], found["MINE"], found["ONLY"]) == ("user", "1", "worker")


def test_the_largest_that_is_accepted_can_be_started(farm: Farm, mode: str) -> None:
    large = {f"LARGE{number}": "x" * 100_000 for number in range(17)}
    enqueue(
        farm,
        "--id",
        "j",
        "--export",
        ",".join(large),
        "--max-retries",
        "0",
        "--command",
        "env | grep -c LARGE",
        **large,
    )
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60), farm.queue.get("j").reason
    assert Path(farm.home.log("j")).read_text() == "17\n"
