"""``group``, ``pause``, ``resume``, ``hold``, ``release``, ``edit``, ``why``, and the options of ``enqueue`` for them."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from program import Bench

from queuectl.cli.summary import QUEUE_IS_PAUSED


def enqueue(bench: Bench, *words: str) -> str:
    result = bench.run("enqueue", "--command", "true", *words)
    assert (result.code, result.err) == (0, "")
    return result.out.strip()


def shown(bench: Bench, job_id: str) -> Any:
    return json.loads(bench.run("show", job_id, "--json").out)


def refused(bench: Bench, code: int, says: str, *words: str) -> None:
    result = bench.run(*words)
    assert (result.code, result.out) == (code, ""), result
    assert says in result.err


def why(bench: Bench, job_id: str) -> str:
    result = bench.run("why", job_id)
    assert (result.code, result.err) == (0, "")
    told = json.loads(bench.run("why", job_id, "--json").out)
    said = f"{told['state']}: {told['why']}"
    if told["state"] in ("dead", "cancelled"):
        assert result.out.startswith(said), "more is for people only"
    else:
        assert result.out == f"{said}\n"
    return said


def next_step(bench: Bench, job_id: str) -> str:
    """What ``why`` adds to the reason."""
    return bench.run("why", job_id).out.removeprefix(why(bench, job_id)).removesuffix("\n")


def test_priority_and_group_are_kept(bench: Bench) -> None:
    job_id = enqueue(bench, "--priority", "-5", "--group", "gpu")
    job = shown(bench, job_id)
    assert (job["priority"], job["group"], job["held"], job["unique"]) == (-5, "gpu", False, None)
    text = bench.run("show", job_id).out
    assert "priority   -5" in text
    assert "group      gpu" in text


def test_needs_are_kept(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        enqueue(bench, "--id", name)
    job = shown(bench, enqueue(bench, "--after", "a", "--after", "b", "--after-any", "c"))
    assert (job["after"], job["after_any"], job["blockers"]) == (["a", "b"], ["c"], 3)
    text = bench.run("show", job["id"]).out
    assert "a (pending), b (pending)" in text


def test_a_job_file_has_keys_for_all_of_it(bench: Bench) -> None:
    lines = [
        {"id": "x", "command": "true", "priority": 2, "group": "g", "unique": "k", "if_exists": "reject"},
        {"id": "y", "command": "true", "after": "x", "after_any": ["x"]},
    ]
    result = bench.run("enqueue", "--job-file", "-", stdin="\n".join(map(json.dumps, lines)).encode())
    assert (result.code, result.out) == (0, "x\ny\n")
    assert [shown(bench, "x")[key] for key in ("priority", "group", "unique")] == [2, "g", "k"]
    assert shown(bench, "y")["after"] == ["x"]


def test_a_key_returns_rejects_or_replaces(bench: Bench) -> None:
    first = enqueue(bench, "--unique", "report")
    assert enqueue(bench, "--unique", "report") == first
    refused(bench, 4, f"job {first} with the key 'report' is pending", "enqueue", "--unique", "report", "--if-exists",
            "reject", "--command", "true")  # fmt: skip
    second = enqueue(bench, "--unique", "report", "--if-exists", "replace")
    assert shown(bench, first)["state"] == "cancelled"
    assert why(bench, first) == "cancelled: replaced by a later job with the key 'report'"
    assert shown(bench, second)["unique"] == "report"


def test_no_job_is_replaced_by_one_that_never_starts(bench: Bench) -> None:
    holder = enqueue(bench, "--unique", "k")
    again = ("enqueue", "--command", "true", "--unique", "k", "--if-exists", "replace")
    said = f"would replace the one that waits, and never start: it needs job {holder}, which did not complete"
    refused(bench, 4, f"a job with the key 'k' {said}", *again, "--after", holder)
    assert [job.state for job in bench.queue.jobs()] == ["pending"]
    assert bench.run(*again, "--after-any", holder).code == 0
    assert [job.state for job in bench.queue.jobs()] == ["cancelled", "pending"]


def test_who_enqueues_what_never_starts_is_told(bench: Bench) -> None:
    bad = enqueue(bench)
    assert bench.run("cancel", bad).code == 0
    one = bench.run("enqueue", "--command", "true", "--after", bad)
    why = f"needs job {bad}, which did not complete"
    assert (one.code, one.out, one.err) == (0, "2\n", f"queuectl: job 2 is cancelled at once: {why}\n")
    several = bench.run("enqueue", "--job-file", "-", "--after", bad, stdin=b'{"command": "true"}\n' * 2)
    assert (several.code, several.err) == (0, f"queuectl: job 3 is cancelled at once, and 1 more with it: {why}\n")
    assert [job.state for job in bench.queue.jobs()] == ["cancelled"] * 4


def test_groups(bench: Bench) -> None:
    assert bench.run("group", "set", "gpu", "--limit", "2").err == "queuectl: group gpu: at most 2 at once\n"
    enqueue(bench, "--group", "gpu")
    assert json.loads(bench.run("group", "list", "--json").out) == [
        {"name": "default", "limit": None, "paused": False, "pending": 0, "processing": 0},
        {"name": "gpu", "limit": 2, "paused": False, "pending": 1, "processing": 0},
    ]
    assert bench.run("group").lines[1:] == [
        "default   none        0           0  open",
        "gpu          2        1           0  open",
    ]
    assert bench.run("group", "set", "gpu", "--limit", "0").err == "queuectl: group gpu: no limit\n"
    assert bench.run("group", "remove", "gpu").err == "queuectl: group gpu: there was no limit\n"
    assert bench.run("group", "remove", "default").err == "queuectl: group default: there was no limit\n"
    bench.run("group", "set", "gpu", "--limit", "1")
    bench.run("pause", "gpu", "default")
    assert bench.run("group", "remove", "gpu").err == "queuectl: group gpu: no limit any more, its pause is over\n"
    assert bench.run("group", "remove", "default").err == "queuectl: group default: its pause is over\n"
    refused(bench, 3, "no group gone", "group", "remove", "gone")


def test_pause_and_resume(bench: Bench) -> None:
    job_id = enqueue(bench, "--group", "g")
    assert bench.run("pause", "g").err == "queuectl: group g is paused: 'queuectl resume g' lets jobs start again\n"
    assert why(bench, job_id) == "pending: its group g is paused until 'queuectl resume g'"
    assert bench.run("pause").err == f"queuectl: {QUEUE_IS_PAUSED}\n"
    assert why(bench, job_id) == "pending: the whole queue is paused until 'queuectl resume'"
    assert bench.run("resume", "g").err.splitlines() == [
        "queuectl: g resumed",
        "queuectl: the whole queue is still paused: 'queuectl resume' lets jobs start again",
    ]
    assert bench.run("resume").err == "queuectl: all resumed\n"
    assert why(bench, job_id) == "pending: no workers run: start them with 'queuectl worker-start'"
    bench.run("group", "set", "h", "--limit", "1")
    said = "queuectl: groups g, h are paused: 'queuectl resume g h' lets jobs start again\n"
    assert bench.run("pause", "g", "h", "g").err == said
    refused(bench, 3, "no group nobody", "pause", "nobody")


def test_a_group_is_there_when_its_jobs_have_ended_or_are_to_come(bench: Bench) -> None:
    enqueue(bench, "--group", "ended")
    bench.play("succeeded")
    bench.run("cron", "add", "nightly", "@daily", "--group", "later", "--", "true")
    for group in ("ended", "later"):
        said = f"queuectl: group {group} is paused: 'queuectl resume {group}' lets jobs start again\n"
        assert bench.run("pause", group).err == said
        assert bench.run("resume", group).err == f"queuectl: {group} resumed\n"


def printed(bench: Bench, *words: str) -> Any:
    result = bench.run(*words, "--json")
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


@pytest.mark.parametrize("words", ["pause compres", "resume Compress", "group remove comprss"])
def test_a_group_that_is_not_there_may_be_another(bench: Bench, words: str) -> None:
    bench.run("group", "set", "compress", "--limit", "1")
    refused(bench, 3, f"no group {words.rsplit(maxsplit=1)[-1]}: did you mean compress?\n", *words.split())


def test_a_new_group_that_is_called_almost_as_one_with_a_limit_is_told_of_once(bench: Bench) -> None:
    for name in ("compress", "gpu-1", "mail"):
        bench.run("group", "set", name, "--limit", "1")
    said = "queuectl: group compres has no limit; did you mean compress?\n"
    command = ("enqueue", "--group", "compres", "--command", "echo")
    first = bench.run(*command)
    assert (first.code, first.out, first.err) == (0, "1\n", said)
    enqueue(bench, "--group", "compres")
    for name in ("compress", "gpu-2", "mirror", "default"):
        enqueue(bench, "--group", name)
    bench.run("cancel", "1", "2")
    swept = bench.run(*command, "--each", stdin=b"a\nb\n")
    assert (swept.code, swept.out.split(), swept.err) == (0, ["7", "8"], said)
    nothing = bench.run(*command, "--each", stdin=b"")
    assert (nothing.code, nothing.err) == (0, "")


@pytest.mark.parametrize("name", ["Mail", "MAIL", "mial", "amil", "mail1", "mailx", "MIAL"])
def test_a_slip_in_a_group_is_told_of_wherever_one_is_named(bench: Bench, name: str) -> None:
    bench.run("group", "set", "mail", "--limit", "1")
    job_id = enqueue(bench)
    said = f"queuectl: group {name} has no limit; did you mean mail?"
    for words in (
        ("cron", "add", "nightly", "@daily", "--group", name, "--command", "true"),
        ("cron", "add", "nightly", "@daily", "--group", name, "--replace", "--json", "--command", "true"),
        ("edit", job_id, "--group", name),
        ("edit", job_id, "--group", name, "--json"),
    ):
        assert said in bench.run(*words).err.splitlines(), words
    bench.run("cancel", job_id)
    assert bench.run("enqueue", "--group", name, "--command", "true").err == f"{said}\n"
    bench.run("cancel", "2")
    content = json.dumps({"command": "true", "group": name}) + '\n{"command": "true"}\n'
    assert bench.run("enqueue", "--job-file", "-", stdin=content.encode()).err == f"{said}\n"
    bench.run("cancel", "3", "4")
    assert bench.run("enqueue", "--commands", "-", "--group", name, stdin=b"true\nfalse\n").err == f"{said}\n"
    for words in (("enqueue", "--group", "mail", "--command", "true"), ("edit", "6", "--group", "mail")):
        assert "did you mean" not in bench.run(*words).err


def test_a_group_by_another_case_is_told_of_each_time(bench: Bench) -> None:
    for name in ("mail", "gpu-12", "ab"):
        bench.run("group", "set", name, "--limit", "1")
    for name in ("Mail", "amil"):
        for _ in range(2):
            said = f"queuectl: group {name} has no limit; did you mean mail?\n"
            assert bench.run("enqueue", "--group", name, "--command", "true").err == said
    for name in ("gpu-21", "a", "b", "default", "malt"):
        assert bench.run("enqueue", "--group", name, "--command", "true").err == "", name


def test_what_is_done_to_groups_is_told_as_json(bench: Bench) -> None:
    enqueue(bench, "--group", "g")
    default = {"name": "default", "limit": None, "paused": False, "pending": 0, "processing": 0}
    g = {"name": "g", "limit": 2, "paused": False, "pending": 1, "processing": 0}
    assert printed(bench, "group", "set", "g", "--limit", "2") == g
    assert printed(bench, "pause", "g") == {"paused": False, "groups": [default, {**g, "paused": True}]}
    assert printed(bench, "resume", "g") == {"paused": False, "groups": [default, g]}
    assert printed(bench, "group", "remove", "g") == {**g, "limit": None}
    printed(bench, "group", "set", "empty", "--limit", "1")
    assert printed(bench, "group", "remove", "empty") == {**default, "name": "empty"}


def test_a_pause_of_the_whole_queue_is_told_wherever_one_looks(bench: Bench) -> None:
    assert "paused" not in bench.run("status").out
    assert printed(bench, "status")["paused"] is False
    paused = printed(bench, "pause")
    assert (paused["paused"], [group["paused"] for group in paused["groups"]]) == (True, [True])
    assert "paused   nothing starts: 'queuectl resume' lets jobs start again" in bench.run("status").lines
    assert printed(bench, "status")["paused"] is True
    assert printed(bench, "status")["paused_groups"] == []
    assert [group["paused"] for group in printed(bench, "group", "list")] == [True]
    assert printed(bench, "group", "set", "g", "--limit", "1")["paused"] is True
    assert printed(bench, "resume")["paused"] is False
    assert [group["paused"] for group in printed(bench, "group", "list")] == [False, False]


def test_status_tells_which_groups_are_paused(bench: Bench) -> None:
    for name in ("zip", "gpu", "open"):
        enqueue(bench, "--group", name)
    bench.run("pause", "zip", "gpu")
    line = "paused groups   gpu, zip: 'queuectl resume gpu zip' lets jobs start again"
    assert line in bench.run("status").lines
    bench.run("pause")
    told = printed(bench, "status")
    assert (told["paused"], told["paused_groups"]) == (True, ["gpu", "zip"])
    bench.run("resume")
    assert "paused" not in bench.run("status").out


def test_hold_and_release(bench: Bench) -> None:
    job_id = enqueue(bench)
    assert bench.run("hold", job_id).err == "queuectl: 1 job held\n"
    assert why(bench, job_id) == f"pending: held until 'queuectl release {job_id}'"
    assert "held" in bench.run("list").out
    assert bench.run("release", job_id).err == "queuectl: 1 job released\n"
    assert not shown(bench, job_id)["held"]
    assert bench.run("release", job_id).err == "queuectl: 0 jobs released (1 was not held)\n"
    bench.play("succeeded", b"")
    refused(bench, 4, f"job {job_id} is completed: only a waiting job can be held", "hold", job_id)


def test_why_tells_of_needs_and_of_ends(bench: Bench) -> None:
    good = enqueue(bench, "--max-retries", "0")
    other = enqueue(bench, "--after", good)
    last = enqueue(bench, "--after", other, "--after-any", good)
    idle = "(pending: no workers run: start them with 'queuectl worker-start')"
    assert why(bench, other) == f"pending: waits for job {good} {idle}"
    assert why(bench, last) == f"pending: waits for jobs {good} {idle}, {other} (pending)"
    bench.play("failed", b"", exit_code=1)
    assert why(bench, other) == f"cancelled: needs job {good}, which did not complete"
    assert why(bench, good).endswith(f"after 1 of at most 1 attempts: see 'queuectl logs {good}'")
    late = enqueue(bench, "--delay", "1h")
    assert why(bench, late).startswith("pending: starts in ")
    assert bench.run("dlq", "retry", good, "--with-dependents").err == "queuectl: 3 jobs put back\n"
    bench.play("succeeded", b"")
    assert why(bench, good) == "completed: its attempt 2 succeeded"


def test_why_follows_a_chain_to_its_root(bench: Bench) -> None:
    root = enqueue(bench, "--group", "g")
    middle = enqueue(bench, "--after", root)
    other = enqueue(bench)
    end = enqueue(bench, "--after", middle, "--after", other)
    bench.run("pause", "g")
    paused = "(pending: its group g is paused until 'queuectl resume g')"
    assert why(bench, middle) == f"pending: waits for job {root} {paused}"
    assert why(bench, end).startswith(
        f"pending: waits for jobs {middle} (pending), {other} (pending), in the end for job {root} {paused}"
    )
    bench.run("hold", other)
    held = f"(pending: held until 'queuectl release {other}')"
    assert why(bench, end) == f"pending: waits for jobs {middle} (pending), {other} {held}"
    bench.run("cancel", other)
    bench.run("resume", "g")
    bench.claim()
    edited = enqueue(bench, "--after", middle)
    assert why(bench, edited).startswith(
        f"pending: waits for job {middle} (pending), in the end for job {root} (processing: "
    )
    assert why(bench, middle) == f"pending: waits for job {root} (processing)"


def test_why_says_how_an_ended_job_is_put_back(bench: Bench) -> None:
    alone = bench.ended("failed", exit_code=1)
    assert next_step(bench, alone) == f"; 'queuectl retry {alone}' puts it back"
    bad = enqueue(bench, "--max-retries", "0")
    needing = enqueue(bench, "--after", bad)
    assert bench.play("failed", exit_code=1) == bad
    assert next_step(bench, bad) == f"; 'queuectl retry {bad} --with-dependents' puts it back"
    way = f"queuectl retry {bad} {needing} --with-dependents"
    assert next_step(bench, needing) == f"; '{way}' puts it back"
    ended = [line for line in bench.run("show", needing).lines if line.startswith("ended ")]
    assert len(ended) == 1
    assert ended[0].endswith(" ago)")
    assert bench.run(*way.split()[1:]).err == "queuectl: 2 jobs put back\n"
    assert "ended " not in bench.run("show", needing).out
    assert bench.play("failed", exit_code=1) == bad
    assert bench.run("prune", "--state", "dead", "--older-than", "0").code == 0
    assert next_step(bench, needing) == "", "nothing can"
    first = enqueue(bench, "--unique", "k")
    enqueue(bench, "--unique", "k", "--if-exists", "replace")
    assert next_step(bench, first) == "", "another took its place"


def test_edit_changes_what_is_named_and_nothing_else(bench: Bench) -> None:
    job_id = enqueue(bench, "--timeout", "5", "--env", "A=1", "--priority", "1")
    before = shown(bench, job_id)
    result = bench.run("edit", job_id, "--command", "echo new", "--group", "g", "--run-at", "2030-01-01")
    assert (result.code, result.err) == (0, "queuectl: 1 job changed\n")
    changed = shown(bench, job_id)
    wanted = {"command": "echo new", "group": "g", "next_run_at": "2030-01-01T00:00:00.000000Z"}
    assert changed == {**before, **wanted, "updated_at": changed["updated_at"]}
    bench.run("edit", job_id, "--delay", "0", "--max-retries", "0", "--cwd", "/", "--env", "B=2", "--unique", "k")
    changed = shown(bench, job_id)
    assert (changed["max_retries"], changed["cwd"], changed["env"], changed["unique"]) == (0, "/", {"B": "2"}, "k")


def test_edit_of_what_else_enqueue_sets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "along")
    job_id = enqueue(bench, "--env", "A=1", "--retry-on", "1")
    more = ("--batch", "b", "--no-retry-on", "64-78", "--backoff-base", "1.5", "--export", "TAKEN")
    assert bench.run("edit", job_id, *more).code == 0
    job = bench.queue.get(job_id)
    assert (job.batch, job.retry_on, job.no_retry_on, job.backoff_base) == ("b", "1", "64-78", 1.5)
    claimed = bench.store.claim("w", 2**52)
    assert claimed is not None
    assert (claimed.env["A"], claimed.env["TAKEN"]) == ("1", "along")


def test_edit_takes_back_what_was_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "along")
    bench.queue.change_setting("max_retries", 7)
    plain = bench.queue.get(enqueue(bench))
    said = {
        "batch": "b", "timeout": "5", "env": "A=1", "export": "TAKEN", "unique": "k", "priority": "3", "group": "g",
        "max-retries": "1", "retry-on": "1", "no-retry-on": "2", "backoff-base": "3",
    }  # fmt: skip
    job_id = enqueue(bench, *(f"--{name}={value}" for name, value in said.items()))
    names = list(said)
    assert bench.run("edit", job_id, "--unset", ",".join(names[:4]), "--timeout", "9").code == 2
    assert bench.queue.get(job_id).batch == "b"
    assert bench.run("edit", job_id, "--unset", ",".join(names[:4]), "--unset", ",".join(names[4:])).code == 0
    ours = {"id": job_id, "created_at": "", "updated_at": ""}
    assert {**bench.queue.get(job_id).as_dict(), **ours} == {**plain.as_dict(), **ours}
    assert bench.queue.enqueue("true", unique="k").id != job_id, "its key is free"
    bench.queue.edit(job_id, timeout=5, batch="b")
    assert bench.queue.edit(job_id, unset="timeout").timeout is None
    assert bench.queue.edit(job_id, unset=["batch"]).batch is None
    refused(bench, 2, "--unset: 'cwd' is none of batch, timeout,", "edit", job_id, "--unset", "cwd")


def test_an_ended_job_is_put_back_held_and_mended(bench: Bench) -> None:
    job_id = enqueue(bench, "--max-retries", "0", "--batch", "b")
    claim = bench.claim()
    result = bench.run("edit", job_id, "--priority", "1")
    assert (result.code, result.err) == (
        4,
        f"queuectl: error: job {job_id} is processing: only a waiting job can be edited\n",
    )
    bench.finish(claim, "failed", exit_code=127)
    way = f"queuectl retry {job_id} --hold"
    refused(bench, 4, f"job {job_id} is dead: only a waiting job can be edited; '{way}' has it wait", "edit", job_id,
            "--priority", "1")  # fmt: skip
    for command in (way.split()[1:], ["dlq", "retry", job_id, "--hold"], ["retry", "--batch", "b", "--hold"]):
        assert bench.run(*command).err == "queuectl: 1 job put back, held until 'queuectl release'\n"
        assert bench.queue.get(job_id).held
        assert bench.store.claim("w", 2**52) is None
        assert bench.run("edit", job_id, "--command", "echo mended").code == 0
        bench.run("release", job_id)
        claim = bench.claim()
        assert claim.command == "echo mended"
        bench.finish(claim, "failed", exit_code=1)


def test_edit_takes_a_command_word_by_word(bench: Bench) -> None:
    job_id = enqueue(bench)
    assert bench.run("edit", job_id, "--priority", "2", "--", "echo", "a b", "--json").code == 0
    assert (shown(bench, job_id)["command"], shown(bench, job_id)["priority"]) == ("echo 'a b' --json", 2)
    refused(bench, 2, "exclude each other", "edit", job_id, "--command", "true", "--", "false")
    refused(bench, 2, "unexpected argument 'ls'", "edit", job_id, "ls", "-la")
    refused(bench, 2, "nothing to change", "edit", job_id, "--")


def test_an_edit_that_cancels_says_so(bench: Bench) -> None:
    bad = enqueue(bench, "--max-retries", "0")
    assert bench.run("cancel", bad).code == 0
    result = bench.run("edit", enqueue(bench), "--after", bad)
    assert result.code == 0
    assert result.err.splitlines()[1:] == ["queuectl: job 2 is cancelled by that: needs job 1, which did not complete"]


def test_edit_of_needs(bench: Bench) -> None:
    first = enqueue(bench)
    job_id = enqueue(bench, "--after", first)
    refused(bench, 2, f"job {first} would wait for itself", "edit", first, "--after", job_id)
    told: list[object] = []
    assert bench.run("edit", job_id, "--no-after").code == 0
    assert shown(bench, job_id)["after"] == []
    refused(bench, 2, "--no-after excludes", "edit", job_id, "--no-after", "--after", first)
    other = enqueue(bench)
    for arguments in (["--after", first], ["--after-any", other], ["--unset", "after"], ["--unset", "after-any"]):
        assert bench.run("edit", job_id, *arguments).code == 0
        told.append((shown(bench, job_id)["after"], shown(bench, job_id)["after_any"]))
    assert told == [([first], []), ([first], [other]), ([], [other]), ([], [])]


def test_edit_exports_what_is_named_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONE", "TWO"):
        monkeypatch.setenv(name, name.lower())
    job_id = enqueue(bench, "--export", "ONE", "--env", "A=1")
    assert bench.run("edit", job_id, "--export", "TWO").code == 0
    assert (shown(bench, job_id)["export"], shown(bench, job_id)["env"]) == (["TWO"], {"A": "1"})


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("enqueue --command true --priority high", 2, "--priority: 'high' is not a whole number"),
        ("enqueue --command true --priority 99999999999", 2, "--priority"),
        ("enqueue --command true --group a/b", 2, "--group 'a/b' is not valid"),
        ("enqueue --command true --after ../x", 2, "--after '../x' is not valid"),
        ("enqueue --command true --after nobody", 3, "no job nobody to wait for"),
        ("enqueue --command true --if-exists reject", 2, "give it with --unique"),
        (
            "enqueue --command true --unique k --if-exists maybe",
            2,
            "--if-exists: 'maybe' is none of return, reject, replace",
        ),
        ("group set g", 2, "Missing option '--limit'"),
        ("group set g --limit -1", 2, "'-1' is not a whole number"),
        ("group set a/b --limit 1", 2, "group 'a/b' is not valid"),
        ("group remove g", 3, "no group g"),
        ("hold nobody", 3, "no job nobody"),
        ("release nobody", 3, "no job nobody"),
        ("hold", 2, "give the ids of jobs"),
        ("why nobody", 3, "no job nobody"),
        ("edit nobody --priority 1", 3, "no job nobody"),
        ("edit nobody", 2, "nothing to change"),
        ("edit nobody --command ''", 2, "--command: is empty"),
        ("resume nobody", 3, "no group nobody"),
    ],
)
def test_mistakes(bench: Bench, words: str, code: int, says: str) -> None:
    refused(bench, code, says, *shlex.split(words))
    assert bench.queue.jobs() == []
