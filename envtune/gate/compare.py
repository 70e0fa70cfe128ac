"""Two sides -> the gate's report: the decision, the items that changed, the averages, and where both sides come from.

Every test and interval is of `envtune.statistics`; nothing is computed here but sums for the eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from envtune.gate.errors import Incomparable
from envtune.gate.sources import Side, check_comparable, is_same
from envtune.statistics.comparison import Comparison, Decision, decide
from envtune.statistics.intervals import Interval, macro_average
from envtune.statistics.outcomes import outcomes, pair
from envtune.statistics.power import POWER, detectable_drop


@dataclass(frozen=True)
class Origin:
    """Where a side's numbers come from. by_default: whether the checkpoint was chosen as the last; weights: their SHA-256,
    None where an endpoint served them; seeds: suite -> seeds; commits: "+" after one with uncommitted changes; dates: ISO
    8601, of the first and of the last repeat."""

    source: Path
    checkpoint: str
    by_default: bool
    model: str
    weights: str | None
    seeds: Mapping[str, Sequence[int]]
    commits: Sequence[str]
    dates: Sequence[str]


@dataclass(frozen=True)
class Line:
    """One test. baseline, candidate: shares of passes, over items and seeds, in 0..1; regressed: whether it rejects."""

    comparison: Comparison
    baseline: float
    candidate: float
    regressed: bool


@dataclass(frozen=True)
class Changed:
    """An item whose share of passes (over the seeds of a side) changed."""

    id: str
    stratum: str
    baseline: float
    candidate: float


@dataclass(frozen=True)
class Average:
    """Of a suite, the unweighted mean of its strata's shares, for both sides."""

    suite: str
    baseline: Interval
    candidate: Interval


@dataclass(frozen=True)
class Report:
    """What `envtune regress` says of records. could_regress: whether a candidate that passes nothing would be called a
    regression; with too few items, clusters or passes none is. detectable: the drop of the pooled rate, a share, that would
    be called a regression with probability `power`, None where none would. new: suites that only the candidate has, not
    compared; same: suites whose records are the same on both sides. lost, gained: largest change first."""

    level: float
    regressed: bool
    could_regress: bool
    detectable: float | None
    power: float
    new: Sequence[str]
    same: Sequence[str]
    lines: Sequence[Line]
    averages: Sequence[Average]
    lost: Sequence[Changed]
    gained: Sequence[Changed]
    baseline: Origin
    candidate: Origin


def compare(baseline: Side, candidate: Side, level: float = 0.05) -> Report:
    """The report at this level (the probability of a false alarm). Several suites: strata, ids and clusters are named
    "suite/...", and the pooled test is over all of them. Raises Incomparable."""
    if not 0 < level <= 0.5:
        raise Incomparable(f"--level {level} is no probability of a false alarm; give one above 0 and at most 0.5")
    check_comparable(baseline, candidate)
    tables = {suite: (outcomes_of(baseline, suite), outcomes_of(candidate, suite)) for suite in baseline.suites}
    several = len(tables) > 1
    pairs = pd.concat(
        [_named(pair(*both), suite if several else None) for suite, both in tables.items()], ignore_index=True
    )
    decision = decide(pairs, level=level)
    changed = [
        Changed(str(row.id), str(row.stratum), float(row.baseline), float(row.candidate))
        for row in pairs.itertuples(index=False)
        if row.candidate != row.baseline
    ]
    changed.sort(key=lambda item: (-abs(item.candidate - item.baseline), item.stratum, item.id))
    return Report(
        level=level,
        regressed=bool(decision.regressed),
        could_regress=bool(decide(pairs.assign(candidate=0.0), level=level).regressed),
        detectable=detectable_drop(pairs, level),
        power=POWER,
        new=[suite for suite in candidate.suites if suite not in baseline.suites],
        same=[suite for suite in baseline.suites if is_same(baseline.suites[suite], candidate.suites[suite])],
        lines=_lines(decision, pairs),
        averages=[_average(suite, *both) for suite, both in tables.items()],
        lost=[item for item in changed if item.candidate < item.baseline],
        gained=[item for item in changed if item.candidate > item.baseline],
        baseline=origin_of(baseline),
        candidate=origin_of(candidate),
    )


def outcomes_of(side: Side, suite: str) -> pd.DataFrame:
    """A suite's outcomes, one row an item and seed, as `envtune.statistics.outcomes` gives them."""
    return outcomes({repeat.summary.seed: repeat.records for repeat in side.suites[suite]})


def _named(pairs: pd.DataFrame, suite: str | None) -> pd.DataFrame:
    """With the suite before every name, so that those of two suites never meet."""
    if suite is None:
        return pairs
    return pairs.assign(**{name: f"{suite}/" + pairs[name].astype(str) for name in ("id", "stratum", "cluster")})


def _lines(decision: Decision, pairs: pd.DataFrame) -> list[Line]:
    """The pooled test first."""
    listed = []
    for comparison in (decision.pooled, *decision.strata):
        of_it = pairs if comparison is decision.pooled else pairs[pairs["stratum"] == comparison.stratum]
        shares = float(of_it["baseline"].mean()), float(of_it["candidate"].mean())
        listed.append(Line(comparison, *shares, comparison in decision.flagged))
    return listed


def _average(suite: str, baseline: pd.DataFrame, candidate: pd.DataFrame) -> Average:
    strata = list(dict.fromkeys(baseline["stratum"]))
    return Average(suite, macro_average(baseline, strata), macro_average(candidate, strata))


def origin_of(side: Side) -> Origin:
    """Model, weights, seeds, commits and dates of a side."""
    summaries = [repeat.summary for repeat in side.repeats]
    commits = (_commit(one.provenance) for one in summaries)
    dates = sorted(str(one.provenance["time"]) for one in summaries if one.provenance.get("time"))
    return Origin(
        source=side.source,
        checkpoint=side.checkpoint,
        by_default=side.by_default,
        model=str(side.identity["model"]),
        weights=side.identity.get("checkpoint_sha256"),
        seeds={suite: [repeat.summary.seed for repeat in repeats] for suite, repeats in side.suites.items()},
        commits=list(dict.fromkeys(commit for commit in commits if commit)),
        dates=list(dict.fromkeys(dates[:1] + dates[-1:])),
    )


def _commit(provenance: Mapping[str, Any]) -> str:
    commit = provenance.get("commit")
    return f"{commit}{'+' if provenance.get('dirty') else ''}" if commit else ""
