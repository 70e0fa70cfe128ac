"""`envtune play` as a user meets it: every policy on the real environment, and one clear line when something is wrong."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from envtune.cli import app
from envtune.environment import ReplyKind, parse_reply
from envtune.errors import EnvtuneError
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.tasks import find_task
from envtune.viewer.human import Mistyped, typed_reply

BASE = "multi_turn_base_0"
TOOLS = find_task(BASE).tools


def play(*arguments: str, typed: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["play", *arguments], input=typed, env={"COLUMNS": "100"})


def complaint(*arguments: str) -> str:
    """The one line on stderr of a command that ends with code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "envtune.cli", "play", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


# ---- gold


@pytest.mark.parametrize("rules", ["training", "bfcl"])
@pytest.mark.parametrize("name", ["base_7", "miss_func_0", "miss_param_2", "long_context_30"])
@pytest.mark.parametrize("release", ["paper", "current"])
def test_gold(release: str, name: str, rules: str) -> None:
    done = play(f"multi_turn_{name}", "--release", release, "--rules", rules)
    assert done.exit_code == 0, done.output
    turns = len(find_task(f"multi_turn_{name}", release).question)
    assert done.output.count("equals gold") == turns
    assert f"score      1; so far {turns} of {turns}" in done.output
    assert "progress   1 of 1" in done.output and "official   valid" in done.output
    assert "\x1b" not in done.output
    assert max(map(len, done.output.splitlines())) <= 100
    assert ("new tools  sort" in done.output) == (name == "miss_func_0")


def test_long_texts_are_cut_on_screen_only_on_screen() -> None:
    cut, full = (play("multi_turn_long_context_30", *more).output for more in ((), ("--full",)))
    assert re.search(r"\[… [\d,]+ characters left out …\]", cut)
    assert "left out" not in full and len(full) > len(cut) + 4000


def test_what_the_model_was_not_given_is_told() -> None:
    done = play("multi_turn_long_context_30", "--max-result-characters", "500", "--full")
    assert re.search(r"the model was not given the middle [\d,]+ characters", done.output)
    assert "left out" not in done.output and "official   valid" in done.output


def test_the_whole_system_prompt_on_demand() -> None:
    assert '"parameters":' not in play(BASE).output
    assert '"parameters":' in play(BASE, "--prompt").output


def test_colours_only_on_a_terminal() -> None:
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "envtune.cli", "play", BASE]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=secondary, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(secondary)
        seen = b""
        while True:
            try:
                chunk = os.read(primary, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            seen += chunk
    os.close(primary)
    assert process.returncode == 0
    assert b"\x1b[32mequals gold" in seen


def test_a_terminal_that_has_not_every_character() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "envtune.cli", "play", "multi_turn_long_context_30"]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stdout.isascii() and b"official   valid" in done.stdout


# ---- a person


def test_a_person_plays_a_turn_and_stops() -> None:
    typed = "\n".join(
        [
            "help",
            "tools",
            "doc mkdir",
            "doc nothing",
            "gold",
            "",
            "ls(",
            "ls(a=open('x'))",
            "cd('document'); mkdir(dir_name='temp')",
            '{"name": "mv", "arguments": {"source": "final_report.pdf", "destination": "temp"}}',
            "answer It is moved.",
            "<think>not the format",
            "",
            "cd(folder='no/where')",
            "quit",
            "answer never read",
        ]
    )
    done = play(BASE, "--policy", "human", "--feedback", "augmented", typed=typed)
    assert done.exit_code == 0, done.output
    said = done.output
    for wanted in (
        "answer TEXT", "authenticate_twitter, ", '"name": "mkdir"', "no such tool on offer", "cd(folder='document')",
        "that is no call", "a must be a plain value", "It is moved.", "score      1; so far 1 of 1",
        "problem    The reply must start with <think>", "as it is   <think>not the format", "hint       Close the reasoning with", "hint       Give the name of one directory",
        "stopped before its end", "turns      1 0 0 0", "progress   0.25 of 1",
    ):  # fmt: skip
        assert wanted in said, wanted
    assert "never read" not in said
    assert "differs from gold" not in said.split("score      1")[0]


def test_the_end_of_the_input_ends_the_episode() -> None:
    done = play(BASE, "--policy", "human", typed="<think>cut off")
    assert done.exit_code == 0 and "stopped before its end" in done.output
    assert "as it is   <think>cut off" in done.output


def test_input_that_is_no_text() -> None:
    done = play(BASE, "--policy", "human", typed=b"answer \xff\xfe\n")
    assert isinstance(done.exception, EnvtuneError) and "is not utf-8 text" in str(done.exception)


def test_what_is_typed_is_shown_and_never_interpreted() -> None:
    done = play(BASE, "--policy", "human", typed="answer [bold red]x[/] [/nothing] :smile: \x1b[31m\x9b2J \x07\u202e\n")
    assert done.exit_code == 0
    assert "answer     [bold red]x[/] [/nothing] :smile: \\x1b[31m\\x9b2J \\x07\\u202e" in done.output
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(done.output)


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("ls()", [("ls", {})]),
        ("ls(True)", [("ls", {"a": True})]),
        ("ls(a=true)", [("ls", {"a": True})]),
        ("  cd( folder = 'a b' ) ; ls()", [("cd", {"folder": "a b"}), ("ls", {})]),
        ("[ls(), pwd()]", [("ls", {}), ("pwd", {})]),
        ("ls(), pwd()", [("ls", {}), ("pwd", {})]),
        ("x(v=[-1, {'k': null}, 1.5])", [("x", {"v": [-1, {"k": None}, 1.5]})]),
        ('[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": 1}}]', [("a", {}), ("b", {"x": 1})]),
    ],
)  # fmt: skip
def test_typed_calls(line: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    reply = parse_reply(typed_reply(line, TOOLS))
    assert [(call.name, call.arguments) for call in reply.calls] == calls


@pytest.mark.parametrize(
    "line",
    ["ls(", "ls", "1 + 1", "import os", "__import__('os').system('true')", "ls(a=b)", "ls(**{'a': 1})", "ls(1, 2)",
     "ls(*[1])", "ls(True, a=True)", "ls(a=f'{1}')", "ls(a={1, 2})", "(lambda: 1)()", "x = ls()", "{", '{"name": "ls"}',
     "[]", '[{"name": 1, "arguments": {}}]', "ls(a=" + "(" * 500 + ")" * 500 + ")", "[{" * 60_000,
     "ls(a='" + "x" * 200_000 + "')"],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_what_is_no_call(line: str) -> None:
    with pytest.raises(Mistyped):
        typed_reply(line, TOOLS)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"(ls|cd)\([\w\[\]{}'\" ,=:*.-]{0,20}\)?", fullmatch=True)))
def test_any_line_is_a_reply_or_a_complaint(line: str) -> None:
    try:
        reply = typed_reply(line, TOOLS)
    except Mistyped:
        return
    assert parse_reply(reply).kind is not ReplyKind.ILL_FORMED or line.strip().startswith("answer")


# ---- a model behind an endpoint


@pytest.mark.parametrize("model", [(), ("--model", "scripted")], ids=["the only model", "named"])
def test_endpoint(model: tuple[str, ...]) -> None:
    with ScriptedEndpoint([find_task(BASE)], policy="stepwise") as endpoint:
        done = play(BASE, "--policy", endpoint.base_url, *model, "--max-tokens", "200")
    assert done.exit_code == 0, done.output
    assert "progress   1 of 1" in done.output and "reply 4    answer" in done.output


def test_a_model_out_of_format() -> None:
    with ScriptedEndpoint([find_task(BASE)], policy="malformed") as endpoint:
        done = play(BASE, "--policy", endpoint.base_url)
    assert done.exit_code == 0
    assert done.output.count("forced to end: too many steps") == 4
    assert "as it is   Sure! <tool_call>[{]</tool_call>" in done.output


def test_a_context_that_is_full() -> None:
    with ScriptedEndpoint([find_task(BASE)], context_tokens=10) as endpoint:
        done = play(BASE, "--policy", endpoint.base_url)
    assert done.exit_code == 0 and "does not fit into the model's context" in done.output


def test_endpoints_that_fail() -> None:
    def why(*arguments: str) -> str:
        done = play(BASE, "--policy", endpoint.base_url, *arguments)
        assert isinstance(done.exception, EnvtuneError), done.output
        return str(done.exception)

    with ScriptedEndpoint([find_task(BASE)], failing=1.0) as endpoint:
        assert "gives no reply" in why("--model", "scripted")
        assert "status 404" in why("--model", "other")
    assert "does not list its models" in why()
    assert "gives no reply" in complaint(BASE, "--policy", endpoint.base_url, "--model", "scripted")


def test_bad_arguments() -> None:
    assert "unknown task id 'nothing'" in complaint("nothing")
    assert "unknown BFCL release" in complaint(BASE, "--release", "v5")
    assert "unknown policy 'golden'" in complaint(BASE, "--policy", "golden")
    assert "unknown feedback" in complaint(BASE, "--feedback", "loud")
    assert "unknown rules" in complaint(BASE, "--rules", "none")
