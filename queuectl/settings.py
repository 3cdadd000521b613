"""The settings of a queue: their defaults, their limits, and the file that keeps them."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from queuectl import clock, files
from queuectl.errors import InvalidInput, QueueError, shown
from queuectl.model import retries


class Settings(NamedTuple):
    """What holds for jobs that do not say otherwise. Durations are seconds, sizes bytes."""

    max_retries: int = 3
    backoff_base: float = 2
    backoff_max: float = 86_400
    job_timeout: float = 0
    kill_grace: float = 5
    stop_timeout: float = 30
    log_max_bytes: int = 1024**3
    busy_timeout: float = 30


DEFAULTS = Settings()
KEYS = Settings._fields

MEANINGS: Mapping[str, str] = {
    "max_retries": "retries after the first start, for jobs that name none",
    "backoff_base": "seconds until a retry: backoff_base ** attempts",
    "backoff_max": "longest delay before one retry, in seconds",
    "job_timeout": "seconds that a job may run, for jobs that name none; 0 = no limit",
    "kill_grace": "seconds between SIGTERM and SIGKILL of a job's processes",
    "stop_timeout": "seconds that a graceful stop waits for running jobs",
    "log_max_bytes": "disk that one attempt's output may take, in bytes; 0 = no limit",
    "busy_timeout": "seconds that a command waits for a locked database",
}

_SIZE = r"(?ai)(\d+)\s*(|k|m|g|t)(?:i?b)?"
_MAX_SIZE = 1 << 62


def known_key(name: str) -> str:
    """The key that ``name`` means: ``max-retries`` is ``max_retries``. Raises :class:`InvalidInput`."""
    key = name.replace("-", "_").lower()
    if key in KEYS:
        return key
    import difflib

    close = difflib.get_close_matches(key, KEYS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KEYS)}"
    raise InvalidInput(f"no setting {name[:60]!r}: {hint}")


def parse(key: str, value: object) -> float:
    """Check one value, as text or as JSON has it. Raises :class:`InvalidInput`."""
    return _PARSERS[key](value, key)


def load(path: str) -> Settings:
    """The settings that a file holds; the defaults where it is silent or missing.

    Raises :class:`InvalidInput`, which names the file, when it is not what ``save`` writes.
    """
    return DEFAULTS._replace(**_checked(_read(path), path))


def load_or_defaults(path: str) -> Settings:
    """As :func:`load`, and the defaults when the file is broken: for what must be possible even then."""
    try:
        return load(path)
    except InvalidInput:
        return DEFAULTS


def change(path: str, key: str, value: float | None) -> Settings:
    """Set one key, or take it out of the file when ``value`` is None; the file is replaced whole.

    What the file said of this key may be broken: this is how it is repaired.
    """
    others = {name: content for name, content in _read(path).items() if name.replace("-", "_").lower() != key}
    given = _checked(others, path)
    if value is not None:
        given[key] = value
    import json

    try:
        files.write_durably(path, json.dumps(given, indent=2) + "\n")
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from error
    return DEFAULTS._replace(**given)


def stamp(path: str) -> tuple[int, int, int] | None:
    """What changes whenever the file does; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class Live:
    """The settings of a queue that is being worked on: read again whenever the file changed.

    A file that is broken leaves the last good settings in force; ``complain`` hears of it once.
    """

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        self._path = path
        self._complain = complain
        self._stamp = stamp(path)
        self._settings = load(path)

    def current(self) -> Settings:
        """The settings in force now."""
        now = stamp(self._path)
        if now != self._stamp:
            try:
                self._settings = load(self._path)
            except InvalidInput as error:
                self._complain(f"{error}; the settings read before stay in force")
            # Last: until the new ones are there, no other thread may take the old ones for them.
            self._stamp = now
        return self._settings


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8", opener=_without_waiting) as file:
            import json

            given = json.load(file)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return {}
        raise InvalidInput(f"cannot read the settings file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the settings file {path} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInput(f"the settings file {path} holds no JSON object")
    return given


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, and do not wait for somebody to write when it is a FIFO. It may be kept elsewhere, by a symlink."""
    return files.open_regular(path, flags, follow=True)


def _checked(given: Mapping[str, Any], path: str) -> dict[str, Any]:
    try:
        return {known_key(key): parse(known_key(key), value) for key, value in given.items()}
    except InvalidInput as error:
        raise InvalidInput(f"in the settings file {path}: {error}") from error


def _whole(value: object, key: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}", value.strip(), re.ASCII):
        value = int(value)
    return retries(value, key)


def _number(value: object, key: str) -> float:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= clock.MAX_DURATION:
        raise InvalidInput(f"{key}: {shown(value)} is not a number between 0 and {clock.MAX_DURATION:.0f}")
    return _plain(number)


def _duration(value: object, key: str) -> float:
    return _plain(clock.seconds(value, key))


def _size(value: object, key: str) -> int:
    number: object = value
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value.strip())
        if match is not None and len(match[1]) < 20:
            number = int(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_SIZE:
        raise InvalidInput(f"{key}: {shown(value)} is not a number of bytes (such as 1048576, 512M, 1GiB)")
    return number


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


_PARSERS: Mapping[str, Callable[[object, str], float]] = {
    "max_retries": _whole,
    "backoff_base": _number,
    "backoff_max": _duration,
    "job_timeout": _duration,
    "kill_grace": _duration,
    "stop_timeout": _duration,
    "log_max_bytes": _size,
    "busy_timeout": _duration,
}
