"""Commands with places: what is put there, and that no value is ever code."""

from __future__ import annotations

import shlex
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


def test_a_literal_place_among_words(ground: Path) -> None:
    assert words("find", "{}", "-exec", "echo", "\\{}", "+", values=("a",)) == "find a -exec echo '{}' +"
    assert words("echo", "\\{}", values=("a",)) == "echo '{}' a", "it is no place: the value comes last"
    assert words("echo", "x\\{.}y{}", values=("a",)) == "echo 'x{.}ya'"
    assert words("echo", "\\{2}", "\\x{}", values=("a",)) == "echo '\\{2}' '\\xa'", "what is no place is left as it is"
    assert words("sh", "-c", 'echo \\{} "$@"', "sh", values=("a",)) == "sh -c 'echo \\{} \"$@\"' sh a"
    assert words("echo", "\\{2}", "\\{3}", "{2}", values=("a", "b")) == "echo '{2}' '{3}' b"
    assert words("fish", "-c", "echo \\{}", "--", "{}", values=("a",)) == "fish -c 'echo {}' -- a", "no value"
    assert run(words("echo", "{}", "\\{}", "x{}y", values=("a",)), ground) == "a {} xay\n"


def run(command: str, where: Path, shell: str = "sh") -> str:
    done = subprocess.run([shell, "-c", command], cwd=where, capture_output=True, check=False, timeout=30)
    assert list(where.iterdir()) == [], command
    return done.stdout.decode()


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


@pytest.mark.parametrize(
    "shell",
    [
        "sh -c",
        "/bin/sh -ec",
        "sh -c -e --",
        "sh -c - ",
        "sh +x -c",
        "sh -o noglob -ceo nounset",
        "A=b sh -c",
        "env -u X A=b bash -o pipefail -c",
        "bash --norc --rcfile x -O extglob -c",
        "timeout -k 5 60 nice -n 1 nice -5 sh -c",
        "setsid -w env -- sh -c",
    ],
)
def test_what_a_shell_among_the_words_takes_for_code_is_quoted_for_it(shell: str, ground: Path) -> None:
    command = words(*shell.split(), "printf '[%s]' {} x{}", values=(EVIL,))
    assert run(command, ground) == f"[{EVIL}][x{EVIL}]"
    with pytest.raises(InvalidInput, match=r"^the command after -c: \{\} stands within quotes"):
        of_words([*shell.split(), 'echo "{}"'], 1)
    assert run(words(*shell.split(), "printf '[%s]' \"$1\"", "sh", "{}", values=(EVIL,)), ground) == f"[{EVIL}]"


@pytest.mark.parametrize(
    "name", ["rbash", "ash", "ksh", "ksh93", "mksh", "yash", "zsh5", "zsh-5.9", "/opt/bash-static"]
)
def test_the_names_of_shells_that_are_quoted_for(name: str) -> None:
    for before in ([], ["busybox"], ["sudo", "-u", "bash"], ["exec"]):
        assert words(*before, name, "-c", "echo {}", values=("a b",)) == " ".join(
            [*before, name, "-c 'echo '\"'\"'a b'\"'\"''"]
        )


@pytest.mark.parametrize(
    "command",
    [
        "sh conv.sh -c {}",
        "sh -- conv.sh -c {}",
        "sh -e conv.sh -c {}",
        "timeout 5 sh conv.sh -c {}",
        "./conv.sh -c {}",
        "grep fish -c {}",
        "echo sh -c {}",
        "fish conv.fish -c {}",
        "fish -- conv.fish -c {}",
        "fish -c true -- {}",
        "env v={} fish -c true",
        "su user -c true -- sh {}",
        "docker exec box sh -c true sh {}",
        "docker exec box sh conv.sh -c {}",
        "bash -c true bash {}",
        "tar -c {}",
        "./publish --check {}",
    ],
)
def test_a_word_that_is_no_code_stays_as_it_is(command: str) -> None:
    assert words(*command.split(), values=("a b",)) == command.replace("v={}", "'v=a b'").replace("{}", "'a b'")


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        ("fish -c 'echo {}'", "fish"),
        ("fish -c", "fish"),
        ("fish -c 'echo $argv' {}", "fish"),  # as -cCODE, it would be one more option
        ("fish -N '-cecho {}'", "fish"),
        ("fish -d cat --init-command 'echo {}'", "fish"),
        ("fish --command='echo {}'", "fish"),
        ("tcsh -fc 'echo {}'", "tcsh"),
        ("csh -c 'echo {}'", "csh"),
        ("foosh -c 'echo {}'", "foosh"),
        ("pwsh -NoProfile -Command echo -- {}", "pwsh"),
        ("su user -c 'echo {}'", "su"),
        ("su -- user -c 'echo {}'", "su"),
        ("sudo -u bob fish -c 'echo {}'", "fish"),
        ("sudo --user bob sh -c 'echo {}'", "sh"),
        ("docker exec box sh -ec 'echo {}'", "sh"),
        ("find . -exec sh -c 'echo {}' ;", "sh"),
        ("sh run.sh sh -c 'echo {}'", "sh"),
        ("sh -c 'exec \"$@\"' sh fish -c 'echo {}'", "fish"),
        ("if true then sh -c 'echo {}'", "sh"),
        ("env -S 'sh -c' 'echo {}'", "env -S"),
        ("env '-iSsh -c \"echo {}\"'", "env -S"),
        ("env --split-string='sh -c' 'echo {}'", "env -S"),
        ("zsh --emulate csh -c 'echo {}'", "zsh"),
        ("bash -rcfile x -c 'echo {}'", "bash"),
        ("bash -oc posix 'echo {}'", "bash"),
        ("zsh -c +O '{} -c {}'", "zsh"),
        ("sh -c{} 'echo a'", "sh"),
        ("{} -c 'echo {}'", r"\{\}"),
    ],
)
def test_where_a_value_may_be_code_that_it_cannot_be_quoted_for_it_is_refused(command: str, shell: str) -> None:
    pattern = (
        rf"^the command after --: {{}} stands in what {shell} may take for code, .* Give the value beside the code: "
    )
    with pytest.raises(InvalidInput, match=pattern):
        of_words(shlex.split(command), 1)


def test_a_place_that_only_the_words_would_have_is_none_of_the_text() -> None:
    assert words("sh", "-c", "echo ${1} \\{}", "sh", "{}") == "sh -c 'echo ${1} \\{}' sh d/a.tar.gz"
    assert words("sh", "-c", "echo ${1}", "sh") == "sh -c 'echo ${1}' sh d/a.tar.gz"


def test_a_line_that_is_all_of_the_text_is_one_word_of_it(ground: Path) -> None:
    for command in (["sh", "-c"], ["sh", "-c", "{}"], ["sh", "-c", "--"]):
        run(words(*command, values=("touch evil",)), ground)


OPTIONS = st.lists(
    st.sampled_from(
        [
            "-c",
            "-e",
            "-ec",
            "-eo",
            "nounset",
            "-o",
            "-oc",
            "-co",
            "+e",
            "+c",
            "+o",
            "-",
            "--",
            "+",
            "x",
            "",
            "--norc",
            "-rcfile",
            "+O",
        ]
    ),
    max_size=5,
)
ANY_SHELL = [shell for shell in ("sh", "dash", "bash", "zsh", "fish") if shutil.which(shell)]


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(OPTIONS, st.sampled_from(["{}", "echo {}", "-x{}"]), OPTIONS)
def test_whatever_the_options_of_a_shell_a_value_is_not_code(
    ground: Path, before: list[str], placed: str, behind: list[str]
) -> None:
    for shell in ANY_SHELL:
        try:
            command = words(shell, *before, placed, *behind, values=("true;touch evil",))
        except InvalidInput:
            continue
        subprocess.run(["sh", "-c", command], cwd=ground, capture_output=True, check=False, timeout=30)
        assert not (ground / "evil").exists(), command  # fish -o FILE may well have written another


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_every_value_arrives_as_it_is(ground: Path, value: str) -> None:
    for command in (
        ["printf", "[%s]", "{}"],
        *([shell, "-c", "printf '[%s]' {}"] for shell in ANY_SHELL if shell != "fish"),
    ):
        assert run(words(*command, values=(value,)), ground) == f"[{value}]"
    if "fish" in ANY_SHELL:
        assert run(words("fish", "-c", "printf '[%s]' $argv", "--", "{}", values=(value,)), ground) == f"[{value}]"


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
