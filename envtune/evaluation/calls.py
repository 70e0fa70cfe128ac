"""From a stored trajectory to the call strings that the judge of record may execute.

BFCL's checker takes calls as Python text and evaluates it, so text that a model wrote must never reach it. Each call
is written anew from the parsed JSON of the reply: a tool of the task's own classes, parameter names that are plain
names, arguments as Python literals. What cannot be written so is replaced by a call of a name that does not exist:
it fails in the checker as it failed in the episode, and changes nothing.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence
from typing import Any

from envtune.bfcl import load_api_classes
from envtune.environment import ReplyKind, StopReason, ToolCall, Trajectory, TurnEnd, parse_reply
from envtune.environment.calls import call_text
from envtune.environment.executor import ERROR_PREFIX, CallResult
from envtune.environment.limits import LIMIT, MAX_CALL_CHARACTERS, MAX_INTEGER, is_bounded
from envtune.tasks import Task

REFUSED = "envtune_refused_call()"

Turns = list[list[list[str]]]


def judged_turns(task: Task, trajectory: Trajectory) -> tuple[Turns, list[str]]:
    """The trajectory as turns -> steps -> call strings, and a note for each call that was replaced.

    Turns that were not reached are left out (BFCL's runner fails an entry by the number of its turns); so is a reply
    that called nothing. A turn cut short by a force quit keeps the calls made in it, as upstream.
    """
    tools = _tools(task)
    turns: Turns = []
    notes: list[str] = []
    for index, turn in enumerate(trajectory.turns):
        if turn.end is TurnEnd.NOT_REACHED and trajectory.stop_reason is not StopReason.COMPLETED:
            break
        steps = []
        for reply in turn.replies:
            if reply.kind is not ReplyKind.TOOL_CALL:
                continue
            step = []
            for number, call in enumerate(parse_reply(reply.reply).calls):
                text, reason = safe_call(call, tools)
                if number < len(reply.results) and _was_refused(call, reply.results[number]):
                    text, reason = REFUSED, f"{call.name}: {reply.results[number].text[len(ERROR_PREFIX) :]}"
                step.append(text)
                if reason:
                    notes.append(f"turn {index}: {reason}")
            steps.append(step)
        turns.append(steps)
    return turns, notes


def safe_call(call: ToolCall, tools: frozenset[str]) -> tuple[str, str]:
    """(call string, "") with literal arguments only, or (REFUSED, why) when the call cannot be written so."""
    if call.name not in tools:
        return REFUSED, f"{call.name[:60]!r} is no tool of the task"
    for name in call.arguments:
        if not is_parameter_name(name):
            return REFUSED, f"{name[:60]!r} is no parameter name"
    if not all(map(_is_literal, call.arguments.values())):
        return REFUSED, f"an argument of {call.name} is no plain value"
    text = call_text(call)
    if len(text) > MAX_CALL_CHARACTERS:
        return REFUSED, f"the call of {call.name} is longer than {MAX_CALL_CHARACTERS} characters"
    return text, ""


def is_parameter_name(name: str) -> bool:
    """Whether a call may have an argument of that name as Python text."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _was_refused(call: ToolCall, result: CallResult) -> bool:
    """Whether the environment refused to run the call because of what it costs; the checker must not run it either.
    The tools with a check of their own change nothing, so that one of them which raised can be left out as well."""
    return result.text.startswith(ERROR_PREFIX + LIMIT) or (result.raised and is_bounded(call.name))


def _tools(task: Task) -> frozenset[str]:
    """All tools of the task's classes: BFCL executes those that are not on offer as well."""
    methods = load_api_classes(task.release).methods
    return frozenset(name for owner in task.involved_classes for name in methods[owner])


def _is_literal(value: Any) -> bool:
    """Whether repr() of a parsed JSON value is a Python literal with the same value. Depth is bounded by the parser."""
    if value is None or isinstance(value, (str, bool)):
        return True
    if isinstance(value, int):
        return abs(value) <= MAX_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _all_literal(list(value.values()))
    return isinstance(value, list) and _all_literal(value)


def _all_literal(values: Sequence[Any]) -> bool:
    return all(map(_is_literal, values))
