"""The tests behind the claims: a measure on the same held-out tasks before and after, or under two arms.

Unit of the exact test is the cluster of tasks that share a scenario: its mean over tasks and seeds on each side. When nothing has
changed, the difference of a cluster is as likely positive as negative; all 2^clusters signs are counted (Fisher 1935, "The
Design of Experiments", section 21; scipy.stats.permutation_test). It says whether the change holds for other tasks. Whether it
holds for other seeds, the t interval over the seeds' own differences says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from envtune.errors import EnvtuneError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """A measure on two sides. before, after: its mean over tasks and seeds; seeds: seed -> (before, after); p: two-sided, of the
    exact test over clusters; p_seeds: two-sided, of the t test over the seeds, None with fewer than two; low, high: of its interval of the difference."""

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
    def every_seed_rose(self) -> bool:
        """Whether each seed has more after than before."""
        return all(after > before for before, after in self.seeds.values())


def end_against_start(validations: pd.DataFrame, stage: str, measure: str, arm: str = "full") -> Change:
    """A stage's last validation against the one before its first step, over all seeds that have both on the same tasks.

    Raises EnvtuneError without such a run, or when the last step is not the same one in all of them.
    """
    rows = validations[(validations.arm == arm) & (validations.stage == stage)]
    last = rows.groupby("seed").step.max()
    if not len(rows) or not (rows.step == 0).any():
        raise EnvtuneError(f"no run of {arm} has a validation before and after {stage}; train it first")
    if last.nunique() > 1:
        raise EnvtuneError(f"the runs of {stage} end at different steps ({last.to_dict()}); finish all of them")
    before, after = rows[rows.step == 0], rows[rows.step == last.iloc[0]]
    return _change(before, after, measure)


def arm_against_arm(validations: pd.DataFrame, other: str, arm: str, measure: str) -> Change:
    """The last validation of `arm` against that of `other`, over the seeds that both have. Raises EnvtuneError without them."""
    ends = validations[validations.overall_step == validations.groupby(["arm", "seed"]).overall_step.transform("max")]
    ends = ends[ends.stage.isin({"stage4", "single"})]
    before, after = ends[ends.arm == other], ends[ends.arm == arm]
    if not set(before.seed) & set(after.seed):
        raise EnvtuneError(f"{other} and {arm} have no finished seed in common; train both with the same seeds")
    return _change(before, after, measure)


def _change(before: pd.DataFrame, after: pd.DataFrame, measure: str) -> Change:
    keys = ["seed", "task", "cluster"]
    columns = [*keys, measure]
    pairs = before[columns].merge(after[columns], on=keys, suffixes=("_before", "_after"), validate="one_to_one")
    names = [f"{measure}_before", f"{measure}_after"]
    clusters, seeds = (pairs.groupby(key)[names].mean().to_numpy() for key in ("cluster", "seed"))
    exact = stats.permutation_test(
        (clusters[:, 1], clusters[:, 0]),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf if len(clusters) <= 16 else 99_999,
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    over_seeds = stats.ttest_rel(seeds[:, 1], seeds[:, 0]) if len(seeds) > 1 else None
    interval = over_seeds.confidence_interval(CONFIDENCE) if over_seeds is not None else None
    return Change(
        measure=measure,
        before=float(pairs[names[0]].mean()),
        after=float(pairs[names[1]].mean()),
        seeds={int(seed): (float(b), float(a)) for seed, (b, a) in zip(sorted(set(pairs.seed)), seeds, strict=True)},
        tasks=pairs.task.nunique(),
        clusters=len(clusters),
        p=float(exact.pvalue),
        p_seeds=None if over_seeds is None else float(over_seeds.pvalue),
        low=None if interval is None else float(interval.low),
        high=None if interval is None else float(interval.high),
    )
