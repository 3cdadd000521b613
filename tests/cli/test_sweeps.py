"""``enqueue --each``: a job for each line, or for each combination of lines."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from program import Bench
from test_enqueue import peak_memory


def commands(bench: Bench) -> list[str]:
    return [job.command for job in bench.queue.jobs()]


def write(bench: Bench, name: str, content: str | bytes) -> None:
    (bench.directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_job_for_each_line(bench: Bench) -> None:
    write(bench, "list", "a.jpg\nb c.jpg\n")
    result = bench.run("enqueue", "--each", "list", "--", "convert", "{}", "{.}.png")
    assert (result.code, result.out, result.err) == (0, "1\n2\n", "")
    assert commands(bench) == ["convert a.jpg a.png", "convert 'b c.jpg' 'b c.png'"]


@pytest.mark.parametrize("each", [["--each", "-"], ["--each"]])
@pytest.mark.parametrize("content", [b"a\nb\n", b"a\nb"])
def test_standard_input(bench: Bench, each: list[str], content: bytes) -> None:
    assert bench.run("enqueue", *each, "--", "echo", "{}", stdin=content).code == 0
    assert commands(bench) == ["echo a", "echo b"]


def test_a_command_in_a_text_or_a_file(bench: Bench) -> None:
    write(bench, "list", "a b\nc\n")
    write(bench, "command", "cp {} {}.old &&\nrm {}\n")
    bench.run("enqueue", "--each", "list", "--command", "wc -l < {} > {/}.n")
    bench.run("enqueue", "--each", "list", "--command-file", "command")
    assert commands(bench) == [
        "wc -l < 'a b' > 'a b'.n",
        "wc -l < c > 'c'.n",
        "cp 'a b' 'a b'.old &&\nrm 'a b'",
        "cp c 'c'.old &&\nrm c",
    ]


def test_without_a_place_the_line_comes_last(bench: Bench) -> None:
    bench.run("enqueue", "--each", "--", "gzip", "-9", stdin=b"a b\n-x\n")
    bench.run("enqueue", "--each", "--command", "sort -u", stdin=b"a b\n")
    assert commands(bench) == ["gzip -9 'a b'", "gzip -9 -x", "sort -u 'a b'"]


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--wait"]])
@pytest.mark.parametrize("more", [[], ["--each", "two"]])
def test_no_line_is_nothing_to_do(bench: Bench, arguments: list[str], more: list[str]) -> None:
    write(bench, "two", "1\n2\n")
    result = bench.run("enqueue", "--each", "-", *more, *arguments, "--", "echo", stdin=b"")
    assert (result.code, result.out.strip(), result.err) == (0, "[]" if arguments == ["--json"] else "", "")
    assert commands(bench) == []


def test_an_empty_line_is_an_empty_value(bench: Bench) -> None:
    bench.run("enqueue", "--each", "--", "echo", "{#}", "x{}", stdin=b"a\n\nb\n")
    assert commands(bench) == ["echo 1 xa", "echo 2 x", "echo 3 xb"]


def test_values_that_nul_bytes_separate(bench: Bench) -> None:
    bench.run("enqueue", "--each", "-", "-0", "--", "rm", "{}", stdin=b"a\nb\0c d\0\0last")
    bench.run("enqueue", "--each", "-", "--null", "--", "rm", "{}", stdin=b"x\0")
    assert commands(bench) == ["rm 'a\nb'", "rm 'c d'", "rm ''", "rm last", "rm x"]


def test_several_inputs_are_combined(bench: Bench) -> None:
    write(bench, "names", "a\nb\n")
    write(bench, "sizes", "1\n2\n3\n")
    bench.run("enqueue", "--each", "names", "--each", "sizes", "--", "echo", "{#}", "{2}-{1}")
    assert commands(bench) == [f"echo {number} {size}-{name}" for number, (name, size) in enumerate(product(), 1)]
    bench.run("enqueue", "--each", "-", "--each", "names", "--", "echo", stdin=b"x\n")
    assert commands(bench)[6:] == ["echo x a", "echo x b"]


def product() -> list[tuple[str, str]]:
    return [(name, size) for name in "ab" for size in "123"]


def test_all_other_options_hold_for_each_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    words = "--max-retries 1 --delay 1h --timeout 5 --cwd /tmp --env A=b --batch night --no-retry-on 2 --export TOKEN"
    result = bench.run("enqueue", "--each", *words.split(), "--json", "--", "true", stdin=b"a\nb\n")
    for job in json.loads(result.out):
        assert (job["max_retries"], job["timeout"], job["cwd"], job["env"]) == (1, 5, "/tmp", {"A": "b"})
        assert (job["batch"], job["no_retry_on"], job["export"]) == ("night", "2", ["TOKEN"])
        assert job["next_run_at"] is not None


def test_the_print_of_one_job_is_an_array_too(bench: Bench) -> None:
    result = bench.run("enqueue", "--each", "--json", "--", "true", stdin=b"a\n")
    assert [job["id"] for job in json.loads(result.out)] == ["1"]


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        (b"a\n\xff\n", [], "list, line 2: is not UTF-8 text"),
        (b"a\nb\0c\n", [], "list, line 2: is binary (it holds a NUL byte; -0 is for values that NUL bytes separate)"),
        (b"a\0\xff\0", ["-0"], "list, value 2: is not UTF-8 text"),
        (b"\xff", [], "list, line 1: is not UTF-8 text"),
        (b"a\n" + b"x" * 131_072, [], "list, line 2: has more than the 131071 bytes"),
        (b"a\n" + b"x" * 3_000_000 + b"\n", [], "list, line 2: has more than the 131071 bytes"),
        (b"a\n" + b"x" * 131_071 + b"\n", [], "list, line 2: command: has 131"),
    ],
)
def test_what_is_no_list_is_refused_whole(bench: Bench, content: bytes, more: list[str], says: str) -> None:
    write(bench, "list", content)
    result = bench.run("enqueue", "--each", "list", *more, "--", "echo", "{}")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"queuectl: error: {says}")
    assert result.err.count("\n") == 1
    assert commands(bench) == []


@pytest.mark.parametrize("place", ["missing", "", ".", "/dev/zero", "list/x"])
def test_what_cannot_be_read(bench: Bench, place: str) -> None:
    write(bench, "list", "a\n")
    for inputs in (["--each", place], ["--each", "list", "--each", place]):
        result = bench.run("enqueue", *inputs, "--", "echo")
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert commands(bench) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--each list", "nothing to enqueue"),
        ("--each list --id a -- true", "--id"),
        ("--id sum-{/.} --each list -- true", "--id and --unique name one job"),
        ("--each list --id sum-{/.} -- true", "name each job in a job file"),
        ("--each list --unique a -- true", "--unique"),
        ("--each list --after sum-{/.} -- true", "--after 'sum-{/.}': all jobs of --each wait for the same ones"),
        ("--after-any {} --each list -- true", "name what each job waits for in a job file"),
        ("--each list --after a=b -- true", "--after 'a=b' is not valid: 1 to 128"),
        ("--each list --job-file jobs", "exclude each other"),
        ("-0 -- true", "--each"),
        ("--each - --each - -- true", "standard input can be read once only"),
        ("--each - --command-file -", "standard input can be read once only"),
        ("--each list --each list -- echo {3}", "{3} names an input that is not there"),
    ],
)
def test_mistakes(bench: Bench, words: str, says: str) -> None:
    write(bench, "list", "a\n")
    result = bench.run("enqueue", *words.split())
    assert result.code == 2
    assert says in result.err
    assert commands(bench) == []


def test_a_place_within_quotes_is_refused(bench: Bench) -> None:
    result = bench.run("enqueue", "--each", "--command", 'echo "{}"', stdin=b"$(id)\n")
    assert result.code == 2
    assert result.err.startswith("queuectl: error: --command: {} stands within quotes")
    write(bench, "command", "echo '{}'")
    result = bench.run("enqueue", "--each", "--command-file", "command", stdin=b"a\n")
    assert result.err.startswith("queuectl: error: command: {} stands within quotes")
    assert commands(bench) == []


def test_code_of_a_shell_with_other_quotes_takes_no_value(bench: Bench) -> None:
    write(bench, "list", "\\'\\';touch evil;#\n")
    for command in (["fish", "-c", "echo {}"], ["tcsh", "-c"], ["docker", "exec", "box", "sh", "-c", "echo {}"]):
        result = bench.run("enqueue", "--each", "list", "--", *command)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert result.err.startswith("queuectl: error: the command after --: {} stands in what ")
    assert commands(bench) == []
    assert bench.run("enqueue", "--each", "list", "--", "sh", "conv.sh", "-c", "{}").code == 0
    assert shlex.split(commands(bench)[0]) == ["sh", "conv.sh", "-c", "\\'\\';touch evil;#"]


@pytest.mark.parametrize(
    "command",
    [
        ["--", "{}"],
        ["--", "sh", "-c", "{}"],
        ["--", "bash", "-c"],
        ["--command", " {} "],
        ["--", "env", "sh", "-c", "{1}"],
    ],
)
def test_lines_that_are_commands_are_no_values(bench: Bench, command: list[str]) -> None:
    """Each would be quoted, and so be the name of one program that nobody has."""
    result = bench.run("enqueue", "--each", *command, stdin=b"true\necho hi\n")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("queuectl: error: standard input, line 2: 'echo hi' would be the name of one program")
    assert "--commands" in result.err
    assert commands(bench) == []


def test_lines_that_name_programs_are_values(bench: Bench) -> None:
    write(bench, "my script", "#!/bin/sh\n")
    assert bench.run("enqueue", "--each", "--", "{}", stdin=b"true\n./my script\n").code == 0
    assert bench.run("enqueue", "--each", "--", "env", "{}", stdin=b"a b\n").code == 0
    assert bench.run("enqueue", "--each", "--command", "{#}; {/}", stdin=b"a b\n").code == 0
    assert commands(bench)[:2] == ["true", "'./my script'"]


def test_nothing_is_added_where_the_producer_ends_badly(bench: Bench) -> None:
    """What is wrong far down is told before anything is added."""
    content = b"a\n" * 25_000 + b"\xff\n"
    result = bench.run("enqueue", "--each", "--", "echo", stdin=content)
    assert (result.code, bench.queue.counts()["pending"]) == (2, 0)
    assert "standard input, line 25001: is not UTF-8 text" in result.err


@pytest.mark.long
def test_a_hundred_thousand_lines_take_little_memory(bench: Bench) -> None:
    peaks = {}
    for count in (15_000, 100_000):
        write(bench, "list", "".join(f"dir/{number}.jpg\n" for number in range(count)))
        peaks[count] = peak_memory(bench, "enqueue", "--each", "list", "--", "convert", "{}", "{.}.png")
    assert bench.queue.counts()["pending"] == 115_000
    assert bench.queue.get("115000").command == "convert dir/99999.jpg dir/99999.png"
    assert peaks[100_000] < 1.3 * peaks[15_000], peaks


def test_as_find_and_xargs_have_it(bench: Bench) -> None:
    """Names as hostile as a file system allows, from find to the shell."""
    names = ["a b", "it's", '"q"', "new\nline", "$(touch evil)", "-rf", "*", "ü", "`touch evil`;touch evil"]
    place = bench.directory / "files"
    place.mkdir()
    for name in names:
        (place / name).write_text(name)
    listed = subprocess.run(["find", "files", "-type", "f", "-print0"], capture_output=True, check=True).stdout
    assert bench.run("enqueue", "--each", "-", "-0", "--command", "cat {} > out/{/}", stdin=listed).code == 0
    (bench.directory / "out").mkdir()
    for command in commands(bench):
        subprocess.run(["/bin/sh", "-c", command], cwd=bench.directory, check=True)
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {name: name for name in names}
    assert not os.path.exists("evil")
