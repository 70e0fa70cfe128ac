"""What a comparison could have shown: the drop that the gate calls a regression with a given probability.

The normal approximation to the power of the pooled test: a drop of

    (z(1 - level) + z(power)) * standard error of the paired difference

is found with this probability. The standard error is between clusters, of the pairs at hand; the level is the pooled
test's share. Connor (1987, Biometrics 43:207) gives the same for McNemar's test, with the condition that the share of
items that change is at least the drop: without it pairs that are all alike would seem to show any drop.

It is an estimate from one comparison, taken before it is known whether the candidate is worse. In simulations (sets and
noise of tests/statistics/test_false_alarms.py; 200 estimates, their mean simulated 300 times) the power at the drop
that it names for 0.80 is

    set                              runs a side   drop, of the rate   power
    in distribution, independent          1              16 %           0.83
    in distribution, clustered            1              17 %           0.79
    out of distribution, independent      1              21 %           0.81
    out of distribution, clustered        1              27 %           0.84
                                          3              15 %           0.78
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame
from scipy.special import ndtri

from envtune.statistics.comparison import POOLED_SHARE
from envtune.statistics.sign_flip import least_midp

POWER = 0.8


def detectable_drop(pairs: DataFrame, level: float = 0.05, power: float = POWER) -> float | None:
    """The drop of the pooled rate, a share in 0..1, that `envtune.statistics.comparison.decide` calls a regression at
    `level` with probability `power`; None where no drop is, down to a rate of zero.

    pairs: as `envtune.statistics.outcomes.pair` gives them, at least one.
    """
    tested = level if pairs["stratum"].nunique() == 1 else POOLED_SHARE * level
    cluster, _ = pd.factorize(pairs["cluster"])
    sizes = np.bincount(cluster)
    items, clusters = len(pairs), len(sizes)
    if least_midp(clusters, "less") > tested:
        return None
    change = (pairs["candidate"] - pairs["baseline"]).to_numpy(float)
    around = change - change.mean()
    quantiles = float(ndtri(1 - tested) + ndtri(power))
    error, effect = (
        0.0,
        items / clusters,
    )  # effect: of clusters on the variance; where nothing changed, the most it can be
    if (within := float(around @ around)) > 1e-12:
        between = float((np.bincount(cluster, around) ** 2).sum()) * clusters / (clusters - 1)
        error, effect = between**0.5 / items, max(1.0, between / within)
    drop = max(quantiles * error, quantiles**2 * effect / items)
    return drop if drop <= pairs["baseline"].mean() else None
