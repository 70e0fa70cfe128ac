"""Synthetic conversations in the environment's format: requests of random words for tools, and the calls that they ask for.

What there is to learn: the reply format, to choose the tool that the request shares words with, and to copy its name, its parameters
and the request's values. Every other conversation offers made-up tools, the others BFCL's, by their docs. Messages are built by
the environment's own prompt code. No task, request, result or solution of BFCL is used.

A share of the replies is deliberately not in the format (`BREAKERS`): what is trained on them knows the format as one of
several ways to reply, as a model does before it is trained by reinforcement, and how often it uses it is set by that share.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from envtune.environment import CallResult, ToolCall, call_text, parse_reply, prompt, render_reply
from envtune.models.toy_conversations import Conversation

_KINDS = ("string", "string", "string", "integer", "float", "boolean", "array")
_NEEDS_TOOL = "Call."
_FULFILLED = "Done."
_RESULT_WORDS = 6
_WORD = re.compile(r"[A-Za-z]+")

Doc = Mapping[str, Any]


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
    docs: Sequence[Doc] = (),
    tools: int = 4,
    turns: int = 2,
    ill_formed: float = 0.5,
    brief: bool = False,
) -> list[Conversation]:
    """`count` conversations of up to `turns` requests with up to `tools` tools on offer; equal arguments give equal ones.

    words: what names and texts are made of; docs: of real tools, which every other conversation offers in place of made-up ones;
    ill_formed: probability that a reply is spoilt. Every other spoilt reply ends its conversation, after the others comes the
    environment's complaint. brief: the system message has the tools' docs alone, made-up ones, and the one reply, which is
    well-formed, calls up to three of them.
    """
    rng = random.Random(seed)
    return [_conversation(rng, words, docs, tools, turns, ill_formed, brief) for _ in range(count)]


def _conversation(
    rng: random.Random,
    words: Sequence[str],
    docs: Sequence[Doc],
    tools: int,
    turns: int,
    ill_formed: float,
    brief: bool,
) -> Conversation:
    if docs and not brief and rng.random() < 1 / 2:
        offered = rng.sample(docs, min(tools, len(docs)))
    else:
        named = {(made := _tool(rng, words)).get("name"): made for _ in range(rng.randint(1, tools))}
        offered = list(named.values())
    if brief:
        request, *reply = _turn(rng, words, rng.sample(offered, rng.randint(1, min(3, len(offered)))), 0.0)
        return {"role": "system", "content": "\n".join(map(prompt.compact_json, offered))}, request, reply[0]
    messages = [{"role": "system", "content": prompt.system_prompt(offered)}]
    for _ in range(rng.randint(1, turns)):
        count = 1 if rng.random() < 3 / 4 else min(2, len(offered))
        messages += _turn(rng, words, rng.sample(offered, count), ill_formed)
    ends = (i for i, message in enumerate(messages) if message is _END)
    return tuple(messages[: next(ends, len(messages))])


def _turn(rng: random.Random, words: Sequence[str], used: Sequence[Doc], ill_formed: float) -> list[dict[str, str]]:
    """A request for the tools, the reply that calls them in its order, results, answer."""
    calls, said = [], []
    for tool in used:
        call, asked = _asked_for(rng, words, tool)
        calls.append(call)
        said.append(asked)
    results = [
        CallResult(call_text(call), json.dumps(_result(rng, words)), raised=False, error=False) for call in calls
    ]
    return [
        prompt.message(" ".join(said)),
        *_replies(rng, render_reply(_NEEDS_TOOL, calls=calls), ill_formed),
        prompt.message(prompt.go_on(prompt.results(results, [""] * len(results)))),
        *_replies(rng, render_reply(_FULFILLED, answer=_FULFILLED), ill_formed),
    ]


def _asked_for(rng: random.Random, words: Sequence[str], tool: Doc) -> tuple[ToolCall, str]:
    """A call of the tool with values for what it requires, and a sentence with those values and with some of the words
    of its name and its description, among others."""
    kinds = {name: part["type"] for name, part in tool["parameters"]["properties"].items()}
    values = {name: _value(rng, words, kinds[name]) for name in tool["parameters"]["required"] if name in kinds}
    of_name = _WORD.findall(tool["name"])
    of_text = _WORD.findall(tool["description"].rsplit("Tool description:", 1)[-1])
    said = rng.sample(of_name, rng.randint(1, len(of_name)))
    said += rng.sample(of_text, rng.randint(0, min(4, len(of_text))))
    rng.shuffle(said)
    for _ in range(rng.choice((0, 1, 2, 4, 8, 16, 32))):
        said.insert(rng.randint(0, len(said)), _filler(rng, words))
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        quoted = rng.choice(("{}", "'{}'", "'{}'")).format(shown)
        at = rng.randint(0, len(said))
        said[at:at] = [*(_WORD.findall(name) if rng.random() < 2 / 3 else ()), quoted]
    text = " ".join(said)
    return ToolCall(tool["name"], values), text[:1].upper() + text[1:] + rng.choice(".?")


def _filler(rng: random.Random, words: Sequence[str]) -> str:
    """A word of a request that leads nowhere, most of them of several tokens, as words that the tokenizer has not seen are."""
    letters = rng.choice(string.ascii_lowercase) if rng.random() < 1 / 2 else ""
    return letters + "".join(rng.choices(words, k=rng.choice((1, 1, 2)))) + rng.choice(("", "", "", "", ",", ".", "'s"))


_END: dict[str, str] = {}  # what comes after it is left out


def _replies(rng: random.Random, reply: str, ill_formed: float) -> list[dict[str, str]]:
    """The reply; before it, with the probability `ill_formed`, a spoilt one with the environment's complaint."""
    if rng.random() >= ill_formed:
        return [_assistant(reply)]
    spoilt = rng.choice(BREAKERS)(reply)
    if rng.random() < 1 / 2:
        return [_assistant(spoilt), _END]
    return [_assistant(spoilt), prompt.message(prompt.ill_formed(parse_reply(spoilt).error)), _assistant(reply)]


def _tool(rng: random.Random, words: Sequence[str]) -> Doc:
    """The doc of a tool that does not exist, in the shape of BFCL's."""
    names = list(dict.fromkeys(_name(rng, words, 1, 2) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))))
    return {
        "name": _name(rng, words, 1, 3),
        "description": f"This tool belongs to {_text(rng, words, 1, 3)}. Tool description: {_text(rng, words, 2, 6)}.",
        "parameters": {
            "type": "dict",
            "properties": {name: _property(rng.choice(_KINDS), _text(rng, words, 1, 4)) for name in names},
            "required": [name for name in names if rng.random() < 3 / 4],
        },
    }


def _property(kind: str, text: str) -> dict[str, Any]:
    items = {"items": {"type": "string"}} if kind == "array" else {}
    return {"type": kind, "description": text, **items}


def _name(rng: random.Random, words: Sequence[str], least: int, most: int) -> str:
    return "_".join(rng.choices(words, k=rng.randint(least, most)))


def _text(rng: random.Random, words: Sequence[str], least: int, most: int) -> str:
    return " ".join(rng.choices(words, k=rng.randint(least, most)))


def _value(rng: random.Random, words: Sequence[str], kind: str) -> Any:
    if kind == "integer":
        return rng.randint(1, 10 ** rng.randint(1, 5))
    if kind == "float":
        return rng.randint(10, 99999) / 10
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return rng.choices(words, k=rng.randint(1, 2))
    if kind == "dict":
        return {}
    return _string(rng, words)


def _string(rng: random.Random, words: Sequence[str]) -> str:
    """Words, capital letters, a name with digits, or a file's name."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 4)))
    if kind == 1:
        return rng.choice(words).capitalize() + (str(rng.randint(1, 999)) if rng.random() < 1 / 2 else "")
    if kind == 2:
        return f"{rng.choice(words)}.{rng.choice(words)[:3]}"
    return " ".join(rng.choices(words, k=rng.randint(1, 3)))


def _result(rng: random.Random, words: Sequence[str]) -> dict[str, Any]:
    return {_name(rng, words, 1, 2): _text(rng, words, 1, _RESULT_WORDS) for _ in range(rng.randint(1, 3))}


def _without_tags(reply: str) -> str:
    body = reply.split("</think>\n", 1)[1]
    return body[body.index(">") + 1 : body.rindex("</")]


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}
