"""Reference runs of a profile, results/reference/<profile>.json: what training is expected to reach.

    {"schema": 1, "setting": what the runs share (profile, arm, BFCL release, split, starting weights),
     "metrics": [{"stage": "stage1", "name": "accuracy", "at": "end"}, ...],
     "runs": [{"run", "seed", "commit", "date", "machine", "values": {"stage1 accuracy at end": 0.31, ...}}, ...]}

A metric is a value at the end of a stage (at: "end") or at a step (at: 40), or the number of steps to a value (reach: 0.2).
A user edits the list of metrics; `envtune regress --training RUN --reference FILE --add-reference` adds runs to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from envtune.evaluation.repeat import read_object
from envtune.files import write_json
from envtune.gate.errors import Incomparable
from envtune.run_record import RECORD, read_run_record
from envtune.training import gates

SCHEMA_VERSION = 1
_KEYS = {"schema", "setting", "metrics", "runs"}
_RUN_KEYS = {"run", "seed", "commit", "date", "machine", "values"}
# metric -> verl's key in metrics.jsonl; accuracy is the mean over the validation's data sources
_VERL = (
    ("accuracy", None),
    ("reward", "critic/score/mean"),
    ("format_rate", "episode/format_rate"),
    ("grad_norm", "actor/grad_norm"),
    ("kl", "actor/kl_loss"),
    ("response_length", "response_length/mean"),
)
NAMES = tuple(name for name, _ in _VERL)
_MORE_IS_WORSE = ("grad_norm", "kl", "response_length")
_DEFAULT = ("accuracy", "format_rate")
_RESTORE = "restore it from the repository, or remove it and add the reference runs again"


@dataclass(frozen=True)
class Metric:
    """One number of a run. at: "end" or a step; reach: the value whose first step is meant, and then `at` is ""."""

    stage: str
    name: str
    at: str | int = "end"
    reach: float | None = None

    @property
    def label(self) -> str:
        """What reports and reference files call it."""
        if self.reach is not None:
            return f"{self.stage} steps to {self.name} {self.reach:g}"
        return f"{self.stage} {self.name} at {'end' if self.at == 'end' else f'step {self.at}'}"

    @property
    def lower_is_better(self) -> bool:
        """Of steps to a value, and of what grows when training goes wrong."""
        return self.reach is not None or self.name in _MORE_IS_WORSE

    def as_dict(self) -> dict[str, Any]:
        """As in the file."""
        how = {"at": self.at} if self.reach is None else {"reach": self.reach}
        return {"stage": self.stage, "name": self.name, **how}


@dataclass(frozen=True)
class Reference:
    """A reference file. setting: what every run must share; runs: as in the file."""

    path: Path
    setting: Mapping[str, Any]
    metrics: Sequence[Metric]
    runs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TrainingRun:
    """A run's record. folder: where the stages' folders lie; record: its run.json in today's schema."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def setting(self) -> dict[str, Any]:
        """What must be the same in two runs whose curves are compared; values are text or null."""
        run, stages = self.record["run"], self.record["stages"]
        start = (stages[0]["start"] or {}) if stages and isinstance(stages[0]["start"], dict) else {}
        return {
            "profile": run["profile"],
            "arm": run["arm"],
            "bfcl_version": (self.record["bfcl"] or {}).get("version"),
            "split_sha256": (self.record["split"] or {}).get("sha256"),
            "start_sha256": start.get("sha256"),
        }

    def value(self, metric: Metric) -> float | None:
        """Of a metric; None when the run did not report it, or never reached it. Raises Incomparable when a metric at a
        step is asked of a run whose stage has no metrics.jsonl, or that has no such stage."""
        stage = next((one for one in self.record["stages"] if one["name"] == metric.stage), None)
        if stage is None:
            raise Incomparable(
                f"{self.folder} has no stage {metric.stage!a}; remove the metric from the reference file"
            )
        if metric.at == "end" and metric.reach is None:
            told = stage["metrics"]
            for key in ("validation", "last", "accuracy") if metric.name == "accuracy" else (metric.name,):
                told = told.get(key) if isinstance(told, dict) else None
            return _finite(told)
        curve = [
            (step, value) for step, data in self._steps(metric.stage) if (value := _of_step(metric, data)) is not None
        ]
        if metric.reach is not None:
            return next((float(step) for step, value in curve if _has_reached(metric, value)), None)
        return dict(curve).get(int(metric.at))

    def _steps(self, stage: str) -> list[tuple[int, Mapping[str, Any]]]:
        from envtune.files import read_jsonl

        path, steps = self.folder / stage / "metrics.jsonl", []
        for number, row in read_jsonl(path):
            step, data = (row.get("step"), row.get("data")) if isinstance(row, dict) else (None, None)
            if type(step) is not int or not 0 <= step < 10**9 or not isinstance(data, dict):
                raise Incomparable(
                    f"{path}, line {number}: no step of training; run `envtune train` again to write it anew"
                )
            steps.append((step, data))
        return sorted(steps, key=lambda pair: pair[0])


def read_training_run(path: Path) -> TrainingRun:
    """The run in a folder, or whose run.json this is. Raises Incomparable unless it is finished or has collapsed."""
    file = path / RECORD if path.is_dir() else path
    read_object(file, "run `envtune record` for its profile to write it anew")
    try:
        record = read_run_record(file)
    except (RecursionError, OverflowError) as error:
        raise Incomparable(f"{file} cannot be read ({error}); `envtune record` writes it anew") from error
    if (status := record["run"]["status"]) not in ("finished", "collapsed"):
        raise Incomparable(f"{file} is of a run that is {status}; go on with it (`envtune train`) before it is judged")
    return TrainingRun(file.parent, record)


def read_reference(path: Path) -> Reference:
    """The file. Raises Incomparable where it is not as above."""
    data = read_object(path, _RESTORE)
    if data.get("schema") != SCHEMA_VERSION or set(data) != _KEYS:
        _refuse(path, f"its keys must be {', '.join(sorted(_KEYS))} and its schema {SCHEMA_VERSION}")
    if (
        not isinstance(data["setting"], dict)
        or not isinstance(data["metrics"], list)
        or not isinstance(data["runs"], list)
    ):
        _refuse(path, "setting must be an object, metrics and runs must be lists")
    metrics = [_metric(path, one) for one in data["metrics"]]
    labels = [metric.label for metric in metrics]
    if not metrics or len(set(labels)) < len(labels):
        _refuse(path, "it must name at least one metric, and each once")
    for run in data["runs"]:
        if not isinstance(run, dict) or set(run) != _RUN_KEYS or not isinstance(run["values"], dict):
            _refuse(path, f"each of its runs must have {', '.join(sorted(_RUN_KEYS))}")
        for label in labels:
            if _finite(run["values"].get(label)) is None:
                _refuse(path, f"its run {run['run']!a} has no number for {label!a}")
    return Reference(path, data["setting"], metrics, data["runs"])


def add_reference(run: TrainingRun, path: Path) -> int:
    """Add the run to the file, which is made (with the final accuracy and format rate of each stage) when it is not there;
    gives the number of its runs.

    Raises Incomparable for a run that is there already (run, commit and seed), of another setting, not finished, without a
    commit, or without a value for each metric.
    """
    status, told, code = run.record["run"]["status"], run.record["run"], run.record["code"]
    if status != "finished":
        raise Incomparable(f"{run.folder} has {status} and is no reference; add a run that is finished")
    if not code.get("commit"):
        raise Incomparable(f"{run.folder} does not say of which commit it is; a reference run must be traceable")
    if path.exists():
        reference = read_reference(path)
        check_setting(run, reference)
    else:
        reference = Reference(path, run.setting, _default_metrics(run), [])
    values = {metric.label: run.value(metric) for metric in reference.metrics}
    if missing := [label for label, value in values.items() if value is None]:
        raise Incomparable(
            f"{run.folder} has no value for {missing[0]!a}; a reference run must have one for each metric"
        )
    entry = {
        "run": told["name"],
        "seed": told["seed"],
        "commit": f"{code['commit']}{'+' if code.get('dirty') else ''}",
        "date": told.get("ended") or run.record["written"],
        "machine": run.record["hardware"],
        "values": values,
    }
    who = ("run", "commit", "seed")
    if any(all(entry[key] == other[key] for key in who) for other in reference.runs):
        raise Incomparable(f"{path} has the run {entry['run']} of this commit and seed already; add another run")
    runs = [*reference.runs, entry]
    listed = [metric.as_dict() for metric in reference.metrics]
    write_json(path, {"schema": SCHEMA_VERSION, "setting": dict(reference.setting), "metrics": listed, "runs": runs})
    return len(runs)


def check_setting(run: TrainingRun, reference: Reference) -> None:
    """Raises Incomparable unless the run is of the reference's setting."""
    names = {**run.setting, **reference.setting}
    if differing := [name for name in names if run.setting.get(name) != reference.setting.get(name)]:
        raise Incomparable(
            f"{run.folder} is of another setting than {reference.path} (not the same: {', '.join(differing)}); "
            "name the reference of its profile and arm"
        )


def _default_metrics(run: TrainingRun) -> list[Metric]:
    every = (Metric(stage["name"], name) for stage in run.record["stages"] for name in _DEFAULT)
    metrics = [metric for metric in every if run.value(metric) is not None]
    if not metrics:
        raise Incomparable(f"{run.folder} reports neither {' nor '.join(_DEFAULT)}; a reference needs one of them")
    return metrics


def _metric(path: Path, data: Any) -> Metric:
    if not isinstance(data, dict) or set(data) not in ({"stage", "name", "at"}, {"stage", "name", "reach"}):
        _refuse(path, "a metric has a stage, a name, and either at or reach")
    at, reach = data.get("at", ""), data.get("reach")
    right = _finite(reach) is not None if "reach" in data else at == "end" or (type(at) is int and at >= 0)
    if not isinstance(data["stage"], str) or data["name"] not in NAMES or not right:
        _refuse(path, f'names are {", ".join(NAMES)}; at is "end" or a step; reach is a number')
    return Metric(data["stage"], data["name"], at, None if reach is None else float(reach))


def _refuse(path: Path, why: str) -> NoReturn:
    raise Incomparable(f"{path} is no reference file: {why}; {_RESTORE}")


def _of_step(metric: Metric, data: Mapping[str, Any]) -> float | None:
    key = dict(_VERL)[metric.name]
    try:
        return gates.point(0, data).accuracy if key is None else _finite(data.get(key))
    except (ValueError, OverflowError) as error:
        raise Incomparable(
            f"a step's {metric.name} in {metric.stage} is no number ({error}); mend metrics.jsonl"
        ) from error


def _has_reached(metric: Metric, value: float) -> bool:
    reach = metric.reach if metric.reach is not None else math.inf
    return value <= reach if metric.name in _MORE_IS_WORSE else value >= reach


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        return None
    return float(value)
