"""Workers that remove what the setting ``retention`` does not keep, and a prune that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from farm import PATIENCE, Farm, eventually


def test_idle_workers_remove_what_is_old(farm: Farm, mode: str) -> None:
    farm.queue.change_setting("retention", 0.001)
    dead = farm.queue.enqueue("exit 1", max_retries=0)
    old = farm.queue.add_many([{"command": "echo out"}] * 3)
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    farm.start(1, mode)
    eventually(lambda: [job.id for job in farm.queue.jobs()] == [dead.id])
    farm.stop()
    assert not [each for each in old if os.path.exists(farm.home.log(each))]
    assert os.path.exists(farm.home.log(dead.id))


def test_a_prune_that_is_killed_is_done_in_part_and_can_be_done_again(farm: Farm) -> None:
    ids = farm.queue.add_many([{"command": "true"}] * 3000)
    farm.queue.cancel(*ids)
    command = [sys.executable, "-m", "queuectl", "prune", "--older-than", "0"]
    process = subprocess.Popen(command, cwd=farm.directory, stderr=subprocess.DEVNULL)
    eventually(lambda: farm.queue.counts()["cancelled"] < 3000 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    left = farm.queue.counts()["cancelled"]
    assert left % 500 == 0
    assert farm.queue.prune(0) == left
    assert farm.queue.jobs() == []
