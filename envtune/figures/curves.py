"""What the training runs of a profile reported, step by step, as one table.

The metrics, each with verl's key or what it is made of:

    accuracy               mean over the categories of `accuracy/<category>`, 0 to 1
    accuracy/<category>    val-core/<data source>/acc/mean@<n>: share of the validation tasks that pass, 0 to 1
    reward                 critic/score/mean, 0 to 1
    grad_norm              actor/grad_norm, before clipping
    kl                     actor/kl_loss: to the stage's start, in nats a token (low_var_kl)
    format_rate            episode/format_rate: share of replies that are well-formed, 0 to 1
    tool_error_rate        episode/tool_errors over episode/tool_calls: failed calls a call, 0 to 1
    hint_rate              episode/hints over episode/replies: hints a reply
    response_length        response_length/mean: tokens an episode after its prompt, the environment's included
    idle_share             rollout/idle_share: of the rollout's time, 0 to 1
    seconds/<part>         split/<part>_s: seconds of the step's wall clock (`envtune.training.time_split`)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from envtune.bfcl import CATEGORIES
from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.files import read_jsonl
from envtune.profile import Profile
from envtune.run_record import RECORD
from envtune.run_record.reading import Steps, number, read_object, read_steps
from envtune.training import gates

COLUMNS = ("run", "arm", "seed", "stage", "step", "overall_step", "metric", "value")
_AS_REPORTED = MappingProxyType(
    {
        "reward": "critic/score/mean",
        "grad_norm": "actor/grad_norm",
        "kl": "actor/kl_loss",
        "format_rate": "episode/format_rate",
        "response_length": "response_length/mean",
        "idle_share": "rollout/idle_share",
    }
)
_RATIOS = MappingProxyType(
    {
        "tool_error_rate": ("episode/tool_errors", "episode/tool_calls"),
        "hint_rate": ("episode/hints", "episode/replies"),
    }
)
_SECONDS = re.compile(r"split/(.+)_s")


@dataclass(frozen=True)
class RunAt:
    """A run that has begun, and where its files lie."""

    folder: Path
    arm: str
    seed: int


def find_runs(profile: Profile) -> list[RunAt]:
    """Every run of the profile that has begun, of whatever arm and seed: arms in the order of `ARMS`, seeds ascending.

    Raises EnvtuneError where a folder does not say which arm and seed it is of.
    """
    name = re.escape(profile.name)
    pattern = re.compile(rf"{name}(?:\.(?P<arm>{'|'.join(map(re.escape, ARMS))})\.seed(?P<seed>\d+))?")
    runs = profile.run_dir.parent
    found = []
    for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
        match = pattern.fullmatch(folder.name)
        if match and any(any(folder.glob(f"*/{what}")) for what in ("attempts", "metrics.jsonl")):
            found.append(_run_at(folder, match, profile))
    return sorted(found, key=lambda run: (list(ARMS).index(run.arm), run.seed))


def _run_at(folder: Path, match: re.Match[str], profile: Profile) -> RunAt:
    if match["arm"]:
        return RunAt(folder, match["arm"], int(match["seed"]))
    if folder == profile.run_dir:
        return RunAt(folder, profile.arm, profile.seed)
    said = (read_object(folder / RECORD) or {}).get("run") or {}
    if said.get("arm") not in ARMS or not isinstance(said.get("seed"), int):
        raise EnvtuneError(
            f"{folder} does not say its arm and seed; `envtune record --profile {profile.name}` writes it"
        )
    return RunAt(folder, said["arm"], said["seed"])


def read_curves(profile: Profile) -> pd.DataFrame:
    """All that the profile's runs reported, a row a run, step and metric, with the columns `COLUMNS`.

    step: of the stage, 0: a validation before training; overall_step: optimizer steps of the run up to it, those of
    earlier stages included; value: NaN where it was reported and is not finite. Empty without a run. Raises EnvtuneError
    on a file that cannot be read.
    """
    rows = [row for run in find_runs(profile) for row in _rows(run)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(run: RunAt) -> Iterator[tuple[Any, ...]]:
    before = 0
    for stage in ARMS[run.arm].stages:
        last = 0
        for step, data in stage_steps(run.folder / stage.name):
            last = max(last, step)
            for metric, value in step_metrics(step, data):
                yield run.folder.name, run.arm, run.seed, stage.name, step, before + step, metric, value
        before += last


def stage_steps(folder: Path) -> Steps:
    """(step, what verl reported) of the steps that count, in order: of a stage that is done, or of which nothing else is
    left, from its metrics.jsonl, else from its attempts (a later one may have begun since that file was written)."""
    path = folder / "metrics.jsonl"
    if not path.is_file() or (not (folder / "done.json").is_file() and (folder / "attempts").is_dir()):
        return read_steps(folder)
    steps = []
    for line, row in read_jsonl(path):
        try:
            steps.append((int(row["step"]), dict(row["data"])))
        except (KeyError, TypeError, ValueError) as error:
            raise EnvtuneError(f"{path}, line {line}: is no step ({error!r}); mend or remove that line") from error
    return sorted(steps, key=lambda step: step[0])


def step_metrics(step: int, data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(metric, value) of what one step reported; see above."""
    accuracy = gates.point(step, data).accuracy
    if accuracy is not None:
        yield "accuracy", accuracy
    for key, value in data.items():
        if match := gates.ACCURACY.fullmatch(key):
            yield f"accuracy/{_category(match[1])}", _finite(value)
        elif match := _SECONDS.fullmatch(key):
            yield f"seconds/{match[1]}", _finite(value)
    for metric, key in _AS_REPORTED.items():
        if key in data:
            yield metric, _finite(data[key])
    for metric, (part, whole) in _RATIOS.items():
        if number(data.get(part)) is not None and number(data.get(whole)):
            yield metric, data[part] / data[whole]


def _category(source: str) -> str:
    """The category that a data source is of; its own name when it is none of them."""
    return next((category for category in CATEGORIES if source.endswith(f"_{category}")), source)


def _finite(value: Any) -> float:
    known = number(value)
    return float("nan") if known is None else float(known)
