"""Answers a shell that completes a word: ``queuectl __complete SHELL WORD…``, which the scripts of ``completion`` call.

It prints one candidate a line: its kind, itself, and what it means, with tabs between. The kinds are
``plain``; ``file`` and ``dir``, which the shell knows better how to complete; and ``command``, where a
command of somebody else begins so many words before. Whatever goes wrong, there is just nothing to complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click

from queuectl.cli import output
from queuectl.cli.base import Group
from queuectl.errors import QueueError
from queuectl.model import COMPLETED, DEAD, ENDED, IF_EXISTS, PENDING, PROCESSING, STATES, UNSETTABLE

_LONGEST_HELP = 100
_CURSOR = "\0"
"""No word of a command line has it."""


class Candidate(NamedTuple):
    """What a word may become."""

    value: str
    help: str = ""
    kind: str = "plain"


class Place(NamedTuple):
    """Where in a command line a word is to be completed."""

    commands: tuple[click.Command, ...]
    """From the root on: the command, and the groups that it was found in."""
    option: click.Option | None
    """The option whose value it is."""
    dashes: int | None
    """How many arguments are before ``--``, where that is there: it ends the options."""
    arguments: tuple[str, ...]
    """Those before it, but for options and commands."""
    given: frozenset[str]
    """The options before it."""
    database: str | None
    """What ``--db`` says."""

    @property
    def command(self) -> click.Command:
        return self.commands[-1]

    @property
    def is_after_dashes(self) -> bool:
        return self.dashes is not None

    @property
    def name(self) -> str:
        """What is typed for the command, without the program."""
        return " ".join(str(command.name) for command in self.commands[1:])


Values = Callable[[Place, str], Iterable[Candidate]]


def answer(main: click.Group, words: Sequence[str]) -> int:
    """Print the candidates for the last word; ``words`` begins with the shell's name.

    bash gives the whole line up to the cursor as one word, since it takes words apart that are none to us.
    """
    try:
        shell, *line = words
        if shell == "bash":
            line = split(line[0])[1:]
        rows = [row(each) for each in candidates(main, line[:-1], line[-1])]
    except Exception:  # somebody types: this is no time to be told of anything
        return 0
    output.emit_bytes("".join(rows).encode("utf-8", "replace"))
    return 0


def row(candidate: Candidate) -> str:
    """A candidate as a line of text."""
    text = output.escape(candidate.help)
    if len(text) > _LONGEST_HELP:
        text = text[: _LONGEST_HELP - 1] + "…"
    return f"{candidate.kind}\t{output.escape(candidate.value)}\t{text}\n"


def split(line: str) -> list[str]:
    """The words of a line that ends at the cursor; the last is the one that is being typed, with no quotes."""
    import shlex

    lexer = shlex.shlex(line + _CURSOR, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # a quote, or an escape, that is not at its end yet
        words.append(lexer.token)
    return [word.replace(_CURSOR, "") for word in words]


def candidates(main: click.Group, before: Sequence[str], word: str) -> Iterator[Candidate]:
    """What ``word`` may become, after the words ``before`` it."""
    place = find(main, before)
    if place is None:
        return
    place = _without_left_out_value(place, word)
    if place.option is None and not place.is_after_dashes and word.startswith("-"):
        name, equals, start = word.partition("=")
        if not equals:
            yield from _options(place, word)
            return
        option = _option(place.command, name)
        if option is None or not _takes_value(option):
            return
        place, word = place._replace(option=option), start
    for candidate in _values(place)(place, word):
        if candidate.kind != "plain" or candidate.value.startswith(word):
            yield candidate


def find(main: click.Group, before: Sequence[str]) -> Place | None:
    """Where a word stands that comes after others; None where nobody could tell (as after a name that is no command)."""
    place = Place((main,), None, None, (), frozenset(), None)
    for word in before:
        place = _without_left_out_value(place, word if len(word) > 1 else "")
        if place.option is not None:
            place = _noted(place, place.option, word)._replace(option=None)
        elif place.is_after_dashes:
            place = place._replace(arguments=(*place.arguments, word))
        elif word == "--":
            place = place._replace(dashes=len(place.arguments))
        elif word.startswith("-") and len(word) > 1:
            place = _after_option(place, word)
        elif isinstance(place.command, click.Group):
            command = place.command.get_command(click.Context(place.command), word)
            if command is None:
                return None
            place = place._replace(commands=(*place.commands, command))
        else:
            place = place._replace(arguments=(*place.arguments, word))
    return place


def _without_left_out_value(place: Place, word: str) -> Place:
    """Where an option may do without a value, a word that begins with a dash is the next option."""
    may_lack = place.option is not None and (place.option.metavar or "").startswith("[")
    return place._replace(option=None) if may_lack and word.startswith("-") else place


def _after_option(place: Place, word: str) -> Place:
    name, equals, value = word.partition("=")
    option = _option(place.command, name)
    if option is None:
        return place
    place = place._replace(given=place.given | {*option.opts})
    if not _takes_value(option):
        return place
    return _noted(place, option, value) if equals else place._replace(option=option)


def _noted(place: Place, option: click.Option, value: str) -> Place:
    if "--db" not in option.opts:
        return place
    # The shell gives the word as it was typed.
    return place._replace(database=os.path.expandvars(os.path.expanduser(value)))


def _option(command: click.Command, name: str) -> click.Option | None:
    return next((option for option in _options_of(command) if name in option.opts), None)


def _options_of(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _options(place: Place, word: str) -> Iterator[Candidate]:
    for option in _options_of(place.command):
        if option.multiple or not place.given & {*option.opts}:
            for name in option.opts:
                if name.startswith(word):
                    yield Candidate(name, option.help or "")


def _values(place: Place) -> Values:
    """What completes the word at a place, where it is no option's name."""
    if place.option is not None:
        return _values_of(place.option, place.name)
    if isinstance(place.command, click.Group) and not place.is_after_dashes:
        return _commands
    arguments = [each for each in place.command.params if isinstance(each, click.Argument)]
    for number, argument in enumerate(arguments):
        if argument.nargs == -1 or number == len(place.arguments):
            return _values_of(argument, place.name)
    return _nothing


def _values_of(parameter: click.Parameter, command: str) -> Values:
    """What completes a parameter's values: its choices, or what its name, or its metavar, stands for."""
    if isinstance(parameter.type, click.Choice):
        return _choices(tuple(map(str, parameter.type.choices)))
    for name in parameter.opts:
        if name in _BY_OPTION:
            return _BY_OPTION[name]
    kind = kind_of(parameter)
    if "|" in kind:
        return _choices(kind.split("|"))
    return _NAMES.get(command, _nothing) if kind == "NAME" else _BY_METAVAR.get(kind, _nothing)


def kind_of(parameter: click.Parameter) -> str:
    """The bare word of a metavar: ``ID`` for ``[ID...]``, ``S`` for ``S[,S...]``."""
    return (parameter.metavar or "").strip("[]").partition("[")[0].partition("...")[0].partition(",")[0].strip()


def _nothing(place: Place, word: str) -> Iterable[Candidate]:
    return ()


def _files(place: Place, word: str) -> Iterable[Candidate]:
    return [Candidate(word, kind="file")]


def _directories(place: Place, word: str) -> Iterable[Candidate]:
    return [Candidate(word, kind="dir")]


def _foreign_command(place: Place, word: str) -> Iterable[Candidate]:
    return () if place.dashes is None else [Candidate(str(len(place.arguments) - place.dashes), kind="command")]


def _choices(values: Sequence[str]) -> Values:
    return lambda place, word: map(Candidate, values)


def _commands(place: Place, word: str) -> Iterable[Candidate]:
    group = place.command
    assert isinstance(group, Group)
    return [Candidate(*each) for each in group.summaries().items()]


def _ids(place: Place, word: str) -> Iterable[Candidate]:
    from queuectl.store import glance

    path = _database(place)
    if path is None:
        return ()
    # An option, such as --after, means other jobs than those that the command is for.
    states = _STATES_OF_IDS.get(place.name, ()) if place.option is None else _NOT_IN_VAIN
    found = glance.ids(path, word, states, place.arguments)
    return [Candidate(job.id, job.command) for job in found]


def _names(kind: str) -> Values:
    def values(place: Place, word: str) -> Iterable[Candidate]:
        from queuectl.store import glance

        path = _database(place)
        if path is None:
            return ()
        names: Callable[[str, str], list[str]] = getattr(glance, kind)
        return [Candidate(name) for name in names(path, word) if name not in place.arguments]

    return values


def _groups(place: Place, word: str) -> Iterable[Candidate]:
    """The groups there are, and the one that every job is in that names none."""
    return dict.fromkeys([*_names("groups")(place, word), Candidate("default")])


def _database(place: Place) -> str | None:
    from queuectl import home

    try:
        return home.locate(place.database).home.database
    except QueueError:
        return None


def _settings(place: Place, word: str) -> Iterable[Candidate]:
    from queuectl import settings

    # Both spellings are one setting; the one that was begun is gone on with.
    spelled = (lambda key: key.replace("_", "-")) if "-" in word else str
    return [Candidate(spelled(key), settings.MEANINGS[key]) for key in settings.KEYS]


def _variables(place: Place, word: str) -> Iterable[Candidate]:
    return map(Candidate, ("ALL", *sorted(os.environ)))


def _states(place: Place, word: str) -> Iterable[Candidate]:
    return map(Candidate, ENDED if place.name == "prune" else STATES)


def _zones(place: Place, word: str) -> Iterable[Candidate]:
    import zoneinfo

    return map(Candidate, sorted(zoneinfo.available_timezones()))


def _listed(values: Values) -> Values:
    """Of a list with commas, the last one is completed, with one that is not there yet."""

    def of_list(place: Place, word: str) -> Iterable[Candidate]:
        start, comma, last = word.rpartition(",")
        given = start.split(",")
        for each in values(place, last):
            if each.value not in given:
                yield each._replace(value=start + comma + each.value)

    return of_list


_STATES_OF_IDS: Mapping[str, Collection[str]] = {
    "cancel": (PENDING, PROCESSING),
    "wait": (PENDING, PROCESSING),
    "retry": ENDED,
    "dlq retry": (DEAD,),
    "edit": (PENDING,),
    "hold": (PENDING,),
    "release": (PENDING,),
}
"""Of which jobs a command takes the ids; others take them of all."""

_NOT_IN_VAIN = (PENDING, PROCESSING, COMPLETED)
"""The states of jobs that others may wait for."""

_BY_OPTION: Mapping[str, Values] = {
    "--id": _nothing,  # of a job that is not there yet
    "--unique": _nothing,
    "--if-exists": _choices(IF_EXISTS),
    "--unset": _listed(_choices([field.replace("_", "-") for field in UNSETTABLE])),
    "--group": _groups,
    "--batch": _names("batches"),
    "--export": _listed(_variables),
}

_BY_METAVAR: Mapping[str, Values] = {
    "ID": _ids,
    "S": _listed(_states),
    "KEY": _settings,
    "GROUP": _groups,
    "BATCH": _names("batches"),
    "FILE": _files,
    "F": _files,
    "PATH": _files,
    "DIR": _directories,
    "ZONE": _zones,
    "-- ARGV": _foreign_command,
}

_NAMES: Mapping[str, Values] = {
    "group set": _groups,
    "group remove": _groups,
    "cron remove": _names("schedules"),
    "cron run": _names("schedules"),
    "cron pause": _names("schedules"),
    "cron resume": _names("schedules"),
}
"""What the metavar NAME means to a command."""

FREE = frozenset({"", "ARGV", "B", "CODES", "D", "EXPRESSION", "K", "K=V", "N", "NAME", "TEXT", "TIME", "VALUE"})
"""What nobody but the user can know, by metavar."""

KNOWN = FREE | _BY_METAVAR.keys()
