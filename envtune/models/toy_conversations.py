"""Synthetic conversations that show the reply format, and nothing of BFCL.

The tools are made up on the spot ("polish_lantern", asked for as "shine up the lantern"), so that what there is to
learn is to copy a name from the docs and values from the request into the right tags, not any tool by heart. Messages are built by the environment's own
prompt code: the model meets in training exactly the text that an `Episode` sends. No task, tool, request or solution
of BFCL is used (tests/models checks it).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from envtune.environment import CallResult, ToolCall, call_text, prompt, render_reply

Conversation = tuple[dict[str, str], ...]  # chat messages; an assistant message is a well-formed reply

# A tool's verb, and how a request says it: the name must be looked up in the docs, not made up from the request.
VERBS = MappingProxyType({
    "polish": "shine up", "paint": "put some colour on", "repair": "fix", "wrap": "pack up", "label": "mark",
    "rinse": "wash off", "inspect": "look over", "weigh": "find the mass of", "measure": "find the size of",
    "store": "put away", "tune": "adjust", "dust": "clean", "warm": "heat up", "tighten": "make firm",
    "photograph": "take a picture of", "relocate": "move",
})  # fmt: skip
NOUNS = ("lantern", "violin", "fern", "kite", "teapot", "blanket", "canoe", "compass", "drum", "easel", "garden_bench",
         "hammock", "jar", "ladder", "mirror", "pillow", "quilt", "rope", "sled", "wagon")  # fmt: skip
_LOOKUPS = frozenset({"inspect", "weigh", "measure"})  # verbs whose tool tells something instead of doing something
_WORDS = (
    "blue",
    "amber",
    "green",
    "north",
    "attic",
    "cellar",
    "velvet",
    "Harriet",
    "Boris",
    "Lotte",
    "maple",
    "studio",
)
_PARAMETERS = (
    ("owner", "string", "Name of the owner."),
    ("place", "string", "Where it is."),
    ("colour", "string", "Colour to use."),
    ("tag", "string", "Short code written on it."),
    ("count", "integer", "How many of them."),
    ("minutes", "integer", "How long, in minutes."),
    ("limit", "float", "Upper limit in kilograms."),
)
_REQUESTS = (
    "Please {task}.",
    "Could you {task} for me?",
    "I need you to {task}. Thanks!",
    "We have guests tonight, so {task}, please.",
    "I've been meaning to {task}. Can you take care of that?",
)
_IMPOSSIBLE = ("book a table for two", "sing me a song", "call my cousin", "order a pizza", "open the window")


@dataclass(frozen=True)
class ToyTool:
    """A made-up tool: `verb`_`noun` with parameters drawn from a small pool."""

    verb: str
    noun: str
    parameters: tuple[tuple[str, str, str], ...]  # name, BFCL type name, description

    @property
    def name(self) -> str:
        return f"{self.verb}_{self.noun}"

    @property
    def thing(self) -> str:
        """The noun in words."""
        return self.noun.replace("_", " ")

    def doc(self) -> dict[str, Any]:
        """The tool's doc in the shape of BFCL's."""
        return {
            "name": self.name,
            "description": f"This tool belongs to the workshop. Tool description: {self.verb.capitalize()} the {self.thing}.",
            "parameters": {
                "type": "dict",
                "properties": {name: {"type": kind, "description": text} for name, kind, text in self.parameters},
                "required": [name for name, _, _ in self.parameters],
            },
        }


def toy_conversations(count: int, seed: int, turns: int = 2, tools: int = 2) -> list[Conversation]:
    """`count` conversations of `turns` requests with `tools` tools on offer; equal seeds give equal conversations.

    Most turns go: request, reply with one call (sometimes two), results, reply with an answer. One turn in eight asks
    for what no tool can do and is answered at once.
    """
    rng = random.Random(seed)
    return [_conversation(rng, turns, tools) for _ in range(count)]


def _conversation(rng: random.Random, turns: int, tools: int) -> Conversation:
    offered = _tools(rng, tools)
    messages = [{"role": "system", "content": prompt.system_prompt(tool.doc() for tool in offered)}]
    for _ in range(turns):
        if rng.random() < 1 / 8:
            messages += _impossible_turn(rng)
        else:
            messages += _turn(rng, rng.sample(offered, k=2 if rng.random() < 1 / 5 and tools > 1 else 1))
    return tuple(messages)


def _tools(rng: random.Random, count: int) -> list[ToyTool]:
    verbs, nouns = rng.sample(list(VERBS), count), rng.sample(NOUNS, count)
    return [
        ToyTool(verb, noun, tuple(rng.sample(_PARAMETERS, rng.choice((0, 1, 1, 1, 2, 2)))))
        for verb, noun in zip(verbs, nouns, strict=True)
    ]


def _impossible_turn(rng: random.Random) -> list[dict[str, str]]:
    wish = rng.choice(_IMPOSSIBLE)
    reply = render_reply("No tool on offer does this.", answer=f"I cannot {wish}: there is no tool for it.")
    return [prompt.message(rng.choice(_REQUESTS).format(task=wish)), _assistant(reply)]


def _turn(rng: random.Random, used: list[ToyTool]) -> list[dict[str, str]]:
    """One request for all of `used`, the reply that calls them, their results, and the answer."""
    wishes, calls, results, outcomes = [], [], [], []
    for tool in used:
        values = {name: _value(rng, kind) for name, kind, _ in tool.parameters}
        details = " and ".join(f"{name} {value}" for name, value in values.items())
        wish = f"{VERBS[tool.verb]} the {tool.thing}"
        wishes.append(f"{wish} with {details}" if details else wish)
        calls.append(ToolCall(tool.name, values))
        result, outcome = _outcome(rng, tool)
        results.append(CallResult(call_text(calls[-1]), json.dumps(result), raised=False, error=False))
        outcomes.append(outcome)
    return [
        prompt.message(rng.choice(_REQUESTS).format(task=" and ".join(wishes))),
        _assistant(render_reply("This needs a tool on offer.", calls=calls)),
        prompt.message(prompt.go_on(prompt.results(results, [""] * len(results)))),
        _assistant(render_reply("The request is fulfilled.", answer=" ".join(outcomes))),
    ]


def _value(rng: random.Random, kind: str) -> Any:
    if kind == "integer":
        return rng.randint(1, 90)
    if kind == "float":
        return rng.randint(10, 999) / 10
    return rng.choice(_WORDS)


def _outcome(rng: random.Random, tool: ToyTool) -> tuple[dict[str, Any], str]:
    """What the tool returns, and the sentence that reports it."""
    if tool.verb in _LOOKUPS:
        value = rng.randint(10, 999) / 10
        return {tool.noun: value}, f"The {tool.thing} shows {value}."
    return {"status": "done"}, f"The {tool.thing} is done."


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}
