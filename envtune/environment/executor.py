"""Executing tool calls on BFCL's API objects: BFCL's results to the byte, without its `eval`.

A task's API objects are built once a process and pickled; an episode gets its copy of one by unpickling when its first
call needs it, which is the cheapest copy there is in Python. Results and error texts are those of BFCL's executor for
the same call (`execute_multi_turn_func_call`), so stored trajectories score the same; past the limits of `limits.py` a
call gives an error of our own.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
import keyword
import marshal
import pickle
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.bfcl import load_api_classes
from envtune.bfcl.classes import own_precision
from envtune.environment.calls import arguments, call_text, evaluate, forbid, parse, plain_call, qualify
from envtune.environment.limits import (
    MAX_CALL_CHARACTERS,
    MAX_EPISODE_CHARACTERS,
    MAX_RESULT_CHARACTERS,
    LimitExceeded,
    is_bounded,
    refuse_costly,
)
from envtune.environment.reply import ToolCall
from envtune.tasks import Task

ERROR_PREFIX = "Error during execution: "
_MARSHAL_VERSION = 2  # the last without references: equal values give equal bytes
# Sizes of a result, by marshal, between which its text is remembered: those that take long to write, and do not fill
# memory. BFCL's ground truths have 50 of them.
_REMEMBERED = range(8_000, 100_000)
_ENCODE = json.JSONEncoder().encode  # json.dumps, without its look at options that are not used
_MODULES = frozenset({"copy", "importlib", "inspect", "json", "re"})  # upstream's executor has them at hand
_SHOWN = 200  # characters of a call that is too long to be kept


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call gave: `text` as BFCL's executor writes it, and whether the tool reported a failure.

    raised: the call ended in an exception (text starts with "Error during execution"); error: that, or the tool
    returned a dict with the key "error".
    """

    call: str
    text: str
    raised: bool
    error: bool


class ApiState:
    """The API objects of one task, in their initial state, and the tools that can be called on them.

    `owner` names the instances, as BFCL's executor does; it shows only in strings that look like calls (see
    `calls.qualify`).
    """

    def __init__(self, task: Task, owner: str = "model") -> None:
        self._initial = _initial(task)
        self._prefix = f"{owner}_{task.id}_"
        self._lower = task.release == "paper"  # upstream wrote the class in an instance's name so
        self._touched: dict[str, Any] = {}  # class name -> this episode's own instance, made when a call needs it
        self._characters = 0  # of all calls and results

    def call(self, call: ToolCall) -> CallResult:
        """Execute a model's JSON call. Never raises."""
        try:
            # a keyword as a parameter, or a dotted name, is an error in upstream's words once it is text
            parts = call.name.split(".")
            is_name = all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
            odd = next((word for word in call.arguments if not word.isidentifier()), None if is_name else call.name)
            text = call_text(call)
        except Exception as error:  # noqa: BLE001 - no JSON call: nested too deeply, a number of too many digits, ...
            return _failed(f"{str(call.name)[:_SHOWN]}(...)", error)
        if odd is not None:  # what is no name cannot be written as a call, and must not be spliced into one
            return _failed(text, NameError(f"name '{odd}' is not defined"))
        return self._run_one(text)

    def run(self, calls: Iterable[str]) -> list[CallResult]:
        """Execute call strings in order; each gives a result, failures included. Never raises."""
        return [self._run_one(call) for call in calls]

    def attributes(self, class_name: str) -> Mapping[str, Any]:
        """All attributes of the class's instance, private ones included. To be read, not written."""
        instance = self._touched.get(class_name)
        return vars(self._initial.prototypes[class_name].instance if instance is None else instance)

    def public_state(self) -> dict[str, dict[str, Any]]:
        """Class name -> its public attributes (the part of the state that BFCL's checker compares)."""
        return {
            name: {key: value for key, value in self.attributes(name).items() if not key.startswith("_")}
            for name in self._initial.prototypes
        }

    def snapshot(self, tool: str) -> dict[str, dict[str, Any]]:
        """The state that a hint on a call of this tool may look at: class name -> all attributes as they are now, of the
        tool's class. Not a deep copy: what is nested is shared, and what hints read of that no failing call changes."""
        owner = self._initial.owners.get(tool)
        if owner is None:
            return {}
        instance = self._touched.get(owner)
        return {owner: vars(self._initial.prototypes[owner].instance if instance is None else instance).copy()}

    def copy(self) -> ApiState:
        """One in the same state that goes its own way."""
        other = copy.copy(self)
        other._touched = copy.deepcopy(self._touched)
        return other

    def _run_one(self, call: str) -> CallResult:
        try:
            if len(call) > MAX_CALL_CHARACTERS:
                raise LimitExceeded(f"a call has at most {MAX_CALL_CHARACTERS} characters")
            if self._characters > MAX_EPISODE_CHARACTERS:
                raise LimitExceeded(f"all calls and results have at most {MAX_EPISODE_CHARACTERS} characters together")
            self._characters += len(call)
            if "MathAPI" in self._initial.prototypes:
                with own_precision():
                    value, text = self._answer(call)
            else:
                value, text = self._answer(call)
            self._characters += len(text)
            if len(text) > MAX_RESULT_CHARACTERS:
                raise LimitExceeded(f"a result has at most {MAX_RESULT_CHARACTERS} characters")
            return CallResult(call, text, raised=False, error=type(value) is dict and "error" in value)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the model's to read, as upstream
            failed = _failed(call, error)
            self._characters += len(failed.text)
            return failed

    def _answer(self, call: str) -> tuple[Any, str]:
        value = self._value(call)
        return value, _text(value)

    def _value(self, call: str) -> Any:
        """What the call returns."""
        plain = plain_call(call, self._initial.owners)
        if plain is not None:
            return self._invoke(plain[0], *plain[1])
        instances = {
            tool: f"{self._prefix}{owner.lower() if self._lower else owner}_instance"
            for tool, owner in self._initial.owners.items()
        }
        text = qualify(call, instances)
        forbid(text)
        tree = parse(text)
        nested = functools.partial(self._nested, instances)
        return self._call(instances, tree) if isinstance(tree, ast.Call) else evaluate(tree, nested)

    def _nested(self, instances: Mapping[str, str], node: ast.Call) -> Any:
        """The value of a call inside another expression: a copy, since upstream's reference into the state would let a
        few calls build what never ends."""
        value = self._call(instances, node)
        try:
            content = marshal.dumps(value, _MARSHAL_VERSION)
        except ValueError:  # the numbers of mpmath and decimal, which cannot change
            if type(value) is dict and not any(isinstance(v, (dict, list, tuple, set)) for v in value.values()):
                return dict(value)
            raise
        if len(content) > MAX_RESULT_CHARACTERS:
            raise LimitExceeded(f"a result has at most {MAX_RESULT_CHARACTERS} characters")
        return marshal.loads(content)

    def _call(self, instances: Mapping[str, str], node: ast.Call) -> Any:
        """The value of a call in text that `qualify` has rewritten."""
        match node.func:
            case ast.Attribute(value=ast.Name(id=instance), attr=tool) if instances.get(tool) == instance:
                return self._invoke(tool, *arguments(node, functools.partial(self._nested, instances)))
            case ast.Name(id=name) if name in _MODULES:
                arguments(node, functools.partial(self._nested, instances))
                raise TypeError("'module' object is not callable")
        root = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            raise NameError(f"name '{root.id}' is not defined")
        raise ValueError("only tools can be called")

    def _invoke(self, tool: str, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        owner = self._initial.owners[tool]
        instance = self._touched.get(owner)
        if instance is None:
            instance = self._touched[owner] = self._initial.prototypes[owner].copy()
        if is_bounded(tool):
            by_position = zip(self._initial.parameters[tool], positional, strict=False)
            refuse_costly(tool, instance, {**dict(by_position), **keywords})
        return getattr(instance, tool)(*positional, **keywords)


class _Generator:
    """A random.Random in a given state, made when it is first used: few calls draw, and making one takes longer than
    copying everything else of an instance."""

    def __init__(self, state: tuple[Any, ...]) -> None:
        self._state = state
        self._made: random.Random | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Generator:
        return _Generator(self._state if self._made is None else self._made.getstate())

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = random.Random(0)
            self._made.setstate(self._state)
        return getattr(self._made, name)


@dataclass(frozen=True)
class _Prototype:
    """An API object before the first call. instance: only ever read; pickled: all of it but its random number
    generators; generators: attribute -> the state of the one that it holds."""

    instance: Any
    pickled: bytes
    generators: Mapping[str, tuple[Any, ...]]

    def copy(self) -> Any:
        """An instance of an episode's own."""
        instance = pickle.loads(self.pickled)  # `_prototype` wrote it, in this process
        for name, state in self.generators.items():
            setattr(instance, name, _Generator(state))
        return instance


def _prototype(instance: Any) -> _Prototype:
    generators = {name: value.getstate() for name, value in vars(instance).items() if type(value) is random.Random}
    rest = copy.copy(instance)
    for name in generators:
        delattr(rest, name)
    return _Prototype(instance, pickle.dumps(rest, pickle.HIGHEST_PROTOCOL), generators)


@dataclass(frozen=True)
class _Initial:
    """A task before the first call. prototypes: class name -> its API object; owners: tool -> class name; parameters:
    tool -> names of its parameters."""

    prototypes: Mapping[str, _Prototype]
    owners: Mapping[str, str]
    parameters: Mapping[str, tuple[str, ...]]


@functools.lru_cache(maxsize=2048)
def _initial(task: Task) -> _Initial:
    classes = load_api_classes(task.release)
    configs = {name: pickle.loads(pickle.dumps(task.initial_config.get(name, {}))) for name in task.involved_classes}
    methods = {name: classes.methods[name] for name in task.involved_classes}
    return _Initial(
        prototypes={name: _prototype(classes.new(name, configs[name], task.long_context)) for name in configs},
        owners={tool: name for name in methods for tool in methods[name]},
        parameters={tool: names for found in methods.values() for tool, names in found.items()},
    )


def _text(value: Any) -> str:
    """A tool's return value as upstream writes it: a dict as JSON, or by str when JSON cannot write it."""
    if type(value) is str:
        return value
    if type(value) is not dict:
        return str(value)
    try:
        content = marshal.dumps(value, _MARSHAL_VERSION)  # exact: types, order, bits of floats
    except ValueError:  # an object of a class, or a structure deeper than marshal goes
        content = b""
    return _json(content) if len(content) in _REMEMBERED else _json_or_str(value)


@functools.lru_cache(maxsize=64)
def _json(content: bytes) -> str:
    """The text of a result given as marshal's bytes. In long context the same ones come again and again, and writing one
    takes longer than everything else in its episode."""
    return _json_or_str(marshal.loads(content))


def _json_or_str(value: Any) -> str:
    try:
        return _ENCODE(value)
    except Exception:  # noqa: BLE001 - upstream's rule: whatever goes wrong, e.g. an object or a key of another type
        return str(value)


def _failed(call: str, error: Exception) -> CallResult:
    text = f"{ERROR_PREFIX}{error}"
    if len(text) > MAX_RESULT_CHARACTERS:
        return _failed(call, LimitExceeded(f"a result has at most {MAX_RESULT_CHARACTERS} characters"))
    return CallResult(
        call if len(call) <= MAX_CALL_CHARACTERS else f"{call[:_SHOWN]}...", text, raised=True, error=True
    )
