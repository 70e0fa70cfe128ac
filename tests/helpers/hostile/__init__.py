"""A corpus of hostile model output, as data: what must be answered as an ordinary tool error or result, and do nothing.

    code.py      text that would be code for an `eval`: BFCL's executor and its kin ran much of it
    values.py    arguments: names, numbers, strings, nesting, sizes
    replies.py   whole replies: tags, JSON, wrong types, too many calls
    growth.py    sequences of ordinary calls that grow time, memory or state, or reach into other episodes

`corpus()` has them all. tests/environment/test_safety.py runs them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from envtune.environment import ToolCall

INSTANCE = "INSTANCE"  # in a call string: stands for the name of the instance that the executor gives it
FILES = ("GorillaFileSystem",)
MATH = ("MathAPI",)


class Kind(StrEnum):
    """What an entry is fed to."""

    TEXT = "text"
    """Call strings, for `ApiState.run`."""
    JSON = "json"
    """JSON calls, for `ApiState.call`."""
    REPLY = "reply"
    """Whole replies, for `Episode.step`."""


@dataclass(frozen=True, repr=False)
class Hostile:
    """One entry: a sequence of payloads for one fresh episode.

    payload: call strings, ToolCalls or replies, as `kind` says; classes: the task must have these; category: of the
    task; refused: no tool may run, so each payload must be answered with an error; releases: where its tools exist.
    """

    name: str
    kind: Kind
    payload: tuple[str | ToolCall, ...]
    classes: tuple[str, ...] = FILES
    category: str = "base"
    refused: bool = False
    releases: tuple[str, ...] = ("paper", "current")

    def __repr__(self) -> str:  # payloads have up to 10 MB
        return self.name


def each(group: str, kind: Kind, payloads: Iterable[str | ToolCall], **options: object) -> list[Hostile]:
    """One entry for each payload, named by its group and number."""
    return [Hostile(f"{group}-{n}", kind, (payload,), **options) for n, payload in enumerate(payloads)]  # type: ignore[arg-type]


@functools.cache
def corpus() -> tuple[Hostile, ...]:
    """All entries. About 30 MB of text."""
    from helpers.hostile import code, growth, replies, values

    entries = (*code.entries(), *values.entries(), *replies.entries(), *growth.entries())
    assert len({entry.name for entry in entries}) == len(entries), "two entries have the same name"
    return entries
