"""Trajectories to look at, played by the real environment: passed, failed with hints and differences, over budget,
aborted, an impossible turn called in, and one under BFCL's rules."""

from __future__ import annotations

from envtune.environment import Episode, StopReason, ToolCall, Trajectory, render_reply
from envtune.environment.gold_policy import gold_calls, gold_replies
from envtune.tasks import Task, find_task

ANSWER = render_reply("Nothing is left to call.", answer="Done.")


def played(task: Task, replies: list[str], stop: StopReason = StopReason.ABORTED, **options: str) -> Trajectory:
    """These replies, as far as the episode takes them, then `stop`."""
    episode = Episode(task, **{"feedback": "augmented", **options})  # type: ignore[arg-type]
    episode.start()
    for reply in replies:
        if not episode.done:
            episode.step(reply)
    episode.finish(stop)
    return episode.trajectory


def gold(task_id: str, **options: str) -> Trajectory:
    task = find_task(task_id)
    return played(task, list(gold_replies(task)), **options)


def failed() -> Trajectory:
    """A wrong path (an error with a hint), an ill-formed reply, and answers for the rest."""
    task = find_task("multi_turn_base_0")
    wrong = render_reply("A path might do.", calls=[ToolCall("cd", {"folder": "document/temp"})])
    return played(task, [wrong, "I call ls.", ANSWER, ANSWER, ANSWER, ANSWER])


def impossible() -> Trajectory:
    """Gold, but with a call in the turn that cannot be done."""
    task = find_task("multi_turn_miss_func_0")
    replies = []
    for calls in gold_calls(task):
        replies += [render_reply("", calls=calls), ANSWER] if calls else [render_reply("", calls=[ToolCall("ls", {})])]
    return played(task, replies)


def over_budget() -> Trajectory:
    task = find_task("multi_turn_miss_param_1")
    return played(task, [render_reply("", calls=gold_calls(task)[0])], StopReason.OVER_BUDGET)


def samples() -> list[Trajectory]:
    """One of each kind, the gold ones first."""
    names = ("base_0", "miss_func_0", "miss_param_0", "long_context_30")
    aborted = played(find_task("multi_turn_base_1"), [])
    return [
        *(gold(f"multi_turn_{name}") for name in names),
        failed(),
        impossible(),
        over_budget(),
        aborted,
        gold("multi_turn_base_3", rules="bfcl", feedback="standard"),
    ]
