"""What a scripted model says: policies, and the scripts that they are made from.

gold       plays the script; of a task, the ground truth with all calls of a turn in one reply
stepwise   gold, one call a reply
errors     gold, but some items go wrong: a task's last turn is answered without calling, another item's only reply is
           "I do not know."
silent     answers every request without calling
malformed  replies that are not in the format; natively, a call whose arguments are not JSON
endless    calls a tool for ever and never answers
dump       answers with all that stands in the conversation; in a memory prerequisite it first stores what the user says

A policy is the agent's. A simulated user always says what its own script says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from envtune.environment import ToolCall
from envtune.environment.gold_policy import gold_calls
from envtune.evaluation.scripted.speech import Step, Way, calls_in, system_text, text_of, way_of
from envtune.tasks import Task

DONE = Step(text="Done.")
DO_NOT_KNOW = Step(text="I do not know.")
_ENDLESS = Step(calls=(ToolCall("no_such_tool", {}),))
_CORE_CHARACTERS, _ARCHIVAL_CHARACTERS = 300, 2000  # what one entry of BFCL's memories takes
_DUMP_CHARACTERS = 100_000
_REPLY_TAG = re.compile(r"</?(?:think|tool_call|answer)>")


@dataclass(frozen=True)
class Script:
    """What one role says in one item.

    steps: in order, the last one again for ever; turns: of a task, the calls of each turn, so that the place in a
    conversation can be found from what was said in it; at_once: False when a reply makes one call at most.
    """

    steps: tuple[Step, ...]
    turns: tuple[tuple[ToolCall, ...], ...] | None = None
    at_once: bool = True

    def at(self, number: int) -> Step:
        """The step after `number` others."""
        return self.steps[min(number, len(self.steps) - 1)]

    def after(self, messages: Sequence[Mapping[str, Any]]) -> Step:
        """The step that follows in a conversation. A turn of a task ends with a reply that makes no calls."""
        replies = [message for message in messages if message["role"] == "assistant"]
        if self.turns is None:
            return self.at(len(replies))
        turn, made = 0, 0
        for message in replies:
            if number := calls_in(message):
                made += number
            else:
                turn, made = turn + 1, 0
        left = self.turns[turn][made:] if turn < len(self.turns) else ()
        if not left:
            return DONE
        return Step(left if self.at_once else left[:1])


@dataclass(frozen=True)
class Request:
    """What a policy may look at that is in no script."""

    item: str
    way: Way
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, item: str, body: Mapping[str, Any]) -> Request:
        """The request that a body is. Raises LookupError, TypeError or AttributeError when it is none."""
        return cls(item, way_of(body), list(body["messages"]), body.get("tools") or ())

    @property
    def first_tool(self) -> str:
        """A name for calls that are wrong in another way."""
        return self.tools[0]["function"]["name"] if self.tools else "no_such_tool"

    def offers(self, tool: str) -> bool:
        """Whether a tool is on offer: natively in `tools`, else somewhere in the system message."""
        if self.way is Way.NATIVE:
            return any(offered["function"]["name"] == tool for offered in self.tools)
        return tool in system_text(self.messages)


@dataclass(frozen=True)
class Policy:
    """plan: an item's script as this policy plays it (wrong: whether the item is among those to go wrong); answer: for
    a policy that looks at the conversation instead."""

    plan: Callable[[Script, bool], Script]
    answer: Callable[[Request], Step] | None = None


def task_script(task: Task) -> Script:
    """The ground truth of a task."""
    return _of_turns(gold_calls(task), at_once=True)


def step_script(steps: Sequence[Mapping[str, Any]]) -> Script:
    """The script of an item from another package: steps as `Benchmark.scripts` in upstream/serve.py describes them."""
    made = [
        Step(
            tuple(ToolCall(call["name"], call["arguments"]) for call in step.get("calls") or ()), step.get("text") or ""
        )
        for step in steps
    ]
    return Script(tuple(made) or (DONE,))


def _of_turns(turns: tuple[tuple[ToolCall, ...], ...], at_once: bool) -> Script:
    steps: list[Step] = []
    for calls in turns:
        steps += [Step(calls)] if calls and at_once else [Step((call,)) for call in calls]
        steps.append(DONE)
    return Script(tuple(steps), turns, at_once)


def _gold(script: Script, wrong: bool) -> Script:
    return script


def _stepwise(script: Script, wrong: bool) -> Script:
    if script.turns is not None:
        return _of_turns(script.turns, at_once=False)
    steps: list[Step] = []
    for step in script.steps:
        steps += [Step((call,)) for call in step.calls] or [step]
    return Script(tuple(steps))


def _errors(script: Script, wrong: bool) -> Script:
    if not wrong:
        return script
    if script.turns is None:
        return Script((DO_NOT_KNOW,))
    last = max((number for number, calls in enumerate(script.turns) if calls), default=-1)
    return _of_turns(tuple(() if number == last else calls for number, calls in enumerate(script.turns)), at_once=True)


def _always(step: Step) -> Policy:
    script = Script((step,))
    return Policy(lambda _script, _wrong: script)


def _dump(request: Request) -> Step:
    """Everything said so far; in a memory prerequisite, store the last thing the user said, then answer."""
    if "prereq" in request.item:
        said = [message for message in request.messages if message["role"] == "assistant"]
        if said and calls_in(said[-1]):
            return DONE
        heard = [message for message in request.messages if message["role"] == "user"]
        store = _store(request, text_of(heard[-1])) if heard else None
        return Step((store,)) if store else DONE
    everything = "\n".join(text_of(message) for message in request.messages)
    return Step(text=_REPLY_TAG.sub(" ", everything)[:_DUMP_CHARACTERS])


def _store(request: Request, text: str) -> ToolCall | None:
    """The call that keeps `text` in the memory on offer: BFCL's recursive summary, vectors or keys and values; None
    where there is none."""
    if request.offers("memory_append"):
        return ToolCall("memory_append", {"text": text + "\n"})
    core = len(text) <= _CORE_CHARACTERS
    tool = "core_memory_add" if core else "archival_memory_add"
    if not request.offers(tool):
        return None
    text = text if core else text[:_ARCHIVAL_CHARACTERS]
    if request.offers("core_memory_list_keys"):
        key = "note_" + hashlib.sha256(text.encode()).hexdigest()[:12]
        return ToolCall(tool, {"key": key, "value": text})
    return ToolCall(tool, {"text": text})


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "gold": Policy(_gold),
        "stepwise": Policy(_stepwise),
        "errors": Policy(_errors),
        "silent": _always(DONE),
        "malformed": _always(Step(malformed=True)),
        "endless": _always(_ENDLESS),
        "dump": Policy(_gold, _dump),
    }
)
