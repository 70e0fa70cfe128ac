"""What holds of every hint, on fuzzed episodes of all tasks: neutral, fair, complete, and worth following.

The policies never read a hint, so the same (task, seed) gives the same replies with any hint set.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.evidence import strings

from envtune.environment import ApiState, Episode, ReplyKind, Step, Trajectory, parse_reply
from envtune.environment.gold_policy import gold_calls
from envtune.environment.hints import Situation, hint_set, offer_in
from envtune.environment.hints.hint import Offer
from envtune.environment.reply import ToolCall
from envtune.environment.scripted_policies import PerturbedGold, RandomPolicy, play
from envtune.hint_study.outcomes import follow
from envtune.tasks import Task, load_tasks

FULL = hint_set("full")
POLICIES = (PerturbedGold, RandomPolicy)
# 800 tasks x 2 policies a release: 3,200 call sequences in both releases a seed, and 12,800 more in the slow tests
SEEDS = (pytest.param((0,), id="once"), pytest.param((1, 2, 3, 4), id="four times", marks=pytest.mark.slow))


def state_of(api: ApiState, task: Task) -> dict[str, Any]:
    """All of an episode's state: private attributes too, so the working directory and the random generators."""
    return {name: dict(api.attributes(name)) for name in task.involved_classes}


def outcome(trajectory: Trajectory) -> tuple[Any, ...]:
    """What a trajectory came to, without what was said in hints."""
    replies = [(reply.reply, reply.calls, reply.results, reply.error) for reply in trajectory.replies]
    return replies, trajectory.turn_scores, [turn.end for turn in trajectory.turns], trajectory.stop_reason


def comparable(state: dict[str, Any]) -> list[Any]:
    """Equal for equal states of two episodes; a random generator by the numbers that it would draw next."""
    return [
        (name, key, value.getstate() if hasattr(value, "getstate") else repr(value))
        for name, attributes in sorted(state.items())
        for key, value in sorted(attributes.items())
    ]


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("policy", POLICIES)
def test_state_results_and_scores_are_the_same_with_any_set(release: str, policy: Any, seeds: tuple[int, ...]) -> None:
    sequences = 0
    for task in load_tasks(release):
        for seed in seeds:
            seen = []
            for feedback in ("none", "authors", "full"):
                episode = Episode(task, feedback)
                seen.append((outcome(play(episode, policy(task, seed))), comparable(state_of(episode._api, task))))
            assert seen[0] == seen[1] == seen[2], (task.id, seed)
            sequences += 1
    assert sequences == 800 * len(seeds)


class Walk:
    """An episode played with all that a hint could be judged by: `failures` of the last step, `read` texts so far."""

    def __init__(self, task: Task, policy: Any, seed: int) -> None:
        self.task, self.policy = task, policy(task, seed)
        self.episode = Episode(task, "full")
        self.read: list[str] = [message["content"] for message in self.episode.start()]

    def steps(self) -> Iterator[tuple[int, ApiState, str, Step]]:
        """(turn, a copy of the state before, the reply, the step)."""
        last: Step | None = None
        while not self.episode.done:
            turn, before = self.episode.turn, self.episode._api.copy()
            reply = self.policy.reply(self.episode, last)
            self.read.append(reply)
            last = self.episode.step(reply)
            yield turn, before, reply, last
            self.read += [message["content"] for message in last.messages]


def given_in(
    walk: Walk, turn: int, before: ApiState, copied: Callable[[Any], Any] = lambda state: state
) -> Iterator[tuple[Offer, ApiState, Situation, Any, Any]]:
    """(offer, state after the call, situation, result, (id, text) of the hint) for each call of the last reply that was
    executed. copied: what is done with the state before the call."""
    record = walk.episode.trajectory.replies[-1]
    offer = offer_in(walk.task, turn)
    made = parse_reply(record.reply).calls
    for place, result in enumerate(record.results):
        call = made[place]
        situation = Situation(call, result.text, copied(before.snapshot(call.name)), offer)
        if call.name not in offer.hidden:
            before.run([result.call])
        yield offer, before, situation, result, (record.hint_ids[place], record.hints[place])


def sample(release: str, share: int, offset: int = 0) -> list[Task]:
    return [task for place, task in enumerate(load_tasks(release)) if place % share == offset]


@pytest.mark.parametrize("feedback", ["full", "authors"])
@pytest.mark.parametrize("policy", POLICIES)
def test_no_hint_names_a_tool_that_is_not_on_offer_and_every_failure_has_one(
    release: str, policy: Any, feedback: str
) -> None:
    failures = hints = 0
    for task in load_tasks(release):
        episode = Episode(task, feedback)
        episode.start()
        player, last = policy(task, 7), None
        while not episode.done:
            offer = offer_in(task, episode.turn)
            last = episode.step(player.reply(episode, last))
            record = episode.trajectory.replies[-1]
            for text in record.hints:
                named = set(re.findall(r"\w+", text)) & offer.hidden
                assert not named, (task.id, text)
                hints += bool(text)
            if feedback == "full" and record.kind is ReplyKind.ILL_FORMED:
                if last.turn_score is None:
                    assert record.hint_ids and record.hint_ids != ("reply.any",), (record.error, record.reply)
            elif feedback == "full" and not last.done:  # what nobody reads is not in the record
                for result, text in zip(record.results, record.hints, strict=True):
                    assert text or not result.error, (task.id, result)
                    failures += result.error
    assert hints > 300 if feedback == "full" else hints > 10
    assert feedback != "full" or failures > 500


def test_tools_cut_from_a_task_are_not_named(release: str) -> None:
    from envtune.tasks import cut_tools

    for task in sample(release, 8):
        small = cut_tools(task, 3)
        trajectory = play(Episode(small, "full"), RandomPolicy(small, 1))
        on_offer = {doc["name"] for doc in small.tools}
        hidden = {doc["name"] for doc in task.tools} - on_offer
        for reply in trajectory.replies:
            for text in reply.hints:
                assert not set(re.findall(r"\w+", text)) & hidden, text


@pytest.mark.parametrize("policy", POLICIES)
def test_no_hint_has_a_value_of_the_ground_truth_that_could_not_be_known(release: str, policy: Any) -> None:
    checked = 0
    for task in load_tasks(release):
        values = {str(v) for calls in gold_calls(task) for c in calls for v in flat(c.arguments) if len(str(v)) > 1}
        walk = Walk(task, policy, 3)
        for turn, before, _, _ in walk.steps():
            for offer, _, situation, _, (id, text) in given_in(walk, turn, before):
                leaked = {value for value in values if text and says(text, value)}
                if leaked:
                    known = "\n".join([*walk.read, *readable(before, offer)])
                    assert {value for value in leaked if not says(known, value)} == set(), (
                        task.id,
                        id,
                        text,
                        situation,
                    )
                checked += bool(text)
    assert checked > 100


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


def says(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def readable(api: ApiState, offer: Offer) -> list[str]:
    """What tools on offer that only read show now, and their docs."""
    calls = [
        ToolCall(name, {})
        for name, parameters in offer.parameters.items()
        if re.match(r"ls|pwd|find|du|list_|get_all|get_watchlist|get_order_history|view_|check_", name)
    ]
    calls += [ToolCall("displayCarStatus", {"option": option}) for option in ("fuel", "doors", "engine")]
    texts = [api.copy().call(call).text for call in calls if call.name in offer.docs]
    return [*texts, *(text for doc in offer.docs.values() for text in strings(json.loads(json.dumps(doc))))]


@pytest.mark.parametrize("policy", POLICIES)
def test_following_a_hint_never_fails_for_the_same_reason(release: str, policy: Any) -> None:
    followed, failed = Counter[str](), []
    for task in load_tasks(release):
        walk = Walk(task, policy, 5)
        for turn, before, _, _ in walk.steps():
            for offer, after, situation, result, _ in given_in(walk, turn, before):
                given = FULL.give(situation, result.error)
                worked = None if given is None else follow(after, offer, given, FULL)
                if given is not None and worked is not None:
                    followed[given.id] += 1
                    if not worked:
                        failed.append((given, situation.call, result.text))
    assert failed == []
    assert len(followed) > 50


@pytest.mark.parametrize("policy", POLICIES)
def test_what_hints_read_of_the_state_is_the_state_before_the_call(release: str, policy: Any) -> None:
    """The snapshot shares what is nested with the state: a failing call must not change what a hint reads of it."""
    for task in sample(release, 2):
        walk = Walk(task, policy, 11)
        for turn, before, _, _ in walk.steps():
            for _, _, situation, result, (_, text) in given_in(walk, turn, before, copy.deepcopy):
                given = FULL.give(situation, result.error)
                assert walk.episode.done or (given.text if given else "") == text, (task.id, result)


def test_a_success_has_no_hint(release: str) -> None:
    for task in sample(release, 5):
        trajectory = play(Episode(task, "full"), PerturbedGold(task, 0, share=0.0))
        for reply in trajectory.replies:
            for result, hint_id in zip(reply.results, reply.hint_ids, strict=False):
                silent = re.search(r'": false|Already|"Unknown"|"00000"|not found', result.text)
                assert not hint_id or result.error or silent, (result, hint_id)
