"""The drop that the gate says it could have shown, held to how often it then shows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.simulated_runs import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, Design, Share, pair_tables

from envtune.statistics.comparison import decide
from envtune.statistics.power import detectable_drop


def pairs(losses: int, gains: int, both: int, neither: int, per_cluster: int = 1) -> pd.DataFrame:
    """One stratum of independent items, or of clusters in that order."""
    before = [1.0] * losses + [0.0] * gains + [1.0] * both + [0.0] * neither
    after = [0.0] * losses + [1.0] * gains + [1.0] * both + [0.0] * neither
    numbers = range(len(before))
    return pd.DataFrame(
        {
            "id": [str(number) for number in numbers], "stratum": "base",
            "cluster": [str(number // per_cluster) for number in numbers], "baseline": before, "candidate": after,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("design", "runs"),
    [
        (IN_DISTRIBUTION.independent(), 1),
        (IN_DISTRIBUTION.clustered(), 1),
        (OUT_OF_DISTRIBUTION.independent(), 1),
        (OUT_OF_DISTRIBUTION.clustered(), 1),
        (OUT_OF_DISTRIBUTION.clustered(), 3),
    ],
    ids=["in", "in, clustered", "out", "out, clustered", "out, clustered, 3 runs"],
)
def test_the_drop_is_found_with_the_power_that_is_said(design: Design, runs: int):
    said = [detectable_drop(one) for one in pair_tables(design, 7, 60, 0.0, (runs, runs))]
    assert None not in said
    sizes = [len(stratum.clusters) for stratum in design.strata]
    rate = float(np.average([stratum.rate for stratum in design.strata], weights=sizes))
    drop = float(np.mean(said)) / rate
    found = sum(decide(one).regressed for one in pair_tables(design, 8, 300, drop, (runs, runs)))
    assert 0.70 < found / 300 < 0.90, Share(found, 300)


def test_one_run_shows_less_where_clusters_share_noise_and_more_runs_show_more():
    independent, clustered = OUT_OF_DISTRIBUTION.independent(), OUT_OF_DISTRIBUTION.clustered()
    told = [
        float(np.mean([detectable_drop(one) for one in pair_tables(design, 3, 40, 0.0, (runs, runs))]))
        for design, runs in ((independent, 1), (clustered, 1), (clustered, 3))
    ]
    assert told[2] < told[0] < told[1]


def test_an_independent_example():
    """By hand: 20 of 100 items change, level 0.05, power 0.8: (1.645 + 0.842) * sqrt(20 * 100 / 99) / 100."""
    assert detectable_drop(pairs(10, 10, 40, 40)) == pytest.approx(0.1118, abs=2e-4)
    assert detectable_drop(pairs(10, 10, 40, 40), level=0.01) > 0.13
    assert detectable_drop(pairs(10, 10, 40, 40), power=0.95) > 0.14


def test_pairs_that_are_all_alike_do_not_show_any_drop():
    """At least some six losses are needed, of items or of clusters."""
    assert detectable_drop(pairs(0, 0, 50, 50)) == pytest.approx(0.0618, abs=1e-4)
    assert detectable_drop(pairs(0, 0, 50, 50, per_cluster=5)) == pytest.approx(5 * 0.0618, abs=1e-3)


def test_where_no_drop_could_be_shown():
    assert detectable_drop(pairs(0, 0, 3, 97)) is None, "three passes to lose"
    assert detectable_drop(pairs(3, 1, 40, 4, per_cluster=16)) is None, "three clusters"
    assert detectable_drop(pairs(0, 0, 1, 0)) is None
