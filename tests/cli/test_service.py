"""The unit that ``service install`` writes, and what systemd makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from farm import IS_ROOT
from program import ROOT, Bench

from queuectl import Conflict, InvalidInput, Queue, QueueError, service, settings
from queuectl.home import Home
from queuectl.service import Service

BOOTED = os.path.isdir(service.BOOTED)


def wanted(directory: str = "/home/ada/photos", scope: str = service.USER, **more: object) -> Service:
    given = Service("jobs", scope, Home(f"{directory}/queuectl.db"), ["/home/ada/bin/queuectl"], user="ada")
    return given._replace(**more)  # type: ignore[arg-type]


def lines(service_: Service, given: settings.Settings = settings.DEFAULTS) -> list[str]:
    return service.unit(service_, given).splitlines()


def verify(path: Path, *options: str) -> None:
    """Have systemd look at a unit; whatever it says is a fault."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    command = ["systemd-analyze", *options, "--man=no", "verify", str(path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(path.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    # Some systems have faulty units of their own.
    said = [line for line in (done.stdout + done.stderr).splitlines() if path.stem in line]
    assert (done.returncode, said) == (0, []), done


def test_a_user_unit() -> None:
    unit = lines(wanted(path="/home/ada/bin:/usr/bin"))
    assert "ExecStart=/home/ada/bin/queuectl --db /home/ada/photos/queuectl.db worker-run --mode process" in unit
    assert "Environment=PATH=/home/ada/bin:/usr/bin" in unit
    assert "RequiresMountsFor=/home/ada/photos" in unit
    assert "WantedBy=default.target" in unit
    assert not [line for line in unit if line.startswith(("User=", "After="))]
    for line in (
        "Type=notify",
        "KillMode=mixed",
        "Delegate=yes",
        "Restart=on-failure",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ):
        assert line in unit


def test_a_system_unit() -> None:
    unit = lines(wanted(scope=service.SYSTEM, workers=4, mode="thread", path="/x"))
    assert (
        "ExecStart=/home/ada/bin/queuectl --db /home/ada/photos/queuectl.db worker-run --count 4 --mode thread" in unit
    )
    assert "User=ada" in unit
    assert "After=local-fs.target" in unit
    assert "WantedBy=multi-user.target" in unit
    assert not [line for line in unit if line.startswith("Environment=")]


def test_the_readme_shows_what_is_written() -> None:
    shown = wanted(
        "/var/lib/queuectl",
        service.SYSTEM,
        name="queuectl",
        program=["/usr/local/bin/queuectl"],
        user="queue",
        workers=4,
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"```ini\n{service.unit(shown, settings.DEFAULTS)}```\n" in text


def test_systemd_waits_longer_than_a_stop_takes() -> None:
    given = settings.DEFAULTS._replace(stop_timeout=600, kill_grace=30)
    (line,) = (line for line in lines(wanted(), given) if line.startswith("TimeoutStopSec="))
    assert float(line.partition("=")[2]) > 650


ODD = ["with space", "100%h", "q\"uo'te", "$HOME", "a\\nb", "ünï", "#x;y"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("scope", [service.USER, service.SYSTEM])
def test_systemd_accepts_it_whatever_the_path(tmp_path: Path, name: str, scope: str) -> None:
    home = tmp_path / name
    home.mkdir()
    program = home / "queuectl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "jobs.service"
    unit = service.unit(
        wanted(str(home), scope, program=[str(program)], user="root", path=str(home)), settings.DEFAULTS
    )
    path.write_text(unit)
    verify(path, *(["--user"] if scope == service.USER else []))


def test_words_are_written_as_systemd_reads_them() -> None:
    (start,) = (line for line in lines(wanted('/a b%c"d\\e$f')) if line.startswith("ExecStart="))
    assert start == 'ExecStart=:/home/ada/bin/queuectl --db "/a b%%c\\"d\\\\e$f/queuectl.db" worker-run --mode process'
    with pytest.raises(InvalidInput, match="control characters"):
        lines(wanted("/a\nb"))


def test_the_name_is_the_directory_s() -> None:
    assert service.usual_name(Home("/home/ada/photos/queuectl.db")) == "queuectl-photos"
    assert service.usual_name(Home("/var/lib/queuectl/queuectl.db")) == "queuectl"
    assert service.usual_name(Home("/srv/my jobs (new)/q.db")) == "queuectl-my-jobs-new"
    assert service.usual_name(Home("/queuectl.db")) == "queuectl"
    assert service.known_name("a.service") == "a"
    for bad in ("", "a/b", ".service", "a b", "-a", "x@y", "a" * 300):
        with pytest.raises(InvalidInput):
            service.known_name(bad)


def test_a_place_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert service.place(wanted()) == "/home/ada/.config/systemd/user/jobs.service"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/ada")
    assert service.place(wanted()) == "/etc/ada/systemd/user/jobs.service"
    assert service.place(wanted(scope=service.SYSTEM)) == "/etc/systemd/system/jobs.service"


def test_what_is_there_and_differs_is_replaced_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "systemd" / "user" / "jobs.service"
    assert service.install(str(path), "one\n", force=False)
    assert path.stat().st_mode & 0o777 == 0o644
    assert not service.install(str(path), "one\n", force=False)
    with pytest.raises(Conflict, match="--force"):
        service.install(str(path), "two\n", force=False)
    assert path.read_text() == "one\n"
    assert service.install(str(path), "two\n", force=True)
    assert path.read_text() == "two\n"
    path.unlink()
    path.symlink_to(os.devnull)
    with pytest.raises(Conflict):
        service.install(str(path), "one\n", force=False)
    (tmp_path / "file").touch()
    with pytest.raises(QueueError, match="cannot write"):
        service.install(str(tmp_path / "file" / "x.service"), "one\n", force=True)


def test_alone_it_is_its_help(bench: Bench) -> None:
    alone, asked = bench.run("service"), bench.run("service", "-h")
    assert (alone.code, alone.err) == (0, "")
    assert alone.out == asked.out


def test_print_shows_what_would_be_written(bench: Bench) -> None:
    bench.run("config", "set", "stop_timeout", "10m")
    result = bench.execute("service", "install", "--print", "--user", "--count", "3", "--name", "jobs")
    assert (result.code, result.err) == (0, "")
    assert f"--db {bench.queue.home.database} worker-run --count 3 --mode process\n" in result.out
    assert "TimeoutStopSec=635\n" in result.out
    told = json.loads(bench.execute("service", "install", "--print", "--json", "--system", "--name", "jobs").out)
    assert told["path"] == "/etc/systemd/system/jobs.service"
    assert told["written"] is False
    assert ("\nUser=root\n" in told["unit"]) == IS_ROOT
    path = bench.directory / "jobs.service"
    # As whom the suite may run; systemd warns of this very user.
    path.write_text(told["unit"].replace("\nUser=nobody\n", "\nUser=daemon\n"))
    verify(path)


def test_the_program_that_is_started_is_this_one(bench: Bench) -> None:
    words = service.own_program()
    said = subprocess.run([*words, "--version"], cwd="/", capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.startswith("queuectl ")
    assert os.path.isabs(words[0])


def test_root_gives_no_user_unit_for_the_queue_of_another(bench: Bench) -> None:
    if not IS_ROOT:
        pytest.skip("only root can give a file away")
    os.chown(bench.queue.home.database, 1, 1)
    result = bench.run("service", "install", "--user", "--print")
    assert result.code == 1
    assert "belongs to daemon: only they can install a user unit; take --system" in result.err
    assert "\nUser=daemon\n" in bench.run("service", "install", "--print").out


def test_bad_words_are_refused(bench: Bench, tmp_path: Path) -> None:
    for words in (["--count", "0"], ["--name", "a/b"], ["--mode", "x"]):
        result = bench.run("service", "install", "--print", *words)
        assert (result.code, result.out) == (2, "")
    assert bench.run("service", "install", "--print", "--db", tmp_path / "none" / "q.db").code == 3


@pytest.mark.skipif(BOOTED, reason="systemd runs this machine")
def test_where_there_is_no_systemd_print_is_told_of(bench: Bench) -> None:
    result = bench.run("service", "install")
    assert result.code == 1
    assert "systemd does not run this machine: --print shows the unit" in result.err


def test_a_unit_that_is_installed_says_what_to_do_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "BOOTED", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    result = bench.run("service", "install", "--user", "--name", "jobs")
    path = tmp_path / "config" / "systemd" / "user" / "jobs.service"
    assert (result.code, result.out) == (0, f"{path}\n")
    assert "next: systemctl --user daemon-reload && systemctl --user enable --now jobs\n" in result.err
    assert "loginctl enable-linger" in result.err
    verify(path, "--user")
    again = bench.run("service", "install", "--user", "--name", "jobs")
    assert again.code == 0
    assert "there already" in again.err
    assert bench.run("service", "install", "--user", "--name", "jobs", "--count", "7").code == 4
    assert bench.run("service", "install", "--user", "--name", "jobs", "--count", "7", "--force").code == 0
    assert "--count 7" in path.read_text()
    assert Queue(bench.queue.home.database).counts()["pending"] == 0
