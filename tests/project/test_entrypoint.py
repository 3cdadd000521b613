"""The container's entry point, as PID 1 of a new namespace with a directory in the place of /data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from farm import IS_ROOT, NOBODY, PATIENCE, as_nobody, eventually
from filelock import FileLock
from namespaces import CHECKOUT, Namespace, blocks, children, refusal, shown_to_all

from queuectl.settings import Settings

SOMEBODY = 43210
"""A user that no list of users names."""
ENTRYPOINT = [sys.executable, str(CHECKOUT / "bin" / "docker-entrypoint")]


class Container:
    """A directory in the place of /data, and commands that run on it as in containers of our image."""

    def __init__(self, directory: Path) -> None:
        self.data = directory
        self.started: list[Namespace] = []

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own, to its end."""
        namespace = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        stdout, stderr = namespace.process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, namespace.process.returncode, stdout, stderr)

    def start(self, *arguments: str, user: str = "nobody", environment: Any = (), **options: Any) -> Namespace:
        """Start a container; what it writes goes to ours unless told otherwise."""
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")},
            "QUEUECTL_DATA": str(self.data),
            "QUEUECTL_USER": user,
            **dict(environment),
        }
        options.setdefault("cwd", self.data)
        namespace = Namespace([*ENTRYPOINT, *arguments], before=shown_to_all(), env=variables, **options)
        self.started.append(namespace)
        return namespace

    def work(self, *arguments: str, **options: Any) -> Namespace:
        """Start a container that runs workers, and return once they are ready."""
        namespace = self.start(*(arguments or ("worker-run", "--count", "1")), **options)
        eventually(lambda: namespace.process.poll() is not None or self.is_ready(), "workers are ready")
        return namespace

    def is_ready(self) -> bool:
        try:
            state = json.loads((self.data / "run" / "supervisor.state").read_text())
        except (OSError, ValueError):
            return False
        return len(state["workers"]) == state["count"] and all(worker["ready"] for worker in state["workers"])

    def outcome(self, *command: str, **options: Any) -> list[str]:
        """What a job printed that a container with one worker ran; its lines."""
        added = self.run("enqueue", "--id", "j", "--command", *command, **options)
        assert added.returncode == 0, added.stderr
        ran = self.run("worker-run", "--count", "1", "--drain", **options)
        assert ran.returncode == 0, ran.stderr
        return (self.data / "job_logs" / "j.log").read_text().splitlines()

    def owners(self) -> set[tuple[int, int]]:
        """User and group of the directory and of all that is in it."""
        paths = [self.data, *self.data.rglob("*")]
        return {(path.lstat().st_uid, path.lstat().st_gid) for path in paths}


@pytest.fixture
def make_container() -> Iterator[Callable[..., Container]]:
    """Makes containers with an empty directory that belongs to some user and group."""
    if not IS_ROOT:
        pytest.skip("only root can take on others' rights")
    if refusal():
        pytest.skip(refusal())
    above = Path(tempfile.mkdtemp(prefix="queuectl-container-"))
    above.chmod(0o755)
    made: list[Container] = []

    def make(uid: int = 0, gid: int = 0) -> Container:
        data = above / f"data{len(made)}"
        data.mkdir()
        os.chown(data, uid, gid)
        made.append(Container(data))
        return made[-1]

    yield make
    for namespace in (each for container in made for each in container.started):
        namespace.close()
    shutil.rmtree(above)


@pytest.fixture
def fresh(make_container: Callable[..., Container]) -> Container:
    """As an engine makes a directory that is not there yet: root's, and empty."""
    return make_container()


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refusal consists of."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


# --- whose rights


def test_a_fresh_directory_is_given_to_its_own_user(fresh: Container) -> None:
    assert fresh.outcome("id -u; id -g; id -G; touch made") == [str(NOBODY)] * 3
    assert fresh.owners() == {(NOBODY, NOBODY)}
    assert (fresh.data / "made").exists()


def test_jobs_get_nothing_of_root_and_nothing_of_the_entry_point(fresh: Container) -> None:
    fields = "^(Uid|Gid|CapPrm|CapEff|CapAmb|SigBlk)"
    lines = fresh.outcome(f"grep -E '{fields}' /proc/self/status; env | grep ^QUEUECTL_ | cut -d= -f1 | sort")
    status = {line.split()[0]: set(line.split()[1:]) for line in lines if ":" in line}
    assert status["Uid:"] == status["Gid:"] == {str(NOBODY)}
    assert status["CapPrm:"] == status["CapEff:"] == status["CapAmb:"] == status["SigBlk:"] == {"0" * 16}
    own = ["QUEUECTL_ATTEMPT", "QUEUECTL_JOB_ID", "QUEUECTL_MAX_RETRIES", "QUEUECTL_QUEUE"]
    # With the fifth, `queuectl enqueue` in a job finds the queue.
    assert [line for line in lines if ":" not in line] == sorted([*own, "QUEUECTL_DB_PATH"])


def test_it_takes_on_the_rights_of_the_directorys_owner(make_container: Callable[..., Container]) -> None:
    container = make_container(SOMEBODY, SOMEBODY + 1)
    assert container.outcome("id -u; id -g; id -G; touch made") == [str(SOMEBODY), *[str(SOMEBODY + 1)] * 2]
    assert container.owners() == {(SOMEBODY, SOMEBODY + 1)}


def test_it_does_not_take_on_roots_group(make_container: Callable[..., Container]) -> None:
    container = make_container(SOMEBODY, 0)
    assert container.outcome("id -u; id -g; id -G") == [str(SOMEBODY)] * 3


def test_supplementary_groups_are_dropped(fresh: Container) -> None:
    assert fresh.outcome("id -G", extra_groups=[0, 4, 27]) == [str(NOBODY)]


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_the_workers_are_not_root_either(fresh: Container, mode: str) -> None:
    namespace = fresh.work("worker-run", "--count", "2", "--mode", mode)
    family = [namespace.init()]
    for pid in family:
        family += children(pid)
    assert len(family) >= 4
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in family} == {NOBODY}


@pytest.mark.parametrize(("user", "word"), [("root", "root"), ("no-such-user", "no-such-user")])
def test_a_user_that_cannot_be_taken_is_refused(fresh: Container, user: str, word: str) -> None:
    done = fresh.run(user=user)
    assert done.returncode == 1
    assert word in one_line(done)
    assert fresh.owners() == {(0, 0)}
    assert list(fresh.data.iterdir()) == []


def test_what_belongs_to_root_is_not_given_away(fresh: Container) -> None:
    (fresh.data / "precious").touch()
    done = fresh.run("status")
    assert done.returncode == 5
    assert "belongs to root" in one_line(done)
    assert fresh.owners() == {(0, 0)}


def test_a_fresh_file_system_counts_as_empty(fresh: Container) -> None:
    (fresh.data / "lost+found").mkdir()
    assert fresh.run("status").returncode == 0
    assert fresh.data.stat().st_uid == NOBODY
    assert (fresh.data / "lost+found").stat().st_uid == 0


def test_who_is_not_root_goes_on_with_the_rights_it_has(make_container: Callable[..., Container]) -> None:
    container = make_container(NOBODY, NOBODY)
    enough = {**os.environ, "QUEUECTL_DATA": str(container.data), "QUEUECTL_USER": "no-such-user"}
    done = subprocess.run(
        as_nobody([*ENTRYPOINT, "status"]),
        env=enough,
        cwd=container.data,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert container.owners() == {(NOBODY, NOBODY)}


def test_a_directory_that_is_not_there(fresh: Container) -> None:
    fresh.data.rmdir()
    done = fresh.run("status", cwd="/")
    assert done.returncode == 5
    assert "No such file or directory" in one_line(done)


# --- what jobs and commands find


def test_home_is_a_directory_that_jobs_can_write_to(fresh: Container) -> None:
    assert fresh.outcome("echo $HOME", environment={"HOME": "/root"}) == [str(fresh.data)]


def test_a_home_of_ones_own_stays(fresh: Container) -> None:
    assert fresh.outcome("echo $HOME", environment={"HOME": "/tmp"}) == ["/tmp"]


def test_it_leaves_a_directory_that_it_cannot_be_in(fresh: Container, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert fresh.outcome("pwd", cwd=tmp_path) == [str(fresh.data)]


def test_nothing_is_imported_from_the_current_directory(fresh: Container, tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("this Python has no -P")
    fresh.run("status")
    (fresh.data / "click.py").write_text("raise SystemExit(99)\n")
    assert fresh.run("status").returncode == 0


def test_the_database_may_have_another_name(fresh: Container) -> None:
    path = fresh.data / "builds.db"
    assert fresh.run("status", environment={"QUEUECTL_DB_PATH": str(path)}).returncode == 0
    assert path.exists()
    assert not (fresh.data / "queuectl.db").exists()


def test_a_command_may_name_its_queue(fresh: Container) -> None:
    assert fresh.run("enqueue", "--db", "builds.db", "--command", "true").returncode == 0
    assert fresh.run("list", "--db=builds.db").returncode == 0
    assert not (fresh.data / "queuectl.db").exists()


# --- what runs


def test_without_arguments_it_runs_workers(fresh: Container) -> None:
    namespace = fresh.start()
    eventually(lambda: namespace.process.poll() is not None or fresh.is_ready(), "workers are ready")
    namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0


def test_options_alone_are_those_of_worker_run(fresh: Container) -> None:
    fresh.run("enqueue", "--id", "j", "--command", "echo done")
    assert fresh.run("--count", "2", "--drain").returncode == 0
    assert (fresh.data / "job_logs" / "j.log").read_text() == "done\n"
    assert fresh.run("--count", "0").returncode == 2


def test_it_tells_its_version(fresh: Container) -> None:
    done = fresh.run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("queuectl ")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("show", "nosuch"), 3),
        (("worker-status",), 3),
        (("no-such-command",), 2),
        (("worker-stop",), 0),
    ],
)
def test_exit_codes_are_passed_on(fresh: Container, arguments: Sequence[str], status: int) -> None:
    done = fresh.run(*arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_queuectl_itself_is_pid_1(fresh: Container) -> None:
    namespace = fresh.work()
    command = Path(f"/proc/{namespace.init()}/cmdline").read_bytes().split(b"\0")
    assert b"-m" in command
    assert b"queuectl" in command
    assert not any(b"docker-entrypoint" in part for part in command)


def test_term_lets_jobs_finish(fresh: Container) -> None:
    fresh.run("enqueue", "--id", "j", "--command", "echo up; sleep 1; echo whole")
    namespace = fresh.work()
    log = fresh.data / "job_logs" / "j.log"
    eventually(lambda: log.exists() and log.read_text())
    namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0
    assert log.read_text() == "up\nwhole\n"
    assert list((fresh.data / "run").glob("*.pid")) == []


def test_a_stop_that_comes_early_is_not_lost(make_container: Callable[..., Container]) -> None:
    """PID 1 ignores what it has no handler for: the signal must wait until the supervisor is there."""
    container = make_container(NOBODY, NOBODY)
    run = container.data / "run"
    run.mkdir()
    # As long as somebody makes the queue, it goes no further.
    with FileLock(run / ".home.lock"):
        for path in (run, run / ".home.lock"):
            os.chown(path, NOBODY, NOBODY)
        namespace = container.start("worker-run", "--count", "1")
        init = namespace.init()
        eventually(lambda: blocks(init, signal.SIGTERM), "stops are kept back")
        namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0
    assert "stopping" in (run / "supervisor.log").read_text()


def test_it_need_not_be_pid_1(fresh: Container) -> None:
    """With `docker run --init` somebody else is."""
    variables = {**os.environ, "QUEUECTL_DATA": str(fresh.data), "QUEUECTL_USER": "nobody"}
    process = subprocess.Popen([*shown_to_all(), *ENTRYPOINT, "--count", "1"], env=variables, cwd=fresh.data)
    try:
        eventually(lambda: process.poll() is not None or fresh.is_ready(), "workers are ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_orphans_are_reaped(fresh: Container) -> None:
    namespace = fresh.work()
    init = namespace.init()
    before = children(init)
    hold = fresh.data / "hold"
    hold.touch()
    wait = f"while [ -e {hold} ]; do sleep 0.05; done"
    assert namespace.run_inside(f"for i in 1 2 3; do setsid sh -c '{wait}' & done >/dev/null 2>&1").returncode == 0
    assert len(children(init)) == len(before) + 3
    hold.unlink()
    eventually(lambda: children(init) == before, "all are reaped")
    namespace.signal(signal.SIGTERM)
    assert namespace.ends() == 0


# --- several containers on one directory


def test_commands_reach_the_workers_of_another_container(fresh: Container) -> None:
    workers = fresh.work("worker-run", "--count", "2")
    status = json.loads(fresh.run("status", "--json").stdout)
    assert status["workers"]["running"] == 2
    assert fresh.run("worker-status").returncode == 0
    # A worker is woken from there: nobody polls.
    assert fresh.run("enqueue", "--wait", "--max-retries", "0", "--command", "exit 7").returncode == 7
    assert fresh.run("worker-run", "--count", "1").returncode == 4
    assert fresh.run("worker-stop").returncode == 0
    assert workers.ends() == 0
    assert fresh.run("worker-status").returncode == 3
    assert fresh.owners() == {(NOBODY, NOBODY)}


def test_a_running_job_is_cancelled_from_another_container(fresh: Container) -> None:
    fresh.work()
    fresh.run("enqueue", "--id", "j", "--command", "echo up; sleep 7777.25")
    log = fresh.data / "job_logs" / "j.log"
    eventually(lambda: log.exists() and log.read_text())
    assert fresh.run("cancel", "--wait", "j").returncode == 0
    assert json.loads(fresh.run("show", "--json", "j").stdout)["state"] == "cancelled"


def test_many_first_containers_at_one_moment(fresh: Container) -> None:
    started = [fresh.start("enqueue", "--command", "true", stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [each.ends() for each in started] == [0] * 4
    assert json.loads(fresh.run("status", "--json").stdout)["jobs"]["pending"] == 4
    assert fresh.owners() == {(NOBODY, NOBODY)}


# --- a queue that is lost


@pytest.mark.parametrize("arguments", [(), ("status",), ("enqueue", "--command", "true")])
def test_a_lost_database_is_not_replaced(fresh: Container, arguments: Sequence[str]) -> None:
    fresh.outcome("true")
    for path in fresh.data.glob("queuectl.db*"):
        path.unlink()
    done = fresh.run(*arguments)
    assert done.returncode == 5
    assert "init" in one_line(done)
    assert not (fresh.data / "queuectl.db").exists()


def test_only_init_starts_anew(fresh: Container) -> None:
    fresh.outcome("true")
    for path in fresh.data.glob("queuectl.db*"):
        path.unlink()
    assert fresh.run("init").returncode == 0
    assert fresh.run("status").returncode == 0


def test_the_queue_is_private(fresh: Container) -> None:
    fresh.run("status")
    assert stat.S_IMODE((fresh.data / "queuectl.db").stat().st_mode) == 0o600


# --- the image


def test_the_image_is_stopped_and_checked_as_workers_need_it() -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert 'ENTRYPOINT ["docker-entrypoint"]' in lines
    assert "STOPSIGNAL SIGTERM" in lines
    assert any(line.startswith("HEALTHCHECK") and '["docker-entrypoint", "worker-status"]' in line for line in lines)
    # It must begin as root to give a fresh directory away.
    assert not any(line.startswith("USER") for line in lines)
    said = {float(number) for number in re.findall(r"(?:--stop-timeout |stop_grace_period: )(\d+)", text)}
    assert len(said) == 1
    assert said.pop() > Settings().stop_timeout + Settings().kill_grace


def test_the_image_is_built_from_all_it_needs() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    shown = {line[1:] for line in lines if line.startswith("!")}
    assert shown == {"queuectl", "bin/docker-entrypoint", "man", "pyproject.toml", "README.md", "LICENSE"}
    assert all((CHECKOUT / name).exists() for name in shown)
    assert os.access(CHECKOUT / "bin" / "docker-entrypoint", os.X_OK)
