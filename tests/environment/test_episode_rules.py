"""The rules of an episode, numbered. Changing one of these tests is a decision, not a repair.

Training rules:
 1. start() gives the system prompt with the docs on offer in turn 0, and the first request.
 2. An answer ends the turn; the next request follows.
 3. A call is executed; its results come back in one user message with what to do next, and the turn goes on.
 4. An ill-formed reply is told what is wrong with it and counts as a step; the turn goes on.
 5. After max_steps_per_turn replies that are not answers the turn is forced to end; the last one's calls did run, and
    the turn is scored as it stands.
 6. In a turn without ground truth an answer without a call scores 1.
 7. There a call is not executed, ends the turn with a warning and scores 0.
 8. There running out of steps without an answer scores 0.
 9. A tool that is held out, or that no class of the task has, cannot be called; held-out tools come with their docs
    and BFCL's own sentence.
10. A turn's score is 1 when the state equals the ground truth's and all its results are among the results so far,
    those of earlier turns included; one wrong turn does not end the episode.
11. finish() scores the current turn and all after it 0.
12. The gold policy scores 1 in every turn (but for a task whose ground truth needs a tool that is still held out).
13. Augmented feedback changes what the model reads of a failed call, and nothing else.
14. What the model reads of a long result can be shortened; checks, scores and records have all of it.
15. In long context the same calls return more: files, watch list, orders, stock data, cards, bookings, flight costs,
    weather, car status, cities on a route. The state that is compared is padded alike on both sides.
16. A call past a limit (envtune/environment/limits.py) is a failed call like any other; the turn goes on.
17. A data field that no BFCL release reads (excluded_function) is not read here either.
BFCL's rules:
18. A reply with nothing to execute ends the turn, ill-formed ones included.
19. With a limit of 20, 21 steps run in a turn; then the whole entry is over and its later turns do not exist.
20. Held-out tools run, and calls in the impossible turn run too.
"""

from __future__ import annotations

import pytest

from envtune.bfcl import load_api_classes
from envtune.environment import Episode, ReplyKind, StopReason, ToolCall, Trajectory, TurnEnd, render_reply
from envtune.environment.gold_policy import gold_calls, gold_replies
from envtune.environment.prompt import reveal_sentence
from envtune.errors import EnvtuneError
from envtune.rewards import progress_reward
from envtune.scoring import score_line
from envtune.tasks import Task, find_task, load_tasks

ANSWER = render_reply("t", answer="done")
LS = render_reply("t", calls=[ToolCall("ls", {})])
BASE, MISS_FUNC, MISS_PARAM = "multi_turn_base_0", "multi_turn_miss_func_0", "multi_turn_miss_param_0"


def started(task: str | Task, **options: object) -> Episode:
    episode = Episode(find_task(task) if isinstance(task, str) else task, **options)  # type: ignore[arg-type]
    episode.start()
    return episode


def play(episode: Episode, *replies: str) -> None:
    for reply in replies:
        episode.step(reply)


def impossible_turn(task: Task) -> int:
    return task.ground_truth.index(())


def test_1_start() -> None:
    task = find_task(MISS_FUNC)
    system, first = Episode(task).start()
    assert (system["role"], first) == ("system", {"role": "user", "content": task.question[0][0]["content"]})
    assert '"name":"grep"' in system["content"] and '"name":"sort"' not in system["content"]


def test_2_an_answer_ends_the_turn() -> None:
    episode = started(BASE)
    step = episode.step(ANSWER)
    assert (step.kind, step.turn_score, step.done, episode.turn) == (ReplyKind.ANSWER, 0, False, 1)
    assert step.messages == ({"role": "user", "content": episode.task.question[1][0]["content"]},)


def test_3_a_call_is_executed() -> None:
    episode = started(BASE)
    step = episode.step(render_reply("t", calls=[ToolCall("pwd", {}), ToolCall("cd", {"folder": "nowhere"})]))
    assert (step.kind, step.turn_score, episode.turn) == (ReplyKind.TOOL_CALL, None, 0)
    (message,) = step.messages
    assert message["role"] == "user"
    assert 'pwd: {"current_working_directory": "/workspace"}\ncd: {"error"' in message["content"]
    assert message["content"].endswith("call the next tools.")
    assert [result.error for result in step.results] == [False, True]


def test_4_an_ill_formed_reply_goes_on() -> None:
    episode = started(BASE)
    step = episode.step("ls()")
    assert (step.kind, step.turn_score, episode.turn) == (ReplyKind.ILL_FORMED, None, 0)
    assert "must start with <think>" in step.messages[0]["content"]


@pytest.mark.parametrize("reply", [LS, "ill-formed"])
def test_5_the_step_limit_forces_the_turn_to_end(reply: str) -> None:
    episode = started(BASE)
    play(episode, *[reply] * 4)
    step = episode.step(reply)
    assert (step.turn_score, episode.turn) == (0, 1)
    assert "is closed" in step.messages[0]["content"]
    assert step.messages[0]["content"].endswith(episode.task.question[1][0]["content"])
    assert episode.trajectory.turns[0].end is TurnEnd.STEP_LIMIT


def test_5_a_forced_turn_is_scored_as_it_stands() -> None:
    task = find_task(BASE)
    episode = started(task)
    play(episode, LS, LS, LS, LS)
    assert episode.step(render_reply("t", calls=gold_calls(task)[0])).turn_score == 1


@pytest.mark.parametrize("task_id", [MISS_FUNC, MISS_PARAM])
def test_6_7_8_the_impossible_turn(task_id: str) -> None:
    task = find_task(task_id)
    turn = impossible_turn(task)
    for replies, score, end in (
        (["ill-formed", ANSWER], 1, TurnEnd.ANSWER),
        ([render_reply("t", calls=[ToolCall("mkdir", {"dir_name": "made"})])], 0, TurnEnd.IMPOSSIBLE_CALL),
        (["ill-formed"] * 5, 0, TurnEnd.STEP_LIMIT),
    ):
        episode = started(task)
        play(episode, *[ANSWER] * turn, *replies)
        record = episode.trajectory.turns[turn]
        assert (record.score, record.end, episode.turn) == (score, end, turn + 1)
        assert "made" not in episode.step(LS).results[0].text


def test_9_tools_not_on_offer() -> None:
    task = find_task(MISS_FUNC)
    (reveal,) = task.held_out
    episode = started(task)
    sort = render_reply("t", calls=[ToolCall("sort", {"file_name": "final_report.pdf"}), ToolCall("nothing", {})])
    results = episode.step(sort).results
    assert [result.text for result in results] == [
        f"Error during execution: name '{name}' is not defined" for name in ("sort", "nothing")
    ]
    play(episode, *[ANSWER] * (reveal - 1))
    (message,) = episode.step(ANSWER).messages
    assert '"name":"sort"' in message["content"] and message["content"].endswith(reveal_sentence("paper"))
    assert "is not defined" not in episode.step(sort).results[0].text


def test_10_each_turn_is_judged_on_its_own() -> None:
    task = find_task("multi_turn_base_1")
    replies = list(gold_replies(task))
    episode = started(task)
    play(episode, ANSWER, *replies[2:])  # nothing is called in the first turn, which only looks
    scores = episode.trajectory.turn_scores
    assert scores[0] == 0 and any(scores[1:])
    assert progress_reward(episode.trajectory) == sum(scores) / len(scores)


def test_10_results_of_earlier_turns_count() -> None:
    task = find_task("multi_turn_base_0")
    calls = [call for turn in gold_calls(task) for call in turn]
    episode = started(task)
    play(episode, render_reply("t", calls=calls), *[ANSWER] * len(task.ground_truth))
    assert episode.trajectory.turn_scores[-1] == 1


def test_11_finish() -> None:
    episode = started(BASE)
    play(episode, *list(gold_replies(episode.task))[:3])
    episode.finish(StopReason.OVER_BUDGET)
    trajectory = episode.trajectory
    assert episode.done and trajectory.stop_reason is StopReason.OVER_BUDGET
    assert trajectory.turn_scores == [1] + [0] * (len(episode.task.ground_truth) - 1)
    assert [turn.end for turn in trajectory.turns[1:]] == [TurnEnd.NOT_REACHED] * len(trajectory.turns[1:])
    with pytest.raises(RuntimeError):
        episode.step(ANSWER)


@pytest.mark.parametrize("feedback", ["standard", "augmented"])
def test_12_gold_scores_1_everywhere(release: str, feedback: str) -> None:
    for task_id in (BASE, MISS_FUNC, MISS_PARAM, "multi_turn_long_context_0"):
        episode = started(find_task(task_id, release), feedback=feedback)
        play(episode, *gold_replies(episode.task))
        assert episode.done and progress_reward(episode.trajectory) == 1.0
        assert score_line(episode.task, episode.trajectory.calls)["valid"]


@pytest.mark.parametrize("task_id", [BASE, MISS_FUNC, "multi_turn_base_150"])
def test_13_feedback_changes_nothing_but_what_is_read(task_id: str) -> None:
    task = find_task(task_id)
    wrong = render_reply("t", calls=[ToolCall("cd", {"folder": "a/b"}), ToolCall("nothing", {})])
    replies = [reply for gold in gold_replies(task) for reply in (wrong, gold)]
    trajectories = []
    for feedback in ("standard", "augmented"):
        episode = started(task, feedback=feedback)
        for reply in replies:
            if not episode.done:
                episode.step(reply)
        trajectories.append(episode.trajectory)
    plain, augmented = trajectories
    assert plain.turn_scores == augmented.turn_scores and plain.calls == augmented.calls
    assert [r.results for r in plain.replies] == [r.results for r in augmented.replies]


def test_14_a_long_result_is_shortened_for_the_model_only() -> None:
    task = find_task("multi_turn_long_context_0")
    long = render_reply("t", calls=[ToolCall("cd", {"folder": "document"}), ToolCall("ls", {})])
    whole, short = started(task), started(task, max_result_characters=60)
    read, step = whole.step(long).messages[0]["content"], short.step(long)
    assert step.results[1].text in read
    (message,) = step.messages
    listed = message["content"].split("ls: ")[1].split("\n")[0]
    start, note, end = listed.partition(f" [... {len(step.results[1].text) - 60} characters left out ...] ")
    assert note and step.results[1].text.startswith(start) and step.results[1].text.endswith(end)
    assert len(start) == len(end) == 30
    for episode in (whole, short):
        play(episode, ANSWER, *[ANSWER] * (len(task.ground_truth) - 1))
    assert whole.trajectory.turns == short.trajectory.turns
    assert (whole.trajectory.max_result_characters, short.trajectory.max_result_characters) == (None, 60)


LONGER = {
    "GorillaFileSystem": [ToolCall("find", {"path": ".", "name": ""})],
    "TradingBot": [ToolCall("get_stock_info", {"symbol": "NVDA"}), ToolCall("get_watchlist", {})],
    "TravelAPI": [ToolCall("get_all_credit_cards", {})],
    "VehicleControlAPI": [
        ToolCall("get_outside_temperature_from_google", {}), ToolCall("displayCarStatus", {"option": "fuel"}),
        ToolCall("estimate_distance", {"cityA": "94016", "cityB": "83214"}), ToolCall("check_tire_pressure", {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("class_name", LONGER)
def test_15_long_context_pads_results(class_name: str, release: str) -> None:
    task = next(t for t in load_tasks(release) if class_name in t.involved_classes and t.category == "base")
    twin = find_task(task.id.replace("base", "long_context"), release)
    for call in LONGER[class_name]:
        if not any(tool["name"] == call.name for tool in task.tools):
            continue  # get_all_credit_cards is not in both releases
        plain, padded = (started(t).step(render_reply("t", calls=[call])).results[0] for t in (task, twin))
        assert not plain.error and not padded.error
        assert len(padded.text) > len(plain.text) + 100, call


def test_16_a_call_past_a_limit_is_a_failed_call() -> None:
    episode = started(BASE)
    step = episode.step(render_reply("t", calls=[ToolCall("echo", {"content": "x" * 30_000}), ToolCall("pwd", {})]))
    assert [result.error for result in step.results] == [True, False]
    assert "limit of this environment" in step.messages[0]["content"]
    assert (step.turn_score, episode.turn) == (None, 0)


def test_17_what_no_release_reads() -> None:
    """72 tasks of the current release have the field; their tools are all those of their classes."""
    for task in load_tasks("current"):
        methods = load_api_classes("current").methods
        assert {tool["name"] for tool in task.tools} == {m for name in task.involved_classes for m in methods[name]}


def test_18_bfcl_an_ill_formed_reply_ends_the_turn() -> None:
    episode = started(BASE, rules="bfcl", max_steps_per_turn=20)
    step = episode.step("ls()")
    assert (step.kind, step.turn_score, episode.turn) == (ReplyKind.ILL_FORMED, 0, 1)


def test_19_bfcl_counts_21_steps() -> None:
    episode = started(BASE, rules="bfcl", max_steps_per_turn=20)
    play(episode, *[LS] * 20)
    assert not episode.done
    step = episode.step(LS)
    assert step.done and len(step.results) == 1 and step.messages == ()
    trajectory = episode.trajectory
    assert trajectory.stop_reason is StopReason.FORCE_QUIT
    assert len(trajectory.calls) == 1 and len(trajectory.calls[0]) == 21
    assert len(trajectory.turn_scores) == len(episode.task.ground_truth)
    assert not score_line(episode.task, trajectory.calls)["valid"]


def test_20_bfcl_runs_what_training_refuses() -> None:
    task = find_task(MISS_FUNC)
    episode = started(task, rules="bfcl", max_steps_per_turn=20)
    play(episode, *[ANSWER] * impossible_turn(task))
    step = episode.step(
        render_reply("t", calls=[ToolCall("cd", {"folder": "document"}), ToolCall("sort", {"file_name": "x"})])
    )
    assert not step.results[0].error and "is not defined" not in step.results[1].text
    assert episode.step(ANSWER).turn_score == 0


def test_a_trajectory_survives_json() -> None:
    import json

    episode = started(MISS_FUNC, feedback="augmented")
    play(episode, "ill-formed", LS, render_reply("t", calls=[ToolCall("cd", {"folder": "a/b"})]), ANSWER)
    trajectory = episode.trajectory
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.as_dict()))) == trajectory


@pytest.mark.parametrize("option", [{"feedback": "loud"}, {"rules": "mine"}, {"max_steps_per_turn": 0}])
def test_bad_options_say_so(option: dict[str, object]) -> None:
    with pytest.raises(EnvtuneError):
        Episode(find_task(BASE), **option)  # type: ignore[arg-type]
