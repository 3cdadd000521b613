"""Where a queue lives: its database, the files beside it, and how a command finds them."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

from queuectl import files
from queuectl.errors import Conflict, InvalidInput, NoSuchQueue, QueueError, StoreError

DATABASE_NAME = "queuectl.db"
ENVIRONMENT_VARIABLE = "QUEUECTL_DB_PATH"


class Home(NamedTuple):
    """The paths of one queue. All are absolute and follow the database."""

    database: str

    @property
    def directory(self) -> str:
        return os.path.dirname(self.database)

    @property
    def settings(self) -> str:
        return os.path.join(self.directory, "queuectl_config.json")

    @property
    def logs(self) -> str:
        return _beside(self.database, "job_logs")

    @property
    def run(self) -> str:
        return os.path.join(self.directory, "run")

    def log(self, job_id: str) -> str:
        return f"{self.logs}{os.sep}{job_id}.log"

    def worker_pid(self, number: int) -> str:
        return os.path.join(self.run, f"worker-{number}.pid")

    def slot(self, worker: str) -> str:
        """Where a worker notes which process it runs, so that a rescuer finds it."""
        return os.path.join(self.run, f"slot-{worker}")

    @property
    def supervisor_pid(self) -> str:
        return os.path.join(self.run, "supervisor.pid")

    @property
    def supervisor_lock(self) -> str:
        """Held by a running supervisor: the one truth about «running»."""
        return os.path.join(self.run, "supervisor.lock")

    @property
    def supervisor_state(self) -> str:
        """What the supervisor tells about its workers, as JSON."""
        return os.path.join(self.run, "supervisor.state")

    @property
    def supervisor_log(self) -> str:
        return os.path.join(self.run, "supervisor.log")

    @property
    def stop_request(self) -> str:
        """The terms of a stop that ``worker-stop`` asks for, as JSON."""
        return os.path.join(self.run, "stop.request")

    @property
    def wake(self) -> str:
        """The FIFO that idle workers wait on."""
        return os.path.join(self.run, "wake")

    @property
    def recall(self) -> str:
        """Grows when what workers claimed ahead may have to wait after all."""
        return os.path.join(self.run, "recall")

    @property
    def control(self) -> str:
        """The FIFO that the supervisor waits on: requests and cancels are there to be looked at."""
        return os.path.join(self.run, "control")

    @property
    def cgroup(self) -> str:
        """Remembers which control group the last workers lived in."""
        return os.path.join(self.run, "cgroup")

    @property
    def lock(self) -> str:
        """Held while the home itself is made or its settings are written."""
        return os.path.join(self.run, ".home.lock")

    @property
    def prune_lock(self) -> str:
        """Held by the one worker that removes what the setting ``retention`` does not keep."""
        return os.path.join(self.run, ".prune.lock")

    @property
    def marker(self) -> str:
        """Names the one database of this home."""
        return os.path.join(self.run, "queue")

    @property
    def exists(self) -> bool:
        """Whether something lies at the database's path, be it a database or not."""
        return os.path.lexists(self.database)

    @property
    def foreign_owner(self) -> str | None:
        """The name of whom the database belongs to; None where it is ours, or not there."""
        return files.foreign_owner(self.database)

    def require(self) -> None:
        """Raise :class:`NoSuchQueue` when nothing lies at the database's path."""
        if not self.exists:
            raise NoSuchQueue(
                f"no queue at {self.database}: run 'queuectl init {self.database}', or name another with --db"
            )

    def make_directories(self) -> None:
        """Make the home and its directories. Raises :class:`StoreError` where that cannot be."""
        try:
            files.make_private_directories(self.directory)
            files.make_private_directory(self.run)
            files.make_private_directory(self.logs)
        except OSError as error:
            what = error.filename or self.directory
            raise StoreError(
                f"cannot make {what}: {error.strerror}: the queue's home must be a directory that you may write in"
            ) from error

    def shows_former_queue(self) -> bool:
        """Whether ``job_logs/`` or ``run/`` tell that a queue was here whose database is gone."""
        return bool(_entries(self.logs)) or any(not name.startswith(".") for name in _entries(self.run))

    def check_sole_database(self) -> None:
        """Raise :class:`Conflict` when another database of this directory is its queue."""
        name = files.read_small(self.marker)
        other = os.path.join(self.directory, name.removesuffix("\n")) if name else self.database
        if other != self.database and os.path.lexists(other):
            raise Conflict(f"{self.directory} is the home of {other} already: {self.database} needs another directory")

    def mark(self) -> None:
        """Note which database is this home's queue. Raises :class:`StoreError` where that cannot be."""
        name = os.path.basename(self.database)
        if files.read_small(self.marker) != f"{name}\n":
            try:
                files.write_durably(self.marker, f"{name}\n")
            except OSError as error:
                raise StoreError(f"cannot write {self.marker}: {error.strerror}") from error


@lru_cache(maxsize=64)
def _beside(database: str, name: str) -> str:
    """A path that a worker asks for with each job."""
    return os.path.join(os.path.dirname(database), name)


class Location(NamedTuple):
    """A home, and whether it was named (so that it may be made) or only looked for."""

    home: Home
    explicit: bool


def locate(path: str | os.PathLike[str] | None = None) -> Location:
    """Find the queue: ``path``, else ``QUEUECTL_DB_PATH``, else the nearest ``queuectl.db`` upward.

    Raises :class:`NoSuchQueue` when none was named and none was found.
    """
    if path is not None:
        return Location(at(path), explicit=True)
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Location(at(named), explicit=True)
    directory = _current_directory()
    while True:
        candidate = os.path.join(directory, DATABASE_NAME)
        if os.path.lexists(candidate):
            return Location(at(candidate), explicit=False)
        parent = os.path.dirname(directory)
        if parent == directory:
            raise NoSuchQueue("no queue here: run 'queuectl init', or name one with --db")
        directory = parent


def locate_new(path: str | os.PathLike[str] | None = None) -> Home:
    """Where ``init`` makes a queue: the path named, else the current directory."""
    named = path if path is not None else os.environ.get(ENVIRONMENT_VARIABLE) or None
    return at(named if named is not None else os.path.join(_current_directory(), DATABASE_NAME))


def at(path: str | os.PathLike[str]) -> Home:
    """The home of the database at ``path``. Raises :class:`InvalidInput` for what is no path."""
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidInput(f"--db: {name!r} is not a file's path")
    if name.endswith("/") and not os.path.isdir(name):
        raise InvalidInput(
            f"--db: {name!r} names a directory; it takes the path of the database, such as {name}{DATABASE_NAME}"
        )
    resolved = os.path.realpath(name if os.path.isabs(name) else os.path.join(_current_directory(), name))
    try:
        resolved.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"--db: {name!r} is not UTF-8 text") from error
    return Home(resolved)


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise QueueError(f"the current directory cannot be told: {error.strerror}") from error


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
