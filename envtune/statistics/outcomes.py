"""Records of a suite as a table of outcomes, and two such tables as pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas import DataFrame

from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record

_KEYS = ["id", "stratum", "cluster"]


def outcomes(records_by_seed: Mapping[int, Sequence[Record]]) -> DataFrame:
    """Seed -> records, as one row a seed and item: columns seed (int), id, stratum, cluster (str), passed (bool).

    Raises EnvtuneError where there is no record, one was not run (then nothing can be said of its rate), an id stands
    twice in a seed, or the seeds differ in their items.
    """
    rows = [
        (seed, record.id, record.stratum, record.cluster, record.passed)
        for seed, records in records_by_seed.items()
        for record in records
    ]
    if not rows:
        raise EnvtuneError("there are no records to compute with; run the evaluation first")
    table = DataFrame(rows, columns=["seed", *_KEYS, "passed"])
    if table["passed"].isna().any():
        missing = table[table["passed"].isna()].iloc[0]
        raise EnvtuneError(f"{missing['id']} of seed {missing['seed']} was not run; resume that evaluation first")
    twice = table[table.duplicated(["seed", "id"])]
    if len(twice):
        first = twice.iloc[0]
        raise EnvtuneError(f"{first['id']} stands twice in seed {first['seed']}; remove one of its records")
    if len(table.drop_duplicates(_KEYS)) * len(records_by_seed) != len(table):
        raise EnvtuneError(f"{_first_uneven(table)} differs between the seeds; evaluate all of them on the same items")
    return table.astype({"passed": bool})


def _first_uneven(table: DataFrame) -> str:
    """An id that is not in all seeds with one stratum and one cluster."""
    seeds = table.groupby(_KEYS, sort=True)["seed"].count()
    return (
        str(seeds.index[(seeds < seeds.max()).argmax()][0]) if seeds.min() < seeds.max() else str(table["id"].iloc[0])
    )


def pair(baseline: DataFrame, candidate: DataFrame) -> DataFrame:
    """Two tables of `outcomes` as one row an item, in the order of ids: columns id, stratum, cluster, baseline,
    candidate, the last two the share of that side's seeds that passed it, in 0..1. Seeds need not be the same, nor as
    many.

    Raises EnvtuneError when the two differ in ids, strata or clusters.
    """
    shares = [side.groupby(_KEYS)["passed"].mean() for side in (baseline, candidate)]
    differing = shares[0].index.symmetric_difference(shares[1].index)
    if len(differing):
        raise EnvtuneError(
            f"baseline and candidate differ in {len(set(differing.get_level_values('id')))} items (first: "
            f"{differing[0][0]}); compare evaluations of the same items, strata and clusters"
        )
    paired = pd.concat(shares, axis=1, keys=["baseline", "candidate"]).reset_index()
    return paired.sort_values("id", kind="stable", ignore_index=True)


def runs_behind(shares: np.ndarray, at_most: int = 100) -> int:
    """The fewest runs that every one of these shares (values in 0..1) can be a mean over.

    Raises EnvtuneError when no number up to `at_most` will do.
    """
    for runs in range(1, at_most + 1):
        counts = shares * runs
        if np.all(np.abs(counts - np.rint(counts)) < 1e-6):
            return runs
    raise EnvtuneError(f"the shares of passed runs are no counts of up to {at_most} runs; build the pairs with `pair`")
