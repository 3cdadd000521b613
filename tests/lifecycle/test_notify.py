"""What workers in the foreground tell a service manager that started them."""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, eventually


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE)

    def word(self) -> dict[str, str]:
        """The next that is said."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    @property
    def was_told(self) -> bool:
        """Whether something was said that nobody took yet."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="queuectl-notify-") as directory:  # the path of a socket is short
        listening = Manager(f"{directory}/socket" if request.param == "file" else f"@{directory}")
        yield listening
        listening.close()


def started_by(address: str) -> Callable[[], None]:
    """What a process does first that a service manager starts."""
    return partial(_be_started_by, address)


def _be_started_by(address: str) -> None:
    os.environ["NOTIFY_SOCKET"] = address


def test_ready_when_workers_are_and_stopping_when_they_stop(farm: Farm, manager: Manager, mode: str) -> None:
    farm.run("config", "set", "stop_timeout", "40")
    process = farm.foreground("--count", "2", "--mode", mode, prepare=started_by(manager.address))
    assert manager.word() == {"READY": "1", "STATUS": f"2 workers ({mode} mode)"}
    assert farm.ready()
    job = farm.queue.enqueue(f"env > draft && mv draft env; sleep {farm.token}", cwd=farm.directory)
    eventually((farm.directory / "env").exists)
    process.send_signal(signal.SIGTERM)
    first = manager.word()
    assert first["STOPPING"] == "1"
    assert int(first["EXTEND_TIMEOUT_USEC"]) > 45_000_000
    process.send_signal(signal.SIGTERM)
    assert manager.word()["STOPPING"] == "1"
    assert process.wait(PATIENCE).returncode == 128 + signal.SIGTERM
    assert farm.queue.get(job.id).state == "pending"
    variables = (farm.directory / "env").read_text()
    assert "QUEUECTL_JOB_ID" in variables
    assert "NOTIFY_SOCKET" not in variables


def test_workers_that_are_stopped_from_outside_leave_with_0_so_that_nobody_restarts_them(
    farm: Farm, manager: Manager
) -> None:
    process = farm.foreground("--count", "1", prepare=started_by(manager.address))
    assert manager.word()["READY"] == "1"
    farm.stop()
    assert manager.word()["STOPPING"] == "1"
    assert process.wait(PATIENCE).returncode == 0


def test_a_manager_that_is_gone_is_no_reason_to_stop(farm: Farm, tmp_path: Path) -> None:
    process = farm.foreground("--count", "1", prepare=started_by(str(tmp_path / "nobody")))
    job = farm.queue.enqueue("true")
    assert farm.queue.wait([job.id], PATIENCE)
    farm.stop()
    assert process.wait(PATIENCE).returncode == 0


def test_a_drain_is_ready_also_where_nothing_is_to_do(farm: Farm, manager: Manager) -> None:
    process = farm.foreground("--count", "2", "--drain", prepare=started_by(manager.address))
    assert manager.word()["READY"] == "1"
    assert manager.word()["STOPPING"] == "1"
    assert process.wait(PATIENCE).returncode == 0


def test_detached_workers_say_nothing_and_hand_nothing_on(farm: Farm, manager: Manager) -> None:
    started = farm.launch("worker-start", "--count", "1", prepare=started_by(manager.address))
    assert started.wait().returncode == 0
    job = farm.queue.enqueue("env > env", cwd=farm.directory)
    assert farm.queue.wait([job.id], PATIENCE)
    assert "NOTIFY_SOCKET" not in (farm.directory / "env").read_text()
    assert not manager.was_told
