"""What words may become; how real shells ask for it is for the tests at a terminal."""

from __future__ import annotations

import click
import pytest
from program import Bench, call, execute

from queuectl.cli import completing, main
from queuectl.cli.completing import FREE, KNOWN, kind_of, split
from queuectl.cli.completion import SHELLS


def complete(*words: str) -> list[str]:
    """The candidates for the last word."""
    result = call("__complete", "zsh", *words)
    assert (result.code, result.err) == (0, "")
    return [line.split("\t")[1] for line in result.lines]


def kind(*words: str) -> str:
    return call("__complete", "zsh", *words).out.rstrip("\n")


def test_commands_with_what_they_say_of_themselves(bench: Bench) -> None:
    assert complete("") == main.list_commands(click.Context(main))
    assert complete("wor") == ["worker-start", "worker-stop", "worker-status", "worker-run"]
    assert kind("canc") == "plain\tcancel\tStop waiting or running jobs."
    assert kind("dlq", "r") == "plain\tretry\tPut dead jobs back into the queue."
    assert complete("config", "") == ["get", "list", "set", "unset"]
    assert complete("--json", "--db", "x", "stat") == ["status"]
    assert complete("nonsense", "") == []
    assert complete("status", "") == []


def test_options_that_are_not_there_yet(bench: Bench) -> None:
    assert complete("list", "--") == ["--state", "--limit", "--batch", "--json", "--db", "--help"]
    assert complete("list", "--limit", "5", "--json", "--l") == []
    assert "-h" in complete("list", "-")
    assert complete("logs", "-n", "5", "--li") == []
    assert complete("enqueue", "--env", "A=B", "--en") == ["--env"]


def test_values_of_options(bench: Bench) -> None:
    assert complete("list", "--state", "p") == ["pending", "processing"]
    assert complete("list", "--state=p") == ["pending", "processing"]
    assert complete("list", "--state", "dead,c") == ["dead,completed", "dead,cancelled"]
    assert complete("list", "--state", "dead,d") == []
    assert complete("worker-run", "--mode", "") == ["process", "thread"]
    assert complete("worker-run", "--mode=t") == ["thread"]
    assert complete("worker-run", "--drain=") == []
    assert complete("worker-run", "--nonsense=") == []
    assert complete("completion", "") == list(SHELLS)
    assert complete("enqueue", "--if-exists", "re") == ["return", "reject", "replace"]
    assert complete("prune", "--state", "c") == ["completed", "cancelled"]
    assert kind("enqueue", "--job-file", "x") == "file\tx\t"
    assert kind("enqueue", "--commands", "x") == "file\tx\t"
    assert kind("enqueue", "--job-file=x") == "file\tx\t"
    assert kind("enqueue", "--cwd", "") == "dir\t\t"
    assert kind("--db", "q") == "file\tq\t"
    assert kind("init", "q") == "file\tq\t"


def test_an_option_whose_value_may_be_left_out(bench: Bench) -> None:
    assert kind("enqueue", "--each", "li") == "file\tli\t"
    assert kind("enqueue", "--each", "") == "file\t\t"
    assert complete("enqueue", "--each", "--ba") == ["--batch", "--backoff-base"]
    assert "--each" in complete("enqueue", "--each", "-")
    assert complete("enqueue", "--each", "--batch", "") == complete("enqueue", "--batch", "")
    assert complete("enqueue", "--each", "--if-exists", "rep") == ["replace"]
    assert kind("enqueue", "--each", "--", "gr") == "command\t0\t"
    assert kind("enqueue", "--each", "--", "ls", "-") == "command\t1\t"
    assert kind("enqueue", "--each", "-", "--", "gr") == "command\t0\t"
    assert kind("enqueue", "--each=", "--", "gr") == "command\t0\t"


def test_settings_in_both_spellings(bench: Bench) -> None:
    assert complete("config", "set", "max_") == ["max_retries"]
    assert complete("config", "get", "max-r") == ["max-retries"]
    assert complete("config", "set", "max_retries", "") == []


def test_the_words_of_a_command_to_enqueue_are_its_own(bench: Bench) -> None:
    assert kind("enqueue", "--", "l") == "command\t0\t"
    assert kind("enqueue", "--", "ls", "-") == "command\t1\t"
    assert complete("enqueue", "x") == []
    assert kind("cron", "add", "nightly", "@daily", "--", "ls", "-") == "command\t1\t"


def test_ids_of_jobs_that_a_command_can_do_something_with(bench: Bench) -> None:
    bench.ended("failed")
    bench.ended("succeeded")
    bench.queue.enqueue("true", id="a")
    bench.queue.enqueue("true", id="b")
    for command in ("cancel", "wait"):
        assert complete(command, "") == ["b", "a"]
    assert complete("cancel", "b", "") == ["a"]
    assert complete("dlq", "retry", "") == ["1"]
    assert complete("retry", "") == ["2", "1"]
    assert complete("show", "") == ["b", "a", "2", "1"]
    assert complete("show", "a", "") == []
    assert complete("logs", "-n", "5", "") == ["b", "a", "2", "1"]
    assert complete("enqueue", "--id", "") == []
    assert complete("enqueue", "--after", "") == ["b", "a", "2"]
    assert complete("edit", "a", "--after", "2", "--after-any", "b") == ["b"]
    assert complete("hold", "") == ["b", "a"]


def test_schedules(bench: Bench) -> None:
    bench.run("cron", "add", "nightly", "@daily", "--", "true")
    assert complete("cron", "pause", "") == ["nightly"]
    assert complete("cron", "add", "") == []
    assert complete("cron", "add", "--missed", "") == ["once", "skip"]
    assert complete("cron", "add", "--tz", "Europe/Berl") == ["Europe/Berlin"]


def test_groups(bench: Bench) -> None:
    bench.queue.enqueue("true", group="gpu")
    bench.run("group", "set", "net", "--limit", "2")
    assert complete("enqueue", "--group", "") == ["gpu", "net", "default"]
    assert complete("enqueue", "--group=g") == ["gpu"]
    assert complete("pause", "gpu", "") == ["net", "default"]
    assert complete("group", "remove", "n") == ["net"]


def test_the_queue_that_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.queue.enqueue("true", id="here")
    monkeypatch.setenv("QUEUECTL_DB_PATH", "nowhere/queuectl.db")
    monkeypatch.setenv("HOME", str(bench.directory))
    assert complete("cancel", "") == []
    for words in (
        ["--db", "queuectl.db", "cancel"],
        ["cancel", "--db=queuectl.db"],
        ["cancel", "--db", "~/queuectl.db"],
        ["--db", "x", "cancel", "--db", "$HOME/queuectl.db"],
    ):
        assert complete(*words, "") == ["here"]
    assert complete("--db", "a/", "cancel", "") == []


def test_a_command_is_one_line_without_control_characters(bench: Bench) -> None:
    bench.queue.enqueue("printf '\x1b[2J'\n\techo " + "long " * 50, id="odd")
    shown = kind("cancel", "")
    assert shown.startswith("plain\todd\tprintf '\\x1b[2J'\\n\\techo long long")
    assert shown.endswith("…")
    assert len(shown.split("\t")[2]) == 100


def test_bash_gives_the_line_up_to_the_cursor(bench: Bench) -> None:
    bench.queue.enqueue("true", id="job")
    for line in ("queuectl cancel j", "'queuectl'  cancel --db=queuectl.db ", "queuectl cancel 'jo"):
        assert call("__complete", "bash", line).lines == ["plain\tjob\ttrue"]


def test_a_line_is_split_as_a_shell_does() -> None:
    assert split("a b") == ["a", "b"]
    assert split("a b ") == ["a", "b", ""]
    assert split("a 'b c") == ["a", "b c"]
    assert split('a "b c" d#e # f') == ["a", "b c", "d#e", "#", "f"]
    assert split("a b\\ c\\") == ["a", "b c"]
    assert split("") == [""]


@pytest.mark.parametrize("words", [(), ("zsh",), ("bash",), ("bash", ""), ("zsh", "--db"), ("zsh", "\udc80", "\udc80")])
def test_a_question_that_makes_no_sense_has_no_answer_and_no_complaint(bench: Bench, words: tuple[str, ...]) -> None:
    result = call("__complete", *words)
    assert (result.code, result.err) == (0, "")


def test_nothing_is_said_of_trouble(bench: Bench) -> None:
    assert execute(bench.directory, "__complete", "zsh", "cancel", b"\xff").err == ""
    (bench.directory / "queuectl.db").write_bytes(b"no database" * 1000)
    result = bench.execute("__complete", "zsh", "cancel", "")
    assert (result.code, result.out, result.err) == (0, "", "")


def parameters() -> list[tuple[str, click.Parameter]]:
    found: list[tuple[str, click.Parameter]] = []

    def visit(name: str, command: click.Command) -> None:
        found.extend((name, parameter) for parameter in command.params)
        if isinstance(command, click.Group):
            for below in command.list_commands(click.Context(command)):
                each = command.get_command(click.Context(command), below)
                assert each is not None
                visit(f"{name} {below}".strip(), each)

    visit("", main)
    return found


def test_it_was_thought_of_every_value() -> None:
    """A new metavar is either one that can be completed, or one that only the user knows."""
    kinds = {
        (name, parameter.opts[0]): kind_of(parameter)
        for name, parameter in parameters()
        if not isinstance(parameter.type, click.Choice) and parameter.opts[0] not in completing._BY_OPTION
    }
    assert {place: word for place, word in kinds.items() if word not in KNOWN and "|" not in word} == {}
    assert not FREE & completing._BY_METAVAR.keys()
    assert completing._NAMES.keys() | completing._STATES_OF_IDS.keys() <= {name for name, _ in parameters()}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_by_the_word_that_is_answered(bench: Bench, shell: str) -> None:
    result = bench.run("completion", shell)
    assert result.code == 0
    assert f" __complete {shell} " in result.out
    assert bench.run("completion", shell, "--json").code == 0
