"""What is special to the store in an SQLite file: the file itself, its locks, its indexes, and forks."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm import IS_ROOT, eventually
from steps import steps_of
from store.backends import T0, add, after, claim, finish
from unit.support import Child, in_child, in_threads, unprivileged_directory

from queuectl import Conflict, NoSuchQueue, Queue, QueueError, StoreBusy, StoreDamaged, StoreError
from queuectl.clock import SYSTEM_CLOCK
from queuectl.home import at
from queuectl.model import Claim, Outcome
from queuectl.retry import judge
from queuectl.store import forks, queries, schema
from queuectl.store.connection import Connections
from queuectl.store.sqlite import SQLiteStore

USES: dict[str, Callable[[Queue], object]] = {
    "counts": lambda queue: queue.counts(),
    "jobs": lambda queue: queue.jobs(),
    "get": lambda queue: queue.get("a"),
    "overview": lambda queue: queue.overview(),
    "observe": lambda queue: queue.observe().look(),
    "cancel": lambda queue: queue.cancel("a"),
    "retry": lambda queue: queue.retry("a"),
    "wait": lambda queue: queue.wait(timeout=0),
    "enqueue": lambda queue: queue.enqueue("true"),
    "setting": lambda queue: queue.change_setting("max_retries", 1),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty queue's database, which nobody has open."""
    queue = Queue.init(tmp_path / "home" / "q.db")
    queue.close()
    return Path(queue.home.database)


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(str(path), 30)
    yield opened
    opened.close()


def value(path: Path, query: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchone()[0]
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def refused(path: Path, says: str = "", error: type[StoreError] = StoreError) -> None:
    """Every use of the queue ends with one clear line that names the file."""
    for name, use in USES.items():
        with pytest.raises(StoreError) as caught:
            use(Queue(path))
        assert type(caught.value) is error, name
        assert caught.value.exit_code == 5
        assert str(path) in str(caught.value)
        assert re.search(says, str(caught.value)), (name, str(caught.value))
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError):
        Queue.init(path)


# The file


def test_the_header_tells_what_it_is(path: Path) -> None:
    assert path.read_bytes().startswith(b"SQLite format 3\0")
    assert value(path, "PRAGMA journal_mode") == "wal"
    assert value(path, "PRAGMA application_id") == schema.APPLICATION_ID
    assert value(path, "PRAGMA user_version") == schema.latest() == len(queries.migrations())
    assert value(path, "PRAGMA integrity_check") == "ok"


def test_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    change(path, f"PRAGMA user_version = {schema.latest() + 1}")
    refused(path, "newer queuectl")
    assert value(path, "PRAGMA user_version") == schema.latest() + 1


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"these are my notes\n" * 300,
    "short": b"x",
    "only the magic": b"SQLite format 3\0",
    "zeros": bytes(8192),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "q.db"
    path.write_bytes(content)
    refused(path, error=StoreDamaged if len(content) > 1 else StoreError)  # what is as good as empty is no damage
    assert path.read_bytes() == content


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.db").mkdir()
    refused(tmp_path / "q.db", "is a directory")


def test_another_program_s_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    change(path, "CREATE TABLE jobs (id)", "INSERT INTO jobs VALUES ('mine')")
    before = path.read_bytes()
    refused(path, "not a queue's database")
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_an_error_and_no_traceback(path: Path, left: float) -> None:
    queue = Queue(path)
    queue.enqueue_many([{"command": "true " * 50}] * 500)
    queue.close()
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * left))
    said = []
    for use in USES.values():
        try:
            use(Queue(path))
        except QueueError as error:
            said.append((error.exit_code, str(path) in str(error)))
    assert (5, True) in said
    assert (5, False) not in said


def test_damage_found_amid_a_read_is_an_error_and_no_traceback(path: Path) -> None:
    queue = Queue(path)
    queue.enqueue_many([{"command": "true " * 50}] * 500)
    queue.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 3))
    with pytest.raises(StoreError, match="damaged"):
        Queue(path).jobs()


def test_damage_anywhere_is_an_error_and_no_traceback(path: Path) -> None:
    queue = Queue(path)
    queue.enqueue_many([{"command": f"echo {number}", "id": f"j{number}", "env": {"A": "b"}} for number in range(30)])
    queue.enqueue("true", id="a")
    store = SQLiteStore(str(path), 30)
    for _ in range(10):
        finish(store, claim(store, queue._clock.now()), "failed", leftover=("x",))
    looks: list[Callable[[Queue], object]] = [
        *USES.values(),
        lambda queue: [queue.attempts(f"j{number}") for number in range(10)],
        lambda queue: queue._store().claim("w", queue._clock.now()),
        lambda queue: queue._store().claims(),
    ]
    store.close()
    queue.close()
    intact = path.read_bytes()
    errors: list[QueueError] = []
    for seed in range(50):
        chance = random.Random(seed)
        damaged = bytearray(intact)
        for _ in range(chance.choice([1, 3, 20])):
            place = chance.randrange(len(damaged) - 64)
            length = chance.choice([1, 4, 64])
            damaged[place : place + length] = chance.randbytes(length)
        path.write_bytes(damaged)
        for use in looks:
            queue = Queue(path)
            try:
                use(queue)
            except QueueError as error:
                errors.append(error)
            queue.close()
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
    assert len([error for error in errors if isinstance(error, StoreError)]) > 30
    assert not [error for error in errors if "\n" in str(error)]


def test_a_symlink_to_nowhere_is_a_queue_to_be_made_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "q.db").symlink_to(tmp_path / "there" / "q.db")
    with pytest.raises(NoSuchQueue):
        Queue(tmp_path / "q.db").counts()
    Queue(tmp_path / "q.db").enqueue("true")
    assert (tmp_path / "there" / "q.db").is_file()


def test_a_copy_in_another_journal_mode_becomes_a_queue_as_others(path: Path, tmp_path: Path) -> None:
    Queue(path).enqueue("true", id="a")
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "q.db"
    change(path, f"VACUUM INTO '{copy}'")
    assert value(copy, "PRAGMA journal_mode") == "delete"
    assert Queue(copy).get("a").id == "a"
    assert value(copy, "PRAGMA journal_mode") == "wal"


# A file that goes away


def test_a_database_that_was_deleted_under_an_open_store(path: Path, store: SQLiteStore) -> None:
    add(store, "a")
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    for use in (store.counts, store.version, lambda: add(store, "b"), lambda: store.claim("w", T0)):
        with pytest.raises(StoreError, match="deleted or replaced"):
            use()
    assert not path.exists()
    with pytest.raises(StoreError, match="gone"):
        SQLiteStore(str(path), 1).counts()
    assert not path.exists(), "SQLite made nothing by itself"


def test_a_database_that_was_replaced_under_an_open_store(path: Path, store: SQLiteStore, tmp_path: Path) -> None:
    add(store, "a")
    Queue.init(tmp_path / "new" / "q.db").close()
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    os.replace(tmp_path / "new" / "q.db", path)
    with pytest.raises(StoreError, match="deleted or replaced"):
        add(store, "b")
    assert Queue(path).jobs() == []
    store.close()
    add(store, "b")
    assert [job.id for job in Queue(path).jobs()] == ["b"]


# Trouble that passes


def overwrite(path: Path, content: bytes) -> None:
    """Change a database as another program does: in this process, to close the file would drop SQLite's locks."""
    subprocess.run(["dd", f"of={path}", "conv=notrunc"], input=content, capture_output=True, check=True)


@pytest.fixture
def damaged(path: Path) -> tuple[SQLiteStore, bytes]:
    """An open store that has read damaged pages, and what was in their place."""
    Queue(path).enqueue_many([{"command": "true", "id": "a"}])
    intact = path.read_bytes()
    store = SQLiteStore(str(path), 1)
    store.version()
    overwrite(path, intact[:4096] + b"\xa5" * (len(intact) - 4096))
    with pytest.raises(StoreError, match="damaged"):
        store.jobs()
    return store, intact


def test_a_database_that_was_mended_can_be_used_again(path: Path, damaged: tuple[SQLiteStore, bytes]) -> None:
    """A connection keeps the damaged pages that it read."""
    store, intact = damaged
    with pytest.raises(StoreError, match="damaged"):
        store.claim("w", T0)
    overwrite(path, intact)
    assert [job.id for job in store.jobs()] == ["a"]
    assert claim(store).id == "a"


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_after_trouble_no_other_database_is_taken_for_it(
    path: Path, damaged: tuple[SQLiteStore, bytes], tmp_path: Path, how: str
) -> None:
    store, _ = damaged
    if how == "replaced":
        other = tmp_path / "new" / "q.db"
        Queue.init(other).close()
        os.replace(other, path)
    else:
        path.unlink()
    for use in (store.counts, lambda: add(store, "b"), lambda: store.claim("w", T0)):
        with pytest.raises(StoreError, match="deleted or replaced"):
            use()
    assert path.exists() == (how == "replaced")


def test_after_a_fork_no_other_database_is_taken_for_it(path: Path, store: SQLiteStore, tmp_path: Path) -> None:
    """Connections are closed before a fork; what is opened after it must be the same file."""
    add(store, "a")
    Queue.init(tmp_path / "new" / "q.db").close()
    in_child(lambda: None)
    os.replace(tmp_path / "new" / "q.db", path)
    with pytest.raises(StoreError, match="deleted or replaced"):
        add(store, "b")


def test_a_database_that_was_read_only_for_a_while() -> None:
    """A connection that was opened meanwhile can never write."""
    with unprivileged_directory() as directory:

        def use() -> None:
            path = directory / "q.db"
            Queue.init(path).close()
            path.chmod(0o400)
            store = SQLiteStore(str(path), 1)
            for _ in range(2):
                assert store.jobs() == [], "it can be read"
                with pytest.raises(StoreError, match=r"q\.db is read-only: 'chmod u\+w .*q\.db' mends that$"):
                    add(store, "a")
            path.chmod(0o600)
            with pytest.raises(StoreError, match=r"read-only: .*q\.db-(wal|shm) may not be written"):
                add(store, "a")
            for end in ("-wal", "-shm"):
                Path(f"{path}{end}").chmod(0o600)
            add(store, "a")
            assert claim(store).id == "a"

        in_child(use, unprivileged=True)


def test_a_log_that_another_user_is_just_making() -> None:
    """Root makes SQLite's files as its own, and hands them over a moment later to whom the database belongs."""
    with unprivileged_directory() as directory:

        def use() -> None:
            path, log = directory / "q.db", directory / "q.db-wal"
            Queue.init(path).close()
            log.touch(0o000)
            tries = 0

            def look(event: str, arguments: object) -> None:
                nonlocal tries
                if event == "sqlite3.connect":
                    tries += 1
                    log.chmod(0o600 if tries > 1 else 0o000)

            sys.addaudithook(look)
            assert SQLiteStore(str(path), 1).jobs() == []
            assert tries == 2

        in_child(use, unprivileged=True)


def test_a_log_that_cannot_be_opened() -> None:
    with unprivileged_directory() as directory:

        def use() -> None:
            Queue.init(directory / "q.db").close()
            (directory / "q.db-wal").touch(0o000)
            with pytest.raises(StoreError, match="cannot be opened"):
                SQLiteStore(str(directory / "q.db"), 1).jobs()

        in_child(use, unprivileged=True)


# Locks and limits


def hold_lock(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_locked_database_is_busy_after_the_timeout_and_can_be_read(path: Path) -> None:
    holder = hold_lock(path)
    store = SQLiteStore(str(path), 0.3)
    begin = time.monotonic()
    with pytest.raises(StoreBusy, match="locked"):
        add(store, "a")
    assert 0.25 < time.monotonic() - begin < 10
    assert store.counts()["pending"] == 0
    assert store.claim("w", T0) is None, "without work nobody asks for the lock"
    holder.execute("ROLLBACK")
    add(store, "a")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        store.claim("w", T0)
    holder.close()
    assert claim(store).id == "a"


def test_a_database_that_is_locked_for_a_while_is_waited_for(path: Path, store: SQLiteStore) -> None:
    holder = hold_lock(path)
    timer = threading.Timer(0.3, holder.rollback)
    timer.start()
    add(store, "a")
    timer.join()
    holder.close()
    assert store.get("a").state == "pending"


def test_the_setting_busy_timeout_holds(path: Path) -> None:
    Queue(path).change_setting("busy_timeout", 0)
    holder = hold_lock(path)
    begin = time.monotonic()
    with pytest.raises(StoreBusy):
        Queue(path).enqueue("true")
    assert time.monotonic() - begin < 5
    holder.close()


def test_the_longest_timeout_is_not_none_at_all(path: Path) -> None:
    Queue(path).change_setting("busy_timeout", "36500d")
    holder = hold_lock(path)
    timer = threading.Timer(0.3, holder.rollback)
    timer.start()
    assert Queue(path).enqueue("true").id == "1"
    timer.join()
    holder.close()


def test_a_full_disk_is_an_error_and_changes_nothing(path: Path, store: SQLiteStore) -> None:
    add(store, "a")
    with store._connections.using() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"):
        add(store, *(f"b{number}" for number in range(500)))
    assert [job.id for job in store.jobs()] == ["a"]
    with store._connections.using() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    add(store, "c")
    assert [job.id for job in store.jobs()] == ["a", "c"]


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if not IS_ROOT or shutil.which("unshare") is None:
        pytest.skip("only root can mount a small file system")
    script = """
import sys
from queuectl import Queue, StoreError
queue = Queue.init("small/q.db")
first = queue.enqueue("true").id
for _ in range(1000):
    try:
        queue.enqueue_many([{"command": "true " * 1000}] * 20)
    except StoreError as error:
        assert "full" in str(error), error
        break
else:
    sys.exit("it never was full")
count = len(queue.jobs())
assert count % 20 == 1, count
assert queue.get(first).state == "pending"
print("full")
"""
    (tmp_path / "small").mkdir()
    mount = 'mount -t tmpfs -o size=2m tmpfs small && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "full\n", done.stderr


def test_a_transaction_that_is_interrupted_leaves_no_lock(path: Path, store: SQLiteStore) -> None:
    def interrupted() -> None:
        with store._connections.transaction() as connection:
            connection.execute("DELETE FROM jobs")
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        add(SQLiteStore(str(path), 0), f"a{len(store.jobs())}")
    assert len(store.jobs()) == 3


def test_an_attempt_begins_when_the_lock_was_had(path: Path, store: SQLiteStore) -> None:
    """Not before: who had it until then may have ended what made room for it."""
    add(store, "a", "b", now=1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    made: list[Claim | None] = []

    def after_a_wait(act: Callable[[], Claim | None]) -> Claim:
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=lambda: made.append(act()))
        thread.start()
        eventually(forks._gate.threads_inside, "it waits for the lock")
        let_go = SYSTEM_CLOCK.now()
        other.execute("COMMIT")
        thread.join(30)
        found = made.pop()
        assert found is not None
        assert found.started_at >= let_go
        return found

    first = after_a_wait(lambda: store.claim("w", SYSTEM_CLOCK.now))
    outcome, verdict = Outcome("succeeded", 0), judge("succeeded", 1, 3, 2, 10)
    ended_at = SYSTEM_CLOCK.now()
    after_a_wait(lambda: store.finish(first, outcome, verdict, ended_at, SYSTEM_CLOCK.now, "w").following)
    other.close()


def test_what_users_confirm_is_synced_and_what_workers_record_need_not_be(path: Path) -> None:
    def synchronous(store: SQLiteStore) -> int:
        with store._connections.using() as connection:
            level: int = connection.execute("PRAGMA synchronous").fetchone()[0]
        store.close()
        return level

    full, normal = 2, 1
    assert synchronous(SQLiteStore(str(path), 30)) == full
    assert synchronous(SQLiteStore(str(path), 30, durable=False)) == normal
    queue = Queue(path)
    queue.counts()
    assert isinstance(queue._opened, SQLiteStore)
    assert synchronous(queue._opened) == full


# Making and migrating


def test_migrations_run_once_and_in_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = queries.migrations()
    more = (len(known) + 1, "CREATE TABLE extra (a);\n-- one; two\nINSERT INTO extra\nVALUES ('x;y');\n")
    broken = (len(known) + 2, "CREATE TABLE late (a);\nINSERT INTO nowhere VALUES (1);\n")
    Queue(path).enqueue("true", id="a")

    monkeypatch.setattr(queries, "migrations", lambda: (*known, more, broken))
    refused(path, "nowhere")
    assert value(path, "PRAGMA user_version") == len(known)
    assert value(path, "SELECT count(*) FROM sqlite_master WHERE name IN ('extra', 'late')") == 0

    monkeypatch.setattr(queries, "migrations", lambda: (*known, more))
    in_threads(*[lambda: Queue(path).get("a")] * 5)
    for child in [Child(lambda: Queue(path).get("a")) for _ in range(3)]:
        child.join()
    assert value(path, "SELECT group_concat(a) FROM extra") == "x;y"
    assert value(path, "PRAGMA user_version") == more[0]


def test_no_statement_of_a_migration_is_lost() -> None:
    for number, script in queries.migrations():
        words = re.findall(r"^(?:CREATE|INSERT|ALTER|DROP|UPDATE)\b", script, re.MULTILINE)
        assert len(schema._statements(script)) == len(words), number
    assert [number for number, _ in queries.migrations()] == list(range(1, schema.latest() + 1))


@pytest.mark.parametrize("left", [b"", b"half a database" * 100, None])
def test_a_crash_amid_the_making_leaves_nothing_in_the_way(tmp_path: Path, left: bytes | None) -> None:
    run = tmp_path / "run"
    run.mkdir()
    if left is None:
        Queue.init(tmp_path / "other" / "q.db").close()
        left = (tmp_path / "other" / "q.db").read_bytes()
    for end in ("", "-wal", "-shm", "-journal"):
        (run / f".new.db{end}").write_bytes(left)
    (run / ".home.lock").touch()
    with pytest.raises(NoSuchQueue):
        Queue(tmp_path / "q.db").counts()
    Queue(tmp_path / "q.db").enqueue("true", id="a")
    assert [job.id for job in Queue(tmp_path / "q.db").jobs()] == ["a"]
    assert value(tmp_path / "q.db", "PRAGMA integrity_check") == "ok"
    assert not (run / ".new.db").exists()


def test_a_making_that_fails_leaves_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = queries.migrations()
    monkeypatch.setattr(queries, "migrations", lambda: (*known, (len(known) + 1, "INSERT INTO nowhere VALUES (1);\n")))
    with pytest.raises(StoreError):
        Queue(tmp_path / "q.db").enqueue("true")
    assert not (tmp_path / "q.db").exists()
    monkeypatch.undo()
    assert Queue(tmp_path / "q.db").enqueue("true").id == "1"


def test_many_make_one_queue(tmp_path: Path) -> None:
    children = [Child(lambda: Queue.init(tmp_path / "home" / "q.db").enqueue("true")) for _ in range(4)]
    children += [Child(lambda: Queue(tmp_path / "home" / "q.db").enqueue("true")) for _ in range(4)]
    for child in children:
        child.join()
    assert len(Queue(tmp_path / "home" / "q.db").jobs()) == 8


def test_of_two_queues_made_at_once_in_one_directory_one_is_made(tmp_path: Path) -> None:
    made: list[str] = []
    said: list[str] = []

    def make(name: str) -> None:
        try:
            Queue.init(tmp_path / "home" / name).close()
            made.append(name)
        except Conflict as error:
            said.append(str(error))

    in_threads(*(lambda name=f"q{number}.db": make(name) for number in range(6)))  # type: ignore[misc]
    assert len(made) == 1
    assert len(said) == 5
    assert all(str(tmp_path / "home" / made[0]) in each for each in said)
    assert [each.name for each in (tmp_path / "home").glob("*.db")] == made


def test_making_waits_for_another_only_so_long(tmp_path: Path) -> None:
    home = at(tmp_path / "q.db")
    (tmp_path / "queuectl_config.json").write_text('{"busy_timeout": 0}')
    home.make_directories()
    with schema.locked(home, 1), pytest.raises(StoreBusy, match="held by another"):
        Queue(tmp_path / "q.db").enqueue("true")
    assert Queue(tmp_path / "q.db").enqueue("true").id == "1"


# Forks and threads


def test_a_child_s_use_does_not_break_its_parent_s_connection(path: Path, store: SQLiteStore) -> None:
    add(store, "a")

    def use() -> None:
        add(store, "child")
        store.close()
        store.counts()

    for _ in range(2):
        store.counts()
        in_child(lambda: use() if store.counts()["pending"] == 1 else None)
        assert store.counts()["pending"] == 2
    assert claim(store).id == "a"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()


def test_no_descriptor_of_the_database_is_inherited(path: Path, store: SQLiteStore) -> None:
    store.counts()

    def look() -> None:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
        open_files = [
            os.readlink(f"/proc/self/fd/{each}") for each in descriptors if os.path.exists(f"/proc/self/fd/{each}")
        ]
        assert not [name for name in open_files if name.startswith(str(path))]

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc here tells which files are open")
    in_child(look)


def test_threads_that_ended_keep_nothing_open(path: Path, store: SQLiteStore) -> None:
    store.counts()
    for _ in range(30):
        in_threads(store.counts)
    # Of the database itself SQLite keeps one, which the next connection takes: to close it would drop all locks.
    open_files = [os.path.realpath(f"/dev/fd/{name}") for name in os.listdir("/dev/fd")]
    assert open_files.count(f"{path}-wal") <= 1
    assert open_files.count(str(path)) <= 2


def test_every_thread_has_a_connection_of_its_own(path: Path) -> None:
    connections = Connections(str(path), 30)
    seen: list[sqlite3.Connection] = []

    def use() -> None:
        with connections.using() as connection, connections.using() as again:
            assert connection is again
            seen.append(connection)

    in_threads(use, use, use)
    assert len(set(map(id, seen))) == 3


# Speed


def work_of_a_claim(path: Path, ended: int) -> int:
    """How many steps SQLite takes for a claim, its outcome and a look around, beside so many other jobs."""
    change(
        path,
        "BEGIN",
        "DELETE FROM jobs",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ended}) "
        "INSERT INTO jobs (id, command, cwd, max_retries, state, lane, due, created_at, updated_at) "
        "SELECT 'e' || i, 'x', '/', 0, CASE i % 3 WHEN 0 THEN 'pending' ELSE 'completed' END, "
        f"CASE i % 3 WHEN 0 THEN 1 + i % 2 END, {after(3600)}, 0, 0 FROM n",
        "COMMIT",
    )
    store = SQLiteStore(str(path), 30)
    add(store, *(f"a{number}" for number in range(20)))

    def work(store: SQLiteStore) -> None:
        got = store.claim("w", T0)
        for _ in range(10):
            assert got is not None
            recorded, got, _ = store.finish(got, Outcome("succeeded"), judge("succeeded", 1, 1, 2, 9), T0, T0, "w")
            assert recorded
            store.next_due()
            store.is_drained(T0)
            store.claims(["w"])

    steps = steps_of(store, work)
    store.close()
    return steps


def test_other_jobs_cost_a_claim_nothing(path: Path) -> None:
    """Counted in steps of SQLite's machine, so that a slow machine is no excuse."""
    few, many = work_of_a_claim(path, 30), work_of_a_claim(path, 30_000)
    assert 0 < many < 2 * few + 20, (few, many)


def test_many_jobs_are_changed_by_few_statements(path: Path, store: SQLiteStore) -> None:
    """Whoever cancels or revives a hundred thousand must not keep all others waiting meanwhile."""
    names = add(store, *(f"a{number}" for number in range(300)))
    running = claim(store).id
    statements: list[str] = []
    with store._connections.using() as connection:
        connection.set_trace_callback(statements.append)
    changes: list[Callable[[], object]] = [
        lambda: store.cancel(names, T0).running,
        lambda: store.revive(None, ["cancelled"], T0),
        lambda: store.cancel(names[1:], T0).running,
        lambda: store.revive(names[1:], ["cancelled"], T0),
    ]
    for change_all in changes:
        statements.clear()
        assert change_all() in ([running], names[1:], [])
        assert len(statements) < 12
    assert store.counts()["pending"] == 299


# Names


@pytest.mark.parametrize(
    "name",
    [
        "a b.db",
        "q?mode=ro.db",
        "q#x.db",
        "100%25.db",
        "q\n.db",
        "é€.db",
        "x" * 200,
        ":memory:",
        "file:q.db",
        "-q'\"",
        "q;&.db",
    ],
)
def test_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / name
    directory.mkdir()
    for path in (Path(name) / name, directory / name):
        Queue(path).enqueue("true")
    store = SQLiteStore(os.path.realpath(directory / name), 30)
    assert [job.id for job in store.jobs()] == ["1", "2"]
    finish(store, claim(store))
    store.close()
    made = {name, "job_logs", "run"}
    assert made <= set(os.listdir(directory)) <= made | {f"{name}-wal", f"{name}-shm"}
    assert os.listdir(tmp_path) == [name]


def test_a_directory_that_may_not_be_written() -> None:
    with unprivileged_directory() as directory:

        def use() -> None:
            Queue.init(directory / "q.db").close()
            directory.chmod(0o500)
            try:
                with pytest.raises(StoreError):
                    Queue(directory / "q.db").enqueue("true")
            finally:
                directory.chmod(0o700)
            assert Queue(directory / "q.db").enqueue("true").id == "1"

        in_child(use, unprivileged=True)
