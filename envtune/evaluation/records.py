"""The record of one item, and the folder that a run fills with them.

    summary.json         what was run and with what (written first), then counts (written last)
    records.jsonl        one record an item
    trajectories.jsonl   the raw conversation of each item

While a run goes on both JSON Lines files only grow, by whole lines: first the conversation, then the record that says
it counts. A run that was killed leaves at most one half line; the next one drops it and goes on after the last record.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from envtune.environment import StopReason
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, read_jsonl, write_jsonl

SCHEMA_VERSION = 1
OUTCOMES = ("passed", "failed", "not_run")


@dataclass(frozen=True)
class Record:
    """One item of a suite.

    id: of the item; category: its stratum; cluster: items with the same one are variants of each other.
    outcome: passed | failed | not_run (the endpoint or the judge gave out: it says nothing about the model).
    valid: the judge's verdict, None when not run; error_type, error_message: what failed, in the judge's words.
    turn_scores: 0 or 1 a turn by the training rule; progress: their mean, in [0, 1]; both for comparison only.
    stop_reason: why the conversation ended; steps: replies of the model; tool_calls, tool_errors: calls executed, and
    those that reported a failure; ill_formed: replies not in the format; truncated: replies cut off at max_tokens.
    tokens_in, tokens_out: sums over requests, None when not counted; seconds: wall time of the conversation.
    task_hash: of the task's content; notes: calls that the judge was not given as they were, and why.
    """

    id: str
    category: str
    cluster: str
    outcome: str
    task_hash: str
    valid: bool | None = None
    error_type: str | None = None
    error_message: str | None = None
    turn_scores: tuple[int, ...] | None = None
    progress: float | None = None
    stop_reason: str | None = None
    steps: int | None = None
    tool_calls: int | None = None
    tool_errors: int | None = None
    ill_formed: int | None = None
    truncated: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_over_budget(self) -> bool:
        """Whether it failed because the conversation outgrew the model's context: no wrong answer, but no pass."""
        return self.outcome == "failed" and self.stop_reason == StopReason.OVER_BUDGET

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the schema."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @staticmethod
    def from_dict(data: Any) -> Record:
        """The inverse of `as_dict`. Raises ValueError with one sentence on anything else."""
        if not isinstance(data, dict) or data.get("schema") != SCHEMA_VERSION:
            raise ValueError(f"not a record of schema version {SCHEMA_VERSION}")
        values = {key: value for key, value in data.items() if key != "schema"}
        names = {field.name for field in fields(Record)}
        if set(values) != names:
            raise ValueError(f"fields are missing or unknown: {', '.join(sorted(names ^ set(values)))}")
        for name in ("id", "category", "cluster", "outcome", "task_hash"):
            if not isinstance(values[name], str):
                raise ValueError(f"{name} must be a string")
        if values["outcome"] not in OUTCOMES:
            raise ValueError(f"unknown outcome {values['outcome']!r}")
        if values["valid"] is not {"passed": True, "failed": False, "not_run": None}[values["outcome"]]:
            raise ValueError(f"outcome {values['outcome']!r} with valid {values['valid']!r}")
        scores = values["turn_scores"]
        values["turn_scores"] = None if scores is None else tuple(scores)
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


class RunFolder:
    """The folder of one run. `open` it, `add` items, `close` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records_path = folder / "records.jsonl"
        self.trajectories_path = folder / "trajectories.jsonl"
        self.summary_path = folder / "summary.json"
        self.records: dict[str, Record] = {}

    @contextlib.contextmanager
    def open(self, identity: Mapping[str, Any]) -> Iterator[RunFolder]:
        """Take the folder for this process and read what it holds.

        Raises EnvtuneError when another process writes to it, or when its records were made with another identity
        (another model, release, set of tasks, ...).
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w", encoding="utf-8") as lock:
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
            self._mend()
            yield self

    def read_summary(self) -> dict[str, Any] | None:
        """summary.json, or None when there is none yet."""
        if not self.summary_path.exists():
            return None
        try:
            return dict(json.loads(self.summary_path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise EnvtuneError(f"{self.summary_path} is not valid JSON ({error}); remove it to start anew") from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json whole."""
        with atomic_write(self.summary_path) as stream:
            json.dump(summary, stream, indent=1, ensure_ascii=False)
            stream.write("\n")

    def add(self, record: Record, conversation: Mapping[str, Any] | None) -> None:
        """Append an item: its conversation (none when it was not run), then its record."""
        if conversation is not None:
            _append(self.trajectories_path, conversation)
        _append(self.records_path, record.as_dict())
        self.records[record.id] = record

    def tidy(self, order: list[str]) -> None:
        """Rewrite both files with the items in `order`, each once."""
        place = {item: number for number, item in enumerate(order)}
        ordered = sorted(self.records.values(), key=lambda record: place[record.id])
        write_jsonl(self.records_path, [record.as_dict() for record in ordered])
        raw = {row["id"]: row for row in _whole_lines(self.trajectories_path)}
        write_jsonl(self.trajectories_path, [raw[r.id] for r in ordered if r.id in raw and r.outcome != "not_run"])

    def _mend(self) -> None:
        """Drop what a killed run left behind: half lines, conversations without a record, items that were not run."""
        kept = {}
        for row in _whole_lines(self.records_path):
            try:
                record = Record.from_dict(row)
            except ValueError as error:
                raise EnvtuneError(f"{self.records_path}: {error}; remove {self.folder} to start anew") from error
            if record.outcome != "not_run":
                kept[record.id] = record
        self.records = kept
        if self.records_path.exists() or self.trajectories_path.exists():
            self.tidy(list(kept))


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
