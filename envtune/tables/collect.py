"""Our side of the tables: from the folders of a run to results/<profile>/records/, and from there to runs.

records/<suite>/<checkpoint>.seed<k>.json      the summary of one repeat
records/<suite>/<checkpoint>.seed<k>.jsonl.gz  its records
records/left_out.json                          suite -> why the last evaluation went on without it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES, RELEASES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record, RunFolder
from envtune.evaluation.repeat import read_repeat, read_summary
from envtune.files import write_json, write_jsonl
from envtune.run_record.evaluations import BFCL_V3, EvaluationFolder, evaluation_folders
from envtune.tasks import is_sound

_LEFT_OUT = "left_out.json"


@dataclass(frozen=True)
class Cell:
    """One stratum of one run: items it was to play, and how they came out. over_budget: those of the failed whose
    conversation outgrew the model's context; credit: sum of the partial credit of those run, None where one has none."""

    items: int = 0
    passed: int = 0
    failed: int = 0
    over_budget: int = 0
    credit: float | None = None

    @property
    def not_run(self) -> int:
        """Items without a verdict."""
        return self.items - self.passed - self.failed

    @property
    def accuracy(self) -> float | None:
        """Percent of the items that passed; None unless every item was run."""
        return 100 * self.passed / self.items if self.items and not self.not_run else None

    @property
    def score(self) -> float | None:
        """Mean partial credit, in 0..1; None unless every item was run and has one."""
        return self.credit / self.items if self.credit is not None and self.items and not self.not_run else None


@dataclass(frozen=True)
class Run:
    """One repeat of one suite on one checkpoint. summary: as in its summary.json; cells: stratum -> Cell, of bfcl-v3 always
    all categories; sound: the same, of the tasks that the list of known defects leaves as sound (bfcl-v3 alone); records: what
    both are counted from; unsound: ids of those that are in `cells` alone."""

    suite: str
    checkpoint: str
    seed: int
    summary: Mapping[str, Any]
    cells: Mapping[str, Cell]
    sound: Mapping[str, Cell]
    records: tuple[Record, ...] = ()
    unsound: frozenset[str] = frozenset()

    @property
    def about(self) -> Mapping[str, Any]:
        """What the run was told of itself: profile, checkpoint, training steps, split, notes."""
        return self.summary["about"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its records mean: protocol, items, model, decoding."""
        return self.summary["identity"]


def copy_records(evaluation: Path, checkpoints: Iterable[str], records: Path) -> None:
    """Copy records and summaries of these checkpoints from a run's `evaluation` folder into the folder `records`.

    Copies that the run does not have (any more) are removed, and of a checkpoint only what was measured of the weights
    that were measured last is taken, so that a table never mixes two runs. Raises EnvtuneError when a summary and its
    records do not belong together, before anything is written.
    """
    kept = set()
    wanted = set(checkpoints)
    found = [(one, RunFolder(one.path)) for one in evaluation_folders(evaluation) if one.checkpoint in wanted]
    read = [(one, folder, summary) for one, folder in found if (summary := folder.read_summary()) is not None]
    last = _last_weights(read)
    taken = [
        (one, read_repeat(read_summary(folder.summary_path, folder.records_path), partial=True))
        for one, folder, summary in read
        # else it never ran to the end of a session, or is of other weights
        if "strata" in summary and summary["identity"]["checkpoint_sha256"] == last[one.checkpoint]
    ]
    for one, repeat in taken:
        path = records / one.suite / f"{one.checkpoint}.seed{one.seed or 0}.json"
        write_jsonl(path.with_suffix(".jsonl.gz"), [record.as_dict() for record in repeat.records])
        write_json(path, repeat.summary.data)
        kept |= {path, path.with_suffix(".jsonl.gz")}
    if (evaluation / _LEFT_OUT).is_file():
        write_json(records / _LEFT_OUT, json.loads((evaluation / _LEFT_OUT).read_text(encoding="utf-8")))
        kept.add(records / _LEFT_OUT)
    _remove_others(records, kept)


def _last_weights(read: Iterable[tuple[EvaluationFolder, RunFolder, Mapping[str, Any]]]) -> dict[str, str | None]:
    """Checkpoint -> hash of the weights in the summary that was begun last."""
    times: dict[str, str] = {}
    weights: dict[str, str | None] = {}
    for one, _, summary in read:
        time = str(summary["provenance"].get("time"))
        if time >= times.get(one.checkpoint, ""):
            times[one.checkpoint], weights[one.checkpoint] = time, summary["identity"]["checkpoint_sha256"]
    return weights


def _remove_others(records: Path, kept: set[Path]) -> None:
    """Empty the folder of all but these files."""
    for path in list(records.iterdir()) if records.is_dir() else []:
        if path.is_dir():
            _remove_others(path, kept)
            if not any(path.iterdir()):
                shutil.rmtree(path)
        elif path not in kept:
            path.unlink()


def read_runs(records: Path) -> list[Run]:
    """Every run in `records`: suites by name, checkpoints in the order start, stage1, stage2, ..., seeds ascending.

    Raises EnvtuneError when a summary and its records do not belong together (`envtune.evaluation.repeat`).
    """
    runs = [_read_run(path) for path in records.glob("*/*.json")]
    return sorted(runs, key=lambda run: (run.suite, run.checkpoint != "start", run.checkpoint, run.seed))


def read_left_out(records: Path) -> dict[str, str]:
    """Suite -> why it could not be had in the last evaluation."""
    path = records / _LEFT_OUT
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(suite): str(reason) for suite, reason in said.items()}
    except (ValueError, AttributeError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); run `make tables` again") from error


def _read_run(path: Path) -> Run:
    repeat = read_repeat(read_summary(path, path.with_suffix(".jsonl.gz")), partial=True)
    one, listed = repeat.summary, repeat.records
    release = str(one.identity.get("release"))
    if one.suite != path.parent.name or (one.suite == BFCL_V3 and release not in RELEASES):
        raise EnvtuneError(f"{path} is of {one.suite!a}, release {release!a}; run `make tables` again")
    cells = {
        stratum: _cell(_of(stratum, listed))
        for stratum in (CATEGORIES if one.suite == BFCL_V3 else one.identity["items"])
    }
    sound, unsound = {}, frozenset[str]()
    if one.suite == BFCL_V3:
        unsound = frozenset(record.id for record in listed if not is_sound(record.id, release))
        sound = {c: _cell([record for record in _of(c, listed) if record.id not in unsound]) for c in CATEGORIES}
    return Run(one.suite, one.checkpoint, one.seed, one.data, cells, sound, tuple(listed), unsound)


def _of(stratum: str, records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.stratum == stratum]


def _cell(records: Sequence[Record]) -> Cell:
    outcomes = [record.outcome for record in records]
    scores = [record.score for record in records if record.outcome != "not_run"]
    credit = None if None in scores else sum(score for score in scores if score is not None)
    over_budget = sum(record.is_over_budget for record in records)
    return Cell(len(records), outcomes.count("passed"), outcomes.count("failed"), over_budget, credit)
