"""The values that queuectl deals in: jobs, attempts, claims, outcomes. All are frozen.

They are named tuples, here and elsewhere: a command that only looks would spend longer on making
data classes than on its work. Nor are the annotations here put off (``from __future__``): what is put
off as text, a named tuple compiles when it is made.
"""

import math
import os
import re
import sys
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from queuectl.clock import MAX_DURATION, seconds, timestamp
from queuectl.errors import InvalidInput, closest, shown

PENDING: Final = "pending"
PROCESSING: Final = "processing"
COMPLETED: Final = "completed"
DEAD: Final = "dead"
CANCELLED: Final = "cancelled"
STATES: Final = (PENDING, PROCESSING, COMPLETED, DEAD, CANCELLED)
ENDED: Final = (COMPLETED, DEAD, CANCELLED)

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SIGNALED: Final = "signaled"
TIMED_OUT: Final = "timed_out"
CRASHED: Final = "crashed"
NOT_STARTED: Final = "not_started"
STOPPED: Final = "cancelled"
RELEASED: Final = "released"
OUTCOMES: Final = (SUCCEEDED, FAILED, SIGNALED, TIMED_OUT, CRASHED, NOT_STARTED, STOPPED, RELEASED)

DEFAULT_GROUP: Final = "default"
RETURN: Final = "return"
REJECT: Final = "reject"
REPLACE: Final = "replace"
IF_EXISTS: Final = (RETURN, REJECT, REPLACE)
"""What to do with a new job whose key another has that waits or runs."""

MAX_PRIORITY: Final = 1_000_000_000
MAX_KEY_BYTES: Final = 512
MAX_COMMAND_BYTES: Final = 128 * 1024 - 1
"""The longest argument that Linux passes to a program, less its terminating NUL (execve(2))."""
MAX_START_BYTES: Final = ((2 if sys.platform == "linux" else 1) << 20) - (256 << 10)
"""A program's arguments and variables together, as the usual limit of the stack allows (execve(2)); less what the
workers' own variables, and what a shell adds for the programs that it starts, may take."""
_BYTES_EACH: Final = 10
"""What a variable takes besides its name and value: the sign between them, a NUL, and a pointer."""
MAX_RETRIES_LIMIT: Final = 1_000_000_000
_JOB_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


_NO_VARIABLES: Final[Mapping[str, str]] = {}  # a plain one: jobs are marshalled


class NewJob(NamedTuple):
    """A job that was checked and is ready to be added to a store.

    ``id`` None asks the store for one. ``timeout`` is in seconds, 0 for none, None for the
    setting in force at the start. ``max_retries`` None asks for the setting. The job may start
    ``delay`` seconds after it was added, or at ``run_at`` (microseconds since the epoch); at
    once when both are None. It starts when the jobs with the ids in ``after`` have completed, and
    those in ``after_any`` have ended. Of the jobs with one key (``unique``) only one waits or runs;
    ``if_exists`` tells what becomes of another.
    """

    command: str
    cwd: str
    id: str | None = None
    max_retries: int | None = None
    delay: float | None = None
    run_at: int | None = None
    timeout: float | None = None
    env: Mapping[str, str] = _NO_VARIABLES
    priority: int = 0
    group: str = DEFAULT_GROUP
    unique: str | None = None
    if_exists: str = RETURN
    after: tuple[str, ...] = ()
    after_any: tuple[str, ...] = ()
    batch: str | None = None
    retry_on: str | None = None
    no_retry_on: str | None = None
    backoff_base: float | None = None
    export: Mapping[str, str] = _NO_VARIABLES


Columns = dict[str, tuple[Any, ...]]
"""New jobs by their fields: of each field the values of all, or the one that all have. Of the command always all."""

_PIECE: Final = 250
"""Jobs that one statement adds. It is written, and prepared, anew for each number of them, up to this one."""


class InPieces(Collection[NewJob]):
    """New jobs that are at hand as columns, any number of them."""

    @abstractmethod
    def pieces(self) -> Iterator[Columns]:
        """All of them, some hundred at a time."""


def pieces(jobs: Iterable[NewJob]) -> Iterator[Columns]:
    """New jobs as columns, some hundred at a time."""
    if isinstance(jobs, InPieces):
        yield from jobs.pieces()
        return
    source = iter(jobs)
    while some := tuple(islice(source, _PIECE)):
        yield columns_of(some)


def columns_of(jobs: Sequence[NewJob]) -> Columns:
    """Any number of new jobs, though at least one, as columns."""
    columns = dict(zip(NewJob._fields, zip(*jobs, strict=True), strict=True))
    if len(jobs) == 1:
        return columns
    return {name: column[:1] if name != "command" and _is_one(column) else column for name, column in columns.items()}


def _is_one(column: Sequence[Any]) -> bool:
    """Whether all values in a column are the same."""
    first = column[0]
    if column.count(first) < len(column):
        return False
    # Variables that are equal may yet have another order, and zero another sign.
    return not isinstance(first, (Mapping, float)) or len(set(map(id, column))) == 1


def jobs_in(columns: Columns) -> Iterator[NewJob]:
    """The jobs that columns were made of."""
    return map(NewJob._make, zip(*(whole(column, columns) for column in columns.values()), strict=True))


def whole(column: tuple[Any, ...], columns: Columns) -> tuple[Any, ...]:
    """One of some columns, with a value for each job."""
    count = len(columns["command"])
    return column if len(column) == count else column * count


class Added(Collection[str]):
    """The ids of jobs that were added together, in their order. Takes no memory but that of the jobs.

    Those to whom their user gave none have the number as their id that they got in the store: one after the
    other, from ``first`` on. ``others`` are the ids of jobs that were there already, by the place in which
    one with the same key was to be added. ``freed`` tells for how many others to wake a worker, because they
    waited for one that was replaced. ``doomed`` has the reasons, by id, of those that were cancelled at once, because
    they can never start.
    """

    def __init__(
        self,
        jobs: Collection[NewJob],
        first: int,
        others: Mapping[int, str],
        freed: int = 0,
        doomed: Mapping[str, str] = _NO_VARIABLES,
    ) -> None:
        self.freed = freed
        self.doomed = doomed
        self._jobs = jobs
        self._first = first
        self._others = others

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[str]:
        given = chain.from_iterable(whole(piece["id"], piece) for piece in pieces(self._jobs))
        for place, job_id in enumerate(given):
            yield self._others.get(place) or job_id or str(self._first + place)

    def __contains__(self, job_id: object) -> bool:
        return any(each == job_id for each in self)


class Job(NamedTuple):
    """A job as the store knows it. Times are ISO-8601 UTC with ``Z``, durations seconds."""

    id: str
    command: str
    state: str
    attempts: int
    max_retries: int
    created_at: str
    updated_at: str
    next_run_at: str | None
    timeout: float | None
    cwd: str
    env: Mapping[str, str]
    worker: str | None
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    cancel_requested: bool
    priority: int = 0
    group: str = DEFAULT_GROUP
    unique: str | None = None
    held: bool = False
    blockers: int = 0
    """How many jobs it still waits for."""
    batch: str | None = None
    retry_on: str | None = None
    no_retry_on: str | None = None
    backoff_base: float | None = None
    export: tuple[str, ...] = ()
    """The names of the variables that it took along from where it was enqueued. Their values are for the job alone."""

    @property
    def ended(self) -> bool:
        """Whether the job has ended: completed, dead or cancelled."""
        return self.state in ENDED

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON shows it."""
        return {**self._asdict(), "env": dict(self.env), "export": list(self.export)}


class GroupState(NamedTuple):
    """A group of jobs: how many of it may run at once (None for no limit), whether it is paused, and what is in it."""

    name: str
    limit: int | None
    paused: bool
    pending: int
    processing: int

    def as_dict(self) -> dict[str, Any]:
        """The group as JSON shows it."""
        return self._asdict()


class Needed(NamedTuple):
    """A job that another waits for: until it completed, or ``however`` it ends."""

    id: str
    state: str
    however: bool


class Slot(NamedTuple):
    """A time at which a schedule makes a job."""

    schedule: str
    at: str

    def as_dict(self) -> dict[str, Any]:
        """The slot as JSON shows it."""
        return self._asdict()


class Overview(NamedTuple):
    """The queue at a glance, all taken at one moment. Of the pending jobs some are ``held``, and others ``blocked`` by jobs."""

    counts: Mapping[str, int]
    oldest_waiting: Job | None
    next_scheduled: Job | None
    next_slot: Slot | None
    paused_groups: Sequence[str]
    held: int
    blocked: int


class Glance(NamedTuple):
    """What there is to watch in a queue, all taken at one moment.

    ``counts``, ``groups``, and ``scheduled``, the pending jobs that wait for a time that was given, are None where nobody counted;
    so are ``held`` and ``blocked``, those that are held, or else wait for other jobs.
    ``failures`` are jobs that are dead, or wait for a retry: of many, those that were enqueued last or are retried next.
    """

    counts: Mapping[str, int] | None
    scheduled: int | None
    running: list[Job]
    failures: list[Job]
    next_scheduled: Job | None
    groups: list[GroupState] | None
    paused: bool
    held: int | None
    blocked: int | None


class Attempt(NamedTuple):
    """One start of a job. ``number`` counts all starts of the job and is never used twice.

    While it runs, ``ended_at`` and ``outcome`` are None. ``log_offset`` and ``log_bytes`` tell
    which slice of the job's log it wrote.
    """

    number: int
    started_at: str
    ended_at: str | None
    outcome: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    worker: str | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    log_offset: int | None
    log_bytes: int | None
    leftover: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The attempt as JSON shows it."""
        return {**self._asdict(), "leftover": list(self.leftover)}


class RetryPolicy(NamedTuple):
    """What a job says itself about its retries: lists of exit codes as :mod:`queuectl.codes` has them, and seconds.

    With ``retry_on`` only failures with these codes are retried, and none with a code of ``no_retry_on``.
    ``backoff_base`` takes the place of the setting.
    """

    retry_on: str | None = None
    no_retry_on: str | None = None
    backoff_base: float | None = None


ANY_FAILURE: Final = RetryPolicy()
"""The policy of a job that says nothing about it."""


class Claim(NamedTuple):
    """A job in the hands of a worker. ``(seq, number)`` is the fence of all that follows.

    ``started_at`` is None as long as it was claimed ahead only: then its attempt begins when those before it have ended.
    """

    seq: int
    id: str
    number: int
    attempts: int
    max_retries: int
    command: str
    cwd: str
    env: Mapping[str, str]
    timeout: float | None
    worker: str
    started_at: int | None
    policy: RetryPolicy = ANY_FAILURE


class Finished(NamedTuple):
    """What the record of an outcome came to. ``ready`` tells how many other workers to wake because of it."""

    recorded: bool
    following: Claim | None
    ready: int


class Settled(NamedTuple):
    """What the record of several outcomes came to: which of them were recorded, in their order; and as :class:`Finished`."""

    recorded: list[bool]
    following: list[Claim]
    ready: int


class Stopped(NamedTuple):
    """What a cancel came to: the ids of jobs that still run, how many workers to wake because of it, and the ids of all."""

    running: list[str]
    ready: int
    ids: list[str]


class Pruned(NamedTuple):
    """What one step of a removal came to: how many jobs are gone, and whether there is more to do."""

    jobs: int
    more: bool


class Outcome(NamedTuple):
    """How one attempt ended, as its runner saw it."""

    kind: str
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    log_offset: int | None = None
    log_bytes: int | None = None
    leftover: tuple[str, ...] = ()


def new_job(fields: Mapping[str, Any]) -> NewJob:
    """Check the fields of a job file's entry and make a job of them.

    Accepted are the keys of a job file, and the full model when it describes a fresh job.
    Raises :class:`InvalidInput`, which names the key and the value.
    """
    if not isinstance(fields, Mapping):
        raise InvalidInput(f'a job is an object such as {{"command": "true"}}, not {shown(fields)}')
    if not fields.keys() <= _JOB_KEYS:
        unknown = next(key for key in fields if key not in _JOB_KEYS)
        raise InvalidInput(f"unknown key {shown(unknown)} in a job{_meant(unknown)}")
    given = {key: value for key, value in fields.items() if value is not None}
    if not given.keys().isdisjoint(_FRESH_KEYS):
        _check_fresh(given)
    run_at = _run_at(given)
    delay = seconds(given["delay"], "delay") if "delay" in given else None
    if delay is not None and run_at is not None:
        raise InvalidInput("delay and run_at exclude each other: give one of them")
    env = environment(given["env"]) if "env" in given else _NO_VARIABLES
    export = exported(given["export"]) if "export" in given else _NO_VARIABLES
    command = command_line(given.get("command"))
    if env or export:
        _check_size(command, {**export, **env})
    return NewJob(
        command,
        working_directory(given.get("cwd")),
        job_id(given["id"]) if "id" in given else None,
        retries(given["max_retries"]) if "max_retries" in given else None,
        delay,
        run_at,
        seconds(given["timeout"], "timeout") if "timeout" in given else None,
        env,
        priority(given["priority"]) if "priority" in given else 0,
        group_name(given["group"]) if "group" in given else DEFAULT_GROUP,
        unique_key(given["unique"]) if "unique" in given else None,
        if_exists(given["if_exists"]) if "if_exists" in given else RETURN,
        needed_ids(given["after"], "after") if "after" in given else (),
        needed_ids(given["after_any"], "after_any") if "after_any" in given else (),
        job_id(given["batch"], "batch") if "batch" in given else None,
        exit_codes(given["retry_on"], "retry_on") if "retry_on" in given else None,
        exit_codes(given["no_retry_on"], "no_retry_on") if "no_retry_on" in given else None,
        number(given["backoff_base"], "backoff_base") if "backoff_base" in given else None,
        export,
    )


def alike(job: NewJob, commands: Iterable[object]) -> Iterator[NewJob]:
    """Jobs that differ from one that was checked in their commands alone, which are checked as :func:`new_job` does."""
    _, *rest = job
    variables = {**job.export, **job.env}
    for command in commands:
        line = command_line(command)
        if variables:
            _check_size(line, variables)
        yield NewJob._make((line, *rest))


UNSETTABLE: Final = (
    "batch",
    "timeout",
    "env",
    "export",
    "unique",
    "priority",
    "group",
    "max_retries",
    "retry_on",
    "no_retry_on",
    "backoff_base",
    "after",
    "after_any",
)
"""What a waiting job may go back to not saying itself."""


def changes(fields: Mapping[str, Any], unset: Collection[str] = ()) -> dict[str, Any]:
    """Check what is to be changed of a waiting job, as :func:`new_job` does; the fields of a new job that are given.

    Those in ``unset`` are as in a new job that does not name them.
    """
    for key in unset:
        if key not in UNSETTABLE:
            raise InvalidInput(f"unset: {shown(key)} is none of {', '.join(UNSETTABLE)}")
        if fields.get(key) is not None:
            raise InvalidInput(f"{key} cannot be set and unset at once")
    for key in ("id", "if_exists", *_FRESH_KEYS):
        if fields.get(key) is not None:
            raise InvalidInput(f"{key} cannot be changed")
    given = {key: value for key, value in fields.items() if value is not None}
    whole = new_job({"command": "true", "cwd": "/", **given})._asdict()
    return {key: whole[key] for key in (*given, *unset)}


_FRESH_KEYS = ("state", "attempts", "created_at", "updated_at", "next_run_at")
_OWN_KEYS = ("id", "command", "max_retries", "delay", "run_at", "timeout", "cwd", "env")
_RETRY_KEYS = ("retry_on", "no_retry_on", "backoff_base")
_MORE_KEYS = ("priority", "group", "unique", "if_exists", "after", "after_any", "batch", *_RETRY_KEYS, "export")
_JOB_KEYS = frozenset((*_OWN_KEYS, *_MORE_KEYS, *_FRESH_KEYS))
OTHER_WORDS: Final[Mapping[str, str]] = {
    "name": "id",
    "cmd": "command",
    "run": "command",
    "script": "command",
    "depends_on": "after",
    "depends": "after",
    "needs": "after",
    "requires": "after",
    "dependencies": "after",
    "label": "batch",
    "tag": "batch",
    "retries": "max_retries",
    "dir": "cwd",
    "directory": "cwd",
    "workdir": "cwd",
    "environment": "env",
}
"""What people call the keys of a job, and the options that say the same, elsewhere."""


def _meant(key: object) -> str:
    """The key that was probably meant by one that is not known, or all that are known."""
    word = str(key).replace("-", "_").lower()
    meant = OTHER_WORDS.get(word) or next(iter(closest(word, sorted(_JOB_KEYS), 1, 0.6)), None)
    return f": did you mean {meant!r}?" if meant else f" (known: {', '.join(sorted(_JOB_KEYS))})"


def is_job_id(text: str) -> bool:
    """Whether a text has the form of a job's id."""
    return re.fullmatch(_JOB_ID, text) is not None


def job_id(value: object, what: str = "id") -> str:
    """Check a job's id. Raises :class:`InvalidInput`."""
    if isinstance(value, str) and is_job_id(value):
        return value
    raise InvalidInput(
        f"{what} {shown(value)} is not valid: 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or a digit"
    )


def priority(value: object, what: str = "priority") -> int:
    """Check a priority: a whole number, the higher the sooner. Raises :class:`InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{what}: {shown(value)} is not a whole number")
    if abs(value) > MAX_PRIORITY:
        raise InvalidInput(f"{what}: {shown(value)} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    return value


def group_name(value: object, what: str = "group") -> str:
    """Check a group's name, which has the form of a job's id. Raises :class:`InvalidInput`."""
    return job_id(value, what)


def unique_key(value: object, what: str = "unique") -> str:
    """Check a key that makes a job unique: any text, though not an empty one. Raises :class:`InvalidInput`."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{what}: {shown(value)} is not a key")
    if len(text(value, what).encode()) > MAX_KEY_BYTES:
        raise InvalidInput(f"{what}: has more than {MAX_KEY_BYTES} bytes")
    return value


def if_exists(value: object, what: str = "if_exists") -> str:
    """Check what to do about a key that another job has. Raises :class:`InvalidInput`."""
    if value not in IF_EXISTS:
        raise InvalidInput(f"{what}: {shown(value)} is none of {', '.join(IF_EXISTS)}")
    return str(value)


def needed_ids(value: object, what: str) -> tuple[str, ...]:
    """Check the ids of jobs to wait for: one, or a list. Raises :class:`InvalidInput`."""
    ids = [value] if isinstance(value, str) else value
    if not isinstance(ids, (list, tuple)):
        raise InvalidInput(f"{what}: {shown(value)} is not a job's id, nor a list of such")
    return tuple(dict.fromkeys(job_id(each, what) for each in ids))


def retries(value: object, what: str = "max_retries") -> int:
    """Check a number of retries, 0 to a thousand million. Raises :class:`InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{what}: {shown(value)} is not a whole number")
    if not 0 <= value <= MAX_RETRIES_LIMIT:
        raise InvalidInput(f"{what}: {shown(value)} is not between 0 and {MAX_RETRIES_LIMIT}")
    return value


def number(value: object, what: str) -> float:
    """Check a number, 0 or more, or text that is one. Raises :class:`InvalidInput`."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= MAX_DURATION:
        raise InvalidInput(f"{what}: {shown(value)} is not a number between 0 and {MAX_DURATION:.0f}")
    return int(found) if found == int(found) else found


def exit_codes(value: object, what: str) -> str:
    """Check a list of exit codes, such as ``2,64-78``. Raises :class:`InvalidInput`."""
    from queuectl.codes import parse  # few jobs name any

    return parse(value, what)


def working_directory(value: object, what: str = "cwd") -> str:
    """The absolute path that a job runs in; the current directory when ``value`` is None."""
    if value is None:
        return _normal(_here(), what)
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InvalidInput(f"{what}: {shown(value)} is not a directory's path")
    path = os.fspath(value)
    if isinstance(path, bytes):
        raise InvalidInput(f"{what}: {path!r} is not text")
    return _normal(path if path.startswith("/") else os.path.join(_here(), path), what)


def _here() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise InvalidInput(f"the current directory cannot be told ({error.strerror}): name one with --cwd") from error


@lru_cache(maxsize=64)
def _normal(path: str, what: str) -> str:
    return text(os.path.normpath(path), what)


def text(value: str, what: str) -> str:
    """Check that text can be stored and passed to a program: UTF-8, without NUL."""
    if "\0" in value:
        raise InvalidInput(f"{what}: contains a NUL byte, which no program can be passed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{what}: is not UTF-8 text") from error
    return value


def command_line(value: object, what: str = "command") -> str:
    """Check a command line: text that a shell can be passed. Raises :class:`InvalidInput`."""
    if value is None:
        raise InvalidInput("a job needs a command")
    if not isinstance(value, str):
        raise InvalidInput(f"{what}: {shown(value)} is not text")
    if not value or value.isspace():
        raise InvalidInput(f"{what}: is empty")
    text(value, what)
    if len(value) > MAX_COMMAND_BYTES // 4 and (size := len(value.encode())) > MAX_COMMAND_BYTES:
        raise InvalidInput(f"{what}: has {size} bytes, more than the {MAX_COMMAND_BYTES} that a shell can be passed")
    return value


def environment(value: object, what: str = "env") -> dict[str, str]:
    """Check variables for a job: names and texts. Raises :class:`InvalidInput`."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what}: {shown(value)} is not an object of names and values")
    for name, content in value.items():
        if not isinstance(name, str) or not name or "=" in name:
            raise InvalidInput(f"{what}: {shown(name)} is not the name of a variable")
        if not isinstance(content, str):
            raise InvalidInput(f"{what}: the value of {name} is {shown(content)}, not text")
        entry = f"{text(name, what)}={text(content, f'{what} {name}')}"
        if len(entry.encode()) > MAX_COMMAND_BYTES:
            raise InvalidInput(f"{what}: {name:.40} has more than {MAX_COMMAND_BYTES} bytes")
    return dict(value)


def exported(value: object, what: str = "export") -> dict[str, str]:
    """The variables of this process that a job is to take along: names, or ``ALL``. Raises :class:`InvalidInput`."""
    from queuectl.exports import taken  # few jobs take any

    return environment(taken(value, what, os.environb), what)


def _check_size(command: str, variables: Mapping[str, str]) -> None:
    """Refuse what no program could be started with."""
    size = len(command.encode()) + sum(
        len(name.encode()) + len(value.encode()) + _BYTES_EACH for name, value in variables.items()
    )
    if size > MAX_START_BYTES:
        raise InvalidInput(
            f"the command and its variables have {size} bytes, more than the {MAX_START_BYTES} that a program can be passed"
        )


def _check_fresh(given: Mapping[str, Any]) -> None:
    if given.get("state", PENDING) != PENDING:
        raise InvalidInput(f"state: {shown(given['state'])} is not the state of a new job (leave it out, or pending)")
    attempts = given.get("attempts", 0)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts != 0:
        raise InvalidInput(f"attempts: {shown(attempts)} is not that of a new job (leave it out, or 0)")


def _run_at(given: Mapping[str, Any]) -> int | None:
    if "run_at" in given and "next_run_at" in given:
        raise InvalidInput("run_at and next_run_at say the same: give one of them")
    key = "run_at" if "run_at" in given else "next_run_at"
    return timestamp(given[key], key) if key in given else None
