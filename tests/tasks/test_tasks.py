"""Tasks: 800 a release, frozen, split as stated, the two releases never mixed."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from envtune.bfcl import CATEGORIES, load_api_classes
from envtune.environment import Episode
from envtune.environment.gold_policy import play_gold
from envtune.errors import EnvtuneError
from envtune.tasks import Task, cut_task, cut_tools, cut_turns, find_task, load_split, load_tasks

SIZES = {"train": 400, "all": 400, "base": 100, "stage1": 75, "test": 400, "validation": 100, "heldout": 300}


def test_every_release_has_200_tasks_a_category(tasks: tuple[Task, ...]) -> None:
    assert Counter(task.category for task in tasks) == dict.fromkeys(CATEGORIES, 200)
    assert len({task.id for task in tasks}) == len({task.content_hash for task in tasks}) == 800


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_split_sizes(release: str, split: str, size: int) -> None:
    chosen = load_tasks(release, split)
    assert len(chosen) == size
    assert {task.release for task in chosen} == {release}


def test_splits_are_disjoint_and_complete() -> None:
    subsets = load_split().subsets
    assert subsets["train"] | subsets["validation"] | subsets["heldout"] == {t.id for t in load_tasks("paper")}
    assert len(subsets["train"]) + len(subsets["validation"]) + len(subsets["heldout"]) == 800
    assert subsets["stage1"] < subsets["base"] < subsets["train"] == subsets["all"]
    numbers = {name: {task.rsplit("_", 1)[1] for task in subsets[name]} for name in ("train", "test")}
    assert not numbers["train"] & numbers["test"], "a held-out task has a sibling in training"


def test_the_split_is_the_one_that_results_name() -> None:
    assert load_split().name == "public-rerun-2025"
    assert load_split().sha256 == "1e8303c409c5db80d910af1b5f2030469b6e48bb2fa11f9ce093680e2f3c26ee"


def test_releases_differ_in_394_tasks_beyond_their_name() -> None:
    def content(task: Task) -> tuple[object, ...]:
        return task.question, task.ground_truth, task.initial_config, task.held_out

    pairs = zip(load_tasks("paper"), load_tasks("current"), strict=True)
    assert sum(content(old) != content(new) for old, new in pairs) == 394


def test_tasks_are_frozen(tasks: tuple[Task, ...]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        tasks[0].id = "other"  # type: ignore[misc]


def test_docs_are_the_classes_public_methods(release: str, tasks: tuple[Task, ...]) -> None:
    methods = load_api_classes(release).methods
    for task in tasks:
        assert {tool["name"] for tool in task.tools} == set().union(*(methods[c] for c in task.involved_classes))


def test_held_out_tools_come_on_offer_at_their_turn(tasks: tuple[Task, ...]) -> None:
    for task in (task for task in tasks if task.category == "miss_func"):
        (turn, names), *more = task.held_out.items()
        assert not more
        before = {tool["name"] for tool in task.tools_on_offer(turn - 1)}
        after = {tool["name"] for tool in task.tools_on_offer(turn)}
        assert after - before == set(names) and before < after


def test_cut_tools_keeps_the_gold_path() -> None:
    task = find_task("multi_turn_base_0")
    cut = cut_tools(task, 8, seed=1)
    called = {call.split("(")[0] for turn in task.ground_truth for call in turn}
    assert called <= {tool["name"] for tool in cut.tools}
    assert len(cut.tools) == 8 and cut.tools_cut == 8
    assert cut.content_hash != task.content_hash
    assert cut == cut_tools(task, 8, seed=1) != cut_tools(task, 8, seed=2)


def test_cut_turns_leaves_the_first_ones_and_no_tool_that_a_later_one_would_reveal() -> None:
    for task in load_tasks("paper", "all"):
        cut = cut_turns(task, 2)
        assert (cut.question, cut.ground_truth) == (task.question[:2], task.ground_truth[:2])
        late = {name for turn, names in task.held_out.items() if turn >= 2 for name in names}
        assert {tool["name"] for tool in task.tools} - {tool["name"] for tool in cut.tools} == late
        for turn in range(len(cut.question)):
            assert cut.tools_on_offer(turn) == task.tools_on_offer(turn)
        episode = Episode(cut)
        play_gold(episode)
        assert episode.done and all(episode.trajectory.turn_scores), task.id


def test_tasks_that_are_not_cut_keep_their_hash() -> None:
    task = find_task("multi_turn_miss_func_77")
    assert cut_task(task) is task and cut_turns(task, 2).content_hash != task.content_hash
    assert cut_task(task, 4, 1, 2) == cut_tools(cut_turns(task, 2), 4, 1) != cut_tools(task, 4, 1)


@pytest.mark.parametrize("arguments", [{"release": "v3"}, {"split": "dev"}])
def test_unknown_names_say_what_there_is(arguments: dict[str, str]) -> None:
    with pytest.raises(EnvtuneError, match="choose one of"):
        load_tasks(**arguments)


def test_unknown_task_id() -> None:
    with pytest.raises(EnvtuneError, match="unknown task id 'multi_turn_base_200'"):
        find_task("multi_turn_base_200")
