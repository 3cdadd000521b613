"""``bin/queuectl`` runs the checkout, and neither its users nor their jobs notice how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from readme import ROOT

LAUNCHER = ROOT / "bin" / "queuectl"


def launch(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a launcher; where its checkout has no venv, it finds our Python as ``python3``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUECTL_", "PYTHON"))}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**clean, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_jobs_do_not_see_how_it_was_launched(tmp_path: Path) -> None:
    assert launch(LAUNCHER, "init", cwd=tmp_path).returncode == 0
    launch(LAUNCHER, "enqueue", "--id", "j", "--command", "env | grep ^PYTHON; echo end", cwd=tmp_path)
    assert launch(LAUNCHER, "worker-run", "--count", "1", "--drain", cwd=tmp_path).returncode == 0
    assert launch(LAUNCHER, "logs", "j", cwd=tmp_path).stdout == "end\n"


def test_nothing_is_imported_from_the_current_directory(tmp_path: Path) -> None:
    for name in ("click.py", "json.py", "queuectl.py"):
        (tmp_path / name).write_text("raise SystemExit(99)\n")
    done = launch(LAUNCHER, "init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_arguments_and_exit_codes_are_passed_on_as_they_are(tmp_path: Path) -> None:
    launch(LAUNCHER, "init", cwd=tmp_path)
    words = ["a b", "", "$HOME", "*", "-c", "it's"]
    launch(LAUNCHER, "enqueue", "--id", "j", "--", "printf", "<%s>", *words, cwd=tmp_path)
    launch(LAUNCHER, "worker-run", "--count", "1", "--drain", cwd=tmp_path)
    assert launch(LAUNCHER, "logs", "j", cwd=tmp_path).stdout == "".join(f"<{word}>" for word in words)
    assert launch(LAUNCHER, "show", "nosuch", cwd=tmp_path).returncode == 3
    assert launch(LAUNCHER, cwd=tmp_path).returncode == 0


def test_a_checkout_may_have_blanks_in_its_path_and_a_broken_venv(tmp_path: Path) -> None:
    root = tmp_path / "a check out"
    (root / "bin").mkdir(parents=True)
    (root / "queuectl").symlink_to(ROOT / "queuectl")
    launcher = root / "bin" / "queuectl"
    launcher.write_bytes(LAUNCHER.read_bytes())
    launcher.chmod(0o755)
    venv = root / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to("/no/such/python")
    done = launch(launcher, "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("queuectl ")
