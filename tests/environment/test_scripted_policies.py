"""The scripted policies: the same replies everywhere, every kind of mistake, and all of it on all 1,600 tasks."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envtune.environment import Episode, TurnEnd, parse_reply
from envtune.environment.gold_policy import gold_calls
from envtune.environment.scripted_policies import PERTURBATIONS, PerturbedGold, Policy, RandomPolicy, play
from envtune.rewards import progress_reward
from envtune.tasks import Task, load_tasks

POLICIES = (PerturbedGold, RandomPolicy)


def replies(task: Task, policy: Policy, **settings: object) -> list[str]:
    """Everything that a policy says in an episode of the task."""
    return [record.reply for record in play(Episode(task, **settings), policy).replies]


def digest() -> str:
    """Of what both policies say in some tasks of both releases."""
    content = hashlib.sha256()
    for release in ("paper", "current"):
        for task in load_tasks(release)[::40]:
            for make in POLICIES:
                content.update("\n".join(replies(task, make(task, 3), rules="bfcl")).encode())
    return content.hexdigest()


@dataclass
class Played:
    """What one policy met in all tasks of a release."""

    errors: Counter[str] = field(default_factory=Counter)  # texts of failed calls, cut
    complaints: set[str] = field(default_factory=set)  # about ill-formed replies
    ends: Counter[TurnEnd] = field(default_factory=Counter)
    calls: int = 0
    wrong: int = 0  # calls beside the ground truth's, in turns that have one
    gold: int = 0
    guesses: list[bool] = field(default_factory=list)  # for each turn without ground truth: was something called?


@pytest.fixture(scope="module", params=POLICIES, ids=lambda make: make.name)
def played(request: pytest.FixtureRequest, tasks: tuple[Task, ...]) -> tuple[str, Played]:
    seen = Played()
    for task in tasks:
        trajectory = play(Episode(task), request.param(task, 0))
        for turn, gold in zip(trajectory.turns, gold_calls(task), strict=True):
            calls = sum(len(record.calls) for record in turn.replies)
            seen.ends[turn.end] += 1
            seen.calls += calls
            if gold:
                seen.wrong, seen.gold = seen.wrong + calls - len(gold), seen.gold + len(gold)
            else:
                seen.guesses.append(calls > 0)
            for record in turn.replies:
                seen.complaints |= {record.error} - {""}
                seen.errors.update(result.text[:200] for result in record.results if result.error)
    return request.param.name, seen


def test_all_turns_of_all_tasks_are_played(played: tuple[str, Played]) -> None:
    name, seen = played
    assert seen.ends[TurnEnd.NOT_REACHED] == 0
    assert seen.ends[TurnEnd.ANSWER] and seen.ends[TurnEnd.IMPOSSIBLE_CALL]
    assert (0.5 if name == "random" else 0.15) < seen.errors.total() / seen.calls < 0.7


def test_a_share_of_calls_is_first_made_wrong(played: tuple[str, Played]) -> None:
    name, seen = played
    if name == "perturbed_gold":
        assert 0.27 < seen.wrong / seen.gold < 0.33
        assert 0.24 < sum(seen.guesses) / len(seen.guesses) < 0.36


def test_every_kind_of_failure_is_met(played: tuple[str, Played]) -> None:
    name, seen = played
    kinds = {
        "is not defined",
        "required positional argument",
        "got an unexpected keyword argument",
        "not supported between instances",
        "has no attribute",
        "is not iterable",
        "must be str, not",
        "Error during execution: 'missing_item'",  # a KeyError
        '"error": "Invalid access token"',
        "No available route",
        "No available exchange rate",
        "User not authenticated",
        "No such file or directory",
        "Invalid character",
    }
    if name == "random":
        kinds |= {
            "unsupported operand",
            "unhashable type",
            "limit of this environment",
            "could not convert",
            "strptime",
        }
    assert {kind for kind in kinds if not any(kind in text for text in seen.errors)} == set()


def test_ill_formed_replies_of_every_kind(played: tuple[str, Played]) -> None:
    name, seen = played
    kinds = [
        "must start with <think>",
        "must be closed by </tool_call>",
        "must be closed by </answer>",
        "stands inside another one",
        "stands inside <tool_call>",
        "must be exactly one of",
        "not valid JSON: Expecting property name",
        "not valid JSON: Expecting value",
        "a list with at least one call",
        "more than 64 calls",
        "the same key twice",
        'exactly the keys "name" and "arguments"',
        '"name" must be',
        '"arguments" must be',
        "nested deeper",
    ]
    missed = [kind for kind in kinds if not any(kind in text for text in seen.complaints)]
    assert missed == (kinds if name == "perturbed_gold" else [])


def test_every_perturbation_applies_somewhere(tasks: tuple[Task, ...]) -> None:
    applied: Counter[str] = Counter()
    rng = random.Random(0)
    for task in tasks:
        for turn, calls in enumerate(gold_calls(task)):
            on_offer = {tool["name"] for tool in task.tools_on_offer(turn)}
            for call in calls:
                before = repr(call)
                for name, perturb in PERTURBATIONS:
                    wrong = perturb(task, call, rng, on_offer)
                    applied[name] += wrong is not None
                    assert repr(wrong) != before == repr(call), name
    assert [name for name, _ in PERTURBATIONS if not applied[name]] == []
    assert len(dict(PERTURBATIONS)) == len(PERTURBATIONS)


@pytest.mark.parametrize("settings", [{}, {"rules": "bfcl", "max_steps_per_turn": 20}], ids=["training", "bfcl"])
def test_without_mistakes_it_is_the_ground_truth(tasks: tuple[Task, ...], settings: dict[str, object]) -> None:
    for task in tasks[::8]:
        trajectory = play(Episode(task, **settings), PerturbedGold(task, 0, share=0))
        assert progress_reward(trajectory) == 1.0, task.id


def test_a_mistake_is_followed_by_the_right_call(tasks: tuple[Task, ...]) -> None:
    for task in tasks[::50]:
        said = replies(task, PerturbedGold(task, 0, share=1), rules="bfcl", max_steps_per_turn=100)
        calls = iter([call for reply in said for call in parse_reply(reply).calls])
        for wanted in (call for turn in gold_calls(task) for call in turn):
            assert repr(wanted) != repr(next(calls)), task.id
            assert any(repr(wanted) == repr(call) for call in calls), task.id


@pytest.mark.parametrize("make", POLICIES)
@pytest.mark.parametrize("rules", ["training", "bfcl"])
def test_hints_change_no_reply(tasks: tuple[Task, ...], make: type[PerturbedGold | RandomPolicy], rules: str) -> None:
    for task in tasks[::40]:
        standard = replies(task, make(task, 1), feedback="standard", rules=rules)
        assert standard == replies(task, make(task, 1), feedback="augmented", rules=rules)


@pytest.mark.parametrize("make", POLICIES)
def test_seed_and_task_decide(tasks: tuple[Task, ...], make: type[PerturbedGold | RandomPolicy]) -> None:
    policy = make(tasks[0], 1)
    first = replies(tasks[0], policy)
    assert replies(tasks[0], policy) == first  # a policy starts anew with each episode
    others = [replies(tasks[0], make(tasks[0], seed)) for seed in range(2, 6)]
    assert first not in others
    assert replies(tasks[0], make(tasks[0], 1)) == first


def test_same_replies_in_any_process() -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_scripted_policies as t; print(t.digest())"
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    expected = digest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout.strip() == expected
