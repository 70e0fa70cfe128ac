"""Items before and after training: those that got fixed, those that broke, and those that still fail, by error type.

The starting model and the last checkpoint that was measured are compared item by item, under the lowest seed that both were
run with. Of each group the first few items are shown with their conversations, in turn from each stratum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.evaluation.checkpoints import START, checkpoint_names
from envtune.evaluation.records import Record, RunFolder, read_records
from envtune.files import read_jsonl
from envtune.profile import Profile
from envtune.run_record.evaluations import EvaluationFolder, evaluation_folders
from envtune.viewer.text import Shown, show, visible

EXAMPLES = 3  # of a group
CHARACTERS = 2000  # of a message
SYSTEM_CHARACTERS = 600  # of one that says the rules and lists the tools: it is the same in every conversation
MESSAGES = 60  # of a conversation


@dataclass(frozen=True)
class Message:
    """One message. text: as `envtune.viewer.text.show` gives it."""

    role: str
    text: Shown


@dataclass(frozen=True)
class Conversation:
    """One item at one checkpoint. messages: None where no conversation was kept; left_out: messages in its middle that are
    not among them."""

    checkpoint: str
    outcome: str
    error_type: str
    error_message: str
    messages: tuple[Message, ...] | None
    left_out: int = 0


@dataclass(frozen=True)
class Example:
    """One item, at the starting model where that says something, and at the last checkpoint."""

    id: str
    stratum: str
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True)
class Group:
    """Items of one kind ("fixed", "broken" or "still failing") and error type (of the checkpoint at which they failed,
    the last one where both did). count: how many there are; examples: some of them."""

    kind: str
    error_type: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Comparison:
    """A suite's items at two checkpoints. items: with a verdict at both; passed: at both; apart: without one at one of
    them, or with another content."""

    suite: str
    seed: int | None
    before: str
    after: str
    items: int
    passed: int
    apart: int
    groups: tuple[Group, ...]


def compare(profile: Profile) -> tuple[Comparison, ...]:
    """A comparison for each suite that the run has of both checkpoints. Raises EnvtuneError on records that are none."""
    names = checkpoint_names(profile)
    found: dict[str, dict[tuple[str, int | None], EvaluationFolder]] = {}
    for one in evaluation_folders(profile.run_dir / "evaluation"):
        if one.checkpoint in names:
            found.setdefault(one.suite, {})[one.checkpoint, one.seed] = one
    comparisons = []
    for suite, folders in found.items():
        seeds = {seed for checkpoint, seed in folders if checkpoint == START}
        later = [key for key in folders if key[0] != START and key[1] in seeds]
        if later:
            after = max((name for name, _ in later), key=names.index)
            seed = min((seed for name, seed in later if name == after), key=lambda seed: seed or 0)
            comparisons.append(_compare(suite, folders[START, seed], folders[after, seed]))
    return tuple(comparisons)


def _compare(suite: str, start: EvaluationFolder, last: EvaluationFolder) -> Comparison:
    before, after = (_verdicts(one) for one in (start, last))
    both = [item for item, record in before.items() if item in after and after[item].item_sha256 == record.item_sha256]
    kinds: dict[tuple[str, str], list[Record]] = {}
    for item in both:
        old, new = before[item], after[item]
        if not (old.passed and new.passed):
            kind = "fixed" if new.passed else "broken" if old.passed else "still failing"
            failed = old if new.passed else new
            kinds.setdefault((kind, visible(failed.error_type or "no error type")), []).append(new)
    order = ("fixed", "broken", "still failing")
    groups = sorted(kinds.items(), key=lambda group: (order.index(group[0][0]), -len(group[1]), group[0][1]))
    chosen = {key: _in_turn(records)[:EXAMPLES] for key, records in groups}
    shown = {record.id for records in chosen.values() for record in records}
    told = {one.checkpoint: _conversations(one, shown) for one in (start, last)}

    def example(record: Record, kind: str) -> Example:
        sides = [(last.checkpoint, record)]
        if kind != "still failing":
            sides.insert(0, (start.checkpoint, before[record.id]))
        talks = (_conversation(name, one, told[name].get(one.id)) for name, one in sides)
        return Example(visible(record.id), visible(record.stratum), tuple(talks))

    return Comparison(
        suite=suite,
        seed=last.seed,
        before=start.checkpoint,
        after=last.checkpoint,
        items=len(both),
        passed=sum(bool(before[item].passed and after[item].passed) for item in both),
        apart=len(before.keys() | after.keys()) - len(both),
        groups=tuple(
            Group(kind, error, len(records), tuple(example(record, kind) for record in chosen[kind, error]))
            for (kind, error), records in groups
        ),
    )


def _verdicts(one: EvaluationFolder) -> dict[str, Record]:
    """Id -> record of the items that were run."""
    path = RunFolder(one.path).records_path
    records = read_records(path) if path.is_file() else []
    return {record.id: record for record in records if record.outcome != "not_run"}


def _in_turn(records: Sequence[Record]) -> list[Record]:
    """The first of each stratum, then the second of each, ..."""
    seen: dict[str, int] = {}
    places = []
    for record in records:
        places.append(seen.get(record.stratum, 0))
        seen[record.stratum] = places[-1] + 1
    return [record for _, record in sorted(zip(places, records, strict=True), key=lambda pair: pair[0])]


def _conversations(one: EvaluationFolder, ids: set[str]) -> dict[str, Any]:
    """Id -> raw conversation of these items, where it was kept."""
    path = RunFolder(one.path).trajectories_path
    rows = (row for _, row in read_jsonl(path) if isinstance(row, dict)) if ids and path.is_file() else ()
    return {str(row.get("id")): row for row in rows if row.get("id") in ids}


def _conversation(checkpoint: str, record: Record, row: Mapping[str, Any] | None) -> Conversation:
    messages = None if row is None else row.get("messages")
    told, left_out = None, 0
    if isinstance(messages, list):
        left_out = max(len(messages) - MESSAGES, 0)
        kept = [*messages[: MESSAGES // 2], *messages[-(MESSAGES // 2) :]] if left_out else messages
        told = tuple(_messages(kept))
    elif row is not None:  # of a suite that writes another shape
        told = (Message("conversation", show(json.dumps(row, ensure_ascii=False, indent=1), CHARACTERS)),)
    return Conversation(
        checkpoint,
        record.outcome,
        visible(record.error_type or ""),
        visible(record.error_message or ""),
        told,
        left_out,
    )


def _messages(messages: Iterable[Any]) -> Iterable[Message]:
    for message in messages:
        if not isinstance(message, Mapping):
            yield Message("message", show(json.dumps(message, ensure_ascii=False), CHARACTERS))
            continue
        parts = [_text(message.get("content")), *map(_call, message.get("tool_calls") or ())]
        text = "\n".join(part for part in parts if part) or "(empty)"
        role = str(message.get("role", "message"))
        yield Message(visible(role)[:40], show(text, SYSTEM_CHARACTERS if role == "system" else CHARACTERS))


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return json.dumps(content, ensure_ascii=False)


def _call(call: Any) -> str:
    """A native tool call as name(arguments)."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return json.dumps(call, ensure_ascii=False)
    return f"{function.get('name')}({_text(function.get('arguments'))})"
