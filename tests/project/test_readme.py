"""What the README shows is so, and what there is, is in the README."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from forked import Command, with_variables, words_of
from readme import README, ROOT, Section, anchor, matches, sections, steps

from queuectl import QueueError, errors, home, model, settings
from queuectl.cli import INTERRUPTED, main
from queuectl.cli.waiting import CANCELLED_CODE, CRASHED_CODE, TIMED_OUT_CODE

SECTIONS = sections()
TEXT = README.read_text(encoding="utf-8")
RUNNABLE = [section for section in SECTIONS if section.of("console", "python")]
SHOWN_HOME = "/home/ada"
WRAPPER = '#!/bin/sh\nPYTHONPATH={root} exec {python} {words} "$@"\n'


class Desk:
    """A user's home directory with ``queuectl`` and ``python`` on the PATH, and a shell that remembers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "home"
        self._place = directory / "place"
        self._status = 0
        self.directory.mkdir()
        tools = directory / "bin"
        tools.mkdir()
        for name, words in (("queuectl", "-m queuectl"), ("python", "")):
            tool = tools / name
            tool.write_text(
                WRAPPER.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable), words=words)
            )
            tool.chmod(0o755)
        self._place.write_text(f"{self.directory}\n")
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("QUEUECTL_", "COVERAGE_PROCESS")) and key not in ("NO_COLOR", "FORCE_COLOR")
        }
        self.environment = {**clean, "HOME": str(self.directory), "PATH": f"{tools}:{clean['PATH']}"}

    def type(self, command: str) -> tuple[int, str]:
        """Run a command as the next of a session: in its directory, with ``$?``. Its status, and all that it printed."""
        words = words_of(command)
        if words is not None:
            done = Command(self._directory(), words, with_variables(self.environment)).wait()
            self._status = done.returncode
            return done.returncode, done.stdout + done.stderr
        script = f"(exit {self._status})\n{command}\nset -- $?\npwd > {shlex.quote(str(self._place))}\nexit $1\n"
        self._status, printed = self._run(["/bin/sh", "-c", script])
        return self._status, printed

    def python(self, program: str) -> tuple[int, str]:
        """Run a program in the session's directory."""
        return self._run([sys.executable, "-c", program], PYTHONPATH=str(ROOT))

    def _run(self, command: list[str], **more: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self._directory(),
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def _directory(self) -> Path:
        """Where the session is."""
        return Path(self._place.read_text().rstrip("\n"))

    def leave(self) -> None:
        """Stop the workers of every queue that was made."""
        for database in self.directory.rglob("*.db"):
            self.type(f"queuectl --db {shlex.quote(str(database))} worker-stop --now")


@pytest.fixture
def desk() -> Iterator[Desk]:
    directory = Path(tempfile.mkdtemp(prefix="queuectl-readme-")).resolve()
    made = Desk(directory)
    try:
        yield made
    finally:
        made.leave()
        shutil.rmtree(directory)


@pytest.mark.parametrize("section", RUNNABLE, ids=lambda section: anchor(section.title))
def test_what_is_shown_happens(section: Section, desk: Desk) -> None:
    for block in section.of("console", "python"):
        if block.language == "python":
            status, printed = desk.python(block.text)
            assert status == 0, f"line {block.line}: {printed}"
            continue
        lines = list(steps(block))
        for step, following in zip(lines, [*lines[1:], None], strict=True):
            status, printed = desk.type(step.command)
            where = f"README.md, line {block.line}: $ {step.command}\n{printed}"
            if step.shown is not None:
                shown = step.shown.replace(SHOWN_HOME, str(desk.directory))
                assert matches(shown, printed), f"{where}--- is not what is shown:\n{step.shown}"
            # Where a failure is meant, the README shows its status.
            if following is None or "$?" not in following.command:
                assert status == 0, f"{where}--- ended with {status}"


def test_a_comparison_can_fail() -> None:
    assert matches("a  b\n…\nlast …", "a b\n1\n2\nlast line\n")
    assert matches("one … three", "one two three\n")
    assert not matches("a\nb", "a\n")
    assert not matches("one … three", "one two\nthree\n")


def _commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands())
GLOBAL = ("--json", "--db", "--help", "-h")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained_with_its_options(name: str) -> None:
    place = next((each for each in SECTIONS if f"`{name}`" in each.title), None)
    assert place is not None, f"no heading names `{name}`"
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts + parameter.secondary_opts]
    missing = [
        option
        for option in options
        if option.startswith("-") and option not in GLOBAL and not re.search(rf"`{option}[ `,]", place.text)
    ]
    assert not missing, f"the section about `{name}` does not mention {missing}"


def test_what_holds_for_all_commands_is_explained() -> None:
    for option in (*GLOBAL, "-h", "--version"):
        assert re.search(rf"`{option}[ `]", TEXT), option


@pytest.mark.parametrize("key", settings.KEYS)
def test_every_setting_is_explained_with_its_default(key: str) -> None:
    default = getattr(settings.DEFAULTS, key)
    words = {str(default), "1 GiB"} if key == "log_max_bytes" else {str(default)}
    place = next(section for section in SECTIONS if section.title == "Settings")
    row = re.search(rf"^\| `{key}` \| ([^|]+) \|", place.text, re.MULTILINE)
    assert row is not None
    assert row[1].strip() in words


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, QueueError)]
    codes = {kind.exit_code for kind in kinds} | {0, INTERRUPTED, TIMED_OUT_CODE, CRASHED_CODE, CANCELLED_CODE}
    missing = [code for code in sorted(codes) if not re.search(rf"^\| {code} \|", TEXT, re.MULTILINE)]
    assert not missing
    assert [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in TEXT] == []


def test_every_word_of_a_job_is_explained() -> None:
    keys = set(model.NewJob._fields)
    words = {*keys, *model.STATES, *model.OUTCOMES, *model.Attempt._fields}
    assert sorted(word for word in words if f"`{word}`" not in TEXT) == []


def test_every_variable_is_explained() -> None:
    files = [*(ROOT / "queuectl").rglob("*.py"), *(ROOT / "bin").iterdir()]
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    variables = {*re.findall(r"QUEUECTL_[A-Z_]+[A-Z]", sources), home.ENVIRONMENT_VARIABLE}
    assert sorted(name for name in variables if f"`{name}`" not in TEXT) == []


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        mentioned = set(re.findall(r"(?:`|^|\$ )make ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE))
        assert mentioned <= targets, name


def _lines_with_queuectl() -> Iterator[tuple[int, str]]:
    """What follows the word queuectl in blocks that no test can run: units, container files, crontabs."""
    for section in SECTIONS:
        for block in section.of("sh", "ini", "crontab", "dockerfile"):
            for line in block.text.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|[ /=])queuectl (?!-q)(.+)", line.split("#")[0]):
                    yield block.line, found[1]


def test_commands_in_blocks_that_cannot_be_run_are_well_formed() -> None:
    checked = 0
    for line, words in _lines_with_queuectl():
        arguments = shlex.split(words.replace('["', "").replace('"]', ""))
        before = arguments[: arguments.index("--")] if "--" in arguments else arguments
        before = before[: next((i for i, word in enumerate(before) if word in ("|", "&&", ">", ">>", "||")), None)]
        name = next((word for word in before if word in COMMANDS), None)
        assert name is not None, f"line {line}: no command in {words!r}"
        of_group = " ".join(before[before.index(name) :][:2])
        name = of_group if of_group in COMMANDS else name
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        unknown = [word for word in before if word.startswith("-") and word != "-" and word.split("=")[0] not in known]
        assert not unknown, f"line {line}: {name} has no {unknown}"
        checked += 1
    assert checked >= 3


def test_json_is_json() -> None:
    for section in SECTIONS:
        for block in section.of("json"):
            json.loads(block.text)
        for block in section.of("jsonl"):
            for line in block.text.splitlines():
                model.new_job(json.loads(line))


def test_units_are_units() -> None:
    units = [block for section in SECTIONS for block in section.of("ini")]
    assert units
    for block in units:
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(block.text)
        assert set(unit.sections()) == {"Unit", "Service", "Install"}
        service = unit["Service"]
        assert service["ExecStart"].startswith("/")
        assert " worker-run" in service["ExecStart"]
        # systemd must not kill the jobs before the workers could end them in good order.
        assert service["KillMode"] == "mixed"
        longest = settings.DEFAULTS.stop_timeout + settings.DEFAULTS.kill_grace
        assert float(service["TimeoutStopSec"]) > longest + 10


def test_images_are_built_on_ours() -> None:
    blocks = [block for section in SECTIONS for block in section.of("dockerfile")]
    assert blocks
    for block in blocks:
        instructions = [line.split()[0] for line in block.text.splitlines() if line[0].isupper()]
        assert block.text.startswith("FROM queuectl\n")
        # The entry point begins as root, to see whose the data is, and must stay the first process.
        assert not {"USER", "ENTRYPOINT"} & set(instructions)
    assert "docker build --tag queuectl " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    anchors = {anchor(section.title) for section in SECTIONS}
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        prose = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)]+)\)", prose):
            if target.startswith("#"):
                assert name != "README.md" or target[1:] in anchors, target
            elif not target.startswith("https://"):
                assert (ROOT / target.split("#")[0]).exists(), target


@pytest.mark.parametrize(("name", "shown"), [("terminal", "$"), ("watch", "WORKER")])
def test_the_pictures_fetch_nothing(name: str, shown: str) -> None:
    drawing = (ROOT / "docs" / f"{name}.svg").read_text(encoding="utf-8")
    assert shown in drawing
    assert not re.search(r"url\((?!#)|href=|@import|@font-face|<script|<image", drawing)
