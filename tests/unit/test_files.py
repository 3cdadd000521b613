"""Small files: whole or not at all, private, and never a trap."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.support import in_child

from queuectl import files

WRITERS: list[Callable[[str, str], None]] = [files.write_durably, files.write_atomically]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_file_is_replaced_and_private(place: Path, write: Callable[[str, str], None], umask: int) -> None:
    Path("f").write_text("old")
    os.chmod("f", 0o644)

    def work() -> None:
        os.umask(umask)
        write(f"{place}/f", "new é\n")

    in_child(work)
    assert Path("f").read_text() == "new é\n"
    assert stat.S_IMODE(os.stat("f").st_mode) == 0o600
    assert os.listdir() == ["f"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    place: Path, write: Callable[[str, str], None]
) -> None:
    Path("f").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write(f"{place}/f", "new \udcff")
    assert Path("f").read_text() == "old"
    os.mkdir("d")
    with pytest.raises(OSError, match="directory"):
        write(f"{place}/d", "new")
    assert sorted(os.listdir()) == ["d", "f"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_symlink_is_replaced_not_followed(place: Path, write: Callable[[str, str], None]) -> None:
    Path("target").write_text("precious")
    os.symlink("target", "f")
    write(f"{place}/f", "new")
    assert Path("target").read_text() == "precious"
    assert not os.path.islink("f")


def test_a_name_as_long_as_names_may_be(place: Path) -> None:
    name = "é" * 127
    files.write_durably(f"{place}/{name}", "x")
    assert os.listdir() == [name]


def test_reading(place: Path) -> None:
    Path("f").write_bytes(b"a\xffb" * 10)
    assert files.read_small("f") == "a\ufffdb" * 10
    assert files.read_small("f", 4) == "a\ufffdba"
    assert files.read_small("missing") is None
    Path("empty").touch()
    assert files.read_small("empty") == ""


def test_what_is_no_regular_file_is_none_and_never_blocks(place: Path) -> None:
    Path("f").write_text("secret")
    os.symlink("f", "link")
    os.mkdir("d")
    os.mkfifo("fifo")
    os.mkfifo("written")
    writer = os.open("written", os.O_RDWR | os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

        def look() -> None:
            open_before = len(os.listdir("/dev/fd"))
            for name in ("link", "d", "fifo", "written", "socket", "f/x", "\0"[:0]):
                assert files.read_small(name) is None, name
            assert len(os.listdir("/dev/fd")) == open_before, "no descriptor is left open"

        in_child(look)
    os.close(writer)


def test_private_directories(place: Path) -> None:
    def make() -> None:
        os.umask(0)
        files.make_private_directories(f"{place}/a/b/c")
        files.make_private_directories(f"{place}/a/b/c")

    in_child(make)
    for path in (place / "a", place / "a/b", place / "a/b/c"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_removing(place: Path) -> None:
    Path("f").touch()
    files.remove("f")
    files.remove("f")
    assert os.listdir() == []
