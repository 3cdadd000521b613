"""What a job finds: its directory, streams, signals, variables, and nothing of queuectl's own."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from farm import Farm, eventually

_PROBE = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
json.dump({
    "cwd": os.getcwd(), "pid": os.getpid(), "parent": os.getppid(), "sid": os.getsid(0), "umask": status["Umask"].strip(),
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd")),
    "stdin": os.readlink("/proc/self/fd/0"), "environ": {k: v for k, v in os.environ.items()},
}, open(os.environ["PROBE"], "w"))
"""


@pytest.fixture
def probe(farm: Farm) -> str:
    """A command that tells what it found, into a file."""
    (farm.directory / "probe.py").write_text(_PROBE)
    # "exec", so that no shell stands between; "-S" and "-E", so that Python opens nothing more.
    return f"exec {sys.executable} -I {farm.directory}/probe.py"


def found(farm: Farm) -> dict[str, object]:
    """What the probe told."""
    told: dict[str, object] = json.loads((farm.directory / "told.json").read_text())
    return told


def ignored(mask: int) -> set[int]:
    """The signals in a mask, but for those that the C library keeps to itself.

    Whoever starts programs by ``posix_spawn``, as ``make`` does, leaves these ignored, and no program can tell.
    """
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


def enqueue_probe(farm: Farm, probe: str, **fields: object) -> None:
    env = {"PROBE": str(farm.directory / "told.json"), "GREETING": "good day"}
    farm.queue.enqueue(probe, id="j", env=env, max_retries=2, **fields)  # type: ignore[arg-type]


def test_directory_streams_session_and_variables(farm: Farm, mode: str, probe: str) -> None:
    place = farm.directory / "a place"
    place.mkdir()
    enqueue_probe(farm, probe, cwd=place)
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60), Path(farm.home.log("j")).read_text()
    told = found(farm)
    assert told["cwd"] == str(place)
    assert told["sid"] == told["pid"]
    assert told["stdin"] == "/dev/null"
    # 3 is the directory that the probe lists.
    assert told["descriptors"] in ([0, 1, 2, 3], [0, 1, 2])
    environ = told["environ"]
    assert isinstance(environ, dict)
    own = {name: value for name, value in environ.items() if name.startswith("QUEUECTL_")}
    assert own == {
        "QUEUECTL_JOB_ID": "j",
        "QUEUECTL_ATTEMPT": "1",
        "QUEUECTL_MAX_RETRIES": "2",
        "QUEUECTL_QUEUE": farm.home.database,
    }
    assert environ["GREETING"] == "good day"
    # Of the shell that ran the workers: everything; of queuectl: nothing else.
    extra = (
        environ.keys()
        - own.keys()
        - os.environ.keys()
        - {"GREETING", "PROBE", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    )
    assert extra == set()


@pytest.mark.parametrize("how", ["plainly", "with signals ignored and blocked"])
def test_signals_are_as_a_program_expects_them(farm: Farm, mode: str, probe: str, how: str) -> None:
    enqueue_probe(farm, probe)
    deaf = {signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGXFSZ}

    def be_deaf() -> None:
        for number in deaf:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD})

    process = farm.foreground_program("--count", "1", "--mode", mode, preexec_fn=be_deaf if how != "plainly" else None)
    assert farm.queue.wait(["j"], timeout=60)
    told = found(farm)
    # Python itself ignores these two at its start; the shell in between shows nothing else.
    by_python = {signal.SIGPIPE, signal.SIGXFSZ}
    assert isinstance(told["ignored"], int)
    assert ignored(told["ignored"]) <= by_python
    assert told["blocked"] == 0
    process.terminate()
    assert process.wait(30) == 0


def test_a_broken_pipe_ends_a_program(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("yes | head -1; trap - PIPE; grep SigIgn /proc/self/status", id="j", timeout=30)
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60)
    first, _, mask = Path(farm.home.log("j")).read_text().split()
    assert (first, ignored(int(mask, 16))) == ("y", set())


def test_the_umask_is_that_of_the_start(farm: Farm, mode: str, probe: str) -> None:
    enqueue_probe(farm, probe)
    command = [sys.executable, "-m", "queuectl", "worker-start", "--count", "1", "--mode", mode]
    subprocess.run(command, cwd=farm.directory, umask=0o027, check=True, stdout=subprocess.DEVNULL)
    assert farm.queue.wait(["j"], timeout=60)
    assert found(farm)["umask"] == "0027"


def test_what_is_made_is_private(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("echo secret", id="j")
    farm.start(2, mode)
    assert farm.queue.wait(["j"], timeout=60)
    home = Path(farm.home.directory)
    for path in (*home.glob("queuectl.db*"), *home.glob("run/*"), *home.glob("run/.*"), *home.glob("job_logs/*")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (home / "run", home / "job_logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_titles_tell_no_command(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("sleep 30; : top secret", id="j")
    supervisor = farm.start(1, mode)
    eventually(lambda: farm.queue.get("j").state == "processing")
    for pid in (supervisor, *farm.workers()):
        title = Path(f"/proc/{pid}/cmdline").read_text()
        assert title.startswith("queuectl: ")
        assert "secret" not in title
    farm.stop("--now")


def test_variables_are_those_of_the_start_and_no_others(farm: Farm, mode: str) -> None:
    """Without a locale Python sets LC_CTYPE for itself: not for jobs."""
    farm.queue.enqueue("env", id="j", env={"GREETING": "good day"}, max_retries=0)
    start = {"PATH": os.defpath, "ODD": "a=b\nc"}
    command = [sys.executable, "-m", "queuectl", "worker-start", "--count", "1", "--mode", mode]
    subprocess.run(command, cwd=farm.directory, env=start, check=True, stdout=subprocess.DEVNULL)
    assert farm.queue.wait(["j"], timeout=60)
    names = {line.partition("=")[0] for line in Path(farm.home.log("j")).read_text().splitlines()}
    own = {f"QUEUECTL_{name}" for name in ("JOB_ID", "ATTEMPT", "MAX_RETRIES", "QUEUE")}
    by_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert names - by_shell == {*start, "c", "GREETING", *own}


def test_descriptors_and_limits_of_the_start(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("ls /proc/self/fd; ulimit -Sn", id="j")
    ends = os.pipe()

    def lower_limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    process = farm.foreground_program("--count", "2", "--mode", mode, pass_fds=ends, preexec_fn=lower_limit)
    assert farm.queue.wait(["j"], timeout=60)
    # 3 is the directory that is listed.
    assert Path(farm.home.log("j")).read_text().split() == ["0", "1", "2", "3", "300"]
    process.terminate()
    assert process.wait(30) == 0
    for end in ends:
        os.close(end)


def test_commands_are_utf8_in_every_locale(farm: Farm, mode: str) -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    farm.queue.enqueue('echo "é $X"', id="j", env={"X": "ü"}, max_retries=0)
    process = farm.foreground_program("--count", "1", "--mode", mode, env=plain)
    assert farm.queue.wait(["j"], timeout=60)
    assert Path(farm.home.log("j")).read_bytes() == "é ü\n".encode()
    process.terminate()
    assert process.wait(30) == 0
