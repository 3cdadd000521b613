"""Finds the word of a command that a shell takes for code: ``sh -c TEXT``, also behind ``env``, ``nice`` and their like.

It is told which words have places for values. Where a place may be in code that values cannot be quoted for, since the
quotes are those of another language (``fish -c``), or since nobody can tell whether it is code
(``docker exec box sh -c``), it refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from queuectl.errors import InvalidInput

_VERSION = r"(?:-?\d[\d.]*)?(?:-static)?"
_POSIX = re.compile(r"(?:sh|dash|ash|hush|posh|yash|r?bash|r?zsh|[rmlo]?ksh|pdksh)" + _VERSION)
"""Shells in which nothing is special between single quotes."""
_FOREIGN = re.compile(r"(?:fish|t?csh|rc|es|nu|elvish|xonsh|pwsh|powershell|osh|ysh|murex|scsh|su|runuser)" + _VERSION)
"""Shells with other quotes, and what starts the shell of a user, whichever that is."""
_UNKNOWN = re.compile(r"[^.]*sh" + _VERSION)
"""What is called like a shell."""

_CLUSTER = re.compile(r"[-+][a-np-zB-EHLPX]{0,4}[a-zB-EHLPX]")
"""Options of a POSIX shell in one word. Longer ones are bash's names with one dash, such as -rcfile."""
_FLAGS = frozenset("--login --noediting --noprofile --norc --norcs --no-rcs --posix --restricted --verbose".split())  # noqa: SIM905
_VALUED_OF_BASH = frozenset(("--init-file", "--rcfile", "-O", "+O"))
_MAY_HAVE_CODE = re.compile(r"[-+][A-Za-z]*[cC]|--(?:com|init-com)")
"""What an option begins with that tells a shell of code: ``-c``, ``-ec``, ``-Command``, ``--command``, ``--init-command``."""
_WITH_LATE_OPTIONS = ("su", "runuser")
_WITH_ENDLESS_CODE = ("pwsh", "powershell")

_RUNNERS: Mapping[str, tuple[str, int]] = {
    "busybox": ("", 0),
    "command": ("", 0),
    "doas": ("Cu", 0),
    "env": ("CPu", 0),
    "exec": ("a", 0),
    "ionice": ("Pcnpu", 0),
    "nice": ("n", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("eio", 0),
    "sudo": ("CDRTUghprtu", 0),
    "time": ("fo", 0),
    "timeout": ("ks", 1),
}
"""Programs that run the command behind their options: which of these take a value, and how many words follow them."""
_READERS = frozenset(("cat", "cp", "echo", "egrep", "fgrep", "grep", "ls", "mv", "pgrep", "printf", "rm", "zgrep"))
"""Programs that run none of their words."""


class _Code(NamedTuple):
    """Which words a shell takes for code, or may take for it, where that is not certain."""

    words: range
    is_certain: bool = False


def find(words: Sequence[str], places: Mapping[int, str]) -> int | None:
    """The number of the word that is certainly a POSIX shell's text.

    ``places`` gives, by the number of a word, the place in it. Raises :class:`InvalidInput`.
    """
    start = _program(words, places)
    script = None
    if start is not None:
        name = _name(words[start])
        if name in _READERS:
            return None
        if start in places or _POSIX.fullmatch(name) or _UNKNOWN.fullmatch(name) or _FOREIGN.fullmatch(name):
            code = _code(words, start, places)
            if not code.is_certain:
                _refuse_places(code, words[start], places)
            elif code.words:
                script = start = code.words[0]
    # Whatever this is may run the words behind it in turn.
    for shell in range(0 if start is None else start + 1, len(words)):
        if _POSIX.fullmatch(_name(words[shell])) or _FOREIGN.fullmatch(_name(words[shell])):
            _refuse_places(_code(words, shell, places), words[shell], places)
    return script


def _name(word: str) -> str:
    return os.path.basename(word).lower()


def _program(words: Sequence[str], places: Mapping[int, str]) -> int | None:
    """The number of the word that names the program, behind those that only run it; None where that is not clear."""
    at: int | None = 0
    while at is not None and at < len(words):
        name = _name(words[at])
        if "=" in words[at]:
            at += 1
        elif name in _RUNNERS:
            at = _behind_options(words, at, name, places)
        else:
            return at
    return None


def _behind_options(words: Sequence[str], runner: int, name: str, places: Mapping[int, str]) -> int | None:
    valued, operands = _RUNNERS[name]
    at = runner + 1
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        at += 1
        if word == "--":
            break
        if name == "env" and re.match(r"-[A-Za-z0]*S|--s", word):
            _refuse_places(_Code(range(at - 1, len(words))), "env -S", places)
        if re.fullmatch(r"-[A-Za-z]+", word):
            first = next((place for place, letter in enumerate(word) if letter in valued), None)
            at += first == len(word) - 1
        elif not re.fullmatch(r"-|-\d+|--[a-z-]+=.*", word, re.DOTALL):
            return None
    return at + operands


def _code(words: Sequence[str], shell: int, places: Mapping[int, str]) -> _Code:
    is_posix = _POSIX.fullmatch(_name(words[shell])) is not None and shell not in places
    return _posix_code(words, shell, places) if is_posix else _foreign_code(words, shell)


def _posix_code(words: Sequence[str], shell: int, places: Mapping[int, str]) -> _Code:
    """By the rules for a shell's options: ``-c`` counts before the first word that is none; the text follows them all."""
    at, has_code = shell + 1, False
    while at < len(words) and words[at][:1] in ("-", "+"):
        word = words[at]
        at += 1
        if word in ("-", "--"):
            break
        if word in _VALUED_OF_BASH and "bash" in _name(words[shell]):
            at += 1
        elif word not in _FLAGS:
            if at - 1 in places or not _CLUSTER.fullmatch(word):
                return _Code(range(_option_with_code(words, range(shell + 1, len(words))), len(words)))
            has_code |= "c" in word
            at += word[-1] == "o"
    return _Code(range(at, min(at + has_code, len(words))), is_certain=True)


def _foreign_code(words: Sequence[str], shell: int) -> _Code:
    """From an option that may have code to ``--``, unless something else than an option comes first."""
    name = _name(words[shell]).rstrip("-.0123456789")
    has_late_options = name in _WITH_LATE_OPTIONS
    behind = range(shell + 1, len(words))
    if not has_late_options:
        if not behind or not words[shell + 1].startswith("-"):
            return _Code(range(0))
        behind = range(shell + 1, _dashes(words, shell + 1))
    start = _option_with_code(words, behind)
    return _Code(range(start, len(words) if name in _WITH_ENDLESS_CODE else _dashes(words, start)))


def _option_with_code(words: Sequence[str], behind: range) -> int:
    return next((at for at in behind if _MAY_HAVE_CODE.match(words[at])), len(words))


def _dashes(words: Sequence[str], start: int) -> int:
    return next((at for at in range(start, len(words)) if words[at] == "--"), len(words))


def _refuse_places(code: _Code, shell: str, places: Mapping[int, str]) -> None:
    at = next((at for at in code.words if at in places), None)
    if at is not None:
        _refuse(places[at], shell)


def _refuse(place: str, shell: str) -> NoReturn:
    if _POSIX.fullmatch(_name(shell)):
        instead = f"{shell} -c '… \"$1\"' {shell} {place}"
    elif _name(shell) == "fish":
        instead = f"{shell} -c '… $argv' -- {place}"
    else:
        instead = f"env v={place} … and then $v"
    raise InvalidInput(
        f"the command after --: {place} stands in what {shell} may take for code, and cannot be quoted for it. "
        f"Give the value beside the code: {instead}. If it is no code, use --command instead of --"
    )
