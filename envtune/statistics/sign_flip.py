"""Exact tests of paired outcomes, with the mid-p correction.

Where no item's run tells anything of another's, McNemar's test: of the items that changed, the losses are as likely as
the gains. Where items share a cluster (the questions that one memory answers), one bad event moves many of them at once
and McNemar's test raises too many false alarms; then whole clusters are exchanged between the two sides: when nothing
has changed, the sum of a cluster's differences is as likely positive as negative (Fisher 1935, "The Design of
Experiments", section 21). With one item a cluster and one run a side the two are the same test.

Both distributions are discrete. The mid-p counts half of the probability of what was observed (Lancaster 1961;
Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, recommend it for McNemar's): its level is
near the nominal one, where the plain exact test's lies well below.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import binom

Alternative = Literal["less", "two-sided"]


def mcnemar_midp(losses: int, gains: int, alternative: Alternative = "two-sided") -> float:
    """Exact mid-p of McNemar's test. losses, gains: items that only the baseline and that only the candidate passed;
    "less": the candidate passes less."""
    changed = losses + gains
    if alternative == "two-sided":
        return min(1.0, 2 * mcnemar_midp(max(losses, gains), min(losses, gains), "less"))
    return float(binom.cdf(gains, changed, 0.5) - binom.pmf(gains, changed, 0.5) / 2)


def sign_flip_midp(sums: np.ndarray, alternative: Alternative = "two-sided") -> float:
    """Exact mid-p of the sign-flip test of the mean. sums: of each cluster the whole number by which the candidate
    passed more; "less": the candidate passes less.

    The distribution over all 2^clusters signs comes from adding one cluster after the other (the shift algorithm of
    Streitberg and Roehmel 1986), so that nothing is sampled.
    """
    observed = int(sums.sum())
    sizes = np.abs(sums[sums != 0]).astype(int)
    common = int(np.gcd.reduce(sizes)) or 1
    observed, sizes = observed // common, sizes // common
    chance = np.ones(1)  # of each sum that the signs can give, the middle one being zero
    for size in np.sort(sizes):
        wider = np.zeros(len(chance) + 2 * size)
        wider[: len(chance)] += chance / 2
        wider[-len(chance) :] += chance / 2
        chance = wider
    reach = len(chance) // 2
    at = reach + (observed if alternative == "less" else -abs(observed))
    tail = float(chance[:at].sum() + chance[at] / 2)
    return tail if alternative == "less" else min(1.0, 2 * tail)


def least_midp(clusters: int, alternative: Alternative = "two-sided") -> float:
    """The least p that sign flips of so many clusters can give: with few of them, no change is large enough."""
    return 0.5 ** (clusters + 1) * (1 if alternative == "less" else 2)
