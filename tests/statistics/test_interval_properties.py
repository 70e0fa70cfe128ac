"""Intervals: known values, what always holds, and data without variance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.simulated_runs import IN_DISTRIBUTION, Design, crossed, nested, outcome_tables, pair_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from envtune.errors import EnvtuneError
from envtune.statistics.intervals import macro_average, paired_difference, rate, wilson


def first(design: Design, runs: int = 1) -> pd.DataFrame:
    return next(iter(outcome_tables(design, seed=11, times=1, runs=runs)))


@pytest.mark.parametrize(
    ("passed", "items", "low", "high"),
    [(1, 20, 0.9, 23.6), (6, 30, 9.5, 37.3), (24, 100, 16.7, 33.2), (0, 20, 0, 16.1)],
)
def test_wilsons_interval_has_its_known_values(passed: int, items: int, low: float, high: float):
    interval = wilson(passed, items)
    assert (100 * interval.low, 100 * interval.high) == pytest.approx((low, high), abs=0.06)
    assert interval.method == "Wilson" and interval.level == 0.95


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_holds_its_estimate_and_grows_with_the_level(items: int, data: st.DataObject, level: float):
    passed = data.draw(st.integers(0, items))
    interval = wilson(passed, items, level)
    assert 0 <= interval.low <= interval.estimate == passed / items <= interval.high <= 1
    assert 0 < interval.width < wilson(passed, items, 0.999).width


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4), st.data())
@settings(max_examples=80, deadline=None)
def test_any_outcomes_have_an_interval_whatever_the_order_of_rows(
    items: int, seeds: int, clusters: int, data: st.DataObject
):
    names = [
        (f"i{n}", data.draw(st.sampled_from("ab")), f"c{data.draw(st.integers(1, clusters))}") for n in range(items)
    ]
    rows = [(seed, *name, data.draw(st.booleans())) for seed in range(seeds) for name in names]
    table = pd.DataFrame(rows, columns=["seed", "id", "stratum", "cluster", "passed"])
    strata = sorted(set(table["stratum"]))
    interval = macro_average(table, strata)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.width > 0
    assert interval.estimate == pytest.approx(table.groupby("stratum")["passed"].mean().mean())
    shuffled = table.sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    assert macro_average(shuffled, strata[::-1]) == interval


def test_one_run_of_independent_items_has_wilsons_interval():
    table = first(Design(crossed("web", [0.3], 50)))
    assert rate(table) == wilson(int(table["passed"].sum()), 50)
    assert rate(first(Design(crossed("web", [0.3], 50)), runs=2)).method == "cluster-robust Wilson, 50 clusters"


def test_with_many_clusters_the_interval_is_the_bootstraps():
    """scipy's bootstrap of whole clusters, where there are enough of them for it to be right."""
    design = Design(nested("memory", [0.3], 2000, clusters=500)).clustered()
    table = first(design)
    clusters = table.groupby("cluster")["passed"].mean().to_numpy()  # of equal size
    found = bootstrap((clusters,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    interval = rate(table)
    assert (interval.low, interval.high) == pytest.approx(tuple(found.confidence_interval), abs=0.003)


def test_with_many_clusters_the_interval_of_a_difference_is_the_bootstraps():
    design = Design(nested("memory", [0.3], 2000, clusters=500)).clustered()
    pairs = next(iter(pair_tables(design, seed=3, times=1, drop=0.2)))
    change = (pairs["candidate"] - pairs["baseline"]).groupby(pairs["cluster"]).mean().to_numpy()
    found = bootstrap((change,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    interval = paired_difference(pairs)
    assert (interval.low, interval.high) == pytest.approx(tuple(found.confidence_interval), abs=0.003)


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("runs", [1, 3])
def test_without_variance_the_clusters_are_the_sample(passed: bool, runs: int):
    table = first(Design(nested("memory", [0.2], 155)), runs).assign(passed=passed)
    interval = rate(table)
    assert (interval.low, interval.high) == pytest.approx((wilson(5 * passed, 5).low, wilson(5 * passed, 5).high))
    assert interval.method == "Wilson, n = 5 clusters" and interval.width > 0.4


def test_what_did_not_change_has_an_interval_of_its_difference():
    pairs = next(iter(pair_tables(IN_DISTRIBUTION, seed=1, times=1)))
    interval = paired_difference(pairs.assign(candidate=pairs["baseline"]))
    assert interval.estimate == 0 and 0.005 < interval.width < 0.05
    assert -interval.low == pytest.approx(interval.high)


def test_runs_that_differ_as_a_whole_widen_the_interval():
    """Three runs, of which one was served by something worse."""
    table = first(Design(crossed("web", [0.4], 200)), runs=3)
    worse = table.assign(passed=table["passed"] & ((table["seed"] > 0) | (table["id"].str[-1] < "5")))
    assert rate(worse).width > 2 * rate(table).width


def test_wrong_input_is_named():
    table = first(IN_DISTRIBUTION)
    with pytest.raises(EnvtuneError, match="one stratum, not of 4"):
        rate(table)
    with pytest.raises(EnvtuneError, match="no outcomes of nothing"):
        macro_average(table, ["bfcl_0", "nothing"])
    with pytest.raises(EnvtuneError, match="no outcomes of any stratum"):
        macro_average(table, [])
    with pytest.raises(EnvtuneError, match="is no rate"):
        wilson(0, 0)
