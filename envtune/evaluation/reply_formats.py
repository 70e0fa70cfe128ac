"""The two ways a model may call tools, and the way from one to the other.

fc    native function calling: `tools` go with the request, the endpoint parses the calls
kit   the format that the kit trains: docs and instructions in the system prompt, <think>, then <tool_call> or <answer>

Benchmarks of other packages speak native function calling. For a model that is asked in the kit's format their requests
are put into it, and its replies are put back, so that every suite can be run in the format that the model was trained
in. In both, what scoring reads is free of the model's reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from envtune.environment import ReplyKind, ToolCall, parse_reply, render_reply
from envtune.environment.prompt import Message, encodable, named_results, system_prompt
from envtune.errors import EnvtuneError

FORMATS = ("kit", "fc")
_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


def check_format(name: str) -> str:
    """`name` itself. Raises EnvtuneError when there is no such format."""
    if name not in FORMATS:
        raise EnvtuneError(f"unknown reply format {name!r}; choose one of: {', '.join(FORMATS)}")
    return name


def without_thinking(text: str) -> str:
    """The text less its <think> parts: also of one that only closes (templates may open it), or that never closes."""
    text = _THINKING.sub("", text)
    text = text.rsplit("</think>", 1)[-1]
    return text.split("<think>", 1)[0].strip()


def to_kit(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    said: Callable[[Mapping[str, Any]], str | None] = lambda message: None,
) -> list[Message]:
    """A request with native tools as a conversation in the kit's format.

    messages, tools: as in a request of OpenAI's chat API; said: the model's own text of one of its messages, where it
    is known (else one is written from the message). The system prompt is the kit's, with what the benchmark says in its
    own below it; results of calls become one user message.
    """
    system = "\n\n".join(str(m["content"]) for m in messages if m["role"] == "system" and m.get("content"))
    docs = [tool["function"] for tool in tools]
    opening = system_prompt({k: doc[k] for k in ("name", "description", "parameters") if k in doc} for doc in docs)
    put: list[Message] = [{"role": "system", "content": f"{opening}\n\n{system}" if system else opening}]
    names: dict[str, str] = {}
    results: list[tuple[str, str]] = []
    for message in messages:
        if message["role"] == "tool":
            results.append((names.get(message.get("tool_call_id", ""), "tool"), text_of(message)))
            continue
        if results:
            put.append({"role": "user", "content": encodable(named_results(results))})
            results = []
        if message["role"] == "assistant":
            calls = message.get("tool_calls") or []
            names |= {call["id"]: call["function"]["name"] for call in calls}
            put.append({"role": "assistant", "content": said(message) or _rendered(message)})
        elif message["role"] != "system":
            put.append({"role": "user", "content": encodable(text_of(message))})
    if results:
        put.append({"role": "user", "content": encodable(named_results(results))})
    return put


def from_kit(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """(content, calls) of a reply: the answer, or the calls, or of an ill-formed one its text without the reasoning,
    which calls nothing and so ends the turn, as a reply that does not parse does in BFCL."""
    reply = parse_reply(text)
    if reply.kind is ReplyKind.TOOL_CALL:
        return "", reply.calls
    return (reply.answer if reply.kind is ReplyKind.ANSWER else without_thinking(text)), ()


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text; content may also be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return "" if content is None else str(content)


def _rendered(message: Mapping[str, Any]) -> str:
    """A reply of the benchmark's own making (some open a conversation with one) in the kit's format."""
    calls = []
    for call in message.get("tool_calls") or []:
        try:
            arguments = json.loads(call["function"]["arguments"] or "{}")
        except ValueError:
            arguments = None
        calls.append(ToolCall(call["function"]["name"], arguments if isinstance(arguments, dict) else {}))
    return render_reply("", calls=calls) if calls else render_reply("", answer=text_of(message))
