"""The record of one item, and the folder that a run fills with them.

    summary.json         what was run and with what (written first), then counts (written last)
    records.jsonl        one record an item
    trajectories.jsonl   the raw conversation of each item
    prerequisites.jsonl  records of what is only there to prepare items and is not scored (memory), where a suite has it
    files/               what items leave for later ones (memory)

While a run goes on the JSON Lines files only grow, by whole lines: first the conversation, then the record that says
it counts. A run that was killed leaves at most one half line; the next one drops it and goes on after the last record.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.evaluation.migrate import SCHEMA_VERSION, upgrade_record, upgrade_summary
from envtune.files import atomic_write, read_jsonl, write_jsonl

OUTCOMES = ("passed", "failed", "not_run")


@dataclass(frozen=True)
class Record:
    """One item of a suite.

    id: of the item; stratum: the category that is averaged over; cluster: items with the same one are not independent
    of each other; item_sha256: of the item's content.
    outcome: passed | failed | not_run (the endpoint, the judge or what the item depends on gave out: it says nothing
    about the model). passed: the verdict, None when not run; score: the suite's partial credit in [0, 1] (bfcl-v3: mean
    of the turns' scores by the training rule), None where it has none; for comparison only.
    error_type, error_message: what failed, in the judge's words.
    seconds: wall time of the item; tokens_in, tokens_out: sums over the model's requests, None when not counted;
    requests: replies of the model; truncated: those cut off at the limit on new tokens.
    details: what else the suite says, as JSON values; notes: what a reader of the verdict should know.
    """

    id: str
    stratum: str
    cluster: str
    outcome: str
    item_sha256: str
    passed: bool | None = None
    score: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    seconds: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    requests: int | None = None
    truncated: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_over_budget(self) -> bool:
        """Whether it failed after the conversation had outgrown the model's context: no wrong answer, but no pass."""
        return self.outcome == "failed" and bool(self.details.get("over_budget"))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the schema."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @staticmethod
    def from_dict(data: Any) -> Record:
        """The inverse of `as_dict`, also of a record that an older version wrote. Raises ValueError with one sentence on
        anything else."""
        values = dict(upgrade_record(data))
        names = {field.name for field in fields(Record)}
        if set(values) != names:
            raise ValueError(f"fields are missing or unknown: {', '.join(sorted(names ^ set(values)))}")
        for name in ("id", "stratum", "cluster", "outcome", "item_sha256"):
            if not isinstance(values[name], str):
                raise ValueError(f"{name} must be a string")
        if values["outcome"] not in OUTCOMES:
            raise ValueError(f"unknown outcome {values['outcome']!r}")
        if values["passed"] is not {"passed": True, "failed": False, "not_run": None}[values["outcome"]]:
            raise ValueError(f"outcome {values['outcome']!r} with passed {values['passed']!r}")
        if not isinstance(values["details"], dict):
            raise ValueError("details must be an object")
        for name in ("score", "seconds", "tokens_in", "tokens_out", "requests", "truncated"):
            value = values[name]
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0 up, or null")
        if not isinstance(values["notes"], (list, tuple)) or not all(isinstance(note, str) for note in values["notes"]):
            raise ValueError("notes must be a list of strings")
        values["notes"] = tuple(values["notes"])
        return Record(**values)


def read_records(path: Path) -> list[Record]:
    """All records of a file (.jsonl or .jsonl.gz). Raises EnvtuneError, naming the line, on one that is no record or
    whose id came before."""
    records: dict[str, Record] = {}
    for number, row in read_jsonl(path):
        try:
            record = Record.from_dict(row)
        except (ValueError, TypeError) as error:
            raise EnvtuneError(f"{path}, line {number}: {error}") from error
        if record.id in records:
            raise EnvtuneError(f"{path}, line {number}: a second record of {record.id}; remove one of the two")
        records[record.id] = record
    return list(records.values())


def summarise_records(records: Sequence[Record]) -> dict[str, Any]:
    """{"complete", "strata": stratum -> counts by outcome, "over_budget" (those of the failed whose conversation outgrew
    the model's context), "accuracy" and mean "score" of those run; "average": unweighted mean of the strata's accuracies
    (None unless every item was run), "totals"}.

    accuracy in percent and score are None where nothing was run.
    """
    names = ("requests", "truncated", "tokens_in", "tokens_out")
    strata = by_stratum(records)
    complete = all(record.outcome != "not_run" for record in records)
    accuracies = [counts["accuracy"] for counts in strata.values()]
    return {
        "complete": complete,
        "strata": strata,
        "average": round(sum(accuracies) / len(accuracies), 4) if complete else None,
        "totals": {name: sum(getattr(record, name) or 0 for record in records) for name in names},
    }


def by_stratum(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """The counts of `summarise_records`, stratum by stratum."""
    strata = {}
    for stratum in dict.fromkeys(record.stratum for record in records):
        of_it = [record for record in records if record.stratum == stratum]
        run = [record for record in of_it if record.outcome != "not_run"]
        scores = [record.score for record in run if record.score is not None]
        strata[stratum] = {
            "items": len(of_it),
            **{outcome: sum(record.outcome == outcome for record in of_it) for outcome in OUTCOMES},
            "over_budget": sum(record.is_over_budget for record in of_it),
            "accuracy": round(100 * sum(bool(r.passed) for r in run) / len(run), 4) if run else None,
            "score": round(sum(scores) / len(scores), 6) if scores else None,
        }
    return strata


class RunFolder:
    """The folder of one run. `open` it, `add` items.

    records: id -> record of every item with a verdict; prepared: the same of the prerequisites.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records_path = folder / "records.jsonl"
        self.trajectories_path = folder / "trajectories.jsonl"
        self.prerequisites_path = folder / "prerequisites.jsonl"
        self.summary_path = folder / "summary.json"
        self.files = folder / "files"
        self.records: dict[str, Record] = {}
        self.prepared: dict[str, Record] = {}

    @contextlib.contextmanager
    def open(self, identity: Mapping[str, Any]) -> Iterator[RunFolder]:
        """Take the folder for this process and read what it holds.

        Raises EnvtuneError when it cannot be written, when another process writes to it, or when its records were made
        with another identity (another model, release, set of items, ...) or nothing says with which.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / ".lock", "w", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise EnvtuneError(f"{self.folder} cannot be written to ({error.strerror}); name another folder") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EnvtuneError(
                    f"{self.folder} is being written by another run; wait for it or name another"
                ) from None
            before = self.read_summary()
            if before is not None and (differing := differences(before.get("identity", {}), identity)):
                raise EnvtuneError(
                    f"{self.folder} holds records of another run (not the same: {', '.join(differing)}); "
                    "name another folder or remove this one"
                )
            if before is None and any(path.exists() for path in (self.records_path, self.prerequisites_path)):
                raise EnvtuneError(
                    f"{self.folder} holds records and no summary of the run they are of; name another folder or remove it"
                )
            self._mend()
            yield self

    def read_summary(self) -> dict[str, Any] | None:
        """summary.json, or None when there is none yet."""
        if not self.summary_path.exists():
            return None
        try:
            summary = upgrade_summary(json.loads(self.summary_path.read_text(encoding="utf-8")))
            if not isinstance(summary.get("complete"), bool) or not isinstance(summary.get("seconds"), (int, float)):
                raise ValueError("complete and seconds must be there")
            return summary
        except ValueError as error:
            raise EnvtuneError(f"{self.summary_path}: {error}; remove all of {self.folder} to start anew") from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json whole."""
        with atomic_write(self.summary_path) as stream:
            json.dump(summary, stream, indent=1, ensure_ascii=False)
            stream.write("\n")

    def add(self, record: Record, conversation: Mapping[str, Any] | None, scored: bool = True) -> None:
        """Append an item: its conversation (none when it was not run), then its record."""
        if conversation is not None:
            _append(self.trajectories_path, conversation)
        _append(self.records_path if scored else self.prerequisites_path, record.as_dict())
        (self.records if scored else self.prepared)[record.id] = record

    def forget(self, prerequisites: Iterable[str]) -> None:
        """Drop the records of these prerequisites: they are to be played again."""
        forgotten = [self.prepared.pop(item, None) for item in prerequisites]
        if any(forgotten):
            self.tidy([])

    def tidy(self, order: list[str]) -> None:
        """Rewrite the files with the items in `order` first, each once."""
        place = {item: number for number, item in enumerate(order)}
        listed = {
            self.records_path: sorted(self.records.values(), key=lambda record: place.get(record.id, len(place))),
            self.prerequisites_path: sorted(
                self.prepared.values(), key=lambda record: place.get(record.id, len(place))
            ),
        }
        for path, records in listed.items():
            if records or path.exists():
                write_jsonl(path, [record.as_dict() for record in records])
        raw = {row["id"]: row for row in _whole_lines(self.trajectories_path)}
        kept = [r.id for records in listed.values() for r in records if r.id in raw and r.outcome != "not_run"]
        write_jsonl(self.trajectories_path, [raw[item] for item in kept])

    def _mend(self) -> None:
        """Drop what a killed run left behind: half lines, conversations without a record, items that were not run."""
        for path, kept in ((self.records_path, self.records), (self.prerequisites_path, self.prepared)):
            kept.clear()
            for row in _whole_lines(path):
                try:
                    record = Record.from_dict(row)
                except ValueError as error:
                    raise EnvtuneError(f"{path}: {error}; remove {self.folder} to start anew") from error
                if record.outcome != "not_run":
                    kept[record.id] = record
        if self.records_path.exists() or self.trajectories_path.exists():
            self.tidy(list(self.records))


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Names of what differs between two JSON values, as dotted paths."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        names = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        return [
            found for key in names for found in differences(a.get(key), b.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if a == b else [path or "everything"]


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line with a single write, so that a kill leaves whole lines and at most one half line at the end."""
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole_lines(path: Path) -> Iterator[Any]:
    """The values of a JSON Lines file that may end in half a line (which is left out) or not exist."""
    if not path.exists():
        return
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise EnvtuneError(
                    f"{path}, line {number}: not valid JSON ({error}); mend or remove that line"
                ) from error
