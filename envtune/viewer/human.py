"""What a person types in `envtune play --policy human`, as a reply in the kit's format. Nothing is evaluated.

ls(a=True)                                       one call, or several: cd(folder='document'); ls()
{"name": "ls", "arguments": {"a": true}}         as JSON, or a list of these
answer I have moved the file.                    ends the turn
<think>...</think>\\n<answer>...</answer>         a reply as a model writes it, over as many lines as it takes
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from envtune.environment import Episode, StopReason, ToolCall, render_reply
from envtune.environment.prompt import Message
from envtune.errors import EnvtuneError
from envtune.viewer.text import visible

MAX_CHARACTERS = 100_000
_JSON_WORDS = {"true": True, "false": False, "null": None}
_CLOSINGS = ("</tool_call>", "</answer>")

HELP = """\
ls(a=True)      call a tool; several calls: cd(folder='document'); ls()
{"name": ...}   as JSON: {"name": "ls", "arguments": {"a": true}}, or a list
answer TEXT     answer the user, which ends the turn
<think>...      a raw reply, up to </answer>, </tool_call> or an empty line
tools           names of the tools on offer
doc NAME        what a tool is for and what it takes
gold            the ground truth's calls of this turn
help            this
quit            stop (so does the end of the input)"""


class Person:
    """The policy of whoever is at the keyboard, or of what is piped in. `console`: where help and complaints go."""

    def __init__(self, episode: Episode, console: Console) -> None:
        self._episode = episode
        self._console = console
        # with the module at hand `input` has a history and edits the line
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")
        self._say("You reply. Type a call, `answer TEXT`, or `help`.")

    def __call__(self, messages: Sequence[Message]) -> str | StopReason:
        """The next reply; ABORTED at `quit` and at the end of the input."""
        while True:
            try:
                line = self._read()
                if line.strip() == "quit":
                    return StopReason.ABORTED
                reply = self._answer(line)
            except EOFError:
                return StopReason.ABORTED
            except UnicodeDecodeError as error:
                raise EnvtuneError(f"what was typed is not {error.encoding} text; {error.reason}") from error
            except Mistyped as problem:
                self._say(str(problem), "yellow")
                continue
            if reply is not None:
                return reply

    def _answer(self, line: str) -> str | None:
        """The reply that a line stands for; None for one that only asks for something, which is done here."""
        task, turn = self._episode.task, self._episode.turn
        tools = task.tools_on_offer(turn)
        command, _, name = line.strip().partition(" ")
        if not command:
            return None
        if command == "help":
            self._say(HELP)
        elif command == "tools":
            self._say(", ".join(tool["name"] for tool in tools))
        elif command == "doc":
            found = [tool for tool in tools if tool["name"] == name.strip()]
            self._say(json.dumps(found[0], indent=1) if found else "no such tool on offer; type tools to see them")
        elif command == "gold":
            self._say("\n".join(task.ground_truth[turn]) or "no call: this request cannot be fulfilled")
        elif line.lstrip().startswith("<"):
            return self._raw(line)
        else:
            return typed_reply(line, tools)
        return None

    def _raw(self, text: str) -> str:
        """A reply as it stands: to its closing tag, an empty line or the end of the input."""
        while not text.rstrip().endswith(_CLOSINGS):
            try:
                line = self._read()
            except EOFError:
                break
            if not line.strip():
                break
            text += f"\n{line}"
        return text

    def _read(self) -> str:
        return input("> " if sys.stdin.isatty() else "")

    def _say(self, text: str, style: str = "dim") -> None:
        self._console.print(Text(visible(text), style))


class Mistyped(Exception):
    """Carries the sentence that says what is wrong with a line."""


def typed_reply(line: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """The reply that a typed line stands for. `tools`: docs, for the names of arguments given by position.

    Raises Mistyped with what is wrong with the line.
    """
    if len(line) > MAX_CHARACTERS:
        raise Mistyped(f"that is longer than {MAX_CHARACTERS} characters")
    first, _, rest = line.strip().partition(" ")
    if first == "answer":
        return render_reply("", answer=rest.strip())
    if line.lstrip().startswith(("{", "[{")):
        return render_reply("", calls=_from_json(line))
    return render_reply("", calls=_from_python(line, tools))


def _from_json(line: str) -> list[ToolCall]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Mistyped(f"that is not valid JSON: {error}") from error
    calls = []
    for item in value if isinstance(value, list) else [value]:
        match item:
            case {"name": str(name), "arguments": dict(arguments)} if len(item) == 2:
                calls.append(ToolCall(name, arguments))
            case _:
                raise Mistyped('each call must be {"name": "...", "arguments": {...}}')
    return calls


def _from_python(line: str, tools: Sequence[Mapping[str, Any]]) -> list[ToolCall]:
    try:
        body = ast.parse(line.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise Mistyped(f"that is no call: {said}; type help to see what can be typed") from error
    calls: list[ToolCall] = []
    for statement in body:
        value = statement.value if isinstance(statement, ast.Expr) else statement
        items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        calls += [_call(item, tools) for item in items]
    if not calls:
        raise Mistyped("nothing is called; type help to see what can be typed")
    return calls


def _call(node: ast.AST, tools: Sequence[Mapping[str, Any]]) -> ToolCall:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise Mistyped("that is no call; a call looks like ls(a=True); type help to see what can be typed")
    name, arguments = node.func.id, dict[str, Any]()
    parameters = next((list(tool["parameters"]["properties"]) for tool in tools if tool["name"] == name), [])
    if len(node.args) > len(parameters):
        raise Mistyped(f"{name} takes {len(parameters)} arguments by position, not {len(node.args)}")
    named = [(keyword.arg, keyword.value) for keyword in node.keywords]
    for parameter, value in [*zip(parameters, node.args, strict=False), *named]:
        if parameter is None or parameter in arguments:
            raise Mistyped(f"{name}: give each argument once, by its name")
        arguments[parameter] = _value(name, parameter, value)
    return ToolCall(name, arguments)


def _value(name: str, parameter: str, node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(_JsonWords().visit(node))
        json.dumps(value)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Mistyped(f"{name}: {parameter} must be a plain value, as in {parameter}='text' or 7") from error
    return value


class _JsonWords(ast.NodeTransformer):
    """true, false and null mean what they do in JSON."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_WORDS[node.id]) if node.id in _JSON_WORDS else node
