"""Intervals of a rate, of an average of rates, and of a paired difference.

One run over independent items has Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, Statistical
Science 16:101). Its coverage is that of a discrete distribution: it swings with the true rate about the nominal
value, the more the fewer the items, and no interval is free of that.

Everything else is Wilson's interval with an effective sample size (Korn and Graubard 1998, Survey Methodology 24:193;
Dean and Pagano 2015, Journal of Survey Statistics and Methodology 3:484): the number of independent items that would
have the estimate's variance. The variance is

- between clusters, by linearisation, with clusters / (clusters - 1) in each stratum: what items of a cluster have in
  common is in it, across strata as well, and so is the noise of every run;
- plus, with several seeds, what the runs differ by beyond that noise (the moments of the two-way random effects model,
  Searle, Casella and McCulloch 1992, chapter 4), where that is above zero;
- never below that of independent trials.

The quantile is Student's, with clusters - strata degrees of freedom, fewer when the seeds matter (Satterthwaite 1946);
the normal one where the interval of independent trials is the wider. Bootstraps of clusters were tried and are too
short with few clusters: tests/statistics/test_coverage_clustered.py has the figures.

A stratum whose clusters all pass alike (all passed, none passed, or it is one cluster) shows no variance, which is no
sign that it has none. It has Wilson's interval with its own clusters for the sample: that is what its items would
amount to if each cluster stood or fell as one, the least that the data could hold. In an average, this interval and
that of the strata which do vary are put together by their distances from the estimates, as the root of the sum of
squares (MOVER, Zou and Donner 2008, Statistics in Medicine 27:1693).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas import DataFrame
from scipy.special import ndtr, ndtri, stdtrit  # quantiles, far faster than those of scipy.stats
from statsmodels.stats.proportion import proportion_confint

from envtune.errors import EnvtuneError
from envtune.statistics.outcomes import runs_behind


@dataclass(frozen=True)
class Interval:
    """estimate, low, high: shares in 0..1 (a difference: in -1..1); level: nominal coverage; method: for a table's
    foot."""

    estimate: float
    low: float
    high: float
    level: float
    method: str

    @property
    def width(self) -> float:
        """high - low, a share."""
        return self.high - self.low


def wilson(passed: int, items: int, level: float = 0.95) -> Interval:
    """Wilson's interval of passed/items, for independent items. Raises EnvtuneError without items."""
    if not 0 <= passed <= items or items < 1:
        raise EnvtuneError(f"{passed} passed of {items} items is no rate; give at least one item")
    return _wilson(passed / items, items, level, float(ndtri((1 + level) / 2)), "Wilson")


def rate(outcomes: DataFrame, level: float = 0.95) -> Interval:
    """Of one stratum's `outcomes`: Wilson's where each cluster is one item and there is one seed, else by clusters.

    Coverage of the latter, nominal 95 %, in simulations: tests/statistics/test_coverage_clustered.py. With 5 clusters
    it is wide, and at few items above 97 %.
    """
    strata = outcomes["stratum"].unique()
    if len(strata) != 1:
        raise EnvtuneError(f"a rate is of one stratum, not of {len(strata)}; use the average for several")
    if outcomes["seed"].nunique() == 1 and outcomes["cluster"].is_unique:
        return wilson(int(outcomes["passed"].sum()), len(outcomes), level)
    return macro_average(outcomes, [str(strata[0])], level)


def macro_average(outcomes: DataFrame, strata: Sequence[str], level: float = 0.95) -> Interval:
    """The unweighted mean of the rates of these strata. Clusters are taken over the whole suite, as one may lie in
    several strata. Raises EnvtuneError when a stratum has no outcome."""
    strata = list(dict.fromkeys(strata))
    present = set(outcomes["stratum"].unique())
    if absent := [stratum for stratum in strata if stratum not in present] or ([] if strata else ["any stratum"]):
        raise EnvtuneError(f"there are no outcomes of {', '.join(absent)}; leave it out of the average or evaluate it")
    table = outcomes[outcomes["stratum"].isin(strata)] if present - set(strata) else outcomes
    by_cluster = table.groupby(["stratum", "cluster"], sort=True)["passed"].mean().groupby("stratum", sort=True)
    varies = by_cluster.max() - by_cluster.min() > 1e-12
    parts = [(1, _of_clusters(table[table["stratum"] == name], level)) for name in varies.index[~varies]]
    if varies.any():
        varying = table if varies.all() else table[table["stratum"].isin(varies.index[varies])]
        parts.append((int(varies.sum()), _cluster_robust(varying, level)))
    return parts[0][1] if len(parts) == 1 else _together(parts, table["cluster"].nunique())


def _of_clusters(table: DataFrame, level: float) -> Interval:
    """Of a stratum whose clusters all pass alike: they are the sample."""
    clusters, normal = table["cluster"].nunique(), float(ndtri((1 + level) / 2))
    return _wilson(float(table["passed"].mean()), clusters, level, normal, f"Wilson, n = {clusters} clusters")


def _cluster_robust(table: DataFrame, level: float) -> Interval:
    """Of the average of strata in each of which clusters differ."""
    parts = _Parts.of(table)
    estimate = parts.estimate
    normal, student = float(ndtri((1 + level) / 2)), float(stdtrit(parts.freedom, (1 + level) / 2))
    variance, quantile = max(
        ((parts.variance, student), (parts.independent, normal)), key=lambda way: way[0] * way[1] ** 2
    )
    size = max(estimate * (1 - estimate) / variance, 1.0)
    return _wilson(estimate, size, level, quantile, f"cluster-robust Wilson, {parts.clusters} clusters")


def _together(parts: Sequence[tuple[int, Interval]], clusters: int) -> Interval:
    """The mean of averages over so many strata each, taken for independent (MOVER)."""
    shares = np.array([number for number, _ in parts]) / sum(number for number, _ in parts)
    estimates, lows, highs = np.array([(one.estimate, one.low, one.high) for _, one in parts]).T
    estimate = float(shares @ estimates)
    below, above = (float(np.linalg.norm(shares * (end - estimates))) for end in (lows, highs))
    method = f"Wilson by parts (MOVER), {clusters} clusters"
    return Interval(estimate, max(0.0, estimate - below), min(1.0, estimate + above), parts[0][1].level, method)


def paired_difference(pairs: DataFrame, level: float = 0.95) -> Interval:
    """Candidate minus baseline, mean over the items of `pairs`, by clusters.

    The interval of Agresti and Min (2005, Statistics in Medicine 24:729): Wald's after half a count is added to each of
    the four cells, a loss, a gain, and no change in two ways; its variance is multiplied by the clusters' design
    effect, and its quantile is Student's. Where next to nothing changed it is wide, as it should be: coverage is then
    near 100 %.
    """
    cluster, _ = pd.factorize(pairs["cluster"], sort=True)
    return difference(pairs["baseline"].to_numpy(float), pairs["candidate"].to_numpy(float), cluster, level)


def difference(before: np.ndarray, after: np.ndarray, cluster: np.ndarray, level: float = 0.95) -> Interval:
    """`paired_difference` of arrays, one value an item; cluster: its number, from 0."""
    runs = runs_behind(before), runs_behind(after)
    unit = int(np.lcm(*runs))
    change = np.rint((after - before) * unit)  # whole numbers, so that sums do not depend on the order of rows
    items, sizes = len(change), np.bincount(cluster)
    clusters = len(sizes)
    estimate, square = float(change.sum()) / items / unit, float(change @ change) / items / unit**2
    spread = square - estimate**2
    normal = float(ndtri((1 + level) / 2)) ** 2
    widening = normal * items / clusters  # the square of the quantile, times the design effect
    if clusters > 1 and spread > 1e-12:
        sums = np.bincount(cluster, change) / unit - estimate * sizes
        effect = float(sums @ sums) * clusters / (clusters - 1) / items / spread
        widening = max(normal, effect * float(stdtrit(clusters - 1, (1 + level) / 2)) ** 2)
    each = 2 / (1 / runs[0] + 1 / runs[1])  # runs of a side, harmonic mean
    trials = items * each
    centre = estimate * trials / (trials + 2)
    variance = ((each * square * trials + 1) / (trials + 2) - each * centre**2) / (trials + 2)
    half = float(np.sqrt(widening * max(0.0, variance)))
    low, high = max(-1.0, min(centre - half, estimate)), min(1.0, max(centre + half, estimate))
    return Interval(estimate, low, high, level, f"cluster-robust Agresti-Min, {clusters} clusters")


def _wilson(estimate: float, size: float, level: float, quantile: float, method: str) -> Interval:
    """Wilson's interval for a sample of this (effective) size, with this quantile in the normal one's place."""
    low, high = proportion_confint(estimate * size, size, alpha=2 * ndtr(-quantile), method="wilson")
    low, high = max(0.0, min(float(low), estimate)), min(1.0, max(float(high), estimate))
    return Interval(estimate, low, high, level, method)


@dataclass(frozen=True)
class _Parts:
    """estimate: an average of strata's rates; variance: its; independent: what the variance would be with independent
    trials; freedom: degrees of freedom; clusters: their number."""

    estimate: float
    variance: float
    independent: float
    freedom: float
    clusters: int

    @staticmethod
    def of(table: DataFrame) -> _Parts:
        """Of all strata in the table, each of at least two clusters; every item has as many seeds as the others."""
        codes, names = zip(
            *(pd.factorize(table[name], sort=True) for name in ("cluster", "seed", "stratum")), strict=True
        )
        shape = clusters, seeds, strata = tuple(len(of_column) for of_column in names)
        cell = np.ravel_multi_index(codes, shape)
        trials = np.bincount(cell, minlength=np.prod(shape)).reshape(shape)
        passed = np.bincount(cell, table["passed"].to_numpy(float), np.prod(shape)).reshape(shape)
        of_stratum = trials.sum(axis=(0, 1))
        shares = passed.sum(axis=(0, 1)) / of_stratum
        estimate = float(shares.mean())
        independent = float((shares * (1 - shares) / of_stratum).sum() / strata**2)
        within = (trials.sum(axis=1) > 0).sum(axis=0)  # clusters of a stratum
        influence = (passed - trials * shares) @ (np.sqrt(within / (within - 1)) / of_stratum / strata)
        between, runs = float((influence.sum(axis=1) ** 2).sum()), _between_runs(influence)
        freedom = float(max(1, clusters - strata))
        if runs > 0:
            freedom = (between + runs) ** 2 / (between**2 / freedom + runs**2 / (seeds - 1))
        return _Parts(estimate, between + runs, independent, freedom, clusters)


def _between_runs(influence: np.ndarray) -> float:
    """What runs differ by beyond the noise of their clusters; influence: on the estimate, clusters x seeds."""
    clusters, seeds = influence.shape
    if seeds < 2:
        return 0.0
    noise = influence - influence.mean(axis=1, keepdims=True) - influence.mean(axis=0, keepdims=True) + influence.mean()
    by_chance = (noise**2).sum() * clusters / (clusters - 1)
    return max(0.0, float((influence.sum(axis=0) ** 2).sum() - by_chance) * seeds / (seeds - 1))
