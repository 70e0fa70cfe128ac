"""What a hint is, and what it is a function of.

A hint is one row of data: for which failure it is, what it says, and which call it leads to. It is chosen and written
by a pure function of the `Situation`, and changes only what the model reads: state, checks and rewards see BFCL's own
result.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from string import Formatter
from types import MappingProxyType
from typing import Any

from envtune.bfcl import load_api_classes
from envtune.environment.reply import ToolCall
from envtune.tasks import Task

_WORD = re.compile(r"\w+")
_SHOWN = 60  # characters of a value that a hint repeats
_NOT_SHOWN = "that value"
_EMPTY: Mapping[str, Any] = MappingProxyType({})
Values = Mapping[str, Any]


class HintKind(StrEnum):
    """What a hint uncovers (the paper's two kinds, section 3.2)."""

    DEPENDENCY = "dependency"
    """A tool that has to be called, or gives the value that was wrong or missing."""
    CONSTRAINT = "constraint"
    """The values or forms that this tool accepts."""


@dataclass(frozen=True)
class Offer:
    """The tools on offer in a turn. docs: name -> its doc; parameters: name -> the parameters that it takes (BFCL's docs
    are wrong about one); hidden: names of all other tools of the release, which no hint may name."""

    docs: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]

    def names_hidden(self, text: str) -> bool:
        """Whether a tool that is not on offer is a word of the text."""
        return not self.hidden.isdisjoint(_WORD.findall(text))


@functools.lru_cache(maxsize=4096)
def offer_in(task: Task, turn: int) -> Offer:
    """What is on offer in a turn of a task."""
    tools = load_api_classes(task.release).methods.values()
    parameters = {name: names for methods in tools for name, names in methods.items()}
    docs = {str(doc["name"]): doc for doc in task.tools_on_offer(turn)}
    return Offer(docs, {name: parameters[name] for name in docs}, frozenset(parameters) - frozenset(docs))


@dataclass(frozen=True, slots=True)
class Situation:
    """What a hint is a function of.

    call: the model's (of a reply that is not in the format: name ""); text: BFCL's own result of it (or the complaint
    about the reply); state: class -> attributes of its API object before the call, to be read only; offer: the tools on
    offer; reply: the whole reply.
    """

    call: ToolCall
    text: str
    state: Mapping[str, Mapping[str, Any]]
    offer: Offer
    reply: str = ""

    def argument(self, name: str) -> Any:
        """The value of an argument, None when it was not given."""
        return self.call.arguments.get(name)

    def api(self, class_name: str) -> Mapping[str, Any]:
        """The attributes of an API object."""
        return self.state.get(class_name, _EMPTY)


@dataclass(frozen=True, slots=True)
class Of:
    """In a proposed call: the value of that name, of those that `Hint.match` gave or else the failed call's argument."""

    name: str


@dataclass(frozen=True)
class NextCall:
    """The call that a hint leads to.

    arguments: parameter -> value or `Of`; None: of values that only the user or an earlier result has. says: the
    sentence, where {call} is the call as the reply format writes it, or only the tool's name without values; also:
    other tools that it names. The sentence is left out unless all of them are on offer.
    """

    tool: str
    says: str = "Call {call}."
    arguments: Mapping[str, Any] | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A situation of a hint, for the reader and for the tests: calls on the domain's scenario, of which the last one
    fails. state: entries of the scenario that are others here; release: the one release that it is of, None for both;
    held_out: tools that are not on offer; fixed: for a reply, one that follows the hint."""

    calls: tuple[str, ...]
    state: Mapping[str, Any] = field(default_factory=dict)
    release: str | None = None
    held_out: tuple[str, ...] = ()
    fixed: str = ""


def example(*calls: str, release: str | None = None, held_out: str = "", fixed: str = "", **state: Any) -> Example:
    """An `Example`."""
    return Example(calls, state, release, tuple(held_out.split()), fixed)


def _always(_: Situation) -> Values:
    return _EMPTY


@dataclass(frozen=True)
class Hint:
    """One row.

    id: its name in records and hint sets, "domain.what"; tools: which tools it is for, None for any; result: searched
    in the standard result; match: the condition on the arguments, the state and the tools on offer: None when it does
    not hold, else values for the texts. text: what is said, always; next: calls that help, of which the first that is
    on offer is said as well. Texts name values as {name}: of `match`, else the failed call's arguments. retry: what the
    text asks to change of the failed call (parameter -> value, `Of` or REMOVED; or an `Of` of all that), where that can
    be said. silent: the result is
    no error, and still says that the call failed. needs: tools whose results show what the text tells, which must be on
    offer. authors: numbers of the equivalents in the authors' release (as `authors.py` numbers them).
    """

    id: str
    kind: HintKind
    tools: frozenset[str] | None
    result: re.Pattern[str]
    text: str
    match: Callable[[Situation], Values | None] = _always
    next: tuple[NextCall, ...] = ()
    retry: Mapping[str, Any] | Of | None = None
    silent: bool = False
    needs: frozenset[str] = frozenset()
    authors: tuple[int, ...] = ()
    examples: tuple[Example, ...] = ()

    @functools.cached_property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """Names of the values that the text and the sentence of each next call take."""
        return tuple(_fields(text) for text in (self.text, *(call.says for call in self.next)))


def _fields(text: str) -> tuple[str, ...]:
    return tuple(name for _, name, _, _ in Formatter().parse(text) if name)


def hint(
    id: str,
    kind: HintKind,
    tools: str | None,
    result: str,
    text: str,
    match: Callable[[Situation], Values | None] = _always,
    *,
    next: NextCall | tuple[NextCall, ...] = (),
    retry: Mapping[str, Any] | Of | None = None,
    silent: bool = False,
    needs: str = "",
    authors: Collection[int] = (),
    examples: Example | tuple[Example, ...] = (),
) -> Hint:
    """A `Hint`, from tools as words of one string, a pattern as text, and one next call or example or several."""
    return Hint(
        id, kind, None if tools is None else frozenset(tools.split()), re.compile(result), text, match,
        (next,) if isinstance(next, NextCall) else next, retry, silent, frozenset(needs.split()), tuple(authors),
        (examples,) if isinstance(examples, Example) else examples,
    )  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """The hints of one API class, or of calls or replies as such. scenario: what the examples' API object begins with."""

    name: str
    class_name: str
    hints: tuple[Hint, ...]
    scenario: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """A hint as it was given. call: what it proposes: the next call where its arguments are known, else the failed call
    with what the text asks to change; None where neither can be said. tool: the tool that it sends the model to, ""
    for none."""

    id: str
    kind: HintKind
    text: str
    call: ToolCall | None
    tool: str = ""


def write(hint: Hint, situation: Situation) -> Given | None:
    """The hint's words in this situation, or None when its condition does not hold or it could not be said without
    naming a tool that is not on offer."""
    if hint.result.search(situation.text) is None:
        return None
    offer = situation.offer
    if hint.needs and not hint.needs <= offer.docs.keys():
        return None
    matched = hint.match(situation)
    if matched is None:
        return None
    values = {**situation.call.arguments, **matched}
    following = next((i for i, call in enumerate(hint.next) if _on_offer(call, offer)), None)
    call = _retried(hint, situation, values)
    sent = "" if following is None else hint.next[following].tool
    if following is not None and hint.next[following].arguments is not None:
        call = _call(hint.next[following], values)
    for shown in (True, False):  # values are the model's own words, and may hold the name of a tool that is held out
        text = _filled(hint.text, hint.fields[0], values, offer, shown)
        if following is not None:
            text += " " + _sentence(hint, following, values, offer, shown)
        if not offer.names_hidden(text):
            return Given(hint.id, hint.kind, text, call, sent)
    return None


def _on_offer(call: NextCall, offer: Offer) -> bool:
    return call.tool in offer.docs and all(tool in offer.docs for tool in call.also)


def _sentence(hint: Hint, place: int, values: Values, offer: Offer, shown: bool) -> str:
    following = hint.next[place]
    written = following.tool
    if following.arguments and shown:
        call = _call(following, values)
        if all(_is_shown(value, offer) for value in call.arguments.values()):
            written = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
    text = following.says.replace("{call}", "\0")
    text = _filled(text, tuple(name for name in hint.fields[place + 1] if name != "call"), values, offer, shown)
    return text.replace("\0", written)


def _filled(text: str, names: tuple[str, ...], values: Values, offer: Offer, shown: bool) -> str:
    if not names:
        return text
    return text.format_map({name: _show(values.get(name), offer) if shown else _NOT_SHOWN for name in names})


def _show(value: Any, offer: Offer) -> str:
    """A value for a text: words of the hint's own (a `Said`) as they are, others as JSON when they are short."""
    if isinstance(value, Said):
        return str(value)
    return json.dumps(value, ensure_ascii=False) if _is_shown(value, offer) else _NOT_SHOWN


def _is_shown(value: Any, offer: Offer) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 8 and all(isinstance(item, str) and _is_shown(item, offer) for item in value)
    if isinstance(value, str):
        return 0 < len(value) <= _SHOWN and value.isprintable() and not offer.names_hidden(value)
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 10**20)


class Said(str):
    """Text of a hint's own, to be put into its sentence as it is and not as a value."""

    __slots__ = ()


def _value(value: Any, values: Values) -> Any:
    return values.get(value.name) if isinstance(value, Of) else value


def _call(following: NextCall, values: Values) -> ToolCall:
    arguments = following.arguments or {}
    return ToolCall(following.tool, {name: _value(value, values) for name, value in arguments.items()})


def _retried(hint: Hint, situation: Situation, values: Values) -> ToolCall | None:
    if hint.retry is None or situation.call.name not in situation.offer.docs:
        return None
    changes = values[hint.retry.name] if isinstance(hint.retry, Of) else hint.retry
    changed = {name: _value(value, values) for name, value in changes.items()}
    arguments = {name: value for name, value in {**situation.call.arguments, **changed}.items() if value is not REMOVED}
    return ToolCall(situation.call.name, arguments)


class _Removed:
    """In `Hint.retry` and `match`: the argument is to be left out."""


REMOVED = _Removed()
