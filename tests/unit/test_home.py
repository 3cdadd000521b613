"""Where a queue is, and what may lie in its directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from unit.support import in_child, unprivileged_directory

from queuectl import Conflict, InvalidInput, NoSuchQueue, Queue, QueueError, StoreError
from queuectl.home import Home, at, locate, locate_new


def test_all_paths_follow_the_database(place: Path) -> None:
    home = at("sub/../q x.db")
    assert home == Home(f"{place}/q x.db")
    assert home.settings == f"{place}/queuectl_config.json"
    assert home.log("a.b") == f"{place}/job_logs/a.b.log"
    assert home.supervisor_pid == f"{place}/run/supervisor.pid"
    assert home.worker_pid(3) == f"{place}/run/worker-3.pid"
    assert home.supervisor_log == f"{place}/run/supervisor.log"
    paths = [getattr(home, name) for name in dir(Home) if isinstance(getattr(Home, name), property)]
    assert all(os.path.isabs(path) and path.startswith(str(place)) for path in paths if isinstance(path, str))


def test_a_queue_is_found_upward(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue.init().close()
    deep = place / "a" / "b"
    deep.mkdir(parents=True)
    for directory in (place, deep):
        monkeypatch.chdir(directory)
        found = locate()
        assert (found.home.database, found.explicit) == (f"{place}/queuectl.db", False)


def test_the_nearest_queue_wins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue.init().close()
    Queue.init(place / "inner" / "queuectl.db").close()
    (place / "inner" / "deep").mkdir()
    monkeypatch.chdir(place / "inner" / "deep")
    assert locate().home.directory == f"{place}/inner"


def test_what_lies_in_the_queue_s_place_is_not_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue.init().close()
    inner = place / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (inner / "queuectl.db").write_bytes(b"")
    assert locate().home.directory == str(inner)
    with pytest.raises(StoreError):
        Queue().counts()


def test_no_queue_is_found_and_nothing_made(place: Path) -> None:
    with pytest.raises(NoSuchQueue, match="queuectl init"):
        Queue()
    assert os.listdir() == []


def test_which_name_wins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue.init().close()
    monkeypatch.setenv("QUEUECTL_DB_PATH", "named/q.db")
    assert locate() == locate("named/q.db")
    assert locate().explicit
    assert locate("other.db").home.database == f"{place}/other.db"
    assert locate_new().database == f"{place}/named/q.db"
    assert locate_new("other.db").database == f"{place}/other.db"
    monkeypatch.setenv("QUEUECTL_DB_PATH", "")
    assert not locate().explicit
    assert locate_new().database == f"{place}/queuectl.db"


def test_a_database_behind_a_symlink_has_its_files_beside_it(place: Path) -> None:
    real = Queue.init("real/q.db")
    real.enqueue("true", id="a")
    os.symlink("real/q.db", "link.db")
    os.symlink("real", "linked")
    for path in ("link.db", "linked/q.db"):
        queue = Queue(path)
        assert queue.home == real.home
        assert queue.get("a").command == "true"
    assert sorted(os.listdir()) == ["link.db", "linked", "real"]


@pytest.mark.parametrize("path", ["", "a\0b", "new/", "\udcff.db"])
def test_what_is_no_path_is_refused(place: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="--db"):
        at(path)
    assert os.listdir() == []


def test_a_path_of_bytes_is_refused(place: Path) -> None:
    with pytest.raises(InvalidInput):
        at(b"q.db")  # type: ignore[arg-type]


def test_a_current_directory_that_is_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for use in (Queue, Queue.init, lambda: Queue("q.db"), lambda: Queue.init("q.db")):
        with pytest.raises(QueueError, match="current directory"):
            use()
    assert Queue.init(place / "q.db").counts()


# One directory, one queue


def test_another_database_beside_a_queue_is_refused_naming_both(place: Path) -> None:
    Queue.init("one.db").close()
    for use in (lambda: Queue.init("two.db"), lambda: Queue("two.db").enqueue("true")):
        with pytest.raises(Conflict) as caught:
            use()
        assert f"{place}/one.db" in str(caught.value)
        assert f"{place}/two.db" in str(caught.value)
    assert not os.path.exists("two.db")


def test_another_database_that_exists_is_refused_once_it_was_looked_at(place: Path) -> None:
    Queue.init("elsewhere/two.db").close()
    Queue.init("one.db").close()
    os.rename("elsewhere/two.db", "two.db")
    Path("notes.txt").write_text("notes")
    for use in (lambda name: Queue(name).counts(), lambda name: Queue(name).enqueue("true"), Queue.init):
        with pytest.raises(Conflict):
            use("two.db")
        with pytest.raises(StoreError, match="not a "):
            use("notes.txt")
    assert Path("notes.txt").read_text() == "notes"


def test_a_name_with_a_newline_or_blanks_is_one_name(place: Path) -> None:
    for name in (" q.db", "q.db ", "q\n.db", "q.db\n"):
        queue = Queue.init(place / f"home-{ord(name[0])}-{len(name)}-{ord(name[-1])}" / name)
        queue.enqueue("true")
        queue.close()
        again = Queue(queue.home.database)
        assert again.counts()["pending"] == 1
        with pytest.raises(Conflict):
            Queue(os.path.join(queue.home.directory, "other.db")).enqueue("true")


def test_a_restored_database_is_its_home_s_queue_from_its_first_job_on(place: Path) -> None:
    Queue.init("one/q.db").close()
    os.mkdir("two")
    os.rename("one/q.db", "two/q.db")
    Queue("two/q.db").enqueue("true")
    assert Queue("two/q.db").counts()["pending"] == 1
    os.mkdir("two/run") if not os.path.exists("two/run") else None
    Queue("two/q.db").enqueue("true")
    with pytest.raises(Conflict):
        Queue("two/other.db").enqueue("true")


# Long paths


def long_path(place: Path, length: int, name: str) -> Path:
    """A path of so many bytes below a directory that is there."""
    path = str(place)
    while (rest := length - len(path) - len(name) - 2) > 0:
        path = f"{path}/{'d' * (rest if rest <= 200 else min(200, rest - 2))}"
    path = f"{path}/{name}"
    assert len(path) == length
    return Path(path)


@pytest.mark.parametrize(("length", "name"), [(504, "queuectl.db"), (504, "q" * 247), (497, "q.db")])
def test_the_longest_paths_that_can_be_used(place: Path, length: int, name: str) -> None:
    queue = Queue.init(long_path(place, length, name))
    queue.enqueue("true", id="a")
    queue.close()
    assert Queue(queue.home.database).get("a").state == "pending"


@pytest.mark.parametrize(
    ("length", "name", "says"),
    [
        (505, "queuectl.db", "path is 1 byte too long for SQLite, which takes 504: .*/queuectl.db$"),
        (700, "queuectl.db", "path is 196 bytes too long for SQLite, which takes 504: .*/queuectl.db$"),
        (5000, "queuectl.db", "path is 4496 bytes too long"),
        (499, "q.db", r"path is 2 bytes too long for SQLite, which takes 504: .*/run/\.new\.db$"),
        (450, "q" * 250, "name is 3 bytes too long for SQLite, which takes 247: q+$"),
    ],
)
def test_a_path_that_is_too_long_is_refused_and_nothing_made(place: Path, length: int, name: str, says: str) -> None:
    path = long_path(place, length, name)
    for make in (Queue.init, lambda path: Queue(path).enqueue("true")):
        with pytest.raises(StoreError, match=says):
            make(path)
    assert os.listdir(place) == []


def test_a_home_that_was_moved_to_too_long_a_path(place: Path) -> None:
    queue = Queue.init(place / "q.db")
    queue.close()
    path = long_path(place, 600, "q.db")
    path.parent.parent.mkdir(parents=True)
    (place / "home").mkdir()
    os.rename(place / "q.db", place / "home" / "q.db")
    os.rename(place / "home", path.parent)
    with pytest.raises(StoreError, match="its path is 96 bytes too long for SQLite"):
        Queue(path).counts()


# A queue whose database is gone


@pytest.mark.parametrize("evidence", ["job_logs/a.log", "run/supervisor.log"])
def test_where_a_queue_was_only_init_starts_anew(place: Path, evidence: str) -> None:
    path = place / evidence
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(StoreError, match="init"):
        Queue("queuectl.db").enqueue("true")
    assert not os.path.exists("queuectl.db")
    assert Queue.init().counts()["pending"] == 0
    assert Queue("queuectl.db").enqueue("true").state == "pending"


def test_a_deleted_database_is_not_made_again(place: Path) -> None:
    queue = Queue("q.db")
    queue.enqueue("true")
    for end in ("", "-wal", "-shm"):
        Path(f"q.db{end}").unlink(missing_ok=True)
    for again in (queue, Queue("q.db")):
        with pytest.raises(StoreError, match="gone"):
            again.enqueue("true")
    assert not os.path.exists("q.db")


def test_init_does_not_take_up_the_log_of_a_database_that_is_gone(place: Path) -> None:
    """A left ``-wal`` of the lost database would be played into the new one."""
    queue = Queue.init()
    queue.enqueue("true", id="old")
    wal = Path("queuectl.db-wal").read_bytes()
    queue.close()
    os.unlink("queuectl.db")
    Path("queuectl.db-wal").write_bytes(wal)
    assert Queue.init().jobs() == []


def test_empty_directories_are_no_evidence(place: Path) -> None:
    os.mkdir("job_logs")
    os.mkdir("run")
    Path("run/.home.lock").touch()
    Path("run/.new.db").touch()
    assert Queue("q.db").enqueue("true").id == "1"


# What is made, and for whom


def modes(directory: Path) -> dict[str, int]:
    paths = [directory, *directory.rglob("*")]
    return {str(path.relative_to(directory)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_all_that_is_made_is_private_and_the_umask_stays(place: Path, umask: int) -> None:
    def use() -> None:
        os.umask(umask)
        queue = Queue(place / "new" / "deep" / "q.db")
        queue.enqueue("true")
        queue.change_setting("max_retries", 1)
        assert os.umask(0) == umask

    in_child(use)
    home = place / "new" / "deep"
    assert (home / "run" / "queue").exists()
    for name, mode in modes(place / "new").items():
        assert mode == (0o700 if (place / "new" / name).is_dir() else 0o600), name


def test_a_directory_that_exists_is_left_as_it_is(place: Path) -> None:
    os.mkdir("open")
    os.chmod("open", 0o755)
    Queue.init("open/q.db").close()
    assert stat.S_IMODE(os.stat("open").st_mode) == 0o755


def test_a_home_that_cannot_be_made_is_an_error_and_leaves_nothing(place: Path) -> None:
    Path("file").write_text("")
    for path in ("file/q.db", "file/sub/q.db", "x" * 300 + "/q.db"):
        with pytest.raises(StoreError):
            Queue.init(path)
    assert os.listdir() == ["file"]


def test_a_name_that_is_too_long_is_an_error(place: Path) -> None:
    with pytest.raises(StoreError):
        Queue.init("x" * 300)
    with pytest.raises(NoSuchQueue):
        Queue("x" * 300).counts()


def test_a_place_where_nothing_may_be_written() -> None:
    with unprivileged_directory() as directory:

        def use() -> None:
            directory.chmod(0o500)
            for make in (lambda: Queue.init(directory / "q.db"), lambda: Queue(directory / "q.db").enqueue("true")):
                with pytest.raises(StoreError, match="Permission denied"):
                    make()
            assert os.listdir(directory) == []

        in_child(use, unprivileged=True)


def test_a_queue_that_may_only_be_read() -> None:
    with unprivileged_directory() as directory:

        def use() -> None:
            queue = Queue.init(directory / "q.db")
            queue.enqueue("true", id="a")
            queue.close()
            (directory / "q.db").chmod(0o400)
            with pytest.raises(StoreError, match="read-only"):
                Queue(directory / "q.db").enqueue("true")
            (directory / "q.db").chmod(0)
            for look in (lambda it: it.counts(), lambda it: it.enqueue("true"), lambda it: it.cancel("a")):
                with pytest.raises(StoreError, match="permission denied"):
                    look(Queue(directory / "q.db"))

        in_child(use, unprivileged=True)


def test_init_is_idempotent_and_keeps_what_is_there(place: Path) -> None:
    Queue.init().enqueue("true", id="a")
    before = modes(place).keys()
    assert Queue.init().get("a").id == "a"
    assert modes(place).keys() >= before
