"""Records -> tables of outcomes -> pairs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record
from envtune.statistics.outcomes import outcomes, pair, runs_behind


def record(name: str, passed: bool | None, stratum: str = "base", cluster: str | None = None) -> Record:
    outcome = {True: "passed", False: "failed", None: "not_run"}[passed]
    return Record(name, stratum, cluster or name, outcome, "0" * 64, passed=passed)


def test_a_row_is_an_item_of_a_seed():
    first = [record("a", True), record("b", False, "long", "q")]
    second = [record("b", True, "long", "q"), record("a", True)]
    table = outcomes({7: first, 8: second})
    assert list(table.columns) == ["seed", "id", "stratum", "cluster", "passed"]
    assert table.to_dict("records")[1] == {"seed": 7, "id": "b", "stratum": "long", "cluster": "q", "passed": False}
    assert table["passed"].dtype == bool and len(table) == 4


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({1: [record("a", None)]}, "a of seed 1 was not run"),
        ({1: [record("a", True), record("a", False)]}, "a stands twice in seed 1"),
        ({1: [record("a", True)], 2: [record("b", True)]}, "differs between the seeds"),
        ({1: [record("a", True), record("b", True)], 2: [record("a", True)]}, "b differs between the seeds"),
        ({1: [record("a", True)], 2: [record("a", True, "long")]}, "a differs between the seeds"),
        ({1: []}, "no records"),
        ({}, "no records"),
    ],
)
def test_what_nothing_can_be_said_of_is_refused(records: dict[int, list[Record]], said: str):
    with pytest.raises(EnvtuneError, match=said):
        outcomes(records)


def test_a_pair_holds_the_share_of_each_sides_seeds():
    baseline = outcomes({1: [record("b", True), record("a", False)]})
    candidate = outcomes({seed: [record("a", seed < 3), record("b", False)] for seed in (1, 2, 3)})
    pairs = pair(baseline, candidate)
    assert list(pairs.columns) == ["id", "stratum", "cluster", "baseline", "candidate"]
    assert pairs[["id", "baseline"]].to_numpy().tolist() == [["a", 0.0], ["b", 1.0]]
    assert pairs["candidate"].to_numpy() == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize("other", [record("b", True), record("a", True, "long"), record("a", True, cluster="q")])
def test_pairs_are_of_the_same_items_strata_and_clusters(other: Record):
    with pytest.raises(EnvtuneError, match="items, strata and clusters"):
        pair(outcomes({1: [record("a", True)]}), outcomes({1: [other]}))


@pytest.mark.parametrize(("shares", "runs"), [([0, 1], 1), ([0.5, 0], 2), ([1 / 3, 0.5], 6), ([19 / 20], 20)])
def test_the_number_of_runs_is_seen_in_the_shares(shares: list[float], runs: int):
    assert runs_behind(np.array(shares, float)) == runs


def test_shares_that_no_runs_give_are_refused():
    with pytest.raises(EnvtuneError, match="no counts of up to 100 runs"):
        runs_behind(np.array([0.123456]))
