"""Hints on replies that are not in the format: what to write instead. reply.py says in its complaint what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

from envtune.environment.hints.hint import Domain, Hint, HintKind, Situation, Values, always, example
from envtune.environment.reply import ToolCall, render_reply

REPLY = ""  # stands for the reply itself where other hints have a tool's name
_CONSTRAINT = HintKind.CONSTRAINT
_CALL = '{{"name": ..., "arguments": {{...}}}}'  # braces are doubled for the template
_EXCERPT = 2_000  # characters that patterns are tried on, from the beginning and from the end of a text
_START, _AFTER, _CLOSED = r"must start with <think>", r"After </think> there must be", r"must be closed by"
_NOT_JSON, _KEYS = r"is not valid JSON", r"exactly the keys"
_STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_CALLED = re.compile(r"\b(\w{1,60})\(")
_LIKE_A_CALL = re.compile(r"""["']name["']|<\w{0,20}(call|function|tool)\w{0,20}>""")
Match = Callable[[Situation], Values | None]


def _excerpt(text: str) -> str:
    """Enough to see what is wrong: a model can write a million brackets."""
    return text if len(text) <= 2 * _EXCERPT else f"{text[:_EXCERPT]} {text[-_EXCERPT:]}"


def _rest(s: Situation) -> str:
    """What comes after the reasoning."""
    return s.reply.partition("</think>")[2].strip()


def _body(s: Situation) -> str:
    """What is between <tool_call> and </tool_call>, without what is in JSON strings."""
    body = _rest(s).removeprefix("<tool_call>").partition("</tool_call>")[0]
    return _STRING.sub('""', _excerpt(body)).strip()


def _in_reply(pattern: str) -> Match:
    found = re.compile(pattern, re.DOTALL)
    return lambda s: {} if found.search(_excerpt(s.reply)) else None


def _in_body(pattern: str) -> Match:
    found = re.compile(pattern)
    return lambda s: {} if found.search(_body(s)) else None


def _calls_untagged(s: Situation) -> Values | None:
    rest = _excerpt(_rest(s))
    called = any(name in s.offer.docs for name in _CALLED.findall(rest))
    return {} if called or _LIKE_A_CALL.search(rest) else None


def _both(s: Situation) -> Values | None:
    rest = _rest(s)
    return {} if "<tool_call>" in rest and "<answer>" in rest else None


def _closed_before(s: Situation) -> Values | None:
    """Closed by its own tag, and something follows."""
    rest = _rest(s)
    tag = rest.partition(">")[0].removeprefix("<")
    return {} if f"</{tag}>" in rest else None


def _closed_by_another(s: Situation) -> Values | None:
    return {} if _rest(s).endswith(("</tool_call>", "</answer>", "</think>")) else None


def _unbalanced(s: Situation) -> Values | None:
    body = _rest(s).removeprefix("<tool_call>").partition("</tool_call>")[0]
    body = _STRING.sub("", body) if len(body) <= 2 * _EXCERPT else body
    return {} if body.count("[") != body.count("]") or body.count("{") != body.count("}") else None


_FIXED = render_reply("t", calls=[ToolCall("ls", {})])
_ANSWER = render_reply("t", answer="a")


def _row(
    id: str,
    complaint: str,
    text: str,
    match: Match = always,
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
             _in_reply(r"^\s{0,9}<think>(?!.*</think>)"), broken="<think>t <answer>a</answer>", fixed=_ANSWER),
        _row("think.before", _START, "Write nothing before <think>: the reasoning goes between <think> and </think>.",
             _in_reply(r"<think>"), broken="Sure. <think>t</think><answer>a</answer>", fixed=_ANSWER),
        _row("think.missing", _START, "Begin with <think>, a short reasoning and </think>; then call, or answer.",
             broken="<answer>a</answer>", fixed=_ANSWER),
        _row("call.untagged", _AFTER, "Put the calls between <tool_call> and </tool_call>.", _calls_untagged,
             broken='<think>t</think>[{"name": "ls", "arguments": {}}]'),
        _row("answer.untagged", _AFTER, "Put what you say to the user between <answer> and </answer>.",
             lambda s: {} if _rest(s) else None, broken="<think>t</think>Done (5 files).", fixed=_ANSWER),
        _row("empty", _AFTER, "After the reasoning, call tools or answer: reasoning alone does nothing.",
             broken="<think>t</think>", fixed=_ANSWER),
        _row("both", _CLOSED, "Either call tools or answer, not both: call now, and answer after the results.", _both,
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}}]</tool_call><answer>a</answer>'),
        _row("after", _CLOSED, "Write nothing after the closing tag.", _closed_before,
             broken="<think>t</think><answer>a</answer> Bye.", fixed=_ANSWER),
        _row("closing", _CLOSED, "Each tag is closed by its own: <tool_call> by </tool_call>, <answer> by </answer>.",
             _closed_by_another, broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}}]</answer>'),
        _row("unclosed", _CLOSED, "End the reply with the closing tag; a shorter reasoning leaves room for it.",
             broken="<think>t</think><answer>a", fixed=_ANSWER),
        _row("tag", r"^The tag ", "Each tag is written once; in other text name it without its angle brackets.",
             broken="<think>a <answer> b</think><answer>a</answer>", fixed=_ANSWER),
        _row("json.digits", r"Exceeds the limit", "A number has too many digits: no tool here takes one like that.",
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {"a": ' + "9" * 5_000 + "}}]</tool_call>"),
        _row("json.empty", _NOT_JSON, f"Nothing is called. Write a list of calls, each {_CALL}, or answer.",
             lambda s: None if _body(s) else {}, broken="<think>t</think><tool_call> </tool_call>"),
        _row("json.python", _NOT_JSON, f"Write each call as {_CALL}, not as Python.",
             _in_body(r"^\[?\s?\w{1,60}\s?\("), broken="<think>t</think><tool_call>[ls()]</tool_call>"),
        _row("json.fence", _NOT_JSON, "Write the list alone, without a code fence or words around it.",
             _in_body(r"^[^\[{]"),
             broken='<think>t</think><tool_call>```json\n[{"name": "ls", "arguments": {}}]\n```</tool_call>'),
        _row("json.quotes", _NOT_JSON, 'JSON has double quotes: "name", not \'name\'.', _in_body(r"[{\[,:]\s?'"),
             broken="<think>t</think><tool_call>[{'name': 'ls', 'arguments': {}}]</tool_call>"),
        _row("json.constants", _NOT_JSON, "JSON writes true, false and null in small letters.",
             _in_body(r"[:,\[]\s?(True|False|None)\b"),
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {"a": True}}]</tool_call>'),
        _row("json.comma", _NOT_JSON, "JSON has no comma after the last item.", _in_body(r",\s{0,9}[}\]]"),
             broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {},}]</tool_call>'),
        _row("json.brackets", _NOT_JSON, "The brackets do not match: close each that was opened once, the last one first.",
             _unbalanced, broken='<think>t</think><tool_call>[{"name": "ls", "arguments": {}]</tool_call>'),
        _row("json", _NOT_JSON, f"Write one JSON list of calls, each {_CALL}; in text escape double quotes and line "
             "breaks.", broken='<think>t</think><tool_call>[{"name" "ls", "arguments": {}}]</tool_call>'),
        _row("list.empty", r"a list with at least one call", "To call nothing, answer with <answer> and </answer>.",
             _in_body(r"^\[\s{0,99}\]$"), broken="<think>t</think><tool_call>[]</tool_call>",
             fixed=_ANSWER),
        _row("list", r"a list with at least one call", f"Put the calls into a list, also a single one: [{_CALL}].",
             broken='<think>t</think><tool_call>{"name": "ls", "arguments": {}}</tool_call>'),
        _row("keys", _KEYS, f"Each call is an object {_CALL} with these two keys alone; without values it is "
             '"arguments": {{}}.', broken='<think>t</think><tool_call>[{"name": "ls", "parameters": {}}]</tool_call>'),
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
