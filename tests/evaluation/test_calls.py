"""What the judge may execute: literals only, with the value that the model sent, or a call that fails."""

from __future__ import annotations

import ast
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.environment import Episode, ToolCall, render_reply
from envtune.environment.gold_policy import gold_replies
from envtune.evaluation.calls import REFUSED, judged_turns, safe_call
from envtune.tasks import find_task, load_tasks

TOOLS = frozenset({"cd", "power", "post_tweet"})

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    name=st.sampled_from([*TOOLS, "os.system", "__import__"]) | st.text(), arguments=st.dictionaries(st.text(), values)
)
def test_a_call_is_literals_or_refused(name: str, arguments: dict[str, Any]) -> None:
    text, reason = safe_call(ToolCall(name, arguments), TOOLS)
    assert bool(reason) == (text == REFUSED)
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args
    if not reason:
        assert call.func.id == name and name in TOOLS
        assert {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} == arguments


@given(arguments=st.dictionaries(st.sampled_from(["folder", "a", "msg_1"]), values))
def test_what_json_can_say_is_passed_on(arguments: dict[str, Any]) -> None:
    arguments = json.loads(json.dumps(arguments))
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:  # Infinity and NaN, which are no JSON and no Python literals
        assert safe_call(ToolCall("cd", arguments), TOOLS)[0] == REFUSED
    else:
        assert safe_call(ToolCall("cd", arguments), TOOLS)[0] != REFUSED


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("inspect.os.system", {"command": "true"}),
        ToolCall("globals", {}),
        ToolCall("cd", {"folder": math.inf}),
        ToolCall("cd", {"folder)": 1}),
        ToolCall("cd", {"lambda": 1}),
        ToolCall("cd", {"folder": "x" * 100_001}),
        ToolCall("cd", {"folder": 10**401}),
        ToolCall("cd", {"folder": {"a": [math.nan]}}),
    ],
)
def test_refused(call: ToolCall) -> None:
    text, reason = safe_call(call, TOOLS)
    assert text == REFUSED and reason


def test_what_the_environment_refused_is_not_run_by_the_checker() -> None:
    """Numbers past a limit, and a walk through a file system in which a directory holds itself."""
    math_task = next(t for t in load_tasks() if "MathAPI" in t.involved_classes)
    power = ToolCall("power", {"base": 10, "exponent": 10**8})
    twin = [ToolCall("mkdir", {"dir_name": "d"}), ToolCall("cp", {"source": "d", "destination": "d"})]
    for task, calls in ((math_task, [power]), (find_task("multi_turn_base_0"), [*twin, ToolCall("du", {})])):
        episode = Episode(task, rules="bfcl", max_steps_per_turn=20)
        episode.start()
        episode.step(render_reply("t", calls=calls))
        episode.step(render_reply("t", answer="a"))
        (turn, *_), notes = judged_turns(task, episode.trajectory)
        assert turn[0][-1] == REFUSED and REFUSED not in turn[0][:-1]
        assert len(notes) == 1 and calls[-1].name in notes[0]


def test_a_whole_trajectory_keeps_its_calls() -> None:
    task = find_task("multi_turn_base_0")
    episode = Episode(task, rules="bfcl", max_steps_per_turn=20)
    episode.start()
    for reply in gold_replies(task):
        episode.step(reply)
    turns, notes = judged_turns(task, episode.trajectory)
    assert turns == episode.trajectory.calls and notes == []


def test_turns_after_a_break_are_left_out() -> None:
    task = find_task("multi_turn_base_0")
    episode = Episode(task, rules="bfcl", max_steps_per_turn=1)
    episode.start()
    episode.step(render_reply("t", answer="a"))
    while not episode.done:
        episode.step(render_reply("t", calls=[ToolCall("pwd", {}), ToolCall("nothing", {})]))
    turns, notes = judged_turns(task, episode.trajectory)
    assert turns == [[], [["pwd()", REFUSED]] * 2]
    assert notes == ["turn 1: 'nothing' is no tool of the task"] * 2
