"""What hints ask of a call's arguments: are they of the documented types, and what would be?"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.hint import Hint, HintKind, Of, Offer, Said, Situation, Values, hint

# the docs' names of types -> what JSON values of them are, in words and in Python
_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "string": "text in quotes",
        "float": "a number without quotes",
        "integer": "a whole number without quotes or a decimal point",
        "boolean": "true or false without quotes",
        "array": "a list",
        "dict": "an object",
    }
)
_COMPARED, _CANDIDATES = 48, 64  # characters of a name that is compared with another, and how many names
_NUMBER = re.compile(r"\s*[-+]?\d{1,15}(\.\d{1,9})?\s*")


def type_in_words(doc: Mapping[str, Any]) -> str:
    """A documented type in words: "a list of numbers"."""
    of = _IN_WORDS.get(str(doc.get("type")), "another value")
    items = (doc.get("items") or {}).get("type")
    if doc.get("type") == "array" and items:
        return "a list of " + {"string": "texts", "float": "numbers", "integer": "whole numbers"}.get(items, items)
    return of


def documented(situation: Situation) -> Mapping[str, Mapping[str, Any]]:
    """Parameter -> its doc, of the parameters that the tool really takes."""
    return _documented(situation.offer, situation.call.name) if situation.call.name in situation.offer.docs else {}


@functools.lru_cache(maxsize=4096)
def _documented(offer: Offer, tool: str) -> Mapping[str, Mapping[str, Any]]:
    properties = offer.docs[tool].get("parameters", {}).get("properties", {})
    return {name: properties.get(name, {}) for name in offer.parameters[tool]}


def is_of_type(value: Any, doc: Mapping[str, Any], strict: bool = True) -> bool:
    """Whether a value is of the documented type. strict: 2.0 is no whole number; where values are only compared, it is."""
    match doc.get("type"):
        case "string":
            return isinstance(value, str)
        case "float":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (not strict and isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            items = doc.get("items") or {}
            return isinstance(value, (list, tuple)) and all(is_of_type(item, items) for item in value)
        case "dict":
            return isinstance(value, dict)
    return True


def converted(value: Any, doc: Mapping[str, Any]) -> Any:
    """The same value in the documented type where there is no doubt ("3" as 3, "a" as ["a"]), else one of that type."""
    kind = doc.get("type")
    if kind in ("float", "integer"):
        number = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
        if isinstance(number, str) and _NUMBER.fullmatch(number):
            number = float(number)
        if isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e15:
            return int(number) if kind == "integer" or number == int(number) else number
        return 1
    if kind == "boolean":
        return str(value).strip().lower() in ("true", "yes", "1")
    if kind == "array":
        items = doc.get("items") or {}
        listed = value if isinstance(value, (list, tuple)) else [value]
        return [item if is_of_type(item, items) else converted(item, items) for item in listed]
    if kind == "dict":
        return {}
    one = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    return one if isinstance(one, str) else str(one) if isinstance(one, (int, float)) else "text"


def retyped(situation: Situation, names: Iterable[str] = (), strict: bool = True) -> Values | None:
    """The arguments (of `names`, or any) that are not of their documented types: `wrong`, in words, and `changed`, what they
    could be instead, as `Hint.retry` takes it. None when all are."""
    docs, arguments = documented(situation), situation.call.arguments
    wrong = [
        name for name in names or docs if name in arguments and not _fits(arguments[name], docs.get(name, {}), strict)
    ]
    if not wrong:
        return None
    return {
        "wrong": Said(", ".join(f"{name} must be {type_in_words(docs.get(name, {}))}" for name in wrong)),
        "changed": lambda: {name: converted(arguments[name], docs.get(name, {})) for name in wrong},
    }


def _fits(value: Any, doc: Mapping[str, Any], strict: bool) -> bool:
    return is_of_type(value, doc, strict) or (value is None and doc.get("default") == "None")


def typed(id: str, tools: str, result: str, parameters: str, examples: Any, **options: Any) -> Hint:
    """The hint for a value that was looked up and not found because of its type: 3 is not "3". `parameters`: those that
    are looked up, as words of one string."""
    names = tuple(parameters.split())
    return hint(
        id, HintKind.CONSTRAINT, tools, result, "{wrong}.", lambda s: retyped(s, names, strict=False), retry=Of("changed"),
        examples=examples, **options,
    )  # fmt: skip


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that is most like `word`, letter case and separators aside; None when none is close. Only so many names of
    ordinary length are looked at: comparing takes the product of their lengths."""
    if not (0 < len(word) <= _COMPARED) or not _plain(word):
        return None
    short = (name for name in known if len(name) <= _COMPARED)
    return _closest(word, tuple(itertools.islice(short, _CANDIDATES)), cutoff)


@functools.lru_cache(maxsize=2048)  # models make the same mistakes again, in rollouts of one task above all
def _closest(word: str, known: tuple[str, ...], cutoff: float) -> str | None:
    plain = {_plain(name): name for name in known}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def one_of(parameter: str, values: Iterable[str], default: str | None = None) -> Callable[[Situation], Values | None]:
    """A condition: the argument is none of the accepted values. `changed`: the closest of them, else the default where a
    wrong guess does no harm, else none."""
    accepted = tuple(values)

    def match(situation: Situation) -> Values | None:
        value = situation.argument(parameter)
        if isinstance(value, str) and value in accepted:
            return None
        near = (closest(value, accepted, 0.5) if isinstance(value, str) else None) or default
        return {"changed": {parameter: near} if near else None}

    return match
