"""Our rows of Table 1: from the folders of a run to results/<profile>/records/, and from there to rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import SCHEMA_VERSION, Record, RunFolder, read_records
from envtune.files import atomic_write, write_jsonl
from envtune.tasks import is_sound


@dataclass(frozen=True)
class Cell:
    """One category of one row: items the run was to play, and how they came out. over_budget: those of the failed whose
    conversation outgrew the model's context."""

    items: int
    passed: int
    failed: int
    over_budget: int = 0

    @property
    def not_run(self) -> int:
        """Items without a verdict."""
        return self.items - self.passed - self.failed

    @property
    def accuracy(self) -> float | None:
        """Percent of the items that passed; None unless every item was run."""
        return 100 * self.passed / self.items if self.items and not self.not_run else None


@dataclass(frozen=True)
class RunRow:
    """One evaluated checkpoint. summary: as in the run's summary.json; cells: category -> Cell, every category; sound:
    the same, of the tasks that the list of known defects leaves as sound."""

    summary: Mapping[str, Any]
    cells: Mapping[str, Cell]
    sound: Mapping[str, Cell]

    @property
    def about(self) -> Mapping[str, Any]:
        """What the run was told of itself: profile, checkpoint, training steps, seed, split, note."""
        return self.summary["about"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its records mean: protocol, release, tasks, model, decoding."""
        return self.summary["identity"]

    @property
    def average(self) -> float | None:
        """Unweighted mean of the four categories, in percent, as BFCL and the paper have it; None if one is missing."""
        return _average(self.cells)

    @property
    def average_sound(self) -> float | None:
        """The same over the sound tasks."""
        return _average(self.sound)

    @property
    def block(self) -> str:
        """Rows may stand together when this is equal: all that was decided before a model came into it."""
        return json.dumps(
            {k: v for k, v in self.identity.items() if k not in ("model", "checkpoint_sha256")}, sort_keys=True
        )


def copy_records(evaluation: Path, checkpoints: Iterable[str], records: Path) -> None:
    """Copy each checkpoint's records and summary from a run's `evaluation` folder into the folder `records`.

    Copies of checkpoints that the run does not have (any more) are removed, so that a table never mixes two runs.
    """
    kept = set()
    for checkpoint in checkpoints:
        folder = RunFolder(evaluation / checkpoint)
        summary = folder.read_summary()
        if summary is None or "categories" not in summary:
            continue  # never ran to the end of a session
        listed = [record.as_dict() for record in read_records(folder.records_path)]
        write_jsonl(records / f"{checkpoint}.jsonl.gz", listed)
        with atomic_write(records / f"{checkpoint}.json") as stream:
            json.dump(summary, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
        kept |= {f"{checkpoint}.jsonl.gz", f"{checkpoint}.json"}
    if records.is_dir():
        for path in records.iterdir():
            if path.name not in kept:
                path.unlink()


def read_rows(records: Path) -> list[RunRow]:
    """One row for each checkpoint in `records`, in the order start, stage1, stage2, ...

    Raises EnvtuneError when a summary and its records do not belong together.
    """
    paths = sorted(records.glob("*.json"), key=lambda path: (path.stem != "start", path.stem))
    return [_read_row(path) for path in paths]


def _read_row(path: Path) -> RunRow:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        items: Mapping[str, int] = summary["identity"]["items"]
        if summary["schema"] != SCHEMA_VERSION:
            raise EnvtuneError(f"{path} has schema version {summary['schema']}, not {SCHEMA_VERSION}; evaluate again")
    except (ValueError, KeyError, TypeError) as error:
        raise EnvtuneError(f"{path} is no summary of an evaluation ({error!r}); run `make tables` again") from error
    listed = read_records(path.with_suffix(".jsonl.gz"))
    cells = {category: _cell(category, items.get(category, 0), listed) for category in CATEGORIES}
    unsound = [record for record in listed if not is_sound(record.id, summary["identity"]["release"])]
    sound = {category: _without(cells[category], category, unsound) for category in CATEGORIES}
    counted = {c: n for c in CATEGORIES if (n := sum(record.category == c for record in listed))}
    if any(n > items.get(category, 0) for category, n in counted.items()):
        raise EnvtuneError(f"{path}: its records are not those it speaks of ({counted}, not {dict(items)})")
    return RunRow(summary, cells, sound)


def _cell(category: str, items: int, records: Iterable[Record]) -> Cell:
    of_it = [record for record in records if record.category == category]
    outcomes = [record.outcome for record in of_it]
    over_budget = sum(record.is_over_budget for record in of_it)
    return Cell(items, outcomes.count("passed"), outcomes.count("failed"), over_budget)


def _without(cell: Cell, category: str, records: Sequence[Record]) -> Cell:
    """The cell less these records. Items that have no record stay in it, as not run."""
    number = sum(record.category == category for record in records)
    less = _cell(category, number, records)
    return Cell(
        cell.items - less.items,
        cell.passed - less.passed,
        cell.failed - less.failed,
        cell.over_budget - less.over_budget,
    )


def _average(cells: Mapping[str, Cell]) -> float | None:
    values = [cells[category].accuracy for category in CATEGORIES]
    return None if None in values else sum(v for v in values if v is not None) / len(values)
