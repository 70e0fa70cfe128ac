"""The tests behind the claims: a measure on the same held-out tasks before and after, or under two arms.

Unit of the exact test is the cluster of tasks that share a scenario: the sum of its differences over tasks and seeds. When
nothing has changed, that sum is as likely positive as negative. p is the two-sided mid-p over all signs of the clusters
(`envtune.statistics.sign_flip`): half of the probability of what was observed is counted, so that with n clusters the least p is
2^-n. It says whether the change holds for other tasks. Whether it holds for other seeds, the t interval over the seeds'
own differences says.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.statistics.sign_flip import sign_flip_midp

CONFIDENCE = 0.95
_UNIT = 1e-4  # the test counts in whole numbers of it: the measures are shares, or sums of two


@dataclass(frozen=True)
class Change:
    """A measure on two sides. before, after: its mean over tasks and seeds; seeds: seed -> (before, after); p: two-sided mid-p, of
    the exact test over clusters; p_seeds: two-sided, of the t test over the seeds, None where there is none (fewer than two, or all
    alike); low, high: of its interval of the difference."""

    measure: str
    before: float
    after: float
    seeds: dict[int, tuple[float, float]]
    tasks: int
    clusters: int
    p: float
    p_seeds: float | None
    low: float | None
    high: float | None
    as_dict = asdict

    @property
    def rose(self) -> int:
        """How many seeds have more after than before."""
        return sum(after > before for before, after in self.seeds.values())

    @property
    def fell(self) -> int:
        """How many seeds have less after than before."""
        return sum(after < before for before, after in self.seeds.values())

    @property
    def every_seed_rose(self) -> bool:
        """Whether each seed has more after than before."""
        return self.rose == len(self.seeds)

    @property
    def every_seed_fell(self) -> bool:
        """Whether each seed has less after than before."""
        return self.fell == len(self.seeds)


def end_against_start(validations: pd.DataFrame, stage: str, measure: str, arm: str = "full") -> Change:
    """A stage's last validation against the one before its first step, over all seeds whose stage is done.

    validations: of `envtune.claims.read_validations`. Raises EnvtuneError without such a run.
    """
    rows = validations[(validations.arm == arm) & (validations.stage == stage) & validations.done]
    before, after = rows[rows.step == 0], _last(rows[rows.step > 0])
    if not set(before.seed) & set(after.seed):
        raise EnvtuneError(f"no finished run of {arm} has a validation before and after {stage}; train it first")
    return _change(before, after, measure)


def arm_against_arm(validations: pd.DataFrame, other: str, arm: str, measure: str) -> Change:
    """The last validation of `arm` against that of `other`, over the seeds with which both have finished their last stage.
    Raises EnvtuneError without them."""
    before, after = _ends(validations, other), _ends(validations, arm)
    if not set(before.seed) & set(after.seed):
        raise EnvtuneError(f"{other} and {arm} have no finished seed in common; train both with the same seeds")
    return _change(before, after, measure)


def _ends(validations: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The last validation of the arm's last stage, of the runs in which that is done."""
    last = ARMS[arm].stages[-1].name
    return _last(validations[(validations.arm == arm) & (validations.stage == last) & validations.done])


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each seed's last step."""
    return rows[rows.step == rows.groupby("seed").step.transform("max")]


def _change(before: pd.DataFrame, after: pd.DataFrame, measure: str) -> Change:
    keys = ["seed", "task", "cluster"]
    columns = [*keys, measure]
    pairs = before[columns].merge(after[columns], on=keys, suffixes=("_before", "_after"), validate="one_to_one")
    names = [f"{measure}_before", f"{measure}_after"]
    changes = pairs[names[1]] - pairs[names[0]]
    sums = np.rint(changes.groupby(pairs.cluster).sum().to_numpy() / _UNIT).astype(int)
    by_seed = pairs.groupby("seed")[names].mean()
    over_seeds = _over_seeds((by_seed[names[1]] - by_seed[names[0]]).to_numpy())
    return Change(
        measure=measure,
        before=float(pairs[names[0]].mean()),
        after=float(pairs[names[1]].mean()),
        seeds={int(seed): (float(low), float(high)) for seed, low, high in by_seed.itertuples()},
        tasks=pairs.task.nunique(),
        clusters=len(sums),
        p=sign_flip_midp(sums),
        p_seeds=over_seeds[0],
        low=over_seeds[1],
        high=over_seeds[2],
    )


def _over_seeds(changes: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """p of the t test that the seeds' changes have the mean 0, and low and high end of the interval of their mean."""
    if len(changes) < 2 or np.ptp(changes) < 1e-9:
        return None, None, None
    test = stats.ttest_1samp(changes, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    p, low, high = (float(value) for value in (test.pvalue, interval.low, interval.high))
    return (p, low, high) if math.isfinite(p) else (None, None, None)
