"""Every message that the environment writes, in one place.

All of them go out with the role "user" (the system prompt aside): chat templates differ in what they do with a
"tool" role, and a plain user message is the same for every model.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from envtune.bfcl import get_release
from envtune.environment.executor import CallResult
from envtune.environment.reply import format_instructions
from envtune.tasks import Task

Message = dict[str, str]

_ROLE = (
    "You are an assistant that fulfils a user's requests by calling tools. The user makes one request after another. "
    "For each of them call the tools that it needs, in as many steps as it takes, then answer. When no tool on offer "
    "can do what is asked, or a value is missing that you cannot find out with a tool, do not call: say so in your "
    "answer."
)
_GO_ON = "If the request is fulfilled, reply with <answer>. If not, call the next tools."
_RESULTS = "Tool results:"
_HINT = "Hint: "
_FORCED = "This request took too many steps and is closed."
_IMPOSSIBLE = "Nothing was called: this request cannot be fulfilled with the tools and values at hand. It is closed."


def compact_json(value: Any) -> str:
    """JSON without spaces: tool docs take up to twice the room with them."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def system_prompt(tools: Iterable[Mapping[str, Any]]) -> str:
    """The system message: the role, the reply format, and the docs of the tools on offer, one JSON object a line."""
    docs = "\n".join(compact_json(tool) for tool in tools)
    return f"{_ROLE}\n\n{format_instructions()}\n\nTools:\n{docs}"


def request(task: Task, turn: int) -> str:
    """What the user says in a turn. At the turn that reveals held-out tools: their docs and BFCL's own sentence."""
    names = task.held_out.get(turn, ())
    said = "\n".join(message["content"] for message in task.question[turn])
    if not names:
        return said
    docs = "\n".join(compact_json(tool) for tool in task.tools if tool["name"] in names)
    return f"{docs}\n{said or reveal_sentence(task.release)}"


def results(calls: Sequence[CallResult], hints: Sequence[str], max_characters: int | None = None) -> str:
    """The results of a reply's calls, in order, each with its hint where there is one; see `shortened`."""
    lines = [_RESULTS]
    for call, hint in zip(calls, hints, strict=True):
        lines.append(_result(call.call.split("(", 1)[0], shortened(call.text, max_characters)))
        if hint:
            lines.append(f"{_HINT}{hint}")
    return "\n".join(lines)


def named_results(results: Iterable[tuple[str, str]]) -> str:
    """The message after a reply that called tools of another environment: (tool, text of its result), in order."""
    return go_on("\n".join([_RESULTS, *(_result(name, text) for name, text in results)]))


def _result(name: str, text: str) -> str:
    return f"{name}: {text}"


def shortened(text: str, max_characters: int | None) -> str:
    """`text`, or of one longer than `max_characters` the first and the last half of them, and how much is left out."""
    if max_characters is None or len(text) <= max_characters:
        return text
    end = max_characters // 2
    left_out = len(text) - max_characters
    return f"{text[: max_characters - end]} [... {left_out} characters left out ...] {text[len(text) - end :]}"


def go_on(body: str) -> str:
    """After results: what to do next."""
    return f"{body}\n{_GO_ON}"


def ill_formed(error: str, hint: str = "") -> str:
    """The answer to a reply that is not in the format."""
    hint = f"{_HINT}{hint}\n" if hint else ""
    return f"Your reply is not in the required format. {error}\n{hint}{format_instructions()}"


def closed(body: str, impossible: bool) -> str:
    """A turn that was forced to end, after whatever there is still to say of it."""
    notice = _IMPOSSIBLE if impossible else _FORCED
    return f"{body}\n{notice}" if body else notice


def message(text: str) -> Message:
    """A user message."""
    return {"role": "user", "content": encodable(text)}


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: JSON escapes can spell them, and no tokenizer or request takes them."""
    return text.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def reveal_sentence(release: str) -> str:
    """BFCL's own words for "held-out tools are now on offer", read from the release's constants as data."""
    wanted = "DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC"
    source = (get_release(release).folder() / "constants" / "default_prompts.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [wanted]:
            return str(ast.literal_eval(node.value))
    raise LookupError(f"{wanted} is not in BFCL release {release!r}")
