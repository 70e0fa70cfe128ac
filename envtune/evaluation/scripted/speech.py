"""The three ways in which a scripted model speaks, and how the replies of a conversation are read again.

native  function calling: `tool_calls` with ids, arguments as JSON strings
kit     the kit's own text format (`render_reply`)
plain   text; calls are written as BFCL writes them, [name(parameter=value), ...]
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from envtune.environment import ReplyKind, ToolCall, parse_reply, render_reply
from envtune.environment.calls import call_text

CHARACTERS_PER_TOKEN = 4
MALFORMED = "Sure! <tool_call>[{]</tool_call>"
_TAGS = ("<think>", "<tool_call>", "<answer>")


class Way(StrEnum):
    """How a reply is written down; `way_of` says which one a request asks for."""

    NATIVE = "native"
    KIT = "kit"
    PLAIN = "plain"


@dataclass(frozen=True)
class Step:
    """What is said in one reply: calls, or a text. malformed: something that is neither, in each way of speaking."""

    calls: tuple[ToolCall, ...] = ()
    text: str = ""
    malformed: bool = False


@dataclass(frozen=True)
class Spoken:
    """A reply written down. calls: (tool, arguments as a JSON string); tokens: characters of text, names and arguments,
    divided by 4 and rounded up."""

    content: str | None
    calls: tuple[tuple[str, str], ...]
    tokens: int

    def message(self, number: int) -> dict[str, Any]:
        """The assistant message; `number` is unlike that of any other reply and makes the calls' ids unlike others."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.calls:
            message["tool_calls"] = [
                {"id": f"call_{number}_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for place, (name, arguments) in enumerate(self.calls)
            ]
        return message


def way_of(body: Mapping[str, Any]) -> Way:
    """Native when tools come with the request; the kit's format when the system message explains its tags."""
    if body.get("tools"):
        return Way.NATIVE
    system = system_text(body["messages"])
    return Way.KIT if all(tag in system for tag in _TAGS) else Way.PLAIN


def spoken(step: Step, way: Way, tool: str = "no_such_tool") -> Spoken:
    """The step written down. tool: the name in a malformed native call."""
    if step.malformed:
        return _weighed(None, ((tool, "{"),)) if way is Way.NATIVE else _weighed(MALFORMED)
    if way is Way.NATIVE:
        calls = tuple((c.name, json.dumps(dict(c.arguments), ensure_ascii=False)) for c in step.calls)
        return _weighed(step.text or None, calls) if calls else _weighed(step.text)
    if way is Way.KIT:
        if step.calls:
            return _weighed(render_reply("Call what is needed.", calls=step.calls))
        return _weighed(render_reply("Nothing is left to call.", answer=step.text))
    return _weighed(f"[{', '.join(map(call_text, step.calls))}]" if step.calls else step.text)


def calls_in(message: Mapping[str, Any]) -> int:
    """How many calls an assistant message makes."""
    native = message.get("tool_calls")
    return len(native) if native else _calls_in_text(text_of(message))


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text, also where it comes in parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text") or "" for part in content)
    return content or ""


def system_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The system message that opens a conversation, or ""."""
    return text_of(messages[0]) if messages and messages[0]["role"] in ("system", "developer") else ""


def prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Characters of all texts and calls, divided by 4 and rounded up. Tool documentation in `tools` is not counted."""
    characters = 0
    for message in messages:
        characters += len(text_of(message))
        for call in message.get("tool_calls") or ():
            characters += len(call["function"]["name"]) + len(call["function"]["arguments"])
    return _tokens(characters)


@functools.lru_cache(maxsize=65536)
def _calls_in_text(text: str) -> int:
    """Cached, because a conversation comes back whole with each of its requests."""
    reply = parse_reply(text)
    if reply.kind is ReplyKind.TOOL_CALL:
        return len(reply.calls)
    if text.startswith("[") and text.endswith(")]"):
        try:
            listed = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # some other text in brackets
            return 0
        return len(listed.elts) if isinstance(listed, ast.List) else 0
    return 0


def _weighed(content: str | None, calls: tuple[tuple[str, str], ...] = ()) -> Spoken:
    return Spoken(content, calls, _tokens(len(content or "") + sum(len(name) + len(text) for name, text in calls)))


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)
