"""``worker-run`` as PID 1: it reaps what falls to it, and the supervisor gets the signals meant for it."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from farm import Farm, eventually
from namespaces import Namespace, children, needs_namespaces, pid_1, zombies_of

from queuectl import control

pytestmark = needs_namespaces

Start = Callable[..., Namespace]


@pytest.fixture
def start(farm: Farm) -> Iterator[Start]:
    """Runs ``worker-run`` as PID 1, and returns once its workers are ready."""
    started: list[Namespace] = []

    def start(*arguments: str, **options: Any) -> Namespace:
        command = [sys.executable, "-m", "queuectl", "worker-run", *arguments]
        namespace = Namespace(command, cwd=farm.directory, **options)
        started.append(namespace)
        eventually(lambda: namespace.process.poll() is not None or farm.ready(), "workers are ready")
        return namespace

    yield start
    for namespace in started:
        namespace.close()


def output(farm: Farm, job_id: str = "j") -> str:
    path = Path(farm.home.log(job_id))
    return path.read_text() if path.exists() else ""


def assert_all_gone(farm: Farm) -> None:
    assert farm.survivors() == []
    assert not control.is_running(farm.home)
    assert list(Path(farm.home.run).glob("*.pid")) == []


def test_it_stays_pid_1_and_works_in_a_child(farm: Farm, start: Start) -> None:
    farm.queue.enqueue("cat /proc/1/cmdline | tr '\\0' ' '", id="j")
    namespace = start("--count", "1")
    assert farm.queue.wait(["j"], timeout=60)
    assert "worker-run" in output(farm)
    assert farm.supervisor() != 1
    namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0


def test_term_lets_running_jobs_finish(farm: Farm, start: Start, mode: str) -> None:
    until_it_stops = f"until grep -q stopping {farm.home.supervisor_log}; do sleep 0.05; done"
    farm.queue.enqueue(f"echo up; {until_it_stops}; echo whole", id="j")
    farm.queue.enqueue("true", id="next")
    namespace = start("--count", "1", "--mode", mode)
    eventually(lambda: output(farm))
    namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0
    assert output(farm) == "up\nwhole\n"
    assert (farm.queue.get("j").state, farm.queue.get("next").state) == ("completed", "pending")
    assert_all_gone(farm)


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        ([signal.SIGINT], 0),
        ([signal.SIGQUIT], 128 + signal.SIGQUIT),
        ([signal.SIGTERM, signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGINT, signal.SIGINT], 128 + signal.SIGINT),
    ],
)
def test_signals_are_passed_on(farm: Farm, start: Start, signals: list[int], status: int) -> None:
    farm.queue.enqueue(f"echo up; sleep {farm.token if status else 1}", id="j")
    namespace = start("--count", "2")
    eventually(lambda: output(farm))
    log = Path(farm.home.supervisor_log)
    for number in signals:
        said = log.read_text().count("stopping")
        namespace.signal(number)
        eventually(lambda said=said: log.read_text().count("stopping") > said)
    assert namespace.ends() == status
    assert farm.queue.get("j").state == ("pending" if status else "completed")
    assert_all_gone(farm)


def test_workers_are_added_and_retired_by_signals(farm: Farm, start: Start) -> None:
    namespace = start("--count", "1")
    namespace.signal(signal.SIGTTIN)
    eventually(lambda: len(farm.workers()) == 2)
    namespace.signal(signal.SIGTTOU)
    eventually(lambda: len(farm.workers()) == 1)


def test_a_terminals_interrupt_counts_once(farm: Farm, start: Start) -> None:
    """Ctrl-C reaches all that is in the foreground: were the supervisor there too, it would get it twice."""
    farm.queue.enqueue("echo up; sleep 1; echo whole", id="j")
    master, terminal = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        os.close(os.open(os.ttyname(terminal), os.O_RDWR))

    namespace = start("--count", "1", stdout=terminal, stderr=terminal, preexec_fn=take_terminal)
    eventually(lambda: output(farm))
    os.write(master, b"\x03")
    eventually(lambda: namespace.process.poll() is not None)
    os.close(terminal)
    os.close(master)
    assert namespace.ends() == 0
    assert output(farm) == "up\nwhole\n"


def test_it_ends_as_the_supervisor_ends(farm: Farm, start: Start) -> None:
    farm.queue.enqueue(f"echo up; sleep {farm.token}", id="j")
    namespace = start("--count", "1")
    eventually(lambda: output(farm))
    (supervisor,) = children(namespace.init())
    os.kill(supervisor, signal.SIGKILL)
    assert namespace.ends() == 128 + signal.SIGKILL
    # With PID 1 the kernel ends all that was in its namespace.
    eventually(lambda: not farm.survivors())
    farm.start(1)
    eventually(lambda: farm.queue.attempts("j")[0].outcome == "crashed")
    farm.stop("--now")


def test_it_ends_with_the_supervisors_error(farm: Farm, start: Start) -> None:
    farm.start(1)
    command = [sys.executable, "-m", "queuectl", "worker-run", "--count", "1"]
    with pid_1(command, cwd=farm.directory) as namespace:
        assert namespace.ends() == 4
    farm.stop()


def test_drained_it_ends(farm: Farm, mode: str) -> None:
    farm.queue.add_many([{"command": "true"}] * 20)
    command = [sys.executable, "-m", "queuectl", "worker-run", "--count", "2", "--mode", mode, "--drain"]
    with pid_1(command, cwd=farm.directory) as namespace:
        assert namespace.ends() == 0
    assert farm.queue.counts()["completed"] == 20


def test_orphans_fall_to_it_and_are_reaped(farm: Farm, start: Start) -> None:
    namespace = start("--count", "1")
    init = namespace.init()
    before = set(children(init))
    hold = farm.directory / "hold"
    hold.touch()
    done = namespace.run_inside(
        f"for i in 1 2 3 4 5; do setsid sh -c 'while [ -e {hold} ]; do sleep 0.05; done; exit 7' & done >/dev/null 2>&1"
    )
    assert done.returncode == 0, done.stderr
    assert len(children(init)) == len(before) + 5, "the orphans are PID 1's children now"
    hold.unlink()
    eventually(lambda: set(children(init)) == before, "all are reaped")
    assert farm.ready()


def test_zombies_do_not_pile_up(farm: Farm, start: Start, mode: str) -> None:
    namespace = start("--count", "2", "--mode", mode)
    init = namespace.init()
    farm.queue.add_many([{"command": "(true & true &) ; setsid true & true"}] * 30)
    for _ in range(10):
        # Each leaves orphans that die in one moment: several deaths make one SIGCHLD.
        namespace.run_inside("for i in 1 2 3 4 5 6 7 8 9 10; do (true &) ; done")
    assert farm.queue.wait(timeout=60)
    family = [init, *children(init), *(each for child in children(init) for each in children(child))]
    eventually(lambda: not any(zombies_of(pid) for pid in family))
    assert len(children(init)) == 1


def test_idle_it_uses_no_processor(farm: Farm, start: Start) -> None:
    init = start("--count", "1").init()

    def used() -> float:
        fields = Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, until = used(), time.monotonic() + 1
    eventually(lambda: time.monotonic() > until)
    assert used() - before <= 0.02


@pytest.mark.parametrize("arguments", [("worker-stop",), ("worker-stop", "--now")])
def test_it_is_stopped_from_another_namespace(farm: Farm, start: Start, arguments: tuple[str, ...]) -> None:
    namespace = start("--count", "2")
    farm.stop(*arguments[1:])
    assert namespace.ends() == (128 + signal.SIGQUIT if "--now" in arguments else 0)
    assert_all_gone(farm)
