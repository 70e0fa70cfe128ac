"""Hints on replies that are not in the format: what to write instead. reply.py says in its complaint what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

from envtune.environment.hints.hint import Domain, Hint, HintKind, Situation, Values, example
from envtune.environment.reply import ToolCall, render_reply

REPLY = ""  # stands for the reply itself where other hints have a tool's name
_CONSTRAINT = HintKind.CONSTRAINT
_CALL = '{{"name": ..., "arguments": {{...}}}}'  # braces are doubled for the template
_EXCERPT = 2_000  # characters from the beginning, and from the end
_START, _AFTER, _CLOSED = r"must start with <think>", r"After </think> there must be", r"must be closed by"
_NOT_JSON, _KEYS = r"is not valid JSON", r"exactly the keys"


def _excerpt(reply: str) -> str:
    """Enough to see what is wrong, and no more than patterns may be tried on: a model can write a million brackets."""
    return reply if len(reply) <= 2 * _EXCERPT else f"{reply[:_EXCERPT]} {reply[-_EXCERPT:]}"


def _has(pattern: str) -> Callable[[Situation], Values | None]:
    found = re.compile(pattern, re.DOTALL)
    return lambda s: {} if found.search(_excerpt(s.reply)) else None


def _lacks(pattern: str) -> Callable[[Situation], Values | None]:
    found = re.compile(pattern, re.DOTALL)
    return lambda s: None if found.search(_excerpt(s.reply)) else {}


def _unbalanced(s: Situation) -> Values | None:
    body = s.reply.partition("<tool_call>")[2].partition("</tool_call>")[0]
    return {} if body.count("[") != body.count("]") or body.count("{") != body.count("}") else None


_FIXED = render_reply("t", calls=[ToolCall("ls", {})])
_ANSWER = render_reply("t", answer="a")


def _row(
    id: str,
    complaint: str,
    text: str,
    match: Callable[[Situation], Values | None] = lambda _: {},
    *,
    broken: str,
    fixed: str = _FIXED,
) -> Hint:
    return Hint(
        f"reply.{id}", _CONSTRAINT, frozenset({REPLY}), re.compile(complaint), text, match,
        examples=(example(broken, fixed=fixed),),
    )  # fmt: skip


REPLIES = Domain(
    "reply",
    "GorillaFileSystem",
    (
        _row("think.unclosed", _START, "Close the reasoning with </think> before <tool_call> or <answer>.",
             _has(r"^\s*<think>(?!.*</think>)"), broken="<think>t <answer>a</answer>", fixed=_ANSWER),
        _row("think.before", _START, "Write nothing before <think>: the reasoning goes between <think> and </think>.",
             _has(r"<think>"), broken="Sure. <think>t</think><answer>a</answer>", fixed=_ANSWER),
        _row("think.missing", _START, "Begin with <think>, a short reasoning and </think>; then call, or answer.",
             broken="<answer>a</answer>", fixed=_ANSWER),
        _row("call.untagged", _AFTER, "Put the calls between <tool_call> and </tool_call>.",
             _has(r"</think>.*(\"name\"|'name'|\b\w{1,60}\s?\(|<\w{0,20}(call|function|tool)\w{0,20}>)"),
             broken='<think>t</think>[{"name": "ls", "arguments": {}}]'),
        _row("answer.untagged", _AFTER, "Put what you say to the user between <answer> and </answer>.",
             _has(r"</think>\s*\S"), broken="<think>t</think>Done.", fixed=_ANSWER),
        _row("empty", _AFTER, "After the reasoning, call tools or answer: reasoning alone does nothing.",
             broken="<think>t</think>", fixed=_ANSWER),
        _row("both", _CLOSED, "Either call tools or answer, not both: call now, and answer after the results.",
             _has(r"<tool_call>.*<answer>|<answer>.*<tool_call>"),
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}}]</tool_call><answer>a</answer>'),
        _row("after", _CLOSED, "Write nothing after the closing tag.", _has(r"</(tool_call|answer)>"),
             broken="<think>t</think><answer>a</answer> Bye.", fixed=_ANSWER),
        _row("unclosed", _CLOSED, "End the reply with the closing tag; a shorter reasoning leaves room for it.",
             broken="<think>t</think><answer>a", fixed=_ANSWER),
        _row("tag", r"^The tag ", "Each tag is written once; in other text name it without its angle brackets.",
             broken="<think>a <answer> b</think><answer>a</answer>", fixed=_ANSWER),
        _row("json.python", _NOT_JSON, f"Write each call as {_CALL}, not as Python.",
             _has(r"<tool_call>\s*\[?\s*\w+\s*\("), broken="<think>t</think><tool_call>[ls()]</tool_call>"),
        _row("json.quotes", _NOT_JSON, 'JSON has double quotes: "name", not \'name\'.', _has(r"[{\[,:]\s*'"),
             broken="<think>t</think><tool_call>[{'name': 'ls', 'arguments': {}}]</tool_call>"),
        _row("json.constants", _NOT_JSON, "JSON writes true, false and null in small letters.",
             _has(r"[:,\[]\s*(True|False|None)\b"),
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {"a": True}}]</tool_call>'),
        _row("json.comma", _NOT_JSON, "JSON has no comma after the last item.", _has(r",\s*[}\]]"),
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {},}]</tool_call>'),
        _row("json.fence", _NOT_JSON, "Write the list alone, without a code fence or words around it.",
             _has(r"<tool_call>\s*[^\s\[{]"),
             broken='<think>t</think><tool_call>```json\n[{"name": "ls", "arguments": {}}]\n```</tool_call>'),
        _row("json.brackets", _NOT_JSON, "Close every bracket that was opened, the last one first.", _unbalanced,
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}]</tool_call>'),
        _row("json", _NOT_JSON, f"Write one JSON list of calls, each {_CALL}; in text escape double quotes and line "
             "breaks.", broken='<think>t</think><tool_call>[{"name" "ls", "arguments": {}}]</tool_call>'),
        _row("list.empty", r"a list with at least one call", "To call nothing, answer with <answer> and </answer>.",
             _has(r"<tool_call>\s*\[\s*\]\s*</tool_call>"), broken="<think>t</think><tool_call>[]</tool_call>",
             fixed=_ANSWER),
        _row("list", r"a list with at least one call", f"Put the calls into a list, also a single one: [{_CALL}].",
             broken='<think>t</think><tool_call>{"name": "ls", "arguments": {}}</tool_call>'),
        _row("keys.arguments", _KEYS, 'The values go under "arguments", which is there even when it is empty: {{}}.',
             _lacks(r'"arguments"'), broken='<think>t</think><tool_call>[{"name": "ls"}]</tool_call>'),
        _row("keys", _KEYS, f"Each call is {_CALL} and has no other keys.",
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}, "id": 1}]</tool_call>'),
        _row("name", r'"name" must be', 'After "name" comes the name of one tool, in quotes.',
             broken='<think>t</think><tool_call>[{"name": "", "arguments": {}}]</tool_call>'),
        _row("arguments", r'"arguments" must be', 'After "arguments" comes an object: {{"parameter": value}}.',
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": ["a"]}]</tool_call>'),
        _row("key.twice", r"same key twice", "Write each parameter once; to call a tool twice, write two calls.",
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {"a": true, "a": false}}]</tool_call>'),
        _row("calls", r"more than \d+ calls", "Make fewer calls in one reply, and the others after their results.",
             broken="<think>t</think><tool_call>[" + ", ".join(['{"name": "ls", "arguments": {}}'] * 65) + "]</tool_call>"),
        _row("nested", r"nested", "Give plain values: no tool here takes deeply nested ones.",
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {"a": ' + "[" * 40 + "]" * 40 + "}}]</tool_call>"),
        _row("long", r"is longer than", "Write a short reasoning, and only the calls that are needed.",
             broken="<think>" + "t" * 200_000 + "</think><answer>a</answer>", fixed=_ANSWER),
        _row("any", "", "Follow the required format to the letter.", broken="", fixed=_ANSWER),
    ),
)  # fmt: skip
