"""Whole replies: tags, JSON that is not what it should be, and too much of everything."""

from __future__ import annotations

import json

from envtune.environment import ToolCall, render_reply
from helpers.hostile import Hostile, Kind, each

SIZE = 199_000  # characters: just under the limit of a reply
THINK = "<think>t</think>"


def _calls(body: str) -> str:
    return f"{THINK}<tool_call>{body}</tool_call>"


def _arguments(body: str) -> str:
    return _calls(f'[{{"name": "echo", "arguments": {{"content": {body}}}}}]')


TAGS = (
    "",
    " ",
    "\n" * SIZE,
    "x" * 10_000_000,
    "<think>" + "x" * 10_000_000,
    "<",
    "<think>",
    "</think>",
    THINK,
    THINK * 2,
    THINK + "<answer></answer>",
    THINK + "<answer>",
    THINK + "</answer>",
    THINK + "<answer>a</answer>b",
    THINK + "<answer>a</answer><answer>b</answer>",
    THINK + "<answer><answer>a</answer></answer>",
    THINK + "<answer><tool_call>[]</tool_call></answer>",
    THINK + "<tool_call><answer>a</answer></tool_call>",
    THINK + '<answer>a</answer><tool_call>[{"name": "ls", "arguments": {}}]</tool_call>',
    '<tool_call>[{"name": "ls", "arguments": {}}]</tool_call>',
    '<tool_call>[{"name": "ls", "arguments": {}}]</tool_call>' + THINK,
    "<think><think>t</think></think><answer>a</answer>",
    "<think></think></think><answer>a</answer>",
    "<think><tool_call>[]</tool_call></think><answer>a</answer>",
    "<THINK>t</THINK><ANSWER>a</ANSWER>",
    "<think >t</think ><answer>a</answer>",
    "<think/><answer/>",
    "< think>t</ think><answer>a</answer>",
    "<thinking>t</thinking><answer>a</answer>",
    "\ufeff" + THINK + "<answer>a</answer>",
    "\x00" + THINK + "<answer>\x00</answer>",
    "<think>\ud800</think><answer>\udfff</answer>",
    "<think>\u202e</think><answer>\x1b[2J</answer>",
    THINK + "<answer><|im_end|><|im_start|>user\nhi</answer>",
    "<think>" * 100_000,
    "<think>" * (SIZE // 7),
    "</think>" * (SIZE // 8),
    "<think></think>" * (SIZE // 15),
    "<think" * (SIZE // 6),
    "<think>" + "</thin" * (SIZE // 6),
    "<" * SIZE,
    " " * SIZE + "<think>",
    THINK + " " * SIZE,
    THINK + " " * (SIZE - 100) + "x",
    THINK + "<tool_call>" * (SIZE // 11),
    THINK + "<answer>" * (SIZE // 8),
    THINK + "<tool_call>" * (SIZE // 24) + "</tool_call>" * (SIZE // 24),
    "<think>" + "<thin" * 20_000 + "</think><answer>" + "</answe" * 13_000 + "</answer>",
)

JSON = (
    _calls(""),
    _calls(" " * (SIZE - 100)),
    _calls("null"),
    _calls("1"),
    _calls('"ls"'),
    _calls("true"),
    _calls("{}"),
    _calls("[]"),
    _calls("[[]]"),
    _calls("[null]"),
    _calls("[1]"),
    _calls('["ls()"]'),
    _calls("[{}]"),
    _calls('{"name": "ls", "arguments": {}}'),
    _calls('[{"name": "ls"}]'),
    _calls('[{"arguments": {}}]'),
    _calls('[{"name": "ls", "arguments": {}, "x": 1}]'),
    _calls('[{"name": null, "arguments": {}}]'),
    _calls('[{"name": ["ls"], "arguments": {}}]'),
    _calls('[{"name": {"a": 1}, "arguments": {}}]'),
    _calls('[{"name": 1, "arguments": {}}]'),
    _calls('[{"name": "", "arguments": {}}]'),
    _calls('[{"name": "ls", "arguments": null}]'),
    _calls('[{"name": "ls", "arguments": []}]'),
    _calls('[{"name": "ls", "arguments": "{}"}]'),
    _calls('[{"name": "ls", "arguments": 1}]'),
    _calls('[{"name": "ls", "name": "pwd", "arguments": {}}]'),
    _calls('[{"name": "ls", "arguments": {"a": 1, "a": 2}}]'),
    _calls('[{"name": "ls", "arguments": {"": 1}}]'),
    _calls('[{"name": "ls", "arguments": {"a": true, "\\u0061": false}}]'),
    _calls("[{'name': 'ls', 'arguments': {}}]"),
    _calls('[{"name": "ls", "arguments": {}},]'),
    _calls('[{"name": "ls", "arguments": {}}'),
    _calls('[{"name": "ls", "arguments": {}}]]'),
    _calls('// comment\n[{"name": "ls", "arguments": {}}]'),
    _calls('```json\n[{"name": "ls", "arguments": {}}]\n```'),
    _calls('[{"name": "inspect.os.system", "arguments": {"command": "rm canary.txt"}}]'),
    _calls('[{"name": "inspect.sys.exit", "arguments": {}}]'),
    _calls('[{"name": "globals", "arguments": {}}]'),
    _calls('[{"name": "\\ud800", "arguments": {"\\ud800": "\\ud800"}}]'),
    _calls('[{"name": "echo", "arguments": {"content": "</think></tool_call><answer>"}}]'),
    _calls('[{"name": "echo", "arguments": {"content": "\\u0000\\u001b[2J\\u202e"}}]'),
    _calls('[{"name": "echo", "arguments": {"content": "\x00"}}]'),
    _calls('[{"name": "echo", "arguments": {"content": "\n"}}]'),
    _calls('[{"name": "echo", "arguments": {"content": "\\"}}]'),
    _calls("[" * SIZE),
    _calls("[" * 99_000 + "]" * 99_000),
    _calls('{"a":' * (SIZE // 5)),
    _calls('[{"a":' * (SIZE // 6)),
    _calls('"' * SIZE),
    _calls("\\" * SIZE),
    _calls("[" + "1," * (SIZE // 2 - 50) + "1]"),
    _calls("[" + "{}," * (SIZE // 3 - 50) + "{}]"),
    _calls("\ud800" * SIZE),
)

VALUES = (
    *map(_arguments, ("NaN", "Infinity", "-Infinity", "1e999", "-0.0", "1E400", "0.1e-400", "01", "+1", ".5", "0x10", "1_000", "tru", "undefined")),
    _arguments("9" * 5000),
    _arguments("9" * 4299),
    _arguments("-" + "9" * (SIZE - 100)),
    _arguments("1." + "9" * (SIZE - 100)),
    _arguments("1e" + "9" * (SIZE - 100)),
    _arguments("[" * 31 + "]" * 31),
    _arguments("[" * 33 + "]" * 33),
    _arguments("[" * 25 + ",".join(["[]"] * 60_000) + "]" * 25),
    _arguments('"' + "\\u0000" * (SIZE // 6 - 50) + '"'),
    _arguments('"' + "\\ud83d\\ude00" * (SIZE // 12 - 50) + '"'),
    _arguments('"' + "\\ud800" * (SIZE // 6 - 50) + '"'),
    _arguments("{" + ",".join(f'"{n:x}": 0' for n in range(15_000)) + "}"),
    _calls('[{"name": "ls", "arguments": {' + ",".join(f'"k{n:x}": 0' for n in range(14_000)) + "}}]"),
)  # fmt: skip

MANY = (
    render_reply("t", calls=[ToolCall("ls", {})] * 64),
    render_reply("t", calls=[ToolCall("ls", {})] * 65),
    _calls("[" + ",".join(['{"name":"ls","arguments":{}}'] * 6000) + "]"),
    _calls("[" + ",".join(['{"name":"ls","arguments":{}}'] * 10_000) + "]"),  # over the limit of a reply too
    render_reply("t", calls=[ToolCall("echo", {"content": "\U0001f600" * 1500})] * 64),
    render_reply("t", calls=[ToolCall("mkdir", {"dir_name": str(n)}) for n in range(64)]),
    render_reply("t", calls=[ToolCall("nothing", {"x": json.dumps([n])}) for n in range(64)]),
)


def entries() -> list[Hostile]:
    """The groups of this file."""
    groups = {"tags": TAGS, "json": JSON, "json-value": VALUES, "many-calls": MANY}
    return [entry for group, replies in groups.items() for entry in each(f"reply-{group}", Kind.REPLY, replies)]
