"""Executing tool calls on BFCL's API objects, without `eval`.

BFCL executes a call by writing it as Python text, putting the instance's name in front of the tool's and evaluating
the result. Model-written text must never be evaluated, so the text is parsed here and a small interpreter walks it:
literals, containers, plain arithmetic on numbers, and calls of the task's own tools. Results and error texts are
those of BFCL's executor for the same call (`execute_multi_turn_func_call`), so stored trajectories score the same.
"""

from __future__ import annotations

import ast
import copy
import json
import keyword
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from envtune.bfcl import load_api_classes
from envtune.environment.reply import ToolCall
from envtune.tasks import Task

ERROR_PREFIX = "Error during execution: "
_NAME_BEFORE_PARENTHESIS = re.compile(r"\b([a-zA-Z_]\w*)\s*(?=\()")
_ARITHMETIC = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
)
_MAX_NUMBER = 1e15  # for arithmetic inside an argument: nothing in BFCL's tools comes near it
MAX_INTEGER = 10**400
MAX_CALL_CHARACTERS = 100_000
# Tools whose work grows with a number: past these values upstream does not come back (power(10, 1e8) runs for
# minutes). The largest values in any ground truth are far below.
_BOUNDED = MappingProxyType({("power", "exponent"): 10_000, ("logarithm", "precision"): 1_000,
                             ("square_root", "precision"): 1_000})  # fmt: skip


@dataclass(frozen=True)
class CallResult:
    """What a call gave: `text` as BFCL's executor writes it, and whether the tool reported a failure.

    raised: the call ended in an exception (text starts with "Error during execution"); error: that, or the tool
    returned a dict with the key "error".
    """

    call: str
    text: str
    raised: bool
    error: bool


def call_text(call: ToolCall) -> str:
    """A model's JSON call as BFCL writes calls in its data: name(parameter=value, ...)."""
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


class ApiState:
    """The API objects of one task, in their initial state, and the tools that can be called on them.

    `owner` names the instances, as BFCL's executor does; it shows only in strings that look like calls (see `run`).
    """

    def __init__(self, task: Task, owner: str = "model") -> None:
        classes = load_api_classes(task.release)
        self.instances: dict[str, Any] = {
            name: classes.new(name, copy.deepcopy(task.initial_config.get(name, {})), task.long_context)
            for name in task.involved_classes
        }
        self._names = {name: f"{owner}_{task.id}_{name}_instance" for name in self.instances}
        self._tools = {tool: name for name in self.instances for tool in classes.methods[name]}
        self._classes = {instance: name for name, instance in self._names.items()}

    def call(self, call: ToolCall) -> CallResult:
        """Execute a model's JSON call. Never raises."""
        words = (call.name, *call.arguments)
        odd = next((word for word in words if not word.isidentifier() or keyword.iskeyword(word)), None)
        if odd is not None:  # what is no name cannot be written as a call, and must not be spliced into one
            return CallResult(call_text(call), f"{ERROR_PREFIX}name '{odd}' is not defined", raised=True, error=True)
        return self._run_one(call_text(call))

    def run(self, calls: Iterable[str]) -> list[CallResult]:
        """Execute call strings in order; each gives a result, failures included. Never raises."""
        return [self._run_one(call) for call in calls]

    def public_state(self) -> dict[str, dict[str, Any]]:
        """Class name -> its public attributes (the part of the state that BFCL's checker compares)."""
        return {
            name: {key: value for key, value in vars(instance).items() if not key.startswith("_")}
            for name, instance in self.instances.items()
        }

    def _run_one(self, call: str) -> CallResult:
        try:
            if len(call) > MAX_CALL_CHARACTERS:
                raise ValueError(f"call is longer than {MAX_CALL_CHARACTERS} characters")
            # Upstream rewrites every name before a parenthesis, inside string arguments too: the white space
            # between them goes, and a tool's name there gets the instance's in front. Results must agree, so
            # the same is done here.
            qualified = _NAME_BEFORE_PARENTHESIS.sub(self._qualify, call)
            tree = ast.parse(qualified.lstrip(" \t"), filename="<string>", mode="eval")  # as `eval` strips
            value = self._evaluate(tree.body)
            if type(value) is dict:
                try:
                    text = json.dumps(value)
                # upstream's rule: what json cannot write (an object, a key) is written by str
                except Exception:  # noqa: BLE001
                    text = str(value)
                return CallResult(call, text, raised=False, error="error" in value)
            return CallResult(call, value if type(value) is str else str(value), raised=False, error=False)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the model's to read, as upstream
            return CallResult(call, f"{ERROR_PREFIX}{error}", raised=True, error=True)

    def _qualify(self, match: re.Match[str]) -> str:
        tool = match.group(1)
        owner = self._tools.get(tool)
        return f"{self._names[owner]}.{tool}" if owner else tool

    def _evaluate(self, node: ast.expr) -> Any:
        """The value of an expression. Whatever is not listed here is an error, as an unknown name is upstream."""
        match node:
            case ast.Constant(value=int() as number) if abs(number) > MAX_INTEGER:
                raise ValueError("integer has too many digits")
            case ast.Constant():
                return node.value
            case ast.List():
                return [self._evaluate(item) for item in node.elts]
            case ast.Tuple():
                return tuple(self._evaluate(item) for item in node.elts)
            case ast.Set():
                return {self._evaluate(item) for item in node.elts}
            case ast.Dict() if None not in node.keys:
                pairs = zip(node.keys, node.values, strict=True)
                return {self._evaluate(key): self._evaluate(value) for key, value in pairs if key is not None}
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
                value = self._evaluate(node.operand)
                if isinstance(node.op, ast.Not):
                    return not value
                return -value if isinstance(node.op, ast.USub) else +value
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                sides = self._evaluate(node.left), self._evaluate(node.right)
                if not all(isinstance(side, (int, float)) and abs(side) < _MAX_NUMBER for side in sides):
                    raise TypeError("arithmetic in an argument is for numbers of ordinary size only")
                return _ARITHMETIC[type(node.op)](*sides)
            case ast.Call():
                return self._call(node)
            case ast.Name():
                raise NameError(f"name '{node.id}' is not defined")
        raise ValueError("arguments must be literal values")

    def _call(self, node: ast.Call) -> Any:
        match node.func:
            case ast.Attribute(value=ast.Name(id=instance), attr=tool) if instance in self._classes:
                class_name = self._classes[instance]
            case ast.Name(id=name):
                raise NameError(f"name '{name}' is not defined")
            case _:
                raise ValueError("only tools can be called")
        if self._tools.get(tool) != class_name:
            raise NameError(f"name '{tool}' is not defined")
        names = [argument.arg for argument in node.keywords]
        for name in names:
            if name is None or names.count(name) > 1:
                raise SyntaxError(f"keyword argument repeated: {name} (<string>, line 1)")
        positional = [self._evaluate(argument) for argument in node.args]
        keywords = {str(argument.arg): self._evaluate(argument.value) for argument in node.keywords}
        refuse_endless(tool, keywords, positional)
        return getattr(self.instances[class_name], tool)(*positional, **keywords)


def refuse_endless(tool: str, keywords: Mapping[str, Any], positional: list[Any]) -> None:
    """Raise ValueError for a call whose work would not end in reasonable time."""
    for (bounded, parameter), limit in _BOUNDED.items():
        if tool != bounded:
            continue
        for value in (keywords.get(parameter), *positional):
            if isinstance(value, (int, float)) and abs(value) > limit:
                raise ValueError(f"{parameter} must be at most {limit} in size")
