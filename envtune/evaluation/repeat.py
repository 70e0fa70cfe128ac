"""One repeat of one suite: its summary and its records, read with distrust, for the tables and for the gate.

What reads nonsense publishes it, or passes it. So each part is held to the others: the records' hash and counts to the
identity, the counts by outcome to the summary's, the file's name to what the summary says of itself. Anything else is
refused with one sentence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from envtune.errors import EnvtuneError
from envtune.evaluation.migrate import upgrade_summary
from envtune.evaluation.records import Record, by_stratum, read_records, summarise_records
from envtune.files import sha256_json

_DEEPEST = 100  # levels of a JSON value; ours have five
_COUNTS = ("items", "passed", "failed", "not_run", "over_budget")
_AGAIN = "copy it anew from the run, or run the evaluation again"


@dataclass(frozen=True)
class Summary:
    """A repeat before its records are read. path: of the summary; records: of its records; data: as in today's schema."""

    path: Path
    records: Path
    suite: str
    checkpoint: str
    seed: int
    data: Mapping[str, Any]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the records mean; see `envtune.evaluation.runner.identity`."""
        return self.data["identity"]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the numbers come from; see `envtune.provenance`."""
        return self.data["provenance"]


@dataclass(frozen=True)
class Repeat:
    """A repeat that can be trusted. records: one an item, in the suite's order."""

    summary: Summary
    records: Sequence[Record]


def read_summary(path: Path, records: Path) -> Summary:
    """The summary at `path`, whose records are said to be at `records`. Raises EnvtuneError where it is none."""
    data = _upgraded(path)
    identity, about = _part(path, data, "identity"), _part(path, data, "about")
    decoding = _part(path, identity, "decoding", "identity.decoding")
    _part(path, identity, "protocol", "identity.protocol")
    _part(path, data, "provenance")
    for name in ("suite", "model", "items_sha256"):
        if not isinstance(identity.get(name), str):
            _refuse(path, f"identity.{name} is not text")
    if not isinstance(identity.get("checkpoint_sha256"), (str, type(None))):
        _refuse(path, "identity.checkpoint_sha256 is neither text nor null")
    checkpoint, said = about.get("checkpoint", about.get("model")), decoding.get("seed", about.get("seed"))
    by_name = _by_name(path)
    checkpoint = by_name.get("checkpoint") if checkpoint is None else checkpoint
    seed = by_name.get("seed") if said is None else said
    if not isinstance(checkpoint, str) or not checkpoint:
        _refuse(path, "about.checkpoint does not name one")
    if not isinstance(seed, int) or isinstance(seed, bool):
        _refuse(path, "identity.decoding.seed is no whole number")
    if by_name.get("seed", seed) != seed or by_name.get("checkpoint", checkpoint) != checkpoint:
        _refuse(path, f"its name speaks of another checkpoint or seed than its content ({checkpoint}, seed {seed})")
    return Summary(path, records, identity["suite"], checkpoint, seed, data)


def read_repeat(summary: Summary, partial: bool = False) -> Repeat:
    """The summary's records, one an item. partial: whether some may have not been run.

    Raises EnvtuneError where they and the summary are not of one run that has ended.
    """
    data, identity = summary.data, summary.identity
    if "strata" not in data:
        raise EnvtuneError(f"{summary.path} is of a run that has not ended; run the same evaluation again to finish it")
    try:
        records = read_records(summary.records)
    except EnvtuneError as error:
        raise EnvtuneError(f"{error}; or {_AGAIN}") from error
    if not records:
        raise EnvtuneError(f"{summary.records} holds no record; {_AGAIN}")
    for record in records:
        if trouble := _trouble(vars(record)) or _wrong_type(record):
            raise EnvtuneError(f"{summary.records}: the record {record.id!a}: {trouble}; {_AGAIN}")
    left = [record.id for record in records if record.outcome == "not_run"]
    if left and not partial:
        raise EnvtuneError(
            f"{summary.records}: {len(left)} items were not run (the first: {left[0]!a}); run the same evaluation "
            "again to try those"
        )
    if data.get("complete") is not (not left):
        what = (
            f"every item has a verdict, and {len(left)} have none"
            if left
            else "its run has not ended, and no item is left"
        )
        raise EnvtuneError(f"{summary.path} says that {what}; {_AGAIN}")
    _check_counts(summary, records)
    if sha256_json([[record.id, record.item_sha256] for record in records]) != identity["items_sha256"]:
        raise EnvtuneError(
            f"{summary.records}: its items are not those that {summary.path.name} speaks of (one is missing, changed or "
            f"out of order); {_AGAIN}"
        )
    return Repeat(summary, tuple(records))


def read_object(path: Path, mend: str = _AGAIN) -> dict[str, Any]:
    """The JSON object in a file, without NaN, infinities and text that cannot be written. mend: what a user can do about
    a bad one. Raises EnvtuneError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise EnvtuneError(f"{path}: there is no such file; {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); {mend}") from error
    if not isinstance(data, dict):
        raise EnvtuneError(f"{path} holds no JSON object; {mend}")
    if trouble := _trouble(data):
        raise EnvtuneError(f"{path} holds {trouble}; {mend}")
    return data


def _upgraded(path: Path) -> dict[str, Any]:
    """The summary under today's names."""
    data = read_object(path)
    try:
        return upgrade_summary(data)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        _refuse(path, f"{error}")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse(path: Path, why: str) -> NoReturn:
    raise EnvtuneError(f"{path} is no summary of an evaluation: {why}; {_AGAIN}")


def _part(path: Path, data: Mapping[str, Any], name: str, called: str = "") -> Mapping[str, Any]:
    part = data.get(name)
    if not isinstance(part, dict):
        _refuse(path, f"{called or name} is no object")
    return part


def _by_name(path: Path) -> dict[str, Any]:
    """Checkpoint and seed as far as the path names them: <checkpoint>.seed<k>.json, or seed<k>/summary.json."""
    if path.name != "summary.json":
        checkpoint, dot, seed = path.stem.rpartition(".seed")
        if not dot or not seed.isdecimal():
            return {}
        return {"checkpoint": checkpoint, "seed": int(seed)}
    folder = path.parent.name
    if folder.startswith("seed") and folder[4:].isdecimal():
        return {"seed": int(folder[4:])}
    return {"checkpoint": folder} if path.parent.parent.name == "evaluation" else {}


def _check_counts(summary: Summary, records: Sequence[Record]) -> None:
    """The counts in the summary and in its identity must be those of the records."""
    counted, said = by_stratum(records), summary.data["strata"]
    items = {stratum: counts["items"] for stratum, counts in counted.items()}
    if summary.identity.get("items") != items:
        raise EnvtuneError(
            f"{summary.records} holds {_told(items)}, but its summary's identity speaks of other items; {_AGAIN}"
        )
    for stratum, counts in counted.items():
        other = said.get(stratum) if isinstance(said, dict) else None
        wrong = [name for name in _COUNTS if not isinstance(other, dict) or not _same(other.get(name), counts[name])]
        if wrong or not _close((other or {}).get("accuracy"), counts["accuracy"]):
            raise EnvtuneError(
                f"{summary.path} contradicts its records: {stratum!a}, {', '.join(wrong) or 'accuracy'}; {_AGAIN}"
            )
    average = summarise_records(records)["average"]
    if set(said) != set(counted) or not _close(summary.data.get("average"), average):
        raise EnvtuneError(f"{summary.path} contradicts its records: other strata, or another average; {_AGAIN}")


def _told(items: Mapping[str, int]) -> str:
    return ", ".join(f"{number} of {stratum!a}" for stratum, number in items.items())


def _same(said: Any, counted: int) -> bool:
    return isinstance(said, int) and not isinstance(said, bool) and said == counted


def _close(said: Any, counted: float | None) -> bool:
    """Accuracy, in percent, rounded to four digits; None where there is none."""
    if counted is None or isinstance(said, bool) or not isinstance(said, (int, float)):
        return said is None and counted is None
    return -1 < said < 101 and abs(said - counted) < 1e-3


def _wrong_type(record: Record) -> str | None:
    """What `Record.from_dict` lets pass."""
    for name in ("error_type", "error_message"):
        if not isinstance(getattr(record, name), (str, type(None))):
            return f"{name} is neither text nor null"
    if record.score is not None and record.score > 1:
        return f"a score of {record.score}"
    counts = (record.tokens_in, record.tokens_out, record.requests, record.truncated)
    return None if all(isinstance(count, (int, type(None))) for count in counts) else "a count that is no whole number"


def _is_text(value: str) -> bool:
    """Whether it can be written: JSON may escape half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _trouble(value: Any) -> str | None:
    """What makes a JSON value unfit: a number that is not finite, text that cannot be written, levels without end."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > _DEEPEST:
            return f"more than {_DEEPEST} levels"
        if isinstance(one, float) and not math.isfinite(one):
            return "a number that is not finite"
        if isinstance(one, str) and not _is_text(one):
            return "text that is no Unicode"
        if isinstance(one, dict):
            waiting += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, (list, tuple)):
            waiting += [(inner, depth + 1) for inner in one]
    return None
