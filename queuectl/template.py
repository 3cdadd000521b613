"""Commands with places for values: ``convert {} {.}.png``. Whatever a value is, no shell takes it for code.

| place | what is put there |
|---|---|
| ``{}`` | the value |
| ``{.}`` | the value without its extension |
| ``{/}``, ``{//}``, ``{/.}`` | its base name, its directory, its base name without extension |
| ``{1}``, ``{2.}`` … | the same of the first input, the second … |
| ``{#}`` | the number of the job |

A command is words, of which each stays one word, or the text of a shell, in which each value is quoted. Among the words
there may be the text of a shell, too (``sh -c TEXT``): :mod:`queuectl.shelltext` finds it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

from queuectl import shelltext
from queuectl.errors import InvalidInput

_PLACE = re.compile(r"\{(?:(#)|([1-9]\d{0,2})?(\.|//|/\.|/)?)\}")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./-]+")
"""What needs no quotes as a word of its own. No ``=``: in the place of a command, that would be an assignment."""
_KEYWORDS = frozenset(
    [
        "case",
        "coproc",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "function",
        "if",
        "in",
        "select",
        "then",
        "time",
        "until",
        "while",
        "always",
        "end",
        "foreach",
        "namespace",
        "nocorrect",
        "noglob",
        "repeat",
    ]
)
"""Of all shells: the last ones are zsh's and ksh's."""


class Place(NamedTuple):
    """Where something of a value is put: of which input (None: of all), and what of it.

    ``alone`` tells that it is a word by itself in a shell's text.
    """

    shown: str
    form: str
    which: int | None
    alone: bool = False


Piece = str | Place


class Template:
    """A command in which places are filled.

    ``is_value`` tells that it is nothing but the whole value, so that each value names the program to run.
    """

    def __init__(self, fill: Callable[[Sequence[str], int], str], is_value: bool) -> None:
        self._fill = fill
        self.is_value = is_value

    def fill(self, values: Sequence[str], number: int) -> str:
        """The command line for one value of each input, and the number of the job."""
        command = self._fill(values, number)
        # Of a shell's -c, such a text would be one more option.
        return f" {command}" if command.startswith(("-", "+")) else command


def of_words(words: Sequence[str], inputs: int) -> Template:
    """The template of a command given word by word. Where it has no place, the values come last, each a word.

    The text that a shell gets by ``-c`` is taken as :func:`of_text` does. Raises :class:`InvalidInput`.
    """
    pieces = [_pieces(word, inputs) for word in words]
    script = shelltext.find(words, _shown(pieces))
    if script is not None:
        scan = _Scan(words[script], inputs, "the command after -c")
        pieces[script] = list(_cut(words[script], scan.places))
    if not _shown(pieces):
        last = _all(inputs)
        pieces += [[place] for place in last]
        words = [*words, *(place.shown for place in last)]
        script = shelltext.find(words, _shown(pieces))
    parts = [_script_word(word) if number == script else _word(word, number == 0) for number, word in enumerate(pieces)]
    is_value = inputs == 1 and _is_value(pieces[0] if len(pieces) == 1 else pieces[script] if script else ())
    return Template(lambda values, number: " ".join([part(values, number) for part in parts]), is_value)


def of_text(text: str, inputs: int, what: str) -> Template:
    """The template of a shell's text. Where it has no place, the values come last, each a word.

    Raises :class:`InvalidInput`, which begins with ``what``, for a place where no value can be quoted.
    """
    pieces = _text_pieces(text, inputs, what)
    is_value = inputs == 1 and _is_value(pieces)
    return Template(lambda values, number: _filled_text(pieces, values, number), is_value)


def _is_value(pieces: Sequence[Piece]) -> bool:
    """Whether there is one place, for the whole of a value, and else nothing but blanks."""
    places = [piece for piece in pieces if not isinstance(piece, str) or not piece.isspace()]
    return len(places) == 1 and isinstance(places[0], Place) and not places[0].form


# --- words

Part = Callable[[Sequence[str], int], str]


def _word(pieces: Sequence[Piece], is_first: bool) -> Part:
    if not any(isinstance(piece, Place) for piece in pieces):
        fixed = shlex.quote("".join(map(str, pieces)))
        return lambda values, number: fixed
    quote = _quoted_first if is_first else shlex.quote
    (only, *more) = pieces
    if isinstance(only, Place) and not more:
        return lambda values, number: " ".join([quote(each) for each in _found(only, values, number)])

    def filled(values: Sequence[str], number: int) -> str:
        return quote(
            "".join([piece if isinstance(piece, str) else " ".join(_found(piece, values, number)) for piece in pieces])
        )

    return filled


def _script_word(pieces: Sequence[Piece]) -> Part:
    return lambda values, number: shlex.quote(_filled_text(pieces, values, number))


def _shown(words: Sequence[Sequence[Piece]]) -> dict[int, str]:
    """The first place of each word that has one, by the word's number."""
    found = {}
    for number, pieces in enumerate(words):
        places = [piece for piece in pieces if isinstance(piece, Place)]
        if places:
            found[number] = places[0].shown
    return found


def _quoted_first(word: str) -> str:
    """As the word that names the command: neither a keyword of the shell nor an assignment."""
    return _in_quotes(word) if word in _KEYWORDS or "=" in word else shlex.quote(word)


# --- text


def _filled_text(pieces: Sequence[Piece], values: Sequence[str], number: int) -> str:
    return "".join(
        [
            piece
            if isinstance(piece, str)
            else " ".join([_quoted(each, piece.alone) for each in _found(piece, values, number)])
            for piece in pieces
        ]
    )


def _quoted(value: str, alone: bool) -> str:
    """Beside other characters nothing is left bare: ``{}>log`` with a 2 would redirect something else."""
    if alone and _PLAIN.fullmatch(value) and value not in _KEYWORDS:
        return value
    return _in_quotes(value)


def _in_quotes(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


def _text_pieces(text: str, inputs: int, what: str) -> list[Piece]:
    scan = _Scan(text, inputs, what)
    if scan.places:
        return list(_cut(text, scan.places))
    end = text.rstrip()
    if scan.is_open or "\n" in end.lstrip() or end[-1:] in (*"\\;&|(){}<>`",):
        raise InvalidInput(f"{what}: has no place for the value, and no end to put it: write {{}} where it is to stand")
    return [end, *(piece for place in _all(inputs) for piece in (" ", place._replace(alone=True)))]


class _Context(NamedTuple):
    """What a part of a shell's text is within: how that is called, what ends it, whether commands stand in it."""

    shown: str
    end: str
    has_commands: bool = False


_COMMANDS = _Context("", "", has_commands=True)
_PARENTHESES = _Context("", ")", has_commands=True)
_BACKQUOTES = _Context("within backquotes", "`", has_commands=True)
_QUOTES = _Context("within quotes", '"')
_PARAMETER = _Context("in ${...}", "}")
_ARITHMETIC = _Context("in an arithmetic expression", "))")
_TERM = _Context("in an arithmetic expression", ")")
_BEGINNINGS: Mapping[str, _Context] = {"$((": _ARITHMETIC, "((": _ARITHMETIC, "$(": _PARENTHESES, "${": _PARAMETER}

_TOKEN = re.compile(r"\\.?|\$\(\(|\(\(|\$\(|\$\{|\$'|<<<|<<|" + _PLACE.pattern + r"|['\"`(){}\n#]", re.DOTALL)


class _Scan:
    """Finds the places in a shell's text, and refuses those at which quoting does not help.

    It knows as much of the shell's grammar as tells what is quoted. Where it cannot know, it refuses.
    """

    def __init__(self, text: str, inputs: int, what: str) -> None:
        self._text, self._inputs, self._what = text, inputs, what
        self.places: list[tuple[int, int, Place]] = []
        self._stack = [_COMMANDS]
        self._has_here_document = False
        # A pattern of "case" ends in a parenthesis that nothing began.
        is_misleading = "$(" in text and re.search(r"\bcase\b", text) is not None
        self._doubt = "in a text with both case and $(...)" if is_misleading else ""
        self.is_open = False
        """Whether it ends where no further word can be put."""
        at = 0
        while token := _TOKEN.search(text, at):
            at = self._heed(token)
        self.is_open |= len(self._stack) > 1 or text.endswith("\\")

    @property
    def _context(self) -> _Context:
        return self._stack[-1]

    def _heed(self, token: re.Match[str]) -> int:
        """Take in a token; returns where to go on."""
        found = token[0]
        if found[0] == "\\":
            return token.end()  # so a literal {} is \{}
        if (match := _match(self._text, token.start(), self._inputs, self._what)) is not None:
            return self._take(match)
        if found in _BEGINNINGS:
            self._begin(found)
        elif found in ("'", "$'"):
            return self._single_quotes(token)
        elif found in ('"', "`"):
            self._begin_or_end(_QUOTES if found == '"' else _BACKQUOTES)
        elif found == "(":
            self._parenthesis()
        elif found in (")", "}"):
            return self._end(token)
        elif found == "#":
            return self._comment(token.start())
        else:
            self._here_document(found)
        # Of what was no place, what follows the first sign may be something.
        return token.start() + 1 if found[0] == "{" else token.end()

    def _begin(self, found: str) -> None:
        # "((" without a dollar is text within quotes.
        if found[0] == "$" or self._context.has_commands:
            self._stack.append(_BEGINNINGS[found])

    def _begin_or_end(self, context: _Context) -> None:
        """Of backquotes, the second one ends all that the first began."""
        if context == _BACKQUOTES and context in self._stack:
            del self._stack[self._stack.index(context) :]
        elif self._context == context:
            self._stack.pop()
        else:
            self._stack.append(context)

    def _parenthesis(self) -> None:
        if self._context.has_commands:
            self._stack.append(_PARENTHESES)
        elif self._context.end in (")", "))"):
            self._stack.append(_TERM)

    def _end(self, token: re.Match[str]) -> int:
        end = self._context.end
        if end[:1] == token[0]:
            self._stack.pop()
            return token.start() + (len(end) if self._text.startswith(end, token.start()) else 1)
        return token.end()

    def _single_quotes(self, token: re.Match[str]) -> int:
        if self._context == _QUOTES or (self._context == _PARAMETER and _QUOTES in self._stack):
            return token.end()
        if token[0] == "$'":
            self._doubt = "after $'...', which shells read differently"
        return self._skip(token.end(), "'", "within quotes") + 1

    def _comment(self, start: int) -> int:
        if self._context.has_commands and (start == 0 or self._text[start - 1] in " \t\n;&|()`"):
            return self._skip(start, "\n", "in a comment")
        return start + 1

    def _skip(self, start: int, end: str, where: str) -> int:
        """Where something ends in which there can be no place."""
        found = self._text.find(end, start)
        self.is_open |= found < 0
        stop = len(self._text) if found < 0 else found
        for place in _PLACE.finditer(self._text, start, stop):
            if _match(self._text, place.start(), self._inputs, self._what):
                self._refuse(place[0], where)
        return stop

    def _here_document(self, found: str) -> None:
        """After ``<<`` and the end of its line, text follows in which quotes mean nothing."""
        if found == "<<" and self._context.has_commands:
            self._has_here_document = True
        elif found == "\n" and self._has_here_document:
            self._doubt = "in or after a here-document"
            self.is_open = True

    def _take(self, match: re.Match[str]) -> int:
        context = _BACKQUOTES if _BACKQUOTES in self._stack else self._context
        if context.shown or self._doubt:
            self._refuse(match[0], context.shown or self._doubt)
        before, behind = self._text[: match.start()], self._text[match.end() :]
        alone = (not before or before[-1].isspace()) and (not behind or behind[0].isspace())
        self.places.append((match.start(), match.end(), _place(match, alone)))
        return match.end()

    def _refuse(self, shown: str, where: str) -> NoReturn:
        raise InvalidInput(
            f"{self._what}: {shown} stands {where}. Each value is quoted for itself: leave quotes out, or "
            f'write f={shown}; and then "$f" (a literal {shown} is \\{shown})'
        )


# --- places


def _match(text: str, at: int, inputs: int, what: str) -> re.Match[str] | None:
    """The place that begins here, if it is one.

    Of a single input, ``{2}`` is left as it is, since regular expressions have it; of several, one that is
    not there is a mistake.
    """
    match = _PLACE.match(text, at)
    if match is None or _is_there(match, inputs):
        return match
    if inputs == 1:
        return None
    raise InvalidInput(f"{what}: {match[0]} names an input that is not there: --each is given {inputs} times")


def _is_there(match: re.Match[str], inputs: int) -> bool:
    """Whether the input is there that a place names, if it names one."""
    return match[2] is None or int(match[2]) <= inputs


def _place(match: re.Match[str], alone: bool = False) -> Place:
    return Place(match[0], match[1] or match[3] or "", int(match[2]) - 1 if match[2] else None, alone)


def _pieces(word: str, inputs: int) -> list[Piece]:
    found: list[tuple[int, int, Piece]] = []
    for match in _PLACE.finditer(word):
        start, end = match.span()
        if word[:start].endswith("\\"):
            if inputs > 1 or _is_there(match, inputs):
                found.append((start - 1, end, match[0]))  # so a literal {} is \\{}
        elif _match(word, start, inputs, "the command after --") is not None:
            found.append((start, end, _place(match)))
    return list(_cut(word, found))


def _cut(text: str, places: Sequence[tuple[int, int, Piece]]) -> Iterator[Piece]:
    """The text between the places, and the places."""
    done = 0
    for start, end, place in places:
        if start > done:
            yield text[done:start]
        yield place
        done = end
    if done < len(text):
        yield text[done:]


def _all(inputs: int) -> list[Place]:
    return [Place(f"{{{which + 1}}}" if inputs > 1 else "{}", "", which) for which in range(inputs)]


def _found(place: Place, values: Sequence[str], number: int) -> list[str]:
    """What belongs in a place: of all inputs where it names none."""
    if place.form == "#":
        return [str(number)]
    chosen = values if place.which is None else values[place.which : place.which + 1]
    form = _FORMS[place.form]
    return [form(value) for value in chosen]


def _base(value: str) -> str:
    return os.path.basename(value.rstrip("/")) or value[:1]


_FORMS: Mapping[str, Callable[[str], str]] = {
    "": lambda value: value,
    ".": lambda value: os.path.splitext(value)[0],
    "/": _base,
    "//": lambda value: os.path.dirname(value.rstrip("/")) or ("/" if value.startswith("/") else "."),
    "/.": lambda value: os.path.splitext(_base(value))[0],
}
