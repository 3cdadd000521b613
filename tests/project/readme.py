"""Reading the README: its sections, its blocks, and what a block of shell commands shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PROMPT, MORE, ANYTHING = "$ ", "> ", "…"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the file where it begins."""

    language: str
    text: str
    line: int


@dataclass
class Section:
    """What stands below one heading, up to the next one of any level."""

    title: str
    level: int
    text: str = ""
    blocks: list[Block] = field(default_factory=list)

    def of(self, *languages: str) -> list[Block]:
        return [block for block in self.blocks if block.language in languages]


@dataclass(frozen=True)
class Step:
    """A command of a console block, and the output that is shown below it (None: not shown)."""

    command: str
    shown: str | None


def sections(path: Path = README) -> list[Section]:
    """The sections of a Markdown file, the text before the first heading left out."""
    found: list[Section] = []
    language: str | None = None
    body: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, body, start = line[3:].strip(), [], number
            else:
                found[-1].blocks.append(Block(language, "\n".join(body) + "\n", start))
                language = None
        elif language is not None:
            body.append(line)
        elif heading := re.fullmatch(r"(#+) (.+)", line):
            found.append(Section(heading[2], len(heading[1])))
        if found:
            found[-1].text += line + "\n"
    assert language is None, "a fenced block has no end"
    return found


def steps(block: Block) -> Iterator[Step]:
    """The commands of a console block, each with what is shown below it."""
    command: list[str] = []
    shown: list[str] = []
    for line in [*block.text.splitlines(), PROMPT]:
        if line.startswith(PROMPT) or line == PROMPT.strip():
            if command:
                yield Step("\n".join(command), "\n".join(shown) if shown else None)
            command, shown = [line[len(PROMPT) :]], []
        elif line.startswith(MORE) and not shown:
            command.append(line[len(MORE) :])
        else:
            assert command, f"line {block.line}: a console block begins with a command"
            shown.append(line)


def matches(shown: str, printed: str) -> bool:
    """Whether output is as shown; ``…`` stands for anything in a line, or alone for any lines.

    How many blanks there are between two columns does not matter.
    """
    parts = []
    for line in _even(shown):
        parts.append(
            "(?:[^\n]*\n)*" if line == ANYTHING else "[^\n]*".join(map(re.escape, line.split(ANYTHING))) + "\n"
        )
    return re.fullmatch("".join(parts), "".join(line + "\n" for line in _even(printed))) is not None


def _even(text: str) -> list[str]:
    return [re.sub(" +", " ", line).rstrip() for line in text.rstrip("\n").split("\n")]


def anchor(title: str) -> str:
    """The name under which a heading can be linked to, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
