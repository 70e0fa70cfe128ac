"""BFCL's multi-turn tasks in native function calling, as bfcl-eval's own OpenAI handler puts them.

No system prompt; the tools on offer go with each request, those that a turn reveals behind the others; a reply's calls
are run in order and each result goes back as a "tool" message; a reply without calls, or whose arguments are not JSON
objects, ends the turn. One difference: the docs' `response` field, which OpenAI's schema does not have, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from envtune.environment import Reply, ReplyKind, Step, render_reply
from envtune.environment.prompt import encodable, reveal_sentence
from envtune.environment.reply import checked_calls
from envtune.evaluation.reply_formats import without_thinking
from envtune.tasks import Task

if TYPE_CHECKING:
    from envtune.evaluation.endpoint import Completion

_HINT = " Note that the provided function is in Python 3 syntax."
# BFCL's names of types -> JSON schema's
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "integer": "integer", "number": "number", "float": "number", "string": "string", "boolean": "boolean",
        "bool": "boolean", "array": "array", "list": "array", "tuple": "array", "dict": "object", "object": "object",
        "any": "string",
    }
)  # fmt: skip


def native_tools(task: Task, turn: int) -> list[dict[str, Any]]:
    """What goes with a request as `tools` in this turn (from 0)."""
    names = [tool["name"] for tool in task.tools_on_offer(0)]
    for revealed in sorted(task.held_out):
        names += [name for name in task.held_out[revealed] if revealed <= turn and name not in names]
    docs = {tool["name"]: tool for tool in task.tools}
    return [_native(docs[name]) for name in names if name in docs]


def request(task: Task, turn: int) -> list[dict[str, str]]:
    """What the user says in a turn; in one that reveals tools, BFCL's own sentence."""
    said = [dict(message) for message in task.question[turn]]
    if task.held_out.get(turn) and not said:
        return [{"role": "user", "content": reveal_sentence(task.release)}]
    return said


def read(completion: Completion) -> tuple[str, Reply]:
    """(the reply in the kit's format, for the record; what it is). Calls whose arguments are no JSON objects are an
    ill-formed reply, as in BFCL, which ends the turn with one that it cannot decode."""
    text = without_thinking(completion.text)
    if not completion.calls:
        return render_reply("", answer=text), Reply(ReplyKind.ANSWER, answer=text)
    try:
        listed = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in completion.calls]
        calls = checked_calls(listed)
    except (ValueError, RecursionError) as error:
        return text, Reply(ReplyKind.ILL_FORMED, error=f"The calls cannot be read: {str(error)[:200]}")
    return render_reply("", calls=calls), Reply(ReplyKind.TOOL_CALL, calls=calls)


def said(completion: Completion, parsed: Reply) -> dict[str, Any]:
    """The reply as it stands in the conversation. Calls that cannot be read are left out: servers refuse them."""
    message: dict[str, Any] = {"role": "assistant", "content": encodable(without_thinking(completion.text))}
    if parsed.kind is ReplyKind.TOOL_CALL:
        message["content"] = message["content"] or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in completion.calls
        ]
    return message


def results(completion: Completion, step: Step) -> list[dict[str, str]]:
    """The messages with the results of a reply's calls."""
    return [
        {"role": "tool", "tool_call_id": call.id, "content": encodable(result.text)}
        for call, result in zip(completion.calls, step.results, strict=True)
    ]


def _native(doc: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {**doc["parameters"], "type": "object", "properties": _properties(doc["parameters"]["properties"])}
    return {
        "type": "function",
        "function": {"name": doc["name"], "description": doc["description"] + _HINT, "parameters": parameters},
    }


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _schema(value) for name, value in properties.items()}


def _schema(value: Mapping[str, Any]) -> dict[str, Any]:
    schema = {**value, "type": _TYPES.get(value.get("type", "string"), "string")}
    if value.get("type") == "float":
        schema |= {"format": "float", "description": value.get("description", "") + " This is a float type value."}
    return _nested(schema)


def _nested(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the types inside it translated as well."""
    if schema["type"] not in ("array", "object"):
        return schema
    if "properties" in schema:
        return {**schema, "properties": _properties(schema["properties"])}
    if "items" in schema:
        items = schema["items"]
        return {**schema, "items": _nested({**items, "type": _TYPES.get(items["type"], "string")})}
    return schema
