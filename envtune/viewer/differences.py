"""Where the API objects' state differs from the ground truth's, down to the single value.

BFCL compares whole attributes ("GorillaFileSystem.root differs"); a person wants the file. Which attributes differ
is decided by `envtune.environment.gold.state_differences`, so an empty list here means that the check passes.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from envtune.environment.executor import ApiState
from envtune.environment.gold import GoldTurn, state_differences

MAX_DEPTH = 24  # a model can put a directory into itself
MAX_ITEMS = 2_000  # of one value: copies share sub-directories, and a few calls make a tree of billions of paths
_CONTEXT = 60  # equal characters left standing on either side of where two long texts part
_LONG = 240


@dataclass(frozen=True)
class Difference:
    """One place: `path` as one would write it, and the value there as text; None where there is none."""

    path: str
    model: str | None
    gold: str | None


def differences(api: ApiState, gold: GoldTurn) -> list[Difference]:
    """Every place where the public state differs from the ground truth's after a turn."""
    found: list[Difference] = []
    for class_name, attributes in state_differences(api, gold).items():
        for attribute, (got, wanted) in attributes.items():
            found += _compare(f"{class_name}.{attribute}", got, wanted, 0)
    return found


class _Absent:
    """Stands for a value that only the other side has."""


_ABSENT = _Absent()


def _compare(path: str, got: Any, wanted: Any, depth: int) -> Iterator[Difference]:
    ours, theirs = _parts(got), _parts(wanted)
    if ours is None or theirs is None or type(got) is not type(wanted) or depth == MAX_DEPTH:
        yield _difference(path, got, wanted)
        return
    inside = False
    for part in {**theirs, **ours}:
        one, other = ours.get(part, _ABSENT), theirs.get(part, _ABSENT)
        if not _same(one, other):
            inside = True
            yield from _compare(path + part, one, other, depth + 1)
    if not inside:
        yield _difference(path, got, wanted)


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except RecursionError:
        return False


def _parts(value: Any) -> dict[str, Any] | None:
    """What a value is made of, by the end of its path; None for what has no parts."""
    if isinstance(value, dict):
        return {_key(key): item for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"[{index}]": item for index, item in enumerate(value)}
    if _is_directory(value):
        return {f"/{name}": item for name, item in value.contents.items()} | {" (name)": value.name}
    if _is_file(value):
        return {"": value.content, " (name)": value.name}
    return None


def _is_directory(value: Any) -> bool:
    return isinstance(getattr(value, "contents", None), dict)


def _is_file(value: Any) -> bool:
    return hasattr(value, "content") and hasattr(value, "name")


def _key(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{_dump(key)}]"


def _difference(path: str, got: Any, wanted: Any) -> Difference:
    ours, theirs = (None if isinstance(value, _Absent) else _text(value) for value in (got, wanted))
    if ours is not None and theirs is not None:
        if ours == theirs:
            ours += " (reads the same, but is not equal)"
        elif max(len(ours), len(theirs)) > _LONG:
            ours, theirs = _focus(ours, theirs)
    return Difference(path, ours, theirs)


def _focus(a: str, b: str) -> tuple[str, str]:
    """Two long texts without most of what they share at the beginning and at the end."""
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    head, tail = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    return _without(a, head, tail), _without(b, head, tail)


def _without(text: str, head: int, tail: int) -> str:
    before = f"[{head} equal characters] … " if head else ""
    after = f" … [{tail} equal characters]" if tail else ""
    return f"{before}{text[head : len(text) - tail]}{after}"


def _text(value: Any) -> str:
    kind = "directory " if _is_directory(value) else "file " if _is_file(value) else ""
    return kind + _dump(_plain(value, (), itertools.count()))


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(value: Any, around: tuple[int, ...], seen: Iterator[int]) -> Any:
    """A value that JSON can write: no cycle, no integer too long to print, directories as their contents.

    around: ids of the containers that it is in; seen: counts the items, of which only the first ones are written.
    """
    if next(seen) > MAX_ITEMS:
        return "…"
    if isinstance(value, int) and value.bit_length() > 10_000:
        return f"an integer of about {int(value.bit_length() * math.log10(2))} digits"
    if _is_file(value):
        return value.content
    contents = value.contents if _is_directory(value) else value
    if not isinstance(contents, (dict, list, tuple, set, frozenset)):
        return value
    if id(contents) in around or len(around) == MAX_DEPTH:
        return "…"
    around = (*around, id(contents))
    if isinstance(contents, dict):
        return {str(key): _plain(item, around, seen) for key, item in contents.items()}
    if isinstance(contents, (list, tuple)):
        return [_plain(item, around, seen) for item in contents]
    return sorted(map(_dump, contents))
