"""A training run against reference runs: has it reached what they reached?

As MLPerf's reference convergence points do, a new run is held to the distribution of runs that are known to be good, not to
one number. With n reference runs of mean m and standard deviation s, the next run of the same kind lies on the bad side of

    m -+ t(1 - level / k, n - 1) * s * sqrt(1 + 1 / n)          k: number of metrics (Bonferroni)

with probability level / k: the one-sided prediction bound for one new observation (Hahn and Meeker, Statistical Intervals,
section 4.8), which takes the values as normal. With three runs the bound is far out; more runs and fewer metrics bring it
nearer. A bound below zero, where no share or reward of ours can be, fails nothing; that is said.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from envtune.gate.errors import Incomparable
from envtune.gate.reference import Metric, Reference, TrainingRun, check_setting

LEAST_RUNS = 3


@dataclass(frozen=True)
class Judged:
    """One metric. value: the candidate's, None when it never got there; bound: on the side that is worse; mean, sd (n - 1):
    of the reference runs; lower_is_better: which side that is; regressed: whether the value lies beyond the bound;
    could_regress: whether any value that the metric can have does."""

    label: str
    value: float | None
    bound: float
    mean: float
    sd: float
    runs: int
    lower_is_better: bool
    regressed: bool
    could_regress: bool


@dataclass(frozen=True)
class TrainingReport:
    """What `envtune regress --training` says. status: of the run; a collapsed one has regressed, whatever it reached."""

    level: float
    regressed: bool
    status: str
    metrics: Sequence[Judged]
    candidate: Mapping[str, Any]
    references: Sequence[Mapping[str, Any]]


def judge(run: TrainingRun, reference: Reference, level: float = 0.05) -> TrainingReport:
    """Raises Incomparable when the run is of another setting, when it lacks a value, when there are fewer than three
    reference runs, or when they differ so much that no value of any metric could fail."""
    if not 0 < level <= 0.5:
        raise Incomparable(f"--level {level} is no probability of a false alarm; give one above 0 and at most 0.5")
    check_setting(run, reference)
    if len(reference.runs) < LEAST_RUNS:
        raise Incomparable(
            f"{reference.path} has too few reference runs ({len(reference.runs)}, and {LEAST_RUNS} are needed); add some "
            "with --add-reference"
        )
    collapsed = run.record["run"]["status"] == "collapsed"
    of_each = level / len(reference.metrics)
    judged = [] if collapsed else [_judge(run, metric, reference, of_each) for metric in reference.metrics]
    if judged and not any(one.could_regress for one in judged):
        bounds = ", ".join(f"{one.label} {one.bound:.4g}" for one in judged)
        raise Incomparable(
            f"{reference.path}: no value of any metric could fail (bounds: {bounds}); add reference runs with "
            "--add-reference, or keep fewer metrics"
        )
    told, code = run.record["run"], run.record["code"]
    return TrainingReport(
        level=level,
        regressed=collapsed or any(one.regressed for one in judged),
        status=told["status"],
        metrics=judged,
        candidate={"run": told["name"], "seed": told["seed"], "commit": code.get("commit"), "date": told.get("ended")},
        references=[{key: one[key] for key in ("run", "seed", "commit", "date")} for one in reference.runs],
    )


def prediction_bound(values: Sequence[float], level: float, lower_is_better: bool) -> float:
    """The one-sided bound above, beyond which one more value of this sample (at least two) lies with probability `level`."""
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    width = float(stats.t.ppf(1 - level, len(values) - 1)) * sd * math.sqrt(1 + 1 / len(values))
    return mean + width if lower_is_better else mean - width


def _judge(run: TrainingRun, metric: Metric, reference: Reference, level: float) -> Judged:
    values = [float(one["values"][metric.label]) for one in reference.runs]
    value = run.value(metric)
    if value is None and metric.reach is None:
        raise Incomparable(f"{run.folder} reports no {metric.label}; judge a run that does, or remove the metric")
    bound = prediction_bound(values, level, metric.lower_is_better)
    slack = 1e-9 * max(1.0, abs(bound))  # equal runs have no spread, and their mean may be off in the last digit
    beyond = value is None or (value > bound + slack if metric.lower_is_better else value < bound - slack)
    return Judged(
        label=metric.label,
        value=value,
        bound=bound,
        mean=statistics.fmean(values),
        sd=statistics.stdev(values),
        runs=len(values),
        lower_is_better=metric.lower_is_better,
        regressed=beyond,
        could_regress=metric.lower_is_better or bound - slack > 0,  # no share or reward of ours is below zero
    )
