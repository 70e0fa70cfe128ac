"""What a model can have read before a ground-truth call, and ground truths with one value changed: evidence of defects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from envtune.environment.executor import ApiState, call_text
from envtune.environment.gold_policy import gold_calls
from envtune.environment.reply import ToolCall
from envtune.tasks import Task


def strings(value: Any) -> Iterator[str]:
    """All scalars of a JSON value, as text."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    else:
        yield str(value)


def readable(task: Task) -> list[list[list[str]]]:
    """Turn -> ground-truth call -> texts that a model has read before it makes that call on the right path."""
    read = [text for tool in task.tools for text in strings(json.loads(json.dumps(tool)))]
    api, turns = ApiState(task), []
    for question, calls in zip(task.question, task.ground_truth, strict=True):
        read += [message["content"].replace("\\'", "'") for message in question]
        turns.append([])
        for call in calls:
            turns[-1].append(list(read))
            (result,) = api.run([call])
            try:
                read += strings(json.loads(result.text))
            except ValueError:
                read.append(result.text)
    return turns


def is_given(value: str | int, texts: list[str]) -> bool:
    if isinstance(value, str):
        return any(value in text for text in texts)
    return any(float(number) == value for text in texts for number in re.findall(r"\d+(?:\.\d+)?", text))


def replaced(value: Any, old: Any, new: Any) -> Any:
    """The value with `old` (a part of a text, or a number) replaced wherever it occurs in it."""
    if isinstance(value, list):
        return [replaced(item, old, new) for item in value]
    if isinstance(value, str) and isinstance(old, str):
        return value.replace(old, new)
    return new if type(value) is type(old) and value == old else value


def changed_calls(task: Task, evidence: Any, new: Any) -> Iterator[tuple[int, int, list[list[list[str]]]]]:
    """(turn, number of the call, the ground truth with that call changed) for each call that the evidence speaks of."""
    for turn, calls in enumerate(gold_calls(task)):
        for number, call in enumerate(calls):
            before = call.arguments.get(evidence["argument"])
            after = replaced(before, evidence["gold"], new)
            if call.name == evidence["tool"] and after != before:
                turns = [[[text] for text in texts] for texts in task.ground_truth]
                turns[turn][number] = [call_text(ToolCall(call.name, {**call.arguments, evidence["argument"]: after}))]
                yield turn, number, turns
