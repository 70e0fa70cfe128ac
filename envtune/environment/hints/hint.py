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
_JSON = json.JSONEncoder(ensure_ascii=False).encode
_EMPTY: Mapping[str, Any] = MappingProxyType({})
Values = Mapping[str, Any]


class HintKind(StrEnum):
    """What a hint uncovers (the paper's two kinds, section 3.2)."""

    DEPENDENCY = "dependency"
    """A tool that has to be called, or gives the value that was wrong or missing."""
    CONSTRAINT = "constraint"
    """The values or forms that this tool accepts."""


@dataclass(frozen=True, eq=False)
class Offer:
    """The tools on offer in a turn; equal where they are the same tools, of one release. docs: name -> its doc; parameters: name -> the parameters that it takes (BFCL's docs
    are wrong about one); hidden: names of all other tools of the release, which no hint may name."""

    docs: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]

    @functools.cached_property
    def _key(self) -> tuple[int, frozenset[str], frozenset[str]]:
        names = frozenset(self.docs)
        return hash((names, self.hidden)), names, self.hidden

    def __hash__(self) -> int:
        return self._key[0]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Offer) and self._key == other._key)

    def names_hidden(self, text: str) -> bool:
        """Whether a tool that is not on offer is a word of the text."""
        return not self.hidden.isdisjoint(_WORD.findall(text))


@functools.lru_cache(maxsize=4096)
def offer_in(task: Task, turn: int) -> Offer:
    """What is on offer in a turn of a task."""
    tools = load_api_classes(task.release).methods.values()
    parameters = {name: names for methods in tools for name, names in methods.items()}
    docs = {str(doc["name"]): doc for doc in task.tools_on_offer(turn)}
    return _one_of_equals(
        Offer(docs, {name: parameters[name] for name in docs}, frozenset(parameters) - frozenset(docs))
    )


@functools.lru_cache(maxsize=4096)
def _one_of_equals(offer: Offer) -> Offer:
    """The first offer that was equal to this one: what is worked out for an offer is worked out once."""
    return offer


@dataclass(slots=True, eq=False)  # not frozen: one is made for each failing call, and freezing doubles what it costs
class Situation:
    """What a hint is a function of. To be read only.

    call: the model's (of a reply that is not in the format: name ""); text: BFCL's own result of it (or the complaint
    about the reply); state: class -> attributes of its API object before the call, to be read only; offer: the tools on
    offer; reply: the whole reply; known: what several hints' conditions have in common, once worked out.
    """

    call: ToolCall
    text: str
    state: Mapping[str, Mapping[str, Any]]
    offer: Offer
    reply: str = ""
    known: dict[str, Any] = field(default_factory=dict, repr=False)

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
    sentence, where {call} is the call as the reply format writes it, or only the tool's name without values; it is left
    out unless all tools that it names are on offer. told: whether the values may be said: not those that are in no
    documentation and may be the ground truth's.
    """

    tool: str
    says: str = "Call {call}."
    arguments: Mapping[str, Any] | None = None
    told: bool = True


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


def always(_: Situation) -> Values:
    """The condition that holds in every situation."""
    return _EMPTY


@dataclass(frozen=True)
class Hint:
    """One row.

    id: its name in records and hint sets, "domain.what"; tools: which tools it is for, None for any; result: searched
    in the standard result; match: the condition on the arguments, the state and the tools on offer: None when it does
    not hold, else values for the texts. text: what is said, always; next: calls that help, of which the first that is
    on offer is said as well. Texts name values as {name}: of `match`, else the failed call's arguments. retry: what the
    text asks to change of the failed call (parameter -> value, `Of` or REMOVED; or an `Of` of all that, or of a function
    that gives it, which is not called unless somebody asks), where that can be said and does no harm. silent: the result is no error, and
    still says that the call failed. raised: the call ended in an exception; None: that, or in an error that the tool
    returned. needs: tools whose results show what the text tells, which must be on offer. authors: numbers of the
    equivalents in the authors' release (as `authors.py` numbers them).
    """

    id: str
    kind: HintKind
    tools: frozenset[str] | None
    result: re.Pattern[str]
    text: str
    match: Callable[[Situation], Values | None] = always
    next: tuple[NextCall, ...] = ()
    retry: Mapping[str, Any] | Of | None = None
    silent: bool = False
    raised: bool | None = None
    needs: frozenset[str] = frozenset()
    authors: tuple[int, ...] = ()
    examples: tuple[Example, ...] = ()

    @functools.cached_property
    def literal(self) -> str:
        """Plain text that is in whatever the pattern fits: looking for it first is quicker by far."""
        return _beginning(self.result.pattern)

    @functools.cached_property
    def is_literal(self) -> bool:
        """Whether the pattern is nothing but that text."""
        return self.literal == self.result.pattern

    @functools.cached_property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """Names of the values that the text and the sentence of each next call take."""
        parsed = (Formatter().parse(text) for text in (self.text, *(call.says for call in self.next)))
        return tuple(tuple(name for _, name, _, _ in parts if name) for parts in parsed)

    @functools.cached_property
    def words(self) -> tuple[frozenset[str], ...]:
        """Their words, values aside: among them the tools that they name."""
        parsed = (Formatter().parse(text) for text in (self.text, *(call.says for call in self.next)))
        return tuple(frozenset(_WORD.findall(" ".join(text for text, *_ in parts))) for parts in parsed)


def _beginning(pattern: str) -> str:
    """The plain text that a pattern begins with; "" where it has alternatives."""
    depth = found = 0
    for place, char in enumerate(pattern):
        escaped = place > 0 and pattern[place - 1] == "\\"
        depth += 0 if escaped else (char == "(") - (char == ")")
        found |= char == "|" and depth == 0
    plain = re.match(r"\^?((?:[^.^$*+?{}\[\]|()\\]|\\[^\w])*)", pattern)
    text = "" if found or plain is None else re.sub(r"\\(.)", r"\1", plain.group(1))
    follows = pattern[plain.end() : plain.end() + 1] if plain else ""
    return text[:-1] if follows and follows in "*?{" else text


def hint(
    id: str,
    kind: HintKind,
    tools: str | None,
    result: str,
    text: str,
    match: Callable[[Situation], Values | None] = always,
    *,
    next: NextCall | tuple[NextCall, ...] = (),
    retry: Mapping[str, Any] | Of | None = None,
    silent: bool = False,
    raised: bool | None = None,
    needs: str = "",
    authors: Collection[int] = (),
    examples: Example | tuple[Example, ...] = (),
) -> Hint:
    """A `Hint`, from tools as words of one string, a pattern as text, and one next call or example or several."""
    return Hint(
        id, kind, None if tools is None else frozenset(tools.split()), re.compile(result), text, match,
        (next,) if isinstance(next, NextCall) else next, retry, silent, raised, frozenset(needs.split()), tuple(authors),
        (examples,) if isinstance(examples, Example) else examples,
    )  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """The hints of one API class, or of calls or replies as such. scenario: what the examples' API object begins with."""

    name: str
    class_name: str
    hints: tuple[Hint, ...]
    scenario: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Given:
    """A hint as it was given: what it says, and to what it leads."""

    hint: Hint
    text: str
    situation: Situation
    values: Values
    next: NextCall | None

    @property
    def id(self) -> str:
        """The hint's."""
        return self.hint.id

    @property
    def kind(self) -> HintKind:
        """The hint's."""
        return self.hint.kind

    @property
    def tool(self) -> str:
        """The tool that it sends the model to, "" for none."""
        return "" if self.next is None else self.next.tool

    @property
    def call(self) -> ToolCall | None:
        """What it proposes: the next call where its arguments are known, else the failed call with what the text asks to
        change; None where neither can be said."""
        if self.next is not None and self.next.arguments is not None:
            return _call(self.next, self.values)
        return _retried(self.hint, self.situation, self.values)


def sayable(hint: Hint, offer: Offer) -> bool:
    """Whether the hint can be said without naming a tool that is not on offer, and what it tells could be seen there."""
    return hint.needs <= offer.docs.keys() and hint.words[0].isdisjoint(offer.hidden)


def next_call(hint: Hint, offer: Offer) -> int | None:
    """Which of the hint's next calls is said: the first whose tools are all on offer."""
    places = enumerate(zip(hint.next, hint.words[1:], strict=True))
    return next((i for i, (call, words) in places if call.tool in offer.docs and words.isdisjoint(offer.hidden)), None)


def write(hint: Hint, place: int | None, situation: Situation) -> Given | None:
    """The hint's words in this situation, None when its condition does not hold. It is `sayable`, `hint.result` has been
    found in the result, and place is its `next_call`."""
    matched = hint.match(situation)
    if matched is None:
        return None
    offer = situation.offer
    values = {**situation.call.arguments, **matched}
    text = _filled(hint.text, hint.fields[0], values, offer)
    if place is None:
        return Given(hint, text, situation, values, None)
    following, fields = hint.next[place], hint.fields[place + 1]
    if "call" in fields:
        said = _filled(following.says, fields, {**values, "call": Said(_written(following, values, offer))}, offer)
    else:
        said = _filled(following.says, fields, values, offer)
    return Given(hint, f"{text} {said}", situation, values, following)


def _written(following: NextCall, values: Values, offer: Offer) -> str:
    """A call as the reply format writes it; the tool's name alone where there are no values, or none to be told."""
    if following.arguments and following.told:
        arguments = _call(following, values).arguments
        if all(_is_shown(value, offer) for value in arguments.values()):
            return _JSON({"name": following.tool, "arguments": arguments})
    return following.tool


def _filled(text: str, names: tuple[str, ...], values: Values, offer: Offer) -> str:
    if not names and "{" not in text:
        return text
    return text.format_map({name: _show(values.get(name), offer) for name in names})


def _show(value: Any, offer: Offer) -> str:
    """A value for a text: words of the hint's own (a `Said`) as they are, others as JSON. Values are the model's words: one
    that is long, or has the name of a tool that is not on offer, is not repeated."""
    if isinstance(value, Said):
        return str(value)
    return _JSON(value) if _is_shown(value, offer) else _NOT_SHOWN


def _is_shown(value: Any, offer: Offer) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _SHOWN and value.isprintable() and not offer.names_hidden(value)
    if isinstance(value, (list, tuple)):
        return len(value) <= 8 and all(isinstance(item, str) and _is_shown(item, offer) for item in value)
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
    changes = changes() if callable(changes) else changes
    if changes is None:
        return None
    changed = {name: _value(value, values) for name, value in changes.items()}
    arguments = {name: value for name, value in {**situation.call.arguments, **changed}.items() if value is not REMOVED}
    return ToolCall(situation.call.name, arguments)


class _Removed:
    """In `Hint.retry` and `match`: the argument is to be left out."""


REMOVED = _Removed()
