"""Hints: only on failures, never a word in the checks, never a tool that is not on offer."""

from __future__ import annotations

import random

import pytest

from envtune.environment import Episode, ToolCall, render_reply
from envtune.environment.gold_policy import gold_calls, gold_replies
from envtune.environment.hints import HINTS, hint_for
from envtune.tasks import Task, find_task, load_tasks


def reply_to(task: Task, feedback: str, *calls: ToolCall) -> str:
    episode = Episode(task, feedback=feedback)
    episode.start()
    return episode.step(render_reply("t", calls=calls)).messages[0]["content"]


def with_class(name: str, release: str = "paper") -> Task:
    return next(task for task in load_tasks(release) if name in task.involved_classes and task.category == "base")


@pytest.mark.parametrize(
    ("owner", "call", "hint"),
    [
        ("GorillaFileSystem", ToolCall("cd", {"folder": "a/b"}), "fs.cd.path"),
        ("GorillaFileSystem", ToolCall("cd", {"folder": "nowhere"}), "fs.cd.missing"),
        ("GorillaFileSystem", ToolCall("mkdir", {"dir_name": "a/b"}), "fs.make.path"),
        ("GorillaFileSystem", ToolCall("sort", {"file_name": "a/b"}), "fs.name.path"),
        ("GorillaFileSystem", ToolCall("rm", {"file_name": "none"}), "fs.name.find"),
        ("TravelAPI", ToolCall("compute_exchange_rate", {"base_currency": "A", "target_currency": "B", "value": 1}),
         "travel.currency"),
        ("VehicleControlAPI", ToolCall("get_outside_temperature_from_weather_com", {}), "vehicle.weather"),
        ("VehicleControlAPI", ToolCall("estimate_distance", {"cityA": "1", "cityB": "2"}), "vehicle.distance"),
    ],
)  # fmt: skip
def test_each_class_of_hint_is_given(release: str, owner: str, call: ToolCall, hint: str) -> None:
    text = next(row.text for row in HINTS if row.id == hint)
    task = with_class(owner, release)
    assert f"\nHint: {text}\n" in reply_to(task, "augmented", call)
    assert "Hint:" not in reply_to(task, "standard", call)


def test_hint_ids_are_unique() -> None:
    assert len({hint.id for hint in HINTS}) == len(HINTS)


def test_every_helper_is_a_tool_that_the_text_names(release: str) -> None:
    tools = {tool["name"] for task in load_tasks(release) for tool in task.tools}
    for hint in HINTS:
        assert hint.tools <= tools, hint.id
        named = {tool for tool in tools if "_" in tool and tool in hint.text}
        assert named <= {hint.helper}, hint.id
        assert hint.helper is None or (hint.helper in tools and hint.helper in hint.text), hint.id


def test_no_hint_names_a_tool_that_is_not_on_offer() -> None:
    rng = random.Random(0)
    for task in load_tasks("paper"):
        episode = Episode(task, feedback="augmented")
        episode.start()
        on_offer = {tool["name"] for tool in task.tools_on_offer(0)}
        for tool in rng.sample(sorted(on_offer), min(6, len(on_offer))):
            call = ToolCall(tool, {"file_name": "a/b", "folder": "none"})
            result = episode._api.call(call)
            hint = hint_for(call, result, on_offer)
            named = next((row.helper for row in HINTS if row.text == hint), None)
            assert named is None or named in on_offer


def test_feedback_changes_what_is_read_and_nothing_else(release: str) -> None:
    rng = random.Random(1)
    for task in rng.sample(load_tasks(release), 60):
        replies = [_spoil(reply, rng) for reply in gold_replies(task)]
        outcomes = []
        for feedback in ("standard", "augmented"):
            episode = Episode(task, feedback=feedback)
            episode.start()
            for reply in replies:
                if not episode.done:
                    episode.step(reply)
            results = [result for record in episode.trajectory.replies for result in record.results]
            outcomes.append((results, episode.trajectory.turn_scores))
        assert outcomes[0] == outcomes[1]


def _spoil(reply: str, rng: random.Random) -> str:
    return reply.replace("'", "/'").replace('": "', '": "x/') if rng.random() < 0.4 else reply


def test_success_has_no_hint() -> None:
    task = find_task("multi_turn_base_0")
    assert "Hint:" not in reply_to(task, "augmented", *gold_calls(task)[0])
