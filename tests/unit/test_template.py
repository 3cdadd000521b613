"""Commands with places: what is put there, and that no value is ever code."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuectl import InvalidInput
from queuectl.template import of_text, of_words

EVIL = "a b'c\"d`touch evil`$(touch evil);touch evil\n#|&><*?~\\$HOME{}"
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """An empty directory, in which a value that became code would leave a file."""
    made = tmp_path / "ground"
    made.mkdir()
    return made


def words(*given: str, values: tuple[str, ...] = ("d/a.tar.gz",), number: int = 7) -> str:
    return of_words(given, len(values)).fill(values, number)


def text(given: str, *values: str, number: int = 7) -> str:
    return of_text(given, len(values), "--command").fill(values, number)


def run(command: str, where: Path, shell: str = "sh") -> str:
    done = subprocess.run([shell, "-c", command], cwd=where, capture_output=True, text=True, check=False, timeout=30)
    assert list(where.iterdir()) == [], command
    return done.stdout


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("{}", "d/a.tar.gz", "d/a.tar.gz"),
        ("{.}", "d/a.tar.gz", "d/a.tar"),
        ("{.}", "d.d/a", "d.d/a"),
        ("{.}", "d/.bashrc", "d/.bashrc"),
        ("{/}", "d/a.tar.gz", "a.tar.gz"),
        ("{/}", "d/e/", "e"),
        ("{/}", "/", "/"),
        ("{//}", "d/a.tar.gz", "d"),
        ("{//}", "a", "."),
        ("{//}", "/a", "/"),
        ("{/.}", "d/a.tar.gz", "a.tar"),
        ("{#}", "d/a.tar.gz", "7"),
        ("{1}", "d/a.tar.gz", "d/a.tar.gz"),
        ("{1.}", "d/a.tar.gz", "d/a.tar"),
        ("{1/}", "d/a.tar.gz", "a.tar.gz"),
        ("x{.}y{#}", "a.b", "xay7"),
    ],
)
def test_what_is_put_in_a_place(place: str, value: str, expected: str, ground: Path) -> None:
    assert words("echo", place, values=(value,)) == f"echo {expected}"
    assert run(text(f"echo {place}", value), ground) == f"{expected}\n"


def test_the_numbers_of_several_inputs(ground: Path) -> None:
    values = ("a b.c", "2")
    assert words("echo", "{2}-{1.}", "{1}", values=values) == "echo '2-a b' 'a b.c'"
    assert words("echo", "{}", "x{}", values=values) == "echo 'a b.c' 2 'xa b.c 2'"
    assert run(text("printf '[%s]' {2}-{1.} {}", *values), ground) == "[2-a b][a b.c][2]"


def test_without_a_place_the_values_come_last() -> None:
    assert words("wc", "-l") == "wc -l d/a.tar.gz"
    assert words("echo", values=("a b", "c")) == "echo 'a b' c"
    assert text("LC_ALL=C sort | wc -l  ", "a b") == "LC_ALL=C sort | wc -l 'a b'"
    assert text("echo", "a", "b") == "echo a b"
    assert words("echo", "{#}") == "echo 7", "as GNU parallel does"


@pytest.mark.parametrize(
    "command",
    ["echo;", "echo &", "a |", "echo # all", "echo \\", "(echo)", "{ echo; }", "echo\necho", "echo 'a", "cat <<E\nE"],
)
def test_a_text_in_which_there_is_no_end_to_put_them(command: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--command: has no place for the value"):
        text(command, "value")


def test_what_only_looks_like_a_place() -> None:
    assert words("echo", "{ }", "{a}", "{0}", "{-1}", "{1-}", "{..}", "{}") == (
        "echo '{ }' '{a}' '{0}' '{-1}' '{1-}' '{..}' d/a.tar.gz"
    )
    assert words("grep", "-E", "[0-9]{4}", "{}") == "grep -E '[0-9]{4}' d/a.tar.gz"
    assert text("echo ${1} ${#} \\{} {}", "v") == "echo ${1} ${#} \\{} v"
    assert text("awk '{print $1}' {}", "v") == "awk '{print $1}' v"


@pytest.mark.parametrize("make", [lambda given: of_words(("x", given), 2), lambda given: of_text(given, 2, "f")])
def test_of_several_inputs_one_that_is_not_there_is_a_mistake(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=r"\{3\.\} names an input that is not there: --each is given 2 times"):
        make("x {1} {3.}")


PLACED = [
    "echo {}",
    "echo x{}y",
    "echo {}>/dev/null",
    "x={}; echo $x",
    "{}",
    "true && {} || false",
    'echo "$(echo {})"',
    "(cd / && echo {})",
    "echo $(( 1 + 2 )) {} # done",
    "echo 'a' \"b\" {} 'c'",
    "case x in x) echo {};; esac",
    "if true; then echo {}; fi",
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", PLACED)
def test_no_value_is_code_in_a_text(command: str, shell: str, ground: Path) -> None:
    for value in (EVIL, "touch evil", "$(touch evil)", "'; touch evil; '", "\ntouch evil\n", "if", "X=1", "2", "-e"):
        run(text(command, value), ground, shell)


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ('echo "{}"', "within quotes"),
        ("echo '{}'", "within quotes"),
        ('echo "a {.} b"', "within quotes"),
        ("echo `basename {}`", "within backquotes"),
        ('echo "`basename {}`"', "within backquotes"),
        ("echo $(echo `echo $(echo {})`)", "within backquotes"),
        ("echo $(( {} + 1 ))", "arithmetic"),
        ("echo $(( ({}) + 1 ))", "arithmetic"),
        ("echo ${x:-{}}", r"in \$\{...\}"),
        ("echo # {}", "in a comment"),
        ("cat <<END\n{}\nEND", "here-document"),
        ("echo $'a' {}", "read differently"),
        ('echo "$(case x in a) echo "{}";; esac)"', "both case"),
    ],
)
def test_where_nothing_can_be_quoted_a_place_is_refused(command: str, where: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^--command: \{{\.?\}} stands .*{where}"):
        text(command, "value")


@pytest.mark.parametrize("value", [EVIL, "if", "X=1", "-c", "+x", "", "{}", "'"])
def test_a_word_stays_one_word(value: str, ground: Path) -> None:
    assert run(words("printf", "[%s]", "{}", "a{}", values=(value,)), ground) == f"[{value}][a{value}]"
    # The command itself: something that is not there, and neither a keyword, an assignment, nor an option of the shell.
    done = subprocess.run(
        ["sh", "-c", words("{}", values=(value,))], cwd=ground, capture_output=True, check=False, timeout=30
    )
    assert done.returncode in (126, 127), done
    assert list(ground.iterdir()) == []


@pytest.mark.parametrize("shell", [("sh", "-c"), ("/bin/sh", "-ec"), ("env", "A=b", "bash", "-o", "pipefail", "-c")])
def test_what_a_shell_among_the_words_takes_for_code_is_quoted_for_it(shell: tuple[str, ...], ground: Path) -> None:
    command = words(*shell, "printf '[%s]' {} x{}", values=(EVIL,))
    assert run(command, ground) == f"[{EVIL}][x{EVIL}]"
    with pytest.raises(InvalidInput, match=r"^the command after -c: \{\} stands within quotes"):
        of_words([*shell, 'echo "{}"'], 1)
    assert run(words(*shell, "printf '[%s]' \"$1\"", "sh", "{}", values=(EVIL,)), ground) == f"[{EVIL}]"


FRAGMENTS = st.sampled_from(
    [
        "{}",
        "{.}",
        " ",
        "'",
        '"',
        "`",
        "$(",
        ")",
        "${",
        "}",
        "x",
        "$((",
        "((",
        "\\",
        "#",
        "\n",
        "<<E",
        "$'",
        ";",
        "echo ",
    ]
)
HOSTILE = st.sampled_from(["$(touch evil)", "`touch evil`", "'; touch evil #", '"; touch evil; "', EVIL, "|touch evil"])


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FRAGMENTS, min_size=1, max_size=9), HOSTILE)
def test_whatever_the_text_a_value_is_not_code(ground: Path, fragments: list[str], value: str) -> None:
    try:
        command = text("".join(fragments) + " {}", value)
    except InvalidInput:
        return
    for shell in SHELLS:
        # What a here-document or a redirection of the text itself makes is not what the test is about.
        subprocess.run([shell, "-c", command], cwd=ground, capture_output=True, check=False, timeout=30)
        assert not (ground / "evil").exists(), (shell, command)
