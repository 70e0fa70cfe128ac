"""Hint sets: which hints an episode gives, by name.

    none       no hints: the standard environment (also called "standard")
    authors    those of the authors' release, in our words
    full       all of ours (also called "augmented")

or terms with commas between: set names and ids of hints, where * stands for any letters, in order; a term with a minus
before it takes hints away. "full,-travel.*" is all but those of one domain, "ticket.closed,ticket.fields" just two.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

from envtune.environment.executor import ERROR_PREFIX
from envtune.environment.hints import calls
from envtune.environment.hints.authors import AUTHORS_FILE_SYSTEM, AUTHORS_TRAVEL, AUTHORS_VEHICLE
from envtune.environment.hints.file_system import FILE_SYSTEM
from envtune.environment.hints.hint import Domain, Given, Hint, Offer, Situation, next_call, sayable, write
from envtune.environment.hints.math import MATH
from envtune.environment.hints.message import MESSAGE
from envtune.environment.hints.replies import REPLIES, REPLY
from envtune.environment.hints.ticket import TICKET
from envtune.environment.hints.trading import TRADING
from envtune.environment.hints.travel import TRAVEL
from envtune.environment.hints.twitter import TWITTER
from envtune.environment.hints.vehicle import VEHICLE
from envtune.errors import EnvtuneError
from envtune.files import sha256_json

AUTHORS: tuple[Domain, ...] = (AUTHORS_FILE_SYSTEM, AUTHORS_TRAVEL, AUTHORS_VEHICLE)
DOMAINS: tuple[Domain, ...] = (FILE_SYSTEM, MATH, MESSAGE, TWITTER, TICKET, TRADING, TRAVEL, VEHICLE)
# In the order in which they are tried: a call that never reached its tool, the tool's own failures, the rest.
_FULL: tuple[Hint, ...] = (
    *REPLIES.hints, *calls.FIRST, *(hint for domain in DOMAINS for hint in domain.hints), *calls.LAST,
)  # fmt: skip
_AUTHORS: tuple[Hint, ...] = tuple(hint for domain in AUTHORS for hint in domain.hints)
_ALL = _AUTHORS + _FULL
# the paper's names of the two environments
_ANOTHER = "no tool"  # stands for any name that is none
_ALIASES: Mapping[str, str] = MappingProxyType({"standard": "none", "augmented": "full"})


# what is looked for in a result: plain text, then a pattern if there is more to it; the hint, and its `next_call`
_Row = tuple[str, Callable[[str], object] | None, Hint, int | None]


@dataclass(frozen=True, eq=False)
class HintSet:
    """Hints in the order in which they are tried. name: as records have it; `hint_set` takes it."""

    name: str
    hints: tuple[Hint, ...]

    @functools.cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that change when what a hint says, or when, does (but for conditions that are code)."""
        said = [
            (hint.id, hint.kind, hint.text, hint.result.pattern, sorted(hint.tools or ()), hint.silent, hint.raised,
             sorted(hint.needs), [(call.tool, call.says, call.told, repr(call.arguments)) for call in hint.next])
            for hint in self.hints
        ]  # fmt: skip
        return sha256_json(said)[:12]

    @functools.cached_property
    def silent(self) -> frozenset[str]:
        """Tools with hints on results that are no errors."""
        return frozenset(tool for hint in self.hints if hint.silent for tool in hint.tools or ())

    def give(self, situation: Situation, error: bool) -> Given | None:
        """The first hint that applies, None for none. error: whether the standard result is one; where it is none, only
        the hints on results apply that say a failure without being an error."""
        text, offer, tool = situation.text, situation.offer, situation.call.name
        if tool not in offer.docs and tool not in offer.hidden and tool != REPLY:
            tool = _ANOTHER  # whatever a model makes up must not be remembered
        rows = _rows(self, offer, tool, error, text.startswith(ERROR_PREFIX))
        for literal, search, hint, place in rows:
            if literal in text and (search is None or search(text)):
                given = write(hint, place, situation)
                if given is not None:
                    return given
        return None


@functools.lru_cache(maxsize=16_384)  # some hundred offers, the tools of each
def _rows(hints: HintSet, offer: Offer, tool: str, error: bool, raised: bool) -> tuple[_Row, ...]:
    """The hints that can be given on a result of the tool. error: the result is one; raised: an exception."""
    return tuple(
        (hint.literal, None if hint.is_literal else hint.result.search, hint, next_call(hint, offer))
        for hint in hints.hints
        if hint.silent is not error
        and hint.raised in (None, raised)
        and (tool in hint.tools if hint.tools is not None else tool != REPLY)
        and sayable(hint, offer)
    )


NONE = HintSet("none", ())


@functools.lru_cache(maxsize=64)
def hint_set(name: str) -> HintSet:
    """The set of that name. Raises EnvtuneError when it names a set or a hint that does not exist."""
    terms = [term.strip() for term in name.split(",") if term.strip()]
    terms = [_ALIASES.get(term, term) for term in terms]
    chosen: dict[str, None] = dict.fromkeys(hint.id for hint in _FULL) if terms and terms[0].startswith("-") else {}
    for term in terms:
        ids = _ids(term.removeprefix("-"), name)
        if term.startswith("-"):
            chosen = {id: None for id in chosen if id not in ids}
        else:
            chosen |= dict.fromkeys(ids)
    if not terms:
        raise EnvtuneError(f"feedback {name!r} names no hint set; choose one of: none, authors, full, or ids of hints")
    hints = tuple(hint for hint in _ALL if hint.id in chosen)
    for known, members in (("none", ()), ("authors", _AUTHORS), ("full", _FULL)):
        if hints == members:
            return HintSet(known, hints)
    return HintSet(",".join(terms), hints)


def all_hints() -> tuple[Hint, ...]:
    """Every hint that there is."""
    return _ALL


def _ids(term: str, name: str) -> tuple[str, ...]:
    if term == "none":
        return ()
    known = {"authors": _AUTHORS, "full": _FULL}.get(term)
    ids = [hint.id for hint in known or _ALL if known or fnmatchcase(hint.id, term)]
    if not ids:
        near = difflib.get_close_matches(term, ["none", "authors", "full", *(hint.id for hint in _ALL)], n=3)
        closest = f" (the closest: {', '.join(near)})" if near else ""
        raise EnvtuneError(
            f"unknown feedback {name!r}: there is no hint set and no hint {term!r}; choose one of: none, authors, full, "
            f"or ids that `envtune hints --list` has{closest}"
        )
    return tuple(ids)
