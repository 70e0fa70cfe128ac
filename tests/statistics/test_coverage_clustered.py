"""How often the intervals by clusters, nominal 95 %, hold the truth, on simulated runs
(tests/helpers/simulated_runs.py).

n: items of a stratum, 20, 30, 100, 155 and 400. Measured 500 times a cell (400 for differences, 300 for averages;
standard error 1 point):

    what                                                      n = 20, 30      n = 100, 155, 400
    average of 2 or 4 crossed strata, 1 and 3 runs            94.0 to 97.3       94.0 to 97.7
    average of 3 strata of 5 clusters each, 1 and 3 runs      95.7 to 96.3       93.7 to 96.3
    rate of n/2 clusters, 1 run                               98.2 to 98.4       94.2 to 97.2
                          3 runs                              95.6 to 97.2       95.6 to 96.0
    rate of 5 clusters,   1 run                               98.8 to 99.0       93.6 to 95.8
                          3 runs                              95.8 to 96.2       94.6 to 96.2
    rate of n items, 3 runs, rates 0.02 to 0.60               92.6 to 98.4       90.6 to 97.6
        the mean over rates                                   96.1 to 96.4       95.5 to 95.9
    difference, crossed or 3 x 5 clusters                     93.0 to 98.8       93.0 to 97.5
    difference, 5 clusters                                    95.3 to 100        92.7 to 99.8

So from some 100 items on the band from 93 to 97 % holds but for single cells within the error of the simulation, and
for rate 0.02, n = 100, 3 runs (90.6 %), where two items pass. With fewer items, or few items a cluster and one run,
the intervals are on the safe side: their variance is never below that of independent trials, and with 5 clusters
Student's quantile has 4 degrees of freedom. That is wide: 0.27 at 400 items of rate 0.17.

Strata of very unequal size (`UNEVEN`, independent items, 400 times): 95.5 to 100 %. Where a small stratum can show no
variance its own interval is put to the others'; with their clusters for its sample, as it was before, 0 to 90 %.

What was tried and left: the percentile bootstrap of clusters covers 77 to 87 % with 5 clusters, 90 to 93 % with 3 x
5, 46 % at 20 items of rate 0.02 and three runs; BCa 81 % with 5 clusters and 92 % with 15.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.simulated_runs import MEMORY, TABLE1, WEB, Design, Share, crossed, nested, outcome_tables, pair_tables

from envtune.statistics.intervals import macro_average, paired_difference, rate

SIZES = (20, 30, 100, 155, 400)
AVERAGES = {
    "web": lambda n: Design(crossed("web", WEB, n)).clustered(),
    "bfcl": lambda n: Design(crossed("bfcl", TABLE1, n)).clustered(),
    "memory": lambda n: Design(nested("memory", MEMORY, n)).clustered(),
}

# what it is like -> of each stratum the items and the rate
UNEVEN = {
    "one item": ((100, 0.5), (1, 0.5)),
    "a large one that always passes": ((1000, 1.0), (5, 0.8)),
    "two that hardly pass": ((20, 0.02), (155, 0.02)),
    "a small one that nearly always passes": ((200, 0.5), (16, 0.95)),
    "single-turn": ((24, 0.05), (50, 0.3), (16, 0.5), (258, 0.4), (1053, 0.5), (18, 0.9), (882, 0.6), (240, 0.9)),
}


def covered(design: Design, times: int, runs: int) -> int:
    """How many of `times` intervals of the average hold the truth."""
    strata = [stratum.name for stratum in design.strata]
    seed = sum(len(stratum.clusters) for stratum in design.strata)
    found = [
        rate(table) if len(strata) == 1 else macro_average(table, strata)
        for table in outcome_tables(design, seed, times, runs)
    ]
    return sum(interval.low <= design.average <= interval.high for interval in found)


def total(counts: list[int], times: int) -> Share:
    return Share(sum(counts), times * len(counts))


def test_averages_hold_the_truth_as_often_as_they_say():
    times, cells = 60, {}
    for name, design in AVERAGES.items():
        for runs in (1, 3):
            counts = [covered(design(n), times, runs) for n in SIZES]
            cells[name, runs] = total(counts, times)
            assert cells[name, runs].bounds[1] >= 0.93 and cells[name, runs].bounds[0] <= 0.97, (name, cells)
    together = Share(sum(share.count for share in cells.values()), sum(share.times for share in cells.values()))
    assert 0.93 <= together.value <= 0.97, {name: str(share) for name, share in cells.items()}


def test_rates_of_several_runs_hold_the_truth_as_often_as_they_say():
    """Over n and rates, as Wilson's own: single cells lie below and above."""
    counts = [
        covered(Design(crossed("web", [p], n)), 60, runs=3) for n in SIZES for p in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
    ]
    assert 0.93 <= total(counts, 60).value <= 0.97, total(counts, 60)


@pytest.mark.parametrize("strata", UNEVEN.values(), ids=UNEVEN)
def test_averages_over_uneven_strata_hold_the_truth_at_least_as_often(strata: tuple[tuple[int, float], ...]):
    """A stratum of which all items came out alike does not borrow the sample of the others."""
    rng = np.random.default_rng(5)
    sizes, rates = zip(*strata, strict=True)
    names = np.repeat([f"s{number}" for number in range(len(strata))], sizes)
    ids = [f"i{number}" for number in range(len(names))]
    table = pd.DataFrame({"seed": 0, "id": ids, "stratum": names, "cluster": ids})
    truth, held = float(np.mean(rates)), 0
    for _ in range(200):
        interval = macro_average(
            table.assign(passed=rng.random(len(ids)) < np.repeat(rates, sizes)), sorted(set(names))
        )
        held += interval.low <= truth <= interval.high
    assert Share(held, 200).value >= 0.93, Share(held, 200)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("per_stratum", [5, None])
def test_rates_of_clusters_hold_the_truth_at_least_as_often(per_stratum: int | None, runs: int):
    designs = [Design(nested("memory", [0.17], n, per_stratum or n // 2)).clustered() for n in SIZES]
    share = total([covered(design, 80, runs) for design in designs], 80)
    assert share.value >= 0.93, share


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_differences_hold_the_truth_at_least_as_often(drop: float):
    counts, times = [], 40
    for n in SIZES:
        for design in (*(of_size(n) for of_size in AVERAGES.values()), Design(nested("one", [0.2], n)).clustered()):
            sizes = [len(stratum.clusters) for stratum in design.strata]
            rates = [stratum.rate for stratum in design.strata]
            truth = -drop * sum(p * size for p, size in zip(rates, sizes, strict=True)) / sum(sizes)
            for runs in (1, 3):
                found = [paired_difference(pairs) for pairs in pair_tables(design, n, times, drop, (runs, runs))]
                counts.append(sum(interval.low <= truth <= interval.high for interval in found))
    assert 0.93 <= total(counts, times).value <= 0.99, total(counts, times)
