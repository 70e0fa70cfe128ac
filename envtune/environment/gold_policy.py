"""The policy that replies with the ground truth: what validation, the scripted endpoint and the tests play."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from envtune.bfcl import load_api_classes
from envtune.environment.episode import Episode
from envtune.environment.prompt import Message
from envtune.environment.reply import ToolCall, render_reply
from envtune.tasks import Task


@functools.lru_cache(maxsize=1024)
def gold_calls(task: Task) -> tuple[tuple[ToolCall, ...], ...]:
    """The ground truth's calls, turn by turn, as the JSON calls that a model would make (arguments by name)."""
    return tuple(tuple(_as_tool_call(task, call) for call in turn) for turn in task.ground_truth)


def gold_replies(task: Task) -> Iterator[str]:
    """Replies that play the task perfectly: in each turn one reply with all its calls (none when it has none), then
    an answer."""
    for calls in gold_calls(task):
        if calls:
            yield render_reply("Call what is needed.", calls=calls)
        yield render_reply("Nothing is left to call.", answer="Done.")


def play_gold(episode: Episode) -> list[Message]:
    """Play the ground truth in a fresh episode until that is over; gives the whole conversation."""
    messages = episode.start()
    for reply in gold_replies(episode.task):
        if episode.done:
            break
        messages += [{"role": "assistant", "content": reply}, *episode.step(reply).messages]
    return messages


def _as_tool_call(task: Task, call: str) -> ToolCall:
    node = ast.parse(call, mode="eval").body
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError(f"{task.id}: ground truth is not a plain call: {call}")
    name = node.func.id
    values = [ast.literal_eval(argument) for argument in node.args]
    # some ground truths pass arguments by position
    methods = load_api_classes(task.release).methods
    parameters = next(methods[owner][name] for owner in task.involved_classes if name in methods[owner])
    arguments = dict(zip(parameters[: len(values)], values, strict=True))
    arguments |= {str(argument.arg): ast.literal_eval(argument.value) for argument in node.keywords}
    return ToolCall(name, arguments)
