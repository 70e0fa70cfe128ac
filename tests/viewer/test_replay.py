"""What both commands show of a trajectory: the same scores as the environment's, differences where it sees them, and
no character that could steer a terminal."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.edits import edit
from hypothesis import given
from hypothesis import strategies as st

from envtune.environment import Episode, Trajectory, render_reply
from envtune.environment.executor import ApiState
from envtune.environment.gold import gold_turns, state_differences
from envtune.rewards import progress_reward
from envtune.tasks import Task, find_task
from envtune.viewer.differences import Difference, differences
from envtune.viewer.replay import episode_view
from envtune.viewer.text import show, visible


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings(item))


@given(st.text(st.characters(codec=None)))
def test_shown_text_has_no_control_character_and_loses_nothing(text: str) -> None:
    shown = visible(text)
    bad = [
        c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t\u200c\u200d"
    ]
    assert bad == []
    assert visible("".join(c for c in text if c.isprintable())) == "".join(c for c in text if c.isprintable())
    for character in "\x1b", "\x9b", "\u202e", "\ud800", "\U000e0041":
        assert (character in text) <= (visible(character) in shown)


@given(st.text(max_size=60), st.integers(4, 40))
def test_long_text_keeps_its_two_ends(text: str, limit: int) -> None:
    shown = show(text, limit)
    if isinstance(shown, str):
        assert len(text) <= limit and shown == visible(text)
    else:
        assert shown["left"] == len(text) - limit > 0
        assert visible(text).startswith(shown["head"]) and visible(text).endswith(shown["tail"])


def test_samples(trajectories: list[Trajectory]) -> None:
    views = [episode_view(find_task(t.task_id), t) for t in trajectories]
    assert [view["outcome"] for view in views] == [
        *["passed"] * 4, "failed", "passed", "over_budget", "aborted", "passed",
    ]  # fmt: skip
    for trajectory, view in zip(trajectories, views, strict=True):
        json.dumps(view, allow_nan=False)
        assert [turn["score"] for turn in view["turns"]] == trajectory.turn_scores
        assert view["progress"] == progress_reward(trajectory)
        assert [note for note in view["notes"] if "stored result" in note] == []
        for turn in view["turns"]:
            if turn["possible"] and turn["end"] != "not_reached":
                assert turn["score"] == (not turn["state"] and not turn["missing"])

    wrong = views[4]["turns"][0]
    assert [reply["kind"] for reply in wrong["replies"]] == ["tool_call", "ill_formed", "answer"]
    call = wrong["replies"][0]["calls"][0]
    assert call["status"] == "error" and call["hint"].startswith("Change one directory at a time")
    assert wrong["replies"][1]["raw"] == "I call ls." and "<think>" in wrong["replies"][1]["error"]
    assert [place["path"] for place in wrong["state"]] == [
        "GorillaFileSystem.root/document/temp", "GorillaFileSystem.root/document/final_report.pdf",
    ]  # fmt: skip
    assert wrong["state"][0]["model"] is None and wrong["state"][1]["gold"] is None
    assert len(wrong["missing"]) == 3

    cannot = next(turn for turn in views[5]["turns"] if not turn["possible"])
    assert cannot["end"] == "impossible_call" and cannot["replies"][0]["calls"][0]["status"] == "not_run"
    assert views[5]["turns"][3]["revealed"] == ["sort"]
    assert not views[7]["turns"][0]["played"]


@pytest.mark.parametrize("seed", range(60))
def test_differences_are_empty_when_the_state_check_passes(seed: int) -> None:
    rng = random.Random(seed)
    category = rng.choice(("base", "miss_func", "miss_param", "long_context"))
    task = find_task(f"multi_turn_{category}_{rng.randrange(200)}", rng.choice(("paper", "current")))
    api = ApiState(task)
    for steps, gold in zip(edit(task, rng), gold_turns(task), strict=False):
        for step in steps:
            api.run(step)
        found, wanted = differences(api, gold), state_differences(api, gold)
        attributes = {f"{name}.{attribute}" for name, values in wanted.items() for attribute in values}
        assert {next(a for a in attributes if d.path.startswith(a)) for d in found} == attributes
        assert all(d.model != d.gold for d in found)


def _differences(task: Task, *calls: str) -> list[Difference]:
    api = ApiState(task)
    api.run(calls)
    return differences(api, gold_turns(task)[-1])


def test_only_what_two_long_texts_do_not_share_is_shown() -> None:
    task = find_task("multi_turn_long_context_30")
    tweet = task.ground_truth[-1][-1]
    assert "post_tweet" in tweet
    api = ApiState(task)
    api.run([call for turn in task.ground_truth for call in turn][:-1])
    api.run([tweet.replace("steady growth", "rapid growth")])
    (found,) = differences(api, gold_turns(task)[-1])
    assert found.path.startswith("TwitterAPI.tweets[") and found.path.endswith("].content")
    assert found.model and found.gold and "rapid growth" in found.model and "steady growth" in found.gold
    assert "equal characters]" in found.model and len(found.model) < 300


def test_a_directory_moved_into_itself() -> None:
    found = _differences(find_task("multi_turn_base_0"), "mv(source='document', destination='document')")
    assert [(place.path, place.model) for place in found] == [("GorillaFileSystem.root/document", None)]


def test_hostile_state() -> None:
    """What no tool is known to leave behind today: an integer too long to print, odd values in odd containers."""
    task = find_task("multi_turn_base_0")
    api = ApiState(task)
    api.run(["posting_get_login_status()"])  # from here on the instance is this test's own
    state = vars_of(api, "TwitterAPI")
    state["tweet_counter"] = 10**5000
    state["comments"] = {1: {float("nan"), "\ud800\x1b[2J"}}
    state["following_list"] = loop = []  # type: ignore[var-annotated]
    loop.append(loop)
    found = {place.path: place for place in differences(api, gold_turns(task)[0])}
    assert "digits" in str(found["TwitterAPI.tweet_counter"].model)
    assert found["TwitterAPI.comments[1]"].gold is None
    assert found["TwitterAPI.following_list[0]"].model == '["…"]'


def vars_of(api: ApiState, class_name: str) -> dict[str, Any]:
    attributes = api.attributes(class_name)
    assert isinstance(attributes, dict)
    return attributes


def test_stored_results_that_do_not_come_again_are_named() -> None:
    task = find_task("multi_turn_base_0")
    episode = Episode(task)
    episode.start()
    episode.step('<think></think><tool_call>[{"name": "pwd", "arguments": {}}]</tool_call>')
    data = episode.trajectory.as_dict()
    data["turns"][0]["replies"][0]["results"][0]["text"] = "elsewhere"
    view = episode_view(task, Trajectory.from_dict(data))
    assert view["notes"] == ["Turn 1: pwd() does not give the stored result when executed again."]


def test_known_defects_are_told() -> None:
    task = find_task("multi_turn_miss_func_49")
    episode = Episode(task)
    episode.start()
    (note,) = episode_view(task, episode.trajectory)["notes"]
    assert note.startswith("A known defect of the benchmark: ")


@given(st.text(st.characters(codec=None), max_size=30))
def test_no_text_of_a_model_can_steer_the_screen(text: str) -> None:
    task = find_task("multi_turn_base_0")
    episode = Episode(task, "augmented")
    episode.start()
    arguments = json.dumps([{"name": "touch", "arguments": {"file_name": text + "\x1b]0;x\x07"}}])
    for reply in (text + "\x1b[31m", f"<think>{text}\x9b1m</think><tool_call>{arguments}</tool_call>",
                  render_reply(text, answer=f"\u202e{text}")):  # fmt: skip
        if not episode.done:
            episode.step(reply)
    view = episode_view(task, episode.trajectory, limit=40)
    shown = "".join(strings(view))
    assert [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"] == []
    assert "\u202e" not in shown
