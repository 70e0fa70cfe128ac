"""Runs of a model whose rates are known, to measure intervals and tests on.

The model (probit, with random effects): in a run an item passes when

    sqrt(h) difficulty + sqrt(1 - h) noise  <  the normal quantile of the rate

    difficulty = sqrt(a) of its cluster + sqrt(1 - a) of its own, the same in every run of every checkpoint
    noise      = sqrt(b) of its cluster + sqrt(1 - b) of its own, anew in every run

all of them standard normal. h is such that at no change 30 % (`churn`) of the passes of one run fail in the next, as
sampling at a temperature does. a (`shared_difficulty`) makes clusters differ; it cancels between two checkpoints. b
(`shared_noise`) makes a whole cluster fall or rise in one run, as when a bad write to the memory meets all
questions of its scenario; it is what McNemar's test does not know of. A drop of 20 % multiplies every rate by 0.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import binomtest, multivariate_normal, norm

SUITE_NOISE = 0.2  # shared_noise where it is not zero
SHARED_DIFFICULTY = 0.2


@dataclass(frozen=True)
class Stratum:
    """clusters: the cluster of each of its items."""

    name: str
    rate: float
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """A suite and its noise; see above."""

    strata: tuple[Stratum, ...]
    shared_difficulty: float = 0.0
    shared_noise: float = 0.0
    churn: float = 0.3

    @property
    def items(self) -> pd.DataFrame:
        """Columns id, stratum, cluster."""
        rows = [(f"{s.name}_{n}", s.name, cluster) for s in self.strata for n, cluster in enumerate(s.clusters)]
        return pd.DataFrame(rows, columns=["id", "stratum", "cluster"])

    @property
    def average(self) -> float:
        """The true unweighted mean of the rates."""
        return float(np.mean([stratum.rate for stratum in self.strata]))

    def clustered(self, noise: float = SUITE_NOISE) -> Design:
        """With clusters that matter."""
        return replace(self, shared_difficulty=SHARED_DIFFICULTY, shared_noise=noise)

    def independent(self) -> Design:
        """With each item a cluster of its own."""
        alone = [replace(s, clusters=tuple(f"{s.name}_{n}" for n in range(len(s.clusters)))) for s in self.strata]
        return Design(tuple(alone), churn=self.churn)


def crossed(prefix: str, rates: Sequence[float], items: int) -> tuple[Stratum, ...]:
    """Strata that ask the same questions, each question a cluster over all of them."""
    names = tuple(f"{prefix}:{n}" for n in range(items))
    return tuple(Stratum(f"{prefix}_{k}", rate, names) for k, rate in enumerate(rates))


def nested(prefix: str, rates: Sequence[float], items: int, clusters: int = 5) -> tuple[Stratum, ...]:
    """Strata whose items fall into a few clusters (scenarios) of their own."""
    return tuple(
        Stratum(f"{prefix}_{k}", rate, tuple(f"{prefix}_{k}:{n % clusters}" for n in range(items)))
        for k, rate in enumerate(rates)
    )


# Rates: the paper's Llama-3.1-8B-Instruct + Environment Tuning, Tables 1 and 2, scaled to 520 items in all.
TABLE1 = (0.282, 0.2585, 0.2215, 0.368)
WEB, MEMORY = (0.24, 0.06), (0.1742, 0.2645, 0.1032)
IN_DISTRIBUTION = Design(crossed("bfcl", TABLE1, 130))
OUT_OF_DISTRIBUTION = Design(crossed("web", WEB, 80) + nested("memory", MEMORY, 120))
# ToolACE-2 as released, the row of Table 2 with the highest rates.
STRONGEST_OUT = Design(crossed("web", (0.13, 0.05), 80) + nested("memory", (0.071, 0.2452, 0.3677), 120))


@cache
def persistence(rate: float, churn: float) -> float:
    """h of the model."""
    cut = norm.ppf(rate)

    def excess(h: float) -> float:
        both = multivariate_normal.cdf([cut, cut], cov=[[1, h], [h, 1]])
        return float(both - (1 - churn) * rate)

    return float(brentq(excess, 0.0, 0.9999))


def passes(design: Design, seed: int, times: int, drops: Sequence[float]) -> np.ndarray:
    """Times x runs x items: what each run passes; drops: of each run, by how much of itself every rate is lower."""
    rng, items = np.random.default_rng(seed), design.items
    cluster, names = pd.factorize(items["cluster"])
    sizes = [len(stratum.clusters) for stratum in design.strata]
    rates = np.repeat([stratum.rate for stratum in design.strata], sizes)
    h = np.repeat([persistence(stratum.rate, design.churn) for stratum in design.strata], sizes)

    def effects(share: float, runs: int) -> np.ndarray:
        common = rng.standard_normal((times, runs, len(names)))[..., cluster]
        return np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal((times, runs, len(items)))

    difficulty, noise = effects(design.shared_difficulty, 1), effects(design.shared_noise, len(drops))
    return np.sqrt(h) * difficulty + np.sqrt(1 - h) * noise < norm.ppf(rates * (1 - np.asarray(drops)[:, None]))


def outcome_tables(design: Design, seed: int, times: int, runs: int = 1) -> Iterator[pd.DataFrame]:
    """`times` tables as `envtune.statistics.outcomes.outcomes` gives them."""
    items = design.items
    whole = pd.concat([items] * runs, ignore_index=True)
    whole.insert(0, "seed", np.repeat(range(runs), len(items)))
    for passed in passes(design, seed, times, [0.0] * runs):
        yield whole.assign(passed=passed.ravel())


def pair_tables(
    design: Design, seed: int, times: int, drop: float = 0.0, runs: tuple[int, int] = (1, 1)
) -> Iterator[pd.DataFrame]:
    """`times` tables as `envtune.statistics.outcomes.pair` gives them; runs: of the baseline and of the candidate."""
    items = design.items
    for passed in passes(design, seed, times, [0.0] * runs[0] + [drop] * runs[1]):
        yield items.assign(baseline=passed[: runs[0]].mean(axis=0), candidate=passed[runs[0] :].mean(axis=0))


@dataclass(frozen=True)
class Share:
    """How often something happened, with the exact binomial interval (99 %) of what that says of its probability."""

    count: int
    times: int

    @property
    def value(self) -> float:
        """0..1."""
        return self.count / self.times

    @property
    def bounds(self) -> tuple[float, float]:
        """Clopper and Pearson's."""
        interval = binomtest(self.count, self.times).proportion_ci(0.99, "exact")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{self.count}/{self.times} = {self.value:.3f} (99 % interval {low:.3f} to {high:.3f})"
