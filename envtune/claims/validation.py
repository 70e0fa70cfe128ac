"""What the validations of a profile's runs measured on each held-out task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.figures.curves import RunAt, find_runs
from envtune.files import read_jsonl
from envtune.profile import Profile
from envtune.run_record.reading import read_object

MEASURES = ("format", "format_rate", "progress", "acc")
COLUMNS = ("run", "arm", "seed", "stage", "done", "step", "overall_step", "task", "cluster", *MEASURES)
_NUMBER = re.compile(r"_(\d+)$")


def read_validations(profile: Profile) -> pd.DataFrame:
    """A row a run, stage, step and held-out task, with the columns `COLUMNS`; a task's samples are averaged.

    done: whether the stage is, and was validated at its end (validations after that are left out); step: of the stage, 0:
    before it; overall_step: with the steps of the run's earlier stages; cluster: the tasks that BFCL made of one scenario
    (they share its number, and so much of what decides how hard they are). Raises EnvtuneError on a file that cannot be read.
    """
    rows = [row for run in find_runs(profile) for row in _rows(run)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    keys = [name for name in COLUMNS if name not in MEASURES]
    return table.groupby(keys, sort=False, as_index=False).mean()


def _rows(run: RunAt) -> Iterator[tuple[Any, ...]]:
    before = 0
    for stage in ARMS[run.arm].stages:
        folder = run.folder / stage.name
        files = {int(path.stem): path for path in (folder / "validation").glob("*.jsonl")}
        end = (read_object(folder / "done.json") or {}).get("steps")
        if end is not None:  # a stage whose gate ended it may have gone on for a few steps
            files = {step: path for step, path in files.items() if step <= int(end)}
        done = end is not None and max(files, default=-1) == int(end)
        for step, path in sorted(files.items()):
            for task, values in _read(path):
                cluster = _NUMBER.search(task)
                place = (run.folder.name, run.arm, run.seed, stage.name, done, step, before + step)
                yield (*place, task, cluster[1] if cluster else task, *values)
        before += max(files, default=0) if end is None else int(end)


def _read(path: Path) -> Iterator[tuple[str, list[float]]]:
    for line, row in read_jsonl(path):
        try:
            yield str(row["task_id"]), [float(row[name]) for name in MEASURES]
        except (KeyError, TypeError, ValueError) as error:
            raise EnvtuneError(
                f"{path}, line {line}: is no validation of this kit ({error!r}); remove the file and train again"
            ) from error
