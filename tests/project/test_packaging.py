"""What is installed is whole, and a checkout works as it is and stays clean."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from readme import ROOT

from queuectl import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as ``pip install .`` builds it, but without the network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the package, is not installed here")
    target = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", target, ROOT)
    return next(target.iterdir())


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUECTL_", "PYTHON"))}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name for name in names if name.startswith("queuectl/")}
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "queuectl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == sources
    assert "queuectl/py.typed" in package
    assert any(name.endswith(".sql") for name in package)
    rest = {name.split("/", 1)[1] for name in names - package}
    manual = "data/share/man/man1/queuectl.1"
    assert rest == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE", manual}


def test_what_was_installed_runs(wheel: Path, tmp_path: Path) -> None:
    target, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    _pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    assert (target / "share" / "man" / "man1" / "queuectl.1").is_file()
    program = target / "bin" / "queuectl"
    assert _run(program, "--version", cwd=home, PYTHONPATH=str(target)) == f"queuectl {__version__}\n"
    where = "import queuectl; print(queuectl.__file__)"
    found = _run(sys.executable, "-c", where, cwd=home, PYTHONPATH=str(target))
    assert found.startswith(str(target)), "the test reached the checkout instead"
    _run(program, "init", cwd=home, PYTHONPATH=str(target))
    assert _run(program, "enqueue", "--command", "true", cwd=home, PYTHONPATH=str(target)) == "1\n"
    _run(program, "worker-run", "--count", "1", "--drain", cwd=home, PYTHONPATH=str(target))
    assert _run(program, "list", "--state", "completed", cwd=home, PYTHONPATH=str(target)).count("\n") == 2


def test_the_launcher_works_from_a_checkout_through_symlinks(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    first, second = tmp_path / "first", tmp_path / "bin" / "queuectl"
    first.symlink_to(ROOT / "bin" / "queuectl")
    second.symlink_to(Path("..") / "first")
    # Where the checkout has no .venv, the launcher takes the python3 that it finds.
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for program in (ROOT / "bin" / "queuectl", first, second):
        assert _run(program, "--version", cwd=tmp_path, PATH=path) == f"queuectl {__version__}\n"
    _run("sh", "-c", "queuectl init", cwd=tmp_path, PATH=path)
    assert (tmp_path / "queuectl.db").exists()


def test_what_tools_and_a_queue_make_is_ignored_by_git() -> None:
    made = [
        ".venv/made",
        "queuectl/__pycache__/api.cpython-311.pyc",
        "queuectl.egg-info/PKG-INFO",
        ".pytest_cache/README.md",
        ".mypy_cache/x",
        ".ruff_cache/x",
        ".import_linter_cache/x",
        ".hypothesis/x",
        ".coverage",
        ".coverage.host.1.2",
        "htmlcov/index.html",
        "dist/queuectl.whl",
        "build/x",
        "run/supervisor.pid",
        "queuectl.db",
        "queuectl.db-wal",
        "queuectl.db-shm",
        "queuectl_config.json",
        "job_logs/1.log",
    ]
    assert _ignored(made) == made
    assert _ignored(["run/.gitkeep", "queuectl/api.py", "docs/terminal.svg", "tests/conftest.py"]) == []


def _ignored(paths: list[str]) -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    command = ["git", "-c", f"safe.directory={ROOT}", "check-ignore", "--no-index", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_the_version_is_in_the_list_of_changes() -> None:
    assert f"\n## {__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
