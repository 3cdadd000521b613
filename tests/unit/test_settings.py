"""Settings: what a value may be, and the file that keeps them."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.support import in_child, in_threads, unprivileged_directory

from queuectl import InvalidInput, Queue, QueueError, Settings, StoreError, settings
from queuectl.settings import KEYS, Live, change, known_key, load, parse

PATH = "queuectl_config.json"
DIFFERENT = {key: 1 / number if key == "backoff_jitter" else number for number, key in enumerate(KEYS, 11)}
"""A value for each setting, of which no two are the same."""


def test_the_defaults(place: Path) -> None:
    assert load(PATH) == Settings(3, 2, 86_400, 0, 0, 5, 30, 1 << 30, 30)
    assert set(settings.MEANINGS) == set(KEYS)
    assert not os.path.exists(PATH)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("max_retries", "0", 0),
        ("max_retries", " +7 ", 7),
        ("max_retries", 1_000_000_000, 1_000_000_000),
        ("backoff_base", "1.5", 1.5),
        ("backoff_base", "2", 2),
        ("backoff_base", 0, 0),
        ("backoff_max", "1h", 3600),
        ("backoff_jitter", "0.25", 0.25),
        ("backoff_jitter", 1, 1),
        ("job_timeout", "0", 0),
        ("kill_grace", "0.5", 0.5),
        ("stop_timeout", "2m", 120),
        ("log_max_bytes", "0", 0),
        ("log_max_bytes", "512M", 512 << 20),
        ("log_max_bytes", "1GiB", 1 << 30),
        ("log_max_bytes", "10 kb", 10 << 10),
        ("log_max_bytes", 1 << 62, 1 << 62),
        ("busy_timeout", "36500d", 3_153_600_000),
    ],
)
def test_values(key: str, value: object, expected: float) -> None:
    parsed = parse(key, value)
    assert parsed == expected
    assert isinstance(parsed, int) == (expected == int(expected)), "a whole number prints as one"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("max_retries", value) for value in ("-1", "1.5", "x", "", True, 1.0, None, [], "1" * 31, 10**10, 10**5000)),
        *(("backoff_base", value) for value in ("-1", "x", "", True, None, "nan", "inf", 1e400, [], 10**400, 4e9)),
        *(("backoff_jitter", value) for value in ("-0.1", "1.01", "x", True, None, "nan", [], 10**400)),
        *((key, value) for key in ("backoff_max", "job_timeout", "kill_grace") for value in ("-1", "x", True, 1e400)),
        *(
            ("log_max_bytes", value)
            for value in ("-1", "x", "", "1.5G", True, 1.0, None, (1 << 62) + 1, "9" * 19 + "T")
        ),
        *(("busy_timeout", value) for value in ("-1", "forever", "36501d", None)),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) or value < 10**40 else "huge",
)
def test_a_wrong_value_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{key}: ") as caught:
        parse(key, value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("max_retries", 60, "60"),
        ("backoff_base", 60, "60"),
        ("job_timeout", 0, "0"),
        ("job_timeout", 0.5, "0.5s"),
        ("job_timeout", 90, "90s"),
        ("job_timeout", 5400, "90m"),
        ("stop_timeout", 7200, "2h"),
        ("backoff_max", 86_400, "1d"),
        ("log_max_bytes", 0, "0"),
        ("log_max_bytes", 1000, "1000 B"),
        ("log_max_bytes", 1536 << 10, "1536 KiB"),
        ("log_max_bytes", 1 << 30, "1 GiB"),
    ],
)
def test_a_value_is_shown_in_units_that_can_be_typed(key: str, value: float, shown: str) -> None:
    assert settings.in_units(key, value) == shown
    assert parse(key, shown) == value


def test_keys_in_every_spelling() -> None:
    assert {known_key(name) for name in ("max_retries", "max-retries", "MAX-Retries")} == {"max_retries"}


@pytest.mark.parametrize(("name", "meant"), [("max_retry", "max_retries"), ("backof-base", "backoff_base")])
def test_an_unknown_key_says_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match=f"no setting '{name}': did you mean '{meant}'"):
        known_key(name)


def test_an_unknown_key_like_none_names_all() -> None:
    with pytest.raises(InvalidInput) as caught:
        known_key("colour")
    assert all(key in str(caught.value) for key in KEYS)
    with pytest.raises(InvalidInput) as caught:
        known_key("x" * 10_000)
    assert len(str(caught.value)) < 400


def test_changes_are_kept_and_taken_back(place: Path) -> None:
    assert change(PATH, "max_retries", 7).max_retries == 7
    assert change(PATH, "backoff_base", 1.5) == Settings(max_retries=7, backoff_base=1.5)
    assert json.loads(Path(PATH).read_text()) == {"max_retries": 7, "backoff_base": 1.5}
    assert load(PATH) == Settings(max_retries=7, backoff_base=1.5)
    assert change(PATH, "max_retries", None) == Settings(backoff_base=1.5)
    assert change(PATH, "max_retries", None) == Settings(backoff_base=1.5)


def test_every_setting_survives_its_way_through_the_file(place: Path) -> None:
    for key, value in DIFFERENT.items():
        assert getattr(change(PATH, key, parse(key, str(value))), key) == value
    assert load(PATH) == Settings(**DIFFERENT)  # type: ignore[arg-type]


BROKEN: dict[str, Any] = {
    "empty": b"",
    "half": b'{"max_retries": ',
    "array": b"[]",
    "number": b"7",
    "null": b"null",
    "no UTF-8": b'{"max_retries": "\xff"}',
    "binary": bytes(range(256)),
    "NUL": b'{"max_retries": 3}\0',
    "unknown key": b'{"max_retry": 3}',
    "wrong type": b'{"max_retries": "many"}',
    "null value": b'{"max_retries": null}',
    "bool": b'{"max_retries": true}',
    "negative": b'{"kill_grace": -1}',
    "NaN": b'{"backoff_base": NaN}',
    "infinite": b'{"backoff_max": 1e999}',
    "huge number": b'{"max_retries": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_and_left_alone(place: Path, content: bytes) -> None:
    Path(PATH).write_bytes(content)
    for use in (lambda: load(PATH), lambda: change(PATH, "stop_timeout", 1)):
        with pytest.raises(InvalidInput, match=PATH) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert Path(PATH).read_bytes() == content


@pytest.mark.parametrize("spelled", ["kill_grace", "kill-grace"])
def test_a_broken_value_is_repaired_by_another(place: Path, spelled: str) -> None:
    Path(PATH).write_text(json.dumps({spelled: "x", "stop_timeout": 7}))
    assert change(PATH, "kill_grace", 1) == Settings(kill_grace=1, stop_timeout=7)
    Path(PATH).write_text(json.dumps({spelled: "x", "stop_timeout": 7}))
    assert change(PATH, "kill_grace", None) == Settings(stop_timeout=7)


def test_what_is_no_file_is_refused_at_once(place: Path) -> None:
    os.mkdir(PATH)
    with pytest.raises(InvalidInput, match="directory"):
        load(PATH)
    os.rmdir(PATH)
    os.mkfifo(PATH)

    def read() -> None:
        with pytest.raises(InvalidInput, match=PATH):
            load(PATH)

    in_child(read)


def test_a_file_that_cannot_be_read_or_written() -> None:
    with unprivileged_directory() as directory:
        path = directory / PATH

        def use() -> None:
            change(str(path), "max_retries", 7)
            path.chmod(0)
            with pytest.raises(InvalidInput, match=r"Permission denied"):
                load(str(path))
            path.chmod(0o600)
            directory.chmod(0o500)
            with pytest.raises(QueueError, match="cannot write"):
                change(str(path), "max_retries", 8)
            assert load(str(path)).max_retries == 7

        in_child(use, unprivileged=True)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_the_file_is_private_whatever_the_umask(place: Path, umask: int) -> None:
    def write() -> None:
        os.umask(umask)
        change(PATH, "max_retries", 7)
        assert stat.S_IMODE(os.stat(PATH).st_mode) == 0o600
        assert os.umask(umask) == umask

    in_child(write)


def test_a_change_is_seen_whole_or_not_at_all(place: Path) -> None:
    """Readers that look all the time never see half a file, and nothing but the file stays."""
    change(PATH, "max_retries", 0)
    over = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        last = 0
        while not over.is_set():
            try:
                seen = load(PATH).max_retries
                assert seen >= last
                last = seen
            except BaseException as error:
                errors.append(error)
                return

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(150):
        change(PATH, "max_retries", number)
    over.set()
    reader.join()
    assert not errors
    assert os.listdir() == [PATH]


def test_the_queue_s_own_way_to_change_a_setting(queue: Queue) -> None:
    assert queue.change_setting("max-retries", "7").max_retries == 7
    assert queue.settings.max_retries == 7
    assert queue.enqueue("true").max_retries == 7
    for key, value in (("max_retry", 1), ("max_retries", "many")):
        with pytest.raises(InvalidInput):
            queue.change_setting(key, value)
    assert queue.change_setting("max_retries", None) == Settings()


def test_changes_at_once_all_count(queue: Queue) -> None:
    in_threads(*(lambda key=key, value=value: queue.change_setting(key, value) for key, value in DIFFERENT.items()))
    assert queue.settings == Settings(**DIFFERENT)  # type: ignore[arg-type]


def test_a_queue_that_is_gone_gets_no_settings(queue: Queue) -> None:
    queue.close()
    os.unlink(queue.home.database)
    with pytest.raises(StoreError, match=r"deleted|gone"):
        queue.change_setting("max_retries", 7)
    assert not os.path.exists(queue.home.settings)


def test_live_settings_follow_the_file_and_outlast_a_broken_one(place: Path) -> None:
    complaints: list[str] = []
    live = Live(PATH, complaints.append)
    assert live.current() == Settings()
    change(PATH, "max_retries", 7)
    assert live.current().max_retries == 7
    Path(PATH).write_text("{")
    assert [live.current().max_retries for _ in range(3)] == [7, 7, 7]
    assert len(complaints) == 1
    assert PATH in complaints[0]
    os.unlink(PATH)
    assert live.current() == Settings()


@given(st.sampled_from(KEYS), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12))
def test_what_is_accepted_can_be_written_and_read_again(key: str, value: object) -> None:
    try:
        parsed = parse(key, value)
    except InvalidInput:
        return
    assert parse(key, json.loads(json.dumps(parsed))) == parsed
    if "e" not in str(parsed):
        assert parse(key, str(parsed)) == parsed


def test_of_a_broken_file_one_thread_complains(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text("{}")
    complaints: list[str] = []

    def slowly(text: str) -> None:
        time.sleep(0.05)
        complaints.append(text)

    live = Live(str(file), slowly)
    file.write_text("{ broken")
    in_threads(*[live.current] * 8)
    assert len(complaints) == 1
