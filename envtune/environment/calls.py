"""A call as text, in BFCL's form `name(parameter=value, ...)`: writing it, and reading it without `eval`.

BFCL executes a call by evaluating its text as Python. Model-written text must never be evaluated, so it is parsed and a
small interpreter walks the tree: literals, containers, plain arithmetic on numbers, and calls, which the caller of
`evaluate` decides on. Error texts are Python's own where upstream shows them to the model.
"""

from __future__ import annotations

import ast
import functools
import marshal
import operator
import re
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from envtune.environment.limits import MAX_INTEGER, LimitExceeded
from envtune.environment.reply import ToolCall

# What BFCL takes for the name of a call, wherever it stands: in string arguments too.
NAME_BEFORE_PARENTHESIS = re.compile(r"\b([a-zA-Z_]\w*)\s*(?=\()")
_START = re.compile(r"[ \t]*([a-zA-Z_]\w*)\s*\(")
_ARITHMETIC = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
)
# Upstream's list, in whose way it also finds the name.
_FORBIDDEN = frozenset({"kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run"})
_MAX_NUMBER = 1e15  # for arithmetic inside an argument: nothing in BFCL's tools comes near it
_CACHED_CHARACTERS = 300  # longer calls are parsed each time: they rarely come twice, and would be kept for long

Arguments = tuple[list[Any], dict[str, Any]]


def call_text(call: ToolCall) -> str:
    """A model's JSON call as BFCL writes calls in its data: name(parameter=value, ...)."""
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def tool_call(text: str, tools: Mapping[str, Sequence[str]]) -> ToolCall:
    """The JSON call that a call string stands for: the inverse of `call_text`, where there is one. Of other text only the
    name before the first parenthesis is left. tools: tool -> its parameters, for arguments without a name."""
    try:
        node = parse(text)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in tools:
            positional, keywords = arguments(node, _no_call)
            return ToolCall(node.func.id, {**dict(zip(tools[node.func.id], positional, strict=False)), **keywords})
    except Exception:  # noqa: BLE001 - whatever is wrong with the arguments, it is no JSON call's text
        pass
    return ToolCall(text.partition("(")[0].strip()[:100], {})


def parse(text: str) -> ast.expr:
    """The expression's tree. Raises what Python raises on text that is none (SyntaxError, RecursionError, ...)."""
    tree = ast.parse(text.lstrip(" \t"), filename="<string>", mode="eval").body  # stripped as `eval` strips
    for node in ast.walk(tree):  # Python's compiler finds these, before anything runs
        names: set[str] = set()
        for word in node.keywords if isinstance(node, ast.Call) else ():
            if word.arg in names:
                raise SyntaxError(f"keyword argument repeated: {word.arg} (<string>, line {word.lineno})")
            names.update([word.arg] if word.arg else [])
    return tree


def plain_call(text: str, tools: Container[str]) -> tuple[str, Arguments] | None:
    """(tool, (positional arguments, keyword arguments)) when the text is one call of one of `tools` with literal
    arguments, and has no other name before a parenthesis; None for anything else. The arguments are the caller's own to
    keep."""
    known = _literal_call(text) if len(text) <= _CACHED_CHARACTERS else None
    if known is not None:
        return (known[0], marshal.loads(known[1])) if known[0] in tools else None
    found = _call_by_name(text)
    if found is None or found[0] not in tools:  # an unknown name is an error before its arguments are looked at
        return None
    return found[0], arguments(found[1], _no_call)


@functools.lru_cache(maxsize=4096)
def _literal_call(text: str) -> tuple[str, bytes] | None:
    """The tool and the arguments of a call as `plain_call` gives them; marshal's bytes are small, and make fresh copies."""
    found = _call_by_name(text)
    if found is None:
        return None
    try:
        return found[0], marshal.dumps(arguments(found[1], _no_call))
    except Exception:  # noqa: BLE001 - whatever is wrong: the caller evaluates once more, and gets the error
        return None


def _call_by_name(text: str) -> tuple[str, ast.Call] | None:
    start = _START.match(text)
    if start is None or len(NAME_BEFORE_PARENTHESIS.findall(text)) != 1:
        return None
    try:
        node = parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return (start.group(1), node) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _no_call(node: ast.Call) -> Any:
    """In text with one name before a parenthesis a call inside the arguments is one of something without a name."""
    if isinstance(node.func, ast.Name):
        raise NameError(f"name '{node.func.id}' is not defined")
    raise ValueError("only tools can be called")


def arguments(node: ast.Call, call: Callable[[ast.Call], Any]) -> Arguments:
    """A call's positional and keyword arguments, evaluated in Python's order."""
    if any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("arguments must be literal values")
    positional = [evaluate(argument, call) for argument in node.args]
    return positional, {str(keyword.arg): evaluate(keyword.value, call) for keyword in node.keywords}


def evaluate(node: ast.expr, call: Callable[[ast.Call], Any]) -> Any:
    """The value of an expression; `call` gives that of a call. What is not listed is an error, as an unknown name is
    upstream. Raises NameError, ValueError, TypeError, LimitExceeded, ... with the text that the model is to read."""
    match node:
        case ast.Constant(value=int() as number) if abs(number) > MAX_INTEGER:
            raise LimitExceeded("an integer has too many digits")
        case ast.Constant():
            return node.value
        case ast.List():
            return [evaluate(item, call) for item in node.elts]
        case ast.Tuple():
            return tuple(evaluate(item, call) for item in node.elts)
        case ast.Set():
            return {evaluate(item, call) for item in node.elts}
        case ast.Dict() if None not in node.keys:
            pairs = zip(node.keys, node.values, strict=True)
            return {evaluate(key, call): evaluate(value, call) for key, value in pairs if key is not None}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            value = evaluate(node.operand, call)
            if isinstance(node.op, ast.Not):
                return not value
            return -value if isinstance(node.op, ast.USub) else +value
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            sides = evaluate(node.left, call), evaluate(node.right, call)
            if not all(isinstance(side, (int, float)) and abs(side) < _MAX_NUMBER for side in sides):
                raise TypeError("arithmetic in an argument is for numbers of ordinary size only")
            return _ARITHMETIC[type(node.op)](*sides)
        case ast.Call():
            return call(node)
        case ast.Name():
            raise NameError(f"name '{node.id}' is not defined")
    raise ValueError("arguments must be literal values")


def qualify(text: str, owners: Mapping[str, str]) -> str:
    """Upstream's rewriting of a call: each name before a parenthesis loses the white space between them and, where it
    is a tool, gets its instance's name in front. It happens inside string arguments too, and results must agree.

    owners: tool -> its instance's name.
    """

    def prefixed(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{owners[name]}.{name}" if name in owners else name

    return NAME_BEFORE_PARENTHESIS.sub(prefixed, text)


def forbid(text: str) -> None:
    """Raise PermissionError, in upstream's words, for the names that it refuses. It guards its `eval` so; here nothing is
    evaluated, but models do invent `remove`, and results must agree. `text`: as `qualify` has rewritten it."""
    name = text.split("(")[0]
    name = name.split(".")[1] if "." in name else name
    if name in _FORBIDDEN:
        raise PermissionError(f"Function call {name} is not allowed.")
