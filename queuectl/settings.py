"""The settings of a queue: their defaults, their limits, and the file that keeps them."""

from __future__ import annotations

import errno
import math
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from queuectl import clock, files
from queuectl.errors import InvalidInput, QueueError, StoreError, closest, shown
from queuectl.model import number, retries


class Settings(NamedTuple):
    """What holds for jobs that do not say otherwise. Durations are seconds, sizes bytes."""

    max_retries: int = 3
    backoff_base: float = 2
    backoff_max: float = 86_400
    backoff_jitter: float = 0
    job_timeout: float = 0
    kill_grace: float = 5
    stop_timeout: float = 30
    log_max_bytes: int = 1024**3
    busy_timeout: float = 30
    retention: float = 0


DEFAULTS = Settings()
KEYS = Settings._fields

MEANINGS: Mapping[str, str] = {
    "max_retries": "retries after the first start, for jobs that name none",
    "backoff_base": "seconds until a retry: backoff_base ** attempts",
    "backoff_max": "longest delay before one retry",
    "backoff_jitter": "by which share of it, 0 to 1, such a delay may be shorter or longer",
    "job_timeout": "how long a job may run, for jobs that name none; 0 = no limit",
    "kill_grace": "time between SIGTERM and SIGKILL of a job's processes",
    "stop_timeout": "how long a graceful stop waits for running jobs",
    "log_max_bytes": "disk that one attempt's output may take; 0 = no limit",
    "busy_timeout": "how long a command waits for a locked database",
    "retention": "how long completed and cancelled jobs are kept; 0 = for ever",
}

_PLAIN_KEY = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}"
"""A key of the file that can be typed as it stands."""
_SIZE = r"(?ai)(\d+)\s*(|k|m|g|t)(?:i?b)?"
_MAX_SIZE = 1 << 62


class BrokenSettings(InvalidInput):
    """The settings file cannot be used. ``trouble`` says why, ``advice`` how it is mended."""

    def __init__(self, trouble: str, advice: str) -> None:
        super().__init__(trouble, advice)
        self.trouble, self.advice = trouble, advice

    def __str__(self) -> str:
        return f"{self.trouble}: {self.advice}"


def spelled(name: str) -> str:
    """A key's name in the one spelling that counts: ``max-retries`` is ``max_retries``."""
    return name.replace("-", "_").lower()


def known_key(name: str) -> str:
    """The key that ``name`` means: ``max-retries`` is ``max_retries``. Raises :class:`InvalidInput`."""
    key = spelled(name)
    if key in KEYS:
        return key
    close = closest(key, KEYS, 1, 0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KEYS)}"
    raise InvalidInput(f"no setting {name[:60]!r}: {hint}")


def parse(key: str, value: object) -> float:
    """Check one value, as text or as JSON has it. Raises :class:`InvalidInput`."""
    return _PARSERS[key](value, key)


def in_units(key: str, value: float) -> str:
    """A value for people, as ``parse`` takes it, too: ``10m``, ``1 GiB``; nothing is rounded."""
    units = _UNITS.get(_PARSERS[key])
    if not value or units is None:
        return str(value)
    size = next((size for size in units if value % size == 0), 1)
    return f"{_plain(value / size)}{units[size]}"


def load(path: str) -> Settings:
    """The settings that a file holds; the defaults where it is silent or missing.

    Raises :class:`InvalidInput`, which names the file, when it is not what ``change`` writes, and
    :class:`StoreError` when it is another user's, who lets nobody else read it.
    """
    good, broken = _sorted_out(_read(path), path)
    if broken is not None:
        raise broken
    return DEFAULTS._replace(**good)


def load_or_defaults(path: str) -> Settings:
    """As :func:`load`, and the defaults when the file is broken: for what must be possible even then."""
    try:
        return load(path)
    except QueueError:
        return DEFAULTS


def change(path: str, name: str, value: object | None) -> Settings:
    """Set one key, or take it out of the file when ``value`` is None; the file is replaced whole.

    What the file says of this key may be broken, or the key unknown: this is how that is mended, also where other
    keys are broken, too; these stay as they are. A key that is in order is changed only if all others are.
    Raises :class:`InvalidInput`.
    """
    new = {} if value is None else {known_key(name): parse(known_key(name), value)}
    given = _read(path)
    meant = {key for key in given if spelled(key) == spelled(name)}
    if not meant:
        known_key(name)
    left = {key: content for key, content in given.items() if key not in meant}
    good, broken = _sorted_out(left, path)
    if broken is not None and _sorted_out({key: given[key] for key in meant}, path)[1] is None:
        raise broken
    import json

    try:
        files.write_durably(path, json.dumps((good if broken is None else left) | new, indent=2) + "\n")
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from error
    return DEFAULTS._replace(**good | new)


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
        self._reading = threading.Lock()

    def current(self) -> Settings:
        """The settings in force now."""
        if stamp(self._path) != self._stamp:
            with self._reading:
                self._read_again()
        return self._settings

    def _read_again(self) -> None:
        now = stamp(self._path)
        if now == self._stamp:
            return  # another thread was faster
        try:
            self._settings = load(self._path)
        except QueueError as error:
            self._complain(f"{error}; the settings read before stay in force")
        # Last: until the new ones are there, no other thread may take the old ones for them.
        self._stamp = now


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8", opener=_without_waiting) as file:
            import json

            given = json.load(file)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return {}
        if error.errno == errno.EACCES and (closed := files.closed_directory(path)) is not None:
            raise StoreError(f"cannot look into {closed}: permission denied") from error
        if error.errno == errno.EACCES and (owner := files.foreign_owner(path)) is not None:
            raise StoreError(f"cannot read the settings file {path}: it belongs to {owner}") from error
        raise BrokenSettings(
            f"cannot read the settings file {path}: {error.strerror}", "make it a file that you may read, or remove it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BrokenSettings(f"the settings file {path} is not JSON: {error}", _BY_HAND) from error
    if not isinstance(given, dict):
        raise BrokenSettings(f"the settings file {path} holds no JSON object", _BY_HAND)
    return given


_BY_HAND = "mend it with an editor, or remove it, which sets all back to the defaults"


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, and do not wait for somebody to write when it is a FIFO. It may be kept elsewhere, by a symlink."""
    return files.open_regular(path, flags, follow=True)


def _sorted_out(given: Mapping[str, Any], path: str) -> tuple[dict[str, Any], BrokenSettings | None]:
    """The values that are in order, by their keys, and what is wrong with the first that is not."""
    good: dict[str, Any] = {}
    broken = None
    for name, value in given.items():
        try:
            key = known_key(name)
            good[key] = parse(key, value)
        except InvalidInput as error:
            if broken is None:
                broken = BrokenSettings(f"in the settings file {path}: {error}", _advice(name))
                broken.__cause__ = error
    return good, broken


def _advice(name: str) -> str:
    if re.fullmatch(_PLAIN_KEY, name) is None:
        return _BY_HAND
    unset = f"'queuectl config unset {name}'"
    key = spelled(name)
    return f"mend it with 'queuectl config set {key} VALUE' or {unset}" if key in KEYS else f"{unset} takes it out"


def _whole(value: object, key: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}", value.strip(), re.ASCII):
        value = int(value)
    return retries(value, key)


def _share(value: object, key: str) -> float:
    try:
        share = number(value, key)
    except InvalidInput:
        share = math.inf
    if share > 1:
        raise InvalidInput(f"{key}: {shown(value)} is not a number between 0 and 1")
    return share


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


_UNITS: Mapping[Callable[[object, str], float], Mapping[int, str]] = {
    _duration: {86_400: "d", 3600: "h", 60: "m", 1: "s"},
    _size: {1 << 40: " TiB", 1 << 30: " GiB", 1 << 20: " MiB", 1 << 10: " KiB", 1: " B"},
}
"""How sizes of a kind are called, the largest first."""

_PARSERS: Mapping[str, Callable[[object, str], float]] = {
    "max_retries": _whole,
    "backoff_base": number,
    "backoff_max": _duration,
    "backoff_jitter": _share,
    "job_timeout": _duration,
    "kill_grace": _duration,
    "stop_timeout": _duration,
    "log_max_bytes": _size,
    "busy_timeout": _duration,
    "retention": _duration,
}
