"""The judge of record: gold passes, our own checker agrees on everything else, and nothing leaks between entries."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from envtune.environment import Episode, StopReason, ToolCall, Trajectory, render_reply
from envtune.environment.gold_policy import gold_calls
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.judge import Judge, JudgeError
from envtune.scoring import official_verdict
from envtune.tasks import Task, find_task

ANSWER = render_reply("Enough.", answer="Done.")


@pytest.fixture(scope="module")
def judge(release: str) -> Iterator[Judge]:
    with Judge(release) as running:
        yield running


def play(task: Task, turns: list[list[list[ToolCall]]]) -> Trajectory:
    """Turns -> steps -> calls, played under BFCL's rules."""
    episode = Episode(task, rules="bfcl", max_steps_per_turn=20)
    episode.start()
    for steps in turns:
        for reply in [*(render_reply("t", calls=step) for step in steps if step), ANSWER]:
            if not episode.done:
                episode.step(reply)
    return episode.trajectory


def stray(task: Task, rng: random.Random) -> list[list[list[ToolCall]]]:
    """The ground truth with mistakes a model makes: calls left out, repeated, moved, with wrong or odd arguments."""
    turns = [[[call] for call in calls] for calls in gold_calls(task)]
    for _ in range(rng.randint(0, 3)):
        turn = rng.choice(turns)
        calls = [call for steps in turns for step in steps for call in step]
        call = rng.choice(calls) if calls else ToolCall("ls", {})
        odd = rng.choice(["other", "a (b)", "don't sort (x)", 'é\n"', -1, 2.5, None, [], {"a": {"b": 1}}, True])
        changed = ToolCall(call.name, {key: rng.choice([value, odd]) for key, value in call.arguments.items()})
        edits = [
            lambda turn=turn: turn and turn.pop(rng.randrange(len(turn))),
            lambda turn=turn, call=call: turn.append([call]),
            lambda turn=turn, changed=changed: turn.insert(0, [changed]),
            lambda turn=turn: turn.append([ToolCall(rng.choice(task.tools)["name"], {"wrong": 1})]),
            lambda turn=turn: turn.append([ToolCall("os.system", {"command": "true"})]),
            lambda turn=turn: turn.clear(),
        ]
        rng.choice(edits)()
    return turns


def test_agrees_with_our_own_checker(judge: Judge, tasks: tuple[Task, ...]) -> None:
    rng = random.Random(0)
    valid = 0
    for task in rng.sample(tasks, 120):
        trajectory = play(task, stray(task, rng))
        ours, theirs = official_verdict(task, trajectory.calls), judge.verdict(task, trajectory)
        assert (theirs.valid, theirs.error_type) == (ours["valid"], ours["error_type"]), task.id
        valid += theirs.valid
    assert 20 < valid < 100, "mistakes that decide nothing test nothing"


def test_gold_is_valid(judge: Judge, tasks: tuple[Task, ...]) -> None:
    for task in tasks[::40]:
        assert judge.verdict(task, play(task, [[list(calls)] for calls in gold_calls(task)])).valid, task.id


def test_entries_do_not_see_each_other(judge: Judge, tasks: tuple[Task, ...]) -> None:
    task = next(task for task in tasks if any("place_order" in call for turn in task.ground_truth for call in turn))
    gold = play(task, [[list(calls)] for calls in gold_calls(task)])
    wrong = play(task, [[list(calls), list(calls)] for calls in gold_calls(task)])  # orders everything twice
    assert [judge.verdict(task, t).valid for t in (gold, wrong, gold, wrong)] == [True, False, True, False]


def test_a_force_quit_counts_as_in_bfcl() -> None:
    """20 steps a turn "as BFCL counts": the 21st is executed; only turns that are missing then fail the entry."""
    task = find_task("multi_turn_base_0")
    for turn, error_type in ((0, "multi_turn:force_terminated"), (len(task.ground_truth) - 1, None)):
        turns = [[list(calls)] for calls in gold_calls(task)]
        turns[turn] = turns[turn] + [[ToolCall("pwd", {})]] * 30
        trajectory = play(task, turns)
        assert trajectory.stop_reason is StopReason.FORCE_QUIT
        assert len(trajectory.turns[turn].replies) == 21
        with Judge("paper") as judge:
            assert judge.verdict(task, trajectory).error_type == error_type


def test_a_conversation_past_the_context_is_an_inference_error() -> None:
    task = find_task("multi_turn_miss_func_0")
    episode = Episode(task, rules="bfcl", max_steps_per_turn=20)
    episode.start()
    episode.finish(StopReason.OVER_BUDGET)
    with Judge("paper") as judge:
        verdict = judge.verdict(task, episode.trajectory)
    assert (verdict.valid, verdict.error_type) == (False, "multi_turn:inference_error")


def test_a_judge_without_an_answer_says_so_and_can_go_on() -> None:
    task = find_task("multi_turn_base_0")
    gold = [[list(calls)] for calls in task.ground_truth]
    math = next(
        t for t in map(find_task, (f"multi_turn_base_{n}" for n in range(200))) if "MathAPI" in t.involved_classes
    )
    endless = [[["power(base=10, exponent=100000000)"]], *([list(turn)] for turn in math.ground_truth[1:])]
    with Judge("paper", seconds=1) as judge:
        with pytest.raises(JudgeError, match="-14"):
            judge.verdict_on_calls(math, endless)
        assert judge.verdict_on_calls(task, gold).valid


def test_tasks_of_another_release_are_refused() -> None:
    with Judge("paper") as judge, pytest.raises(EnvtuneError, match="this judge is for 'paper'"):
        judge.verdict_on_calls(find_task("multi_turn_base_0", "current"), [])
