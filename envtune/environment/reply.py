"""The reply format, defined once: what the prompt asks for, what the parser accepts, what its complaints say.

A reply is one <think>...</think> followed by exactly one of

    <tool_call>[{"name": "...", "arguments": {...}}, ...]</tool_call>
    <answer>...</answer>

and nothing but white space outside the tags (paper, section 3 and its released prompt's tags). The format reward
counts replies that `parse_reply` accepts; `render_reply` writes one that it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_TAGS = ("think", "tool_call", "answer")
_TAG = re.compile(rf"</?(?:{'|'.join(_TAGS)})>")
_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
# A number or nesting past these is a tool error that the model can read, not work for the JSON parser.
MAX_REPLY_CHARACTERS = 200_000
MAX_CALLS = 64
MAX_DEPTH = 32


class ReplyKind(StrEnum):
    """What a reply turned out to be."""

    TOOL_CALL = "tool_call"
    """Well-formed, with one or more calls to execute."""
    ANSWER = "answer"
    """Well-formed; ends the user's turn."""
    ILL_FORMED = "ill_formed"
    """Not in the format; the model is told what is wrong and the turn goes on."""


@dataclass(frozen=True)
class ToolCall:
    """One call as the model asked for it. `arguments` maps names to JSON values."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """A parsed reply. `calls` is filled for TOOL_CALL, `answer` for ANSWER, `error` (a sentence) for ILL_FORMED."""

    kind: ReplyKind
    think: str = ""
    calls: tuple[ToolCall, ...] = ()
    answer: str = ""
    error: str = ""


class _IllFormed(Exception):
    """Carries the sentence that tells the model what is wrong with its reply."""


def format_instructions() -> str:
    """The part of the system prompt that explains the format to the model."""
    example = render_reply("<your reasoning>", calls=[ToolCall("<tool name>", {"<parameter>": "<value>"})])
    answer = render_reply("<your reasoning>", answer="<your message to the user>")
    return (
        "Reply in one of these two forms, with nothing before, between or after the tags.\n"
        "To call tools (one JSON list; several calls run in order):\n"
        f"{example}\n"
        "To end your turn, when the request is fulfilled or cannot be fulfilled:\n"
        f"{answer}"
    )


def render_reply(think: str, calls: Sequence[ToolCall] | None = None, answer: str | None = None) -> str:
    """A well-formed reply with these calls, or with this answer (exactly one of the two must be given)."""
    if (calls is None) == (answer is None):
        raise ValueError("a reply has either calls or an answer")
    if calls is not None:
        listed = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
        body = f"<tool_call>{json.dumps(listed, ensure_ascii=False)}</tool_call>"
    else:
        body = f"<answer>{answer}</answer>"
    return f"<think>{think}</think>\n{body}"


def parse_reply(text: str) -> Reply:
    """Parse what the model wrote. Never raises: a reply that is not in the format has kind ILL_FORMED and says why."""
    try:
        return _parse(text)
    except _IllFormed as problem:
        return Reply(ReplyKind.ILL_FORMED, error=str(problem))


def _parse(text: str) -> Reply:
    if len(text) > MAX_REPLY_CHARACTERS:
        raise _IllFormed(f"The reply is longer than {MAX_REPLY_CHARACTERS} characters.")
    match = _THINK.match(text)
    if match is None:
        raise _IllFormed("The reply must start with <think> and the reasoning must end with </think>.")
    think, rest = match.group(1), text[match.end() :].rstrip()
    for kind, tag in ((ReplyKind.TOOL_CALL, "tool_call"), (ReplyKind.ANSWER, "answer")):
        opening, closing = f"<{tag}>", f"</{tag}>"
        if not rest.startswith(opening):
            continue
        if not rest.endswith(closing) or len(rest) < len(opening) + len(closing):
            raise _IllFormed(f"{opening} must be closed by {closing} at the very end of the reply.")
        body = rest[len(opening) : -len(closing)]
        if kind is ReplyKind.ANSWER and (stray := _TAG.search(think + body)):
            raise _IllFormed(f"The tag {stray.group()} stands inside another one; use each tag once.")
        if kind is ReplyKind.TOOL_CALL:
            if stray := _TAG.search(think):
                raise _IllFormed(f"The tag {stray.group()} stands inside another one; use each tag once.")
            return Reply(kind, think.strip(), calls=_parse_calls(body))
        return Reply(kind, think.strip(), answer=body.strip())
    raise _IllFormed("After </think> there must be exactly one of <tool_call>...</tool_call> or <answer>...</answer>.")


def _parse_calls(body: str) -> tuple[ToolCall, ...]:
    try:
        listed = json.loads(body, object_pairs_hook=_object)
    except RecursionError:
        raise _IllFormed("The JSON inside <tool_call> is nested too deeply.") from None
    except ValueError as error:
        if stray := _TAG.search(body):
            raise _IllFormed(f"The tag {stray.group()} stands inside <tool_call>; use each tag once.") from None
        raise _IllFormed(f"The text inside <tool_call> is not valid JSON: {str(error)[:200]}.") from None
    if not isinstance(listed, list) or not listed:
        raise _IllFormed("The JSON inside <tool_call> must be a list with at least one call.")
    return _calls(listed)


def checked_calls(listed: Sequence[Any]) -> tuple[ToolCall, ...]:
    """Calls that reached us as JSON values already ({"name", "arguments"} each), under the same bounds as those in a
    reply's text. Raises ValueError with a sentence."""
    try:
        return _calls(listed)
    except _IllFormed as problem:
        raise ValueError(str(problem)) from None


def _calls(listed: Sequence[Any]) -> tuple[ToolCall, ...]:
    if len(listed) > MAX_CALLS:
        raise _IllFormed(f"There are more than {MAX_CALLS} calls in one reply.")
    return tuple(_call(number, item) for number, item in enumerate(listed, start=1))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON allows a key twice and keeps the last; a call must not say two things at once."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _IllFormed("A JSON object inside <tool_call> has the same key twice.")
    return value


def _call(number: int, item: Any) -> ToolCall:
    if not isinstance(item, dict) or set(item) != {"name", "arguments"}:
        raise _IllFormed(f'Call {number} must be an object with exactly the keys "name" and "arguments".')
    name, arguments = item["name"], item["arguments"]
    if not isinstance(name, str) or not name:
        raise _IllFormed(f'Call {number}: "name" must be a tool\'s name as a string.')
    if not isinstance(arguments, dict):
        raise _IllFormed(f'Call {number}: "arguments" must be an object of parameter names and values.')
    if _depth(arguments) > MAX_DEPTH:
        raise _IllFormed(f'Call {number}: "arguments" is nested deeper than {MAX_DEPTH} levels.')
    return ToolCall(name, arguments)


def _depth(value: Any) -> int:
    """Levels of nesting of a JSON value; no recursion, since the value may be hostile."""
    depth, layer = 0, [value]
    while layer:
        depth += 1
        children = [v for v in layer if isinstance(v, (dict, list))]
        layer = [c for v in children for c in (v.values() if isinstance(v, dict) else v)]
        if depth > MAX_DEPTH:
            break
    return depth
