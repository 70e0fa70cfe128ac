"""Synthetic conversations in the environment's format, of made-up tools whose words mean nothing.

What there is to learn: the reply format, and to copy the name and the parameters of a tool out of the docs in the prompt.
Names, descriptions, requests and values are words drawn at random from a pool, so that none can be known by heart. Messages
are built by the environment's own prompt code. No task, request, tool or solution of BFCL is used.

A share of the replies is deliberately not in the format (`BREAKERS`): what is trained on them knows the format as one of
several ways to reply, as a model does before it is trained by reinforcement, and how often it uses it is set by that share.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.environment import CallResult, ToolCall, call_text, parse_reply, prompt, render_reply
from envtune.models.toy_conversations import Conversation

_KINDS = ("string", "string", "string", "integer", "float", "boolean", "array")
_NEEDS_TOOL = "This needs a tool on offer."
_FULFILLED = "The request is fulfilled."
_RESULT_WORDS = 6


@dataclass(frozen=True)
class MadeUpTool:
    """A tool that does not exist. parameters: name, BFCL type name, description, whether it is required."""

    name: str
    about: str
    parameters: tuple[tuple[str, str, str, bool], ...]

    def doc(self) -> dict[str, Any]:
        """Its doc in the shape of BFCL's."""
        return {
            "name": self.name,
            "description": self.about,
            "parameters": {
                "type": "dict",
                "properties": {name: _property(kind, text) for name, kind, text, _ in self.parameters},
                "required": [name for name, _, _, required in self.parameters if required],
            },
        }


# Ways to spoil a well-formed reply; each gives one that `parse_reply` does not accept.
BREAKERS: tuple[Callable[[str], str], ...] = (
    lambda reply: reply.split("</think>\n", 1)[1],  # no reasoning
    lambda reply: reply.replace("</think>\n", "\n", 1),  # the reasoning is never closed
    lambda reply: reply[: reply.rindex("</")],  # the last tag is never closed
    lambda reply: reply.split("</think>\n", 1)[0] + "</think>\n" + _without_tags(reply),
    lambda reply: reply + " " + _NEEDS_TOOL,  # words after the tags
)


def mini_conversations(
    count: int,
    seed: int,
    words: Sequence[str],
    *,
    tools: int = 4,
    turns: int = 2,
    ill_formed: float = 0.5,
    brief: bool = False,
) -> list[Conversation]:
    """`count` conversations of up to `turns` requests with up to `tools` tools on offer; equal arguments give equal ones.

    words: what names and texts are made of; ill_formed: probability that a reply is spoilt. Every other spoilt reply ends
    its conversation, after the others comes the environment's complaint. brief: the system message has the tools' docs alone, and all
    of them are called by the one reply, which is well-formed.
    """
    rng = random.Random(seed)
    return [_conversation(rng, words, tools, turns, ill_formed, brief) for _ in range(count)]


def _conversation(
    rng: random.Random, words: Sequence[str], tools: int, turns: int, ill_formed: float, brief: bool
) -> Conversation:
    offered = {(made := _tool(rng, words)).name: made for _ in range(rng.randint(1, tools))}
    docs = [tool.doc() for tool in offered.values()]
    if brief:
        request, *reply = _turn(rng, words, list(offered.values()), 0.0)
        return {"role": "system", "content": "\n".join(map(prompt.compact_json, docs))}, request, reply[0]
    messages = [{"role": "system", "content": prompt.system_prompt(docs)}]
    for _ in range(rng.randint(1, turns)):
        messages += _turn(rng, words, [rng.choice(list(offered.values()))], ill_formed)
    ends = (i for i, message in enumerate(messages) if message is _END)
    return tuple(messages[: next(ends, len(messages))])


def _turn(
    rng: random.Random, words: Sequence[str], used: Sequence[MadeUpTool], ill_formed: float
) -> list[dict[str, str]]:
    """A request that has the words of the tools' names and their values, the reply that calls them in order, results, answer."""
    calls, said = [], []
    for tool in used:
        values = {name: _value(rng, words, kind) for name, kind, _, required in tool.parameters if required}
        calls.append(ToolCall(tool.name, values))
        said += [_text(rng, words, 1, 4), *tool.name.split("_"), *(f"{value}" for value in values.values())]
    results = [
        CallResult(call_text(call), json.dumps(_result(rng, words)), raised=False, error=False) for call in calls
    ]
    return [
        prompt.message(f"{' '.join(said)}."),
        *_replies(rng, render_reply(_NEEDS_TOOL, calls=calls), ill_formed),
        prompt.message(prompt.go_on(prompt.results(results, [""] * len(results)))),
        *_replies(rng, render_reply(_FULFILLED, answer=f"{_FULFILLED} {_text(rng, words, 1, 4)}."), ill_formed),
    ]


_END: dict[str, str] = {}  # what comes after it is left out


def _replies(rng: random.Random, reply: str, ill_formed: float) -> list[dict[str, str]]:
    """The reply; before it, with the probability `ill_formed`, a spoilt one with the environment's complaint."""
    if rng.random() >= ill_formed:
        return [_assistant(reply)]
    spoilt = rng.choice(BREAKERS)(reply)
    if rng.random() < 1 / 2:
        return [_assistant(spoilt), _END]
    return [_assistant(spoilt), prompt.message(prompt.ill_formed(parse_reply(spoilt).error)), _assistant(reply)]


def _tool(rng: random.Random, words: Sequence[str]) -> MadeUpTool:
    count = rng.choice((0, 1, 1, 2, 2, 3))
    names = list(dict.fromkeys(_name(rng, words, 1, 2) for _ in range(count)))
    parameters = tuple(
        (name, rng.choice(_KINDS), f"{_text(rng, words, 2, 6)}. ", rng.random() < 3 / 4) for name in names
    )
    about = f"This tool belongs to {_text(rng, words, 2, 6)}. Tool description: {_text(rng, words, 2, 6)}."
    return MadeUpTool(_name(rng, words, 1, 3), about, parameters)


def _property(kind: str, text: str) -> dict[str, Any]:
    items = {"items": {"type": "string"}} if kind == "array" else {}
    return {"type": kind, "description": text, **items}


def _name(rng: random.Random, words: Sequence[str], least: int, most: int) -> str:
    return "_".join(rng.choices(words, k=rng.randint(least, most)))


def _text(rng: random.Random, words: Sequence[str], least: int, most: int) -> str:
    return " ".join(rng.choices(words, k=rng.randint(least, most)))


def _value(rng: random.Random, words: Sequence[str], kind: str) -> Any:
    if kind == "integer":
        return rng.randint(1, 999)
    if kind == "float":
        return rng.randint(10, 9999) / 10
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return rng.choices(words, k=rng.randint(1, 2))
    return "".join(rng.choices(words, k=rng.randint(1, 2)))


def _result(rng: random.Random, words: Sequence[str]) -> dict[str, Any]:
    return {_name(rng, words, 1, 2): _text(rng, words, 1, _RESULT_WORDS) for _ in range(rng.randint(1, 3))}


def _without_tags(reply: str) -> str:
    body = reply.split("</think>\n", 1)[1]
    return body[body.index(">") + 1 : body.rindex("</")]


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}
