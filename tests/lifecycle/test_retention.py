"""Workers that remove what the setting ``retention`` does not keep, and a prune that is killed."""

from __future__ import annotations

import os
from pathlib import Path

from farm import PATIENCE, Farm, eventually

from queuectl.clock import SECOND, SYSTEM_CLOCK
from queuectl.model import ENDED
from queuectl.store.sqlite import open_store


def test_idle_workers_remove_what_is_old(farm: Farm, mode: str) -> None:
    farm.queue.change_setting("retention", 0.001)
    dead = farm.queue.enqueue("exit 1", max_retries=0)
    farm.queue.add_many([{"command": "echo out"}] * 3)
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    farm.start(1, mode)
    eventually(lambda: [job.id for job in farm.queue.jobs()] == [dead.id] and len(os.listdir(farm.home.logs)) == 1)
    farm.stop()
    assert os.listdir(farm.home.logs) == [f"{dead.id}.log"]


def test_logs_of_one_name_do_not_mix(farm: Farm, mode: str) -> None:
    """A job takes the name of one that was removed by somebody who was killed before its log went."""
    store = open_store(farm.home, 5)
    farm.queue.enqueue("echo old output", id="a")
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    assert store.prune(ENDED, SYSTEM_CLOCK.now() + SECOND, 9, list).jobs == 1
    store.close()
    assert Path(farm.home.log("a")).read_text() == "old output\n"
    farm.queue.enqueue("echo new; test $QUEUECTL_ATTEMPT -gt 1", id="a", max_retries=1)
    farm.queue.change_setting("backoff_base", 0)
    told = farm.run("logs", "a")
    assert (told.stdout, told.stderr) == ("", "queuectl: job a has written nothing: it has not started yet\n")
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    assert farm.queue.prune("1d") == 0
    assert farm.run("logs", "a").stdout == "new\nnew\n"
    assert farm.run("logs", "--attempt", "2", "a").stdout == "new\n"
    assert farm.run("doctor").returncode == 0


def test_pruning_beside_workers(farm: Farm, mode: str) -> None:
    """Nothing is removed that was not done, and nobody fails."""
    told = farm.directory / "told"
    farm.start(2, mode)
    removed = 0
    for _ in range(5):
        farm.queue.add_many([{"command": f"echo $QUEUECTL_JOB_ID | tee -a {told}"}] * 40)
        removed += farm.queue.prune(0)
    assert farm.queue.wait(timeout=PATIENCE)
    removed += farm.queue.prune(0)
    farm.stop()
    assert removed == 200
    assert sorted(map(int, told.read_text().split())) == list(range(1, 201))
    assert (farm.queue.jobs(), os.listdir(farm.home.logs)) == ([], [])
    assert "Traceback" not in Path(farm.home.supervisor_log).read_text()


def test_what_is_pruned_is_unknown(farm: Farm) -> None:
    job = farm.queue.enqueue("true")
    later = farm.queue.enqueue("true")
    farm.queue.cancel(job.id)
    assert farm.run("prune", "--older-than", "0").stderr == "queuectl: 1 job pruned\n"
    for command in ("show", "logs", "wait", "retry", "cancel", "why"):
        done = farm.run(command, job.id)
        assert (done.returncode, done.stderr) == (3, f"queuectl: error: no job {job.id}\n"), command
    assert farm.queue.enqueue("true").id == str(int(later.id) + 1)


def test_a_prune_that_is_killed_is_done_in_part_and_can_be_done_again(farm: Farm) -> None:
    ids = farm.queue.add_many([{"command": "true"}] * 3000)
    farm.queue.cancel(*ids)
    process = farm.launch("prune", "--older-than", "0")
    eventually(lambda: farm.queue.counts()["cancelled"] < 3000 or process.poll() is not None)
    process.kill()
    left = farm.queue.counts()["cancelled"]
    assert left % 500 == 0
    assert farm.queue.prune(0) == left
    assert farm.queue.jobs() == []
