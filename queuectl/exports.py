"""Variables of the shell that enqueues a job, which the job takes along."""

from __future__ import annotations

from collections.abc import Mapping

from queuectl.errors import InvalidInput, shown

ALL = "ALL"
"""In the place of a name: every variable that means something to a job."""
_OURS = b"QUEUECTL_"
_SET_BY_WORKER = frozenset(f"QUEUECTL_{name}" for name in ("JOB_ID", "ATTEMPT", "MAX_RETRIES", "QUEUE"))
_OF_THE_SHELL = frozenset((b"PWD", b"OLDPWD", b"SHLVL", b"_"))
"""They speak of the shell itself, and each shell sets its own."""


def taken(names: object, what: str, environment: Mapping[bytes, bytes]) -> dict[str, str]:
    """The variables that are named: text such as ``HOME,LANG`` or ``ALL``, or a list of names.

    ``ALL`` leaves out ``QUEUECTL_…``, and what every shell sets for itself. Raises :class:`InvalidInput` for
    one that is not set, or is not UTF-8 text.
    """
    wanted = _names(names, what)
    missing = [name for name in wanted if name != ALL and _encoded(name, what) not in environment]
    if missing:
        raise InvalidInput(f"{what}: {', '.join(missing):.80} {'is' if len(missing) == 1 else 'are'} not set here")
    chosen = [_encoded(name, what) for name in wanted if name != ALL]
    if ALL in wanted:
        chosen += [name for name in environment if not name.startswith(_OURS) and name not in _OF_THE_SHELL]
    return {_decoded(name, name, what): _decoded(environment[name], name, what) for name in dict.fromkeys(chosen)}


def _names(given: object, what: str) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, (list, tuple)):
        raise InvalidInput(f"{what}: {shown(given)} is not a list of names")
    names = [part.strip() if isinstance(part, str) else "" for part in parts]
    if not all(names) or not names:
        raise InvalidInput(f"{what}: {shown(given)} is not a list of names, such as HOME,LANG, nor {ALL}")
    for name in names:
        if name in _SET_BY_WORKER:
            raise InvalidInput(f"{what}: {name} is set by the worker, for each attempt")
        if "=" in name:
            raise InvalidInput(f"{what}: {shown(name)} is a name and a value: that is for --env")
    return names


def _encoded(name: str, what: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{what}: {shown(name)} is not UTF-8 text") from error


def _decoded(content: bytes, name: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what}: {name.decode(errors='replace')} is not UTF-8 text") from error
