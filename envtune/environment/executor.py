"""Executing tool calls on BFCL's API objects: BFCL's results to the byte, without its `eval`.

A task's API objects are built once a process and pickled; an episode gets its copy of one by unpickling when its first
call needs it, which is the cheapest copy there is in Python. Results and error texts are those of BFCL's executor for the same call
(`execute_multi_turn_func_call`), so stored trajectories score the same; past the limits of `limits.py` a call gives an
error of our own.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import keyword
import marshal
import pickle
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.bfcl import load_api_classes
from envtune.environment.calls import arguments, call_text, evaluate, parse, plain_call, qualify
from envtune.environment.limits import MAX_CALL_CHARACTERS, MAX_RESULT_CHARACTERS, LimitExceeded, refuse_costly
from envtune.environment.reply import ToolCall
from envtune.tasks import Task

ERROR_PREFIX = "Error during execution: "
_CACHED_BYTES = 100_000  # of a result: most are below 100, the largest in BFCL's ground truths has 70,000


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
        self._touched: dict[str, Any] = {}  # class name -> this episode's own instance, made when a call needs it

    def call(self, call: ToolCall) -> CallResult:
        """Execute a model's JSON call. Never raises."""
        words = (call.name, *call.arguments)
        odd = next((word for word in words if not word.isidentifier() or keyword.iskeyword(word)), None)
        if odd is not None:  # what is no name cannot be written as a call, and must not be spliced into one
            return _failed(call_text(call), NameError(f"name '{odd}' is not defined"))
        return self._run_one(call_text(call))

    def run(self, calls: Iterable[str]) -> list[CallResult]:
        """Execute call strings in order; each gives a result, failures included. Never raises."""
        return [self._run_one(call) for call in calls]

    def attributes(self, class_name: str) -> Mapping[str, Any]:
        """All attributes of the class's instance, private ones included. To be read, not written."""
        instance = self._touched.get(class_name)
        return vars(self._initial.instances[class_name] if instance is None else instance)

    def public_state(self) -> dict[str, dict[str, Any]]:
        """Class name -> its public attributes (the part of the state that BFCL's checker compares)."""
        return {
            name: {key: value for key, value in self.attributes(name).items() if not key.startswith("_")}
            for name in self._initial.instances
        }

    def _run_one(self, call: str) -> CallResult:
        try:
            if len(call) > MAX_CALL_CHARACTERS:
                raise LimitExceeded(f"a call has at most {MAX_CALL_CHARACTERS} characters")
            plain = plain_call(call)
            if plain is not None and plain[0] in self._initial.owners:
                value = self._invoke(plain[0], *plain[1])
            else:
                instances = {tool: f"{self._prefix}{owner}_instance" for tool, owner in self._initial.owners.items()}
                value = evaluate(parse(qualify(call, instances)), functools.partial(self._call, instances))
            text = _text(value)
            if len(text) > MAX_RESULT_CHARACTERS:
                raise LimitExceeded(f"a result has at most {MAX_RESULT_CHARACTERS} characters")
            return CallResult(call, text, raised=False, error=type(value) is dict and "error" in value)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the model's to read, as upstream
            return _failed(call, error)

    def _call(self, instances: Mapping[str, str], node: ast.Call) -> Any:
        """The value of a call in text that `qualify` has rewritten."""
        match node.func:
            case ast.Attribute(value=ast.Name(id=instance), attr=tool) if instances.get(tool) == instance:
                return self._invoke(tool, *arguments(node, functools.partial(self._call, instances)))
            case ast.Attribute(attr=name) | ast.Name(id=name):
                raise NameError(f"name '{name}' is not defined")
        raise ValueError("only tools can be called")

    def _invoke(self, tool: str, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        owner = self._initial.owners[tool]
        instance = self._touched.get(owner)
        if instance is None:
            instance = self._touched[owner] = pickle.loads(self._initial.pickled[owner])  # `_initial` wrote it
        refuse_costly(tool, instance, positional, keywords)
        return getattr(instance, tool)(*positional, **keywords)


@dataclass(frozen=True)
class _Initial:
    """A task's API objects before the first call. instances: class name -> instance, only ever read; pickled: class
    name -> bytes to make copies from; owners: tool -> class name."""

    instances: Mapping[str, Any]
    pickled: Mapping[str, bytes]
    owners: Mapping[str, str]


@functools.lru_cache(maxsize=2048)
def _initial(task: Task) -> _Initial:
    classes = load_api_classes(task.release)
    instances = {
        name: classes.new(name, pickle.loads(pickle.dumps(task.initial_config.get(name, {}))), task.long_context)
        for name in task.involved_classes
    }
    owners = {tool: name for name in instances for tool in classes.methods[name]}
    return _Initial(instances, {name: _pickled(instance) for name, instance in instances.items()}, owners)


def _pickled(instance: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(instance)
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """Random number generators as their state alone: random.Random's own way seeds a new one from the system first,
    which takes longer than everything else."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is random.Random:
            return _random, (value.getstate(),)
        return NotImplemented


def _random(state: tuple[Any, ...]) -> random.Random:
    generator = random.Random(0)
    generator.setstate(state)
    return generator


def _text(value: Any) -> str:
    """A tool's return value as upstream writes it: a dict as JSON, or by str when JSON cannot write it."""
    if type(value) is str:
        return value
    if type(value) is not dict:
        return str(value)
    try:
        content = marshal.dumps(value, 2)  # exact: types, order, bits of floats
    except ValueError:  # an object of a class, or a structure deeper than marshal goes
        content = b""
    if 0 < len(content) <= _CACHED_BYTES:
        return _json(content)
    return _json_or_str(value)


@functools.lru_cache(maxsize=1024)
def _json(content: bytes) -> str:
    """The text of a result given as marshal's bytes. The rollouts of a group get the same results over and over, and in
    long context writing one takes longer than everything else in its episode."""
    return _json_or_str(marshal.loads(content))


def _json_or_str(value: Any) -> str:
    try:
        return json.dumps(value)
    except Exception:  # noqa: BLE001 - upstream's rule: whatever goes wrong, e.g. an object or a key of another type
        return str(value)


def _failed(call: str, error: Exception) -> CallResult:
    return CallResult(call, f"{ERROR_PREFIX}{error}", raised=True, error=True)
