"""The tests and the gate's decision against scipy, statsmodels and worked examples, and what always holds of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.simulated_runs import OUT_OF_DISTRIBUTION, pair_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from envtune.errors import EnvtuneError
from envtune.statistics.comparison import POOLED_SHARE, adjust, decide, holm
from envtune.statistics.sign_flip import least_midp, mcnemar_midp, sign_flip_midp

counts = st.integers(0, 200)
shares = st.lists(st.floats(0, 1), max_size=9)


@st.composite
def some_pairs(draw: st.DrawFn) -> pd.DataFrame:
    """Up to 30 items in 1 to 3 strata and some clusters, up to 3 runs a side."""
    items = draw(st.integers(1, 30))
    runs = draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def column(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=items, max_size=items))

    return pd.DataFrame(
        {
            "id": [f"i{n}" for n in range(items)],
            "stratum": column(st.sampled_from("abc")),
            "cluster": column(st.sampled_from([f"c{n}" for n in range(draw(st.integers(1, 30)))])),
            "baseline": np.array(column(st.integers(0, runs[0]))) / runs[0],
            "candidate": np.array(column(st.integers(0, runs[1]))) / runs[1],
        }
    )


def test_a_worked_example_of_mcnemars_midp():
    """Fagerland, Lydersen and Laake 2013, Table 1: 1 against 7 of 8 discordant pairs; exact p 0.070, mid-p 0.039."""
    assert mcnemar(np.array([[0, 1], [7, 0]]), exact=True).pvalue == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar_midp(7, 1) == pytest.approx(0.0391, abs=5e-5)
    assert mcnemar_midp(7, 1, "less") == pytest.approx(0.0391 / 2, abs=5e-5)


@given(counts, counts, st.sampled_from(["less", "two-sided"]))
def test_mcnemars_p_is_a_probability_and_falls_with_losses(losses: int, gains: int, alternative: str):
    p = mcnemar_midp(losses, gains, alternative)
    assert 0 <= p <= 1
    if alternative == "less":
        assert mcnemar_midp(losses + 1, gains, "less") <= p <= mcnemar_midp(losses, gains + 1, "less")
        assert p + mcnemar_midp(gains, losses, "less") == pytest.approx(1)  # half of the tie on either side
    else:
        assert p == mcnemar_midp(gains, losses)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=10))
@settings(max_examples=60, deadline=None)
def test_sign_flips_are_scipys_exact_permutation_test(sums: list[int]):
    found = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="less")
    null = np.rint(found.null_distribution)
    assert found.pvalue == pytest.approx(np.mean(null <= sum(sums)))  # scipy's own, without the correction
    for alternative, expected in (
        ("less", np.mean(null < sum(sums)) + np.mean(null == sum(sums)) / 2),
        ("two-sided", np.mean(np.abs(null) > abs(sum(sums))) + np.mean(np.abs(null) == abs(sum(sums))) / 2),
    ):
        p = sign_flip_midp(np.array(sums), alternative)
        # where the sum is 0, half of the middle stays on either side: the two-sided p is 1
        assert p == pytest.approx(1.0 if alternative == "two-sided" and sum(sums) == 0 else expected)
        assert p >= least_midp(len(sums), alternative) - 1e-12


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=300), st.integers(1, 3))
def test_sign_flips_of_single_items_are_mcnemars_test(changes: list[int], unit: int):
    losses, gains = changes.count(-1), changes.count(1)
    for alternative in ("less", "two-sided"):
        p = sign_flip_midp(np.array(changes) * unit, alternative)
        assert p == pytest.approx(mcnemar_midp(losses, gains, alternative), abs=1e-12)


@given(shares)
@settings(max_examples=25, deadline=None)  # statsmodels collects garbage in every call
def test_holm_is_statsmodels_holm(p_values: list[float]):
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(expected)


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=2, max_size=6), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_fallback_procedure_step_by_step(pooled: float, strata: list[float], level: float):
    """The adjusted p-values decide as the procedure does: nine tenths of the level to the pooled test, the rest to
    the strata, and all of it to the strata once the pooled test has rejected."""
    rejects = pooled / POOLED_SHARE <= level
    share = level if rejects else level * (1 - POOLED_SHARE)
    adjusted = adjust(pooled, strata)
    assert (adjusted[0] <= level) == rejects
    for p, p_holm in zip(adjusted[1:], holm(strata), strict=True):
        if abs(p_holm - share) > 1e-9:
            assert (p <= level) == (p_holm < share)


@given(some_pairs(), st.randoms(use_true_random=False), st.sampled_from(["less", "two-sided"]))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing(pairs: pd.DataFrame, random, alternative: str):
    order = list(range(len(pairs)))
    random.shuffle(order)
    decision = decide(pairs, alternative=alternative)
    assert decide(pairs.iloc[order], alternative=alternative) == decision
    for one in (decision.pooled, *decision.strata):
        assert 0 <= one.p <= one.p_adjusted <= 1
        assert -1 <= one.difference.low <= one.difference.estimate <= one.difference.high <= 1
        assert one.difference.width > 0
    assert decision.regressed == bool(decision.flagged)
    assert sum(one.losses for one in decision.strata) == decision.pooled.losses


@given(some_pairs())
@settings(max_examples=40, deadline=None)
def test_what_did_not_change_never_regressed(pairs: pd.DataFrame):
    same = pairs.assign(candidate=pairs["baseline"])
    assert not decide(same, level=0.49).regressed
    assert not decide(same, alternative="two-sided", level=0.99).regressed


def test_mcnemar_where_items_stand_alone_else_sign_flips():
    table = next(iter(pair_tables(OUT_OF_DISTRIBUTION.clustered(), seed=0, times=1)))
    decision = decide(table)
    methods = {one.stratum: one.method for one in (decision.pooled, *decision.strata)}
    assert methods == {
        "pooled": "sign flips of 95 clusters, exact mid-p",
        "memory_0": "sign flips of 5 clusters, exact mid-p (at best 0.016)",
        "memory_1": "sign flips of 5 clusters, exact mid-p (at best 0.016)",
        "memory_2": "sign flips of 5 clusters, exact mid-p (at best 0.016)",
        "web_0": "McNemar, exact mid-p",
        "web_1": "McNemar, exact mid-p",
    }
    several = next(iter(pair_tables(OUT_OF_DISTRIBUTION.clustered(), seed=0, times=1, runs=(1, 3))))
    assert decide(several).strata[-1].method == "sign flips of 80 clusters, exact mid-p"


def test_one_stratum_has_one_test_at_the_whole_level():
    table = next(iter(pair_tables(OUT_OF_DISTRIBUTION, seed=0, times=1))).query("stratum == 'web_0'")
    decision = decide(table)
    assert [one.p_adjusted for one in decision.strata] == [decision.pooled.p] == [decision.pooled.p_adjusted]


def test_a_collapse_of_one_stratum_is_seen_behind_gains_elsewhere():
    """The paper's Llama: memory rec_sum from 41 to 16 of 155, while web search rises."""
    fallen = pd.DataFrame({"stratum": "rec_sum", "baseline": [1] * 41 + [0] * 114, "candidate": [1] * 16 + [0] * 139})
    risen = pd.DataFrame({"stratum": "base", "baseline": [1] + [0] * 99, "candidate": [1] * 24 + [0] * 76})
    pairs = pd.concat([fallen, risen], ignore_index=True)
    pairs["id"] = pairs["cluster"] = [f"i{n}" for n in range(len(pairs))]
    decision = decide(pairs)
    assert decision.regressed and decision.pooled.p > 0.05
    assert [(one.stratum, one.losses, one.gains) for one in decision.flagged] == [("rec_sum", 25, 0)]


def test_no_pairs_are_no_decision():
    with pytest.raises(EnvtuneError, match="no pairs"):
        decide(pd.DataFrame(columns=["id", "stratum", "cluster", "baseline", "candidate"]))
