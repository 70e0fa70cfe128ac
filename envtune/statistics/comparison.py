"""A candidate against a baseline on the same items: does it pass less?

`decide` tests all items together (pooled) and each stratum. Testing both at the full level raises a false alarm in 6
to 8 % of comparisons of a model with itself (simulated: tests/statistics/test_false_alarms.py). So the level is
shared:

- nine tenths go to the pooled test, which has nearly all the power against a drop everywhere;
- one tenth goes to the strata, corrected by Holm (1979, Scandinavian Journal of Statistics 6:65), for a collapse in one
  stratum that gains elsewhere hide;
- when the pooled test rejects, its share passes on to the strata, which then have the whole level: they say where.
  This is the fallback procedure (Wiens 2003, Pharmaceutical Statistics 2:211). It keeps the probability of any false
  rejection within the level, whatever the strata have in common.

With one stratum there is one test, at the whole level. Adjusted p-values hold all of that: compare them with the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pandas import DataFrame

from envtune.errors import EnvtuneError
from envtune.statistics.intervals import Interval, difference, paired_difference
from envtune.statistics.outcomes import runs_behind
from envtune.statistics.sign_flip import Alternative, least_midp, mcnemar_midp, sign_flip_midp

__all__ = ["Comparison", "Decision", "decide", "holm", "mcnemar_midp", "paired_difference"]

POOLED = "pooled"
POOLED_SHARE = 0.9  # of the level
_FEW = 10  # clusters; below, the least p that a sign-flip test can give is said


@dataclass(frozen=True)
class Comparison:
    """stratum: its name, or "pooled"; losses, gains: items that pass less often and more often than before; difference:
    candidate minus baseline; p: of this test alone; p_adjusted: to be compared with the level; method: of the test."""

    stratum: str
    items: int
    clusters: int
    losses: int
    gains: int
    difference: Interval
    p: float
    p_adjusted: float
    method: str


@dataclass(frozen=True)
class Decision:
    """regressed: whether the pooled test or any stratum's rejects at `level`."""

    regressed: bool
    level: float
    pooled: Comparison
    strata: tuple[Comparison, ...]

    @property
    def flagged(self) -> tuple[Comparison, ...]:
        """The comparisons that reject, the pooled one first."""
        return tuple(one for one in (self.pooled, *self.strata) if one.p_adjusted <= self.level)


def decide(pairs: DataFrame, level: float = 0.05, alternative: Alternative = "less") -> Decision:
    """The gate's decision on `pairs` (columns as `envtune.statistics.outcomes.pair` gives them).

    level: the probability that a model compared with itself is called worse; "two-sided": called different. Strata
    come in the order of their names. Raises EnvtuneError without pairs.
    """
    if not len(pairs):
        raise EnvtuneError("there are no pairs of outcomes to compare; evaluate both checkpoints first")
    stratum, names = pd.factorize(pairs["stratum"], sort=True)
    before, after = pairs["baseline"].to_numpy(float), pairs["candidate"].to_numpy(float)
    cluster, _ = pd.factorize(pairs["cluster"], sort=True)
    parts = [(POOLED, slice(None)), *((str(name), stratum == number) for number, name in enumerate(names))]
    found = [
        _compare(name, before[part], after[part], np.unique(cluster[part], return_inverse=True)[1], alternative)
        for name, part in parts
    ]
    adjusted = adjust(found[0].p, [comparison.p for comparison in found[1:]])
    pooled, *strata = (replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True))
    return Decision(min(adjusted) <= level, level, pooled, tuple(strata))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's method, in the order given.

    As statsmodels' multipletests, which collects all of Python's garbage in every call (0.1 s), too slow to simulate
    with.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def adjust(pooled: float, strata: Sequence[float]) -> list[float]:
    """Adjusted p-values of the fallback procedure: the pooled test's, then the strata's."""
    if len(strata) == 1:
        return [pooled, pooled]
    first = min(1.0, pooled / POOLED_SHARE)
    return [first, *(min(1.0, p / (1 - POOLED_SHARE), max(first, p)) for p in holm(strata))]


def _compare(
    stratum: str, before: np.ndarray, after: np.ndarray, cluster: np.ndarray, alternative: Alternative
) -> Comparison:
    """One test, not adjusted: McNemar's where each cluster is one item and each side one run, else sign flips."""
    runs = int(np.lcm(runs_behind(before), runs_behind(after)))
    change = np.rint((after - before) * runs).astype(int)
    clusters, losses, gains = int(cluster.max()) + 1, int((change < 0).sum()), int((change > 0).sum())
    if clusters == len(change) and runs == 1:
        p, method = mcnemar_midp(losses, gains, alternative), "McNemar, exact mid-p"
    else:
        sums = np.rint(np.bincount(cluster, change)).astype(int)
        p, method = sign_flip_midp(sums, alternative), f"sign flips of {clusters} clusters, exact mid-p"
        if clusters < _FEW:
            method += f" (at best {least_midp(clusters, alternative):.2g})"
    interval = difference(before, after, cluster)
    return Comparison(stratum, len(change), clusters, losses, gains, interval, p, p, method)
