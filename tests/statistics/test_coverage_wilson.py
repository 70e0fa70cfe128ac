"""How often Wilson's interval, nominal 95 %, holds the true rate: exact sums over the binomial distribution, no
drawing.

At a single rate the coverage of any interval for a count swings about the nominal value, the more the fewer items
(Brown, Cai and DasGupta 2001, who therefore judge intervals by the mean over rates). So two things are held here:

- over rates drawn evenly from 0.02 to 0.60, the mean is between 93 and 97 % at every n: 95.3 % (n = 20), 95.3 % (30),
  95.1 % (100), 95.1 % (155), 95.0 % (400);
- at single rates it leaves that band, how far and how often is fixed by the table below: at n = 20 for 18 % of the
  rates and down to 89.4 % (rate 0.028), at n = 30 for 8 % and down to 91.6 %; from n = 100 on for about 1 % and down
  to 92.7 %; at n = 400 never.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from envtune.statistics.intervals import wilson

RATES = np.linspace(0.02, 0.60, 1161)


def coverage(items: int) -> np.ndarray:
    """The probability of covering, for each of `RATES`."""
    passed = np.arange(items + 1)
    intervals = [wilson(int(count), items) for count in passed]
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    covers = (low <= RATES[:, None]) & (RATES[:, None] <= high)
    return (binom.pmf(passed, items, RATES[:, None]) * covers).sum(axis=1)


@pytest.mark.parametrize(
    ("items", "least", "greatest", "outside"),
    [
        (20, 0.894, 0.983, 0.19),
        (30, 0.916, 0.981, 0.09),
        (100, 0.926, 0.979, 0.02),
        (155, 0.930, 0.978, 0.01),
        (400, 0.935, 0.967, 0),
    ],
)
def test_the_mean_over_rates_is_nominal_and_the_worst_is_known(
    items: int, least: float, greatest: float, outside: float
):
    found = coverage(items)
    worst = f"n = {items}: mean {found.mean():.4f}, least {found.min():.4f} at {RATES[found.argmin()]:.4f}"
    assert 0.93 <= found.mean() <= 0.97, worst
    assert least <= found.min() and found.max() <= greatest, worst
    assert np.mean((found < 0.93) | (found > 0.97)) <= outside, worst
