"""Stage gates: on simulated stages, on the published collapse, and what must hold of any history and any settings.

The simulations have seeds of their own. Validation is binomial over 100 tasks (the paper's split), the other measures
have log-normal or normal noise around what the paper's settings usually show.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from envtune.errors import EnvtuneError
from envtune.training.gates import Collapse, Decision, Gate, Point, curve, decide, point, read_gate

DEFAULT = Gate()
NO_COLLAPSE = Collapse(None, None, None, None, None)
SHORT = Gate(window=3, patience=4, min_rise=0.02, min_steps=5, collapse=Collapse(steps=2))
SINGLE_STAGE = ([0, 20, 62, 80, 93], [0.0, 0.12, 0.172, 0.055, 0.028])  # steps, accuracy: the paper's single stage


def history(
    seed: int, accuracy: Any, blow_up: Any = 1.0, format_rate: Any = 0.9, spikes: float = 0.0, **without: None
) -> list[Point]:
    """A stage with this true accuracy at each step from 0; step 0 is a validation only. blow_up: factor of gradient
    norm and KL; spikes: share of steps at which either is up to 40 times as large."""
    noise = np.random.default_rng(seed)
    steps = len(accuracy)
    seen = noise.binomial(100, accuracy) / 100
    spike = np.where(noise.random((2, steps)) < spikes, noise.uniform(2, 40, (2, steps)), 1.0)
    norm = 0.5 * np.exp(noise.normal(0, 0.3, steps)) * blow_up * spike[0]
    kl = np.linspace(0, 0.06, steps) * np.exp(noise.normal(0, 0.2, steps)) * blow_up * spike[1]
    formats = np.clip(format_rate + noise.normal(0, 0.03, steps), 0, 1)
    rows = zip(range(steps), *(column.tolist() for column in (seen, norm, kl, formats)), strict=True)
    return [replace(Point(*row), **without) if row[0] else Point(0, row[1]) for row in rows]


def rise(low: float, high: float, over: int, steps: int) -> Any:
    return np.interp(np.arange(steps), [0, over], [low, high])


# --- simulated stages ---


@pytest.mark.parametrize(("low", "high", "over"), [(0.16, 0.245, 80), (0.27, 0.36, 80), (0.0, 0.17, 62)])
def test_a_stage_is_not_ended_while_it_rises(low: float, high: float, over: int) -> None:
    """Before 90 % of the rise; with stages 2 and 3 of the paper, in a line, which is the hardest shape. 0 to 0.2 %."""
    before = int(0.9 * over)
    outcomes = [decide(DEFAULT, history(seed, rise(low, high, over, before))).outcome for seed in range(500)]
    assert sum(outcome != "go on" for outcome in outcomes) <= 0.01 * 500


def test_the_simulation_can_tell_a_hasty_gate() -> None:
    hasty = replace(DEFAULT, window=5, patience=20, min_steps=0)
    outcomes = [decide(hasty, history(seed, rise(0.27, 0.36, 80, 72))).outcome for seed in range(100)]
    assert outcomes.count("converged") >= 50


@pytest.mark.parametrize(("low", "high", "over"), [(0.16, 0.245, 80), (0.27, 0.36, 80)])
def test_a_plateau_is_ended_within_100_steps(low: float, high: float, over: int) -> None:
    decisions = [decide(DEFAULT, history(seed, rise(low, high, over, over + 100))) for seed in range(300)]
    assert sum(decision.outcome == "converged" for decision in decisions) >= 0.9 * 300
    assert not any(decision.outcome == "collapsed" for decision in decisions)
    assert all(decision.step > 0.9 * over and decision.step >= decision.best_step for decision in decisions)


def test_a_plateau_with_a_restless_gradient_norm_is_not_ended() -> None:
    level = np.full(150, 0.3)
    restless = np.where(np.arange(150) % 4 < 2, 1.0, 5.0)
    assert decide(DEFAULT, history(1, level)).outcome == "converged"
    decision = decide(DEFAULT, history(1, level, blow_up=restless))
    assert decision.outcome == "go on" and "not stable" in decision.reason


def test_single_spikes_do_not_make_a_gradient_norm_unstable() -> None:
    points = [Point(step, 0.3, 40.0 if step % 20 == 0 else 1.0) for step in range(120)]
    assert decide(DEFAULT, points).outcome == "converged"


def test_noise_is_no_collapse() -> None:
    """240 steps, 3 % with spikes up to 40 times the usual in gradient norm and KL; accuracy and format rate drift."""
    gate, alarms = replace(DEFAULT, rule="epochs"), []
    for seed in range(300):
        drift = np.convolve(np.random.default_rng(seed).normal(0, 1, 244), np.ones(5) / 5**0.5, "valid")
        points = history(seed, 0.3 + 0.03 * drift, format_rate=0.85 + 0.03 * drift, spikes=0.03)
        alarms += [decision] if (decision := decide(gate, points)).outcome != "go on" else []
    assert len(alarms) <= 0.01 * 300, alarms


def blown_up(doubling: int) -> Any:
    return 2.0 ** (np.clip(np.arange(94) - 62, 0, None) / doubling)


@pytest.mark.parametrize(("doubling", "detected", "began"), [(2, 76, 70), (4, 88, 80)])
def test_the_published_collapse_is_found_and_its_onset(doubling: int, detected: int, began: int) -> None:
    """Gradient norm and KL double every so many steps after step 62, where the paper's single stage turns."""
    for seed in range(100):
        points = history(seed, np.interp(np.arange(94), *SINGLE_STAGE), blow_up=blown_up(doubling))
        decision = decide(DEFAULT, points)
        assert decision.outcome == "collapsed", decision
        assert decision.step <= detected and 62 <= decision.onset <= min(began, decision.step - 4), decision
        assert decision.best_step is not None and 30 <= decision.best_step <= 70


def test_the_published_collapse_is_found_by_accuracy_alone() -> None:
    only = replace(DEFAULT, collapse=replace(NO_COLLAPSE, accuracy_drop=0.5))
    accuracy = np.interp(np.arange(94), *SINGLE_STAGE)
    decisions = [decide(only, history(seed, accuracy)) for seed in range(200)]
    assert sum(decision.outcome == "collapsed" for decision in decisions) >= 0.95 * 200
    found = [decision for decision in decisions if decision.onset is not None]
    assert abs(float(np.median([decision.onset for decision in found])) - 62) <= 10
    blind = decide(replace(only, collapse=NO_COLLAPSE), history(1, np.append(accuracy, np.full(60, 0.028))))
    assert blind.outcome == "converged", "without the signal a ruined model would pass"


# --- single signals ---


def steady(steps: int, **changed: Any) -> list[Point]:
    """`steps` good steps, and five with these measures."""
    good = [Point(step, 0.3, 0.5, 0.02, 0.95) for step in range(1, steps + 1)]
    return good + [replace(good[0], step=step, **changed) for step in range(steps + 1, steps + 6)]


@pytest.mark.parametrize(
    ("changed", "only"),
    [
        ({"grad_norm": math.nan}, "grad_norm"),
        ({"grad_norm": math.inf}, "grad_norm"),
        ({"grad_norm": 101.0}, "grad_norm"),
        ({"grad_norm": 5.1}, "grad_norm_ratio"),
        ({"grad_norm": math.nan}, "grad_norm_ratio"),
        ({"kl": 1.1}, "kl"),
        ({"kl": math.nan}, "kl"),
        ({"format_rate": 0.5}, "format_drop"),
        ({"accuracy": 0.14}, "accuracy_drop"),
    ],
)
def test_each_signal_alone_is_a_collapse_after_five_steps(changed: dict[str, float], only: str) -> None:
    gate = Gate(rule="epochs", collapse=replace(NO_COLLAPSE, **{only: getattr(Collapse(), only)}))
    points = steady(30, **changed)
    decision = decide(gate, points)
    assert (decision.outcome, decision.step, decision.onset) == ("collapsed", 35, 31), decision
    assert decide(gate, points[:-1]).outcome == "go on", "four bad steps"
    broken = [*points[:-2], replace(points[0], step=34), points[-1]]
    assert decide(gate, broken).outcome == "go on", "not in a row"
    assert decide(Gate(rule="epochs", collapse=NO_COLLAPSE), points).outcome == "go on", "switched off"


def test_a_gradient_norm_is_compared_once_there_are_enough_before_it() -> None:
    ratio = Gate(rule="epochs", collapse=replace(NO_COLLAPSE, grad_norm_ratio=10.0))
    assert decide(ratio, steady(19, grad_norm=50.0)).outcome == "go on"
    assert decide(ratio, steady(20, grad_norm=50.0)).outcome == "collapsed"


def test_norms_that_are_not_finite_count_as_high_in_the_median() -> None:
    ratio = Gate(rule="epochs", collapse=replace(NO_COLLAPSE, grad_norm_ratio=10.0, steps=1))
    norms = [math.nan if step % 3 == 0 else (30 - step) / 10 for step in range(1, 30)]
    unwatched = [Point(step, grad_norm=norm) for step, norm in enumerate(norms[:19])]
    decision = decide(ratio, [*unwatched, Point(50, grad_norm=2.5), Point(51, grad_norm=99.0)])
    assert decision.outcome == "collapsed" and "normal 2.5," in decision.reason, decision


def test_a_falling_format_rate_is_a_collapse_and_a_rising_one_is_not() -> None:
    accuracy = np.full(81, 0.05)
    rising = [decide(DEFAULT, history(seed, accuracy, format_rate=rise(0.1, 0.95, 40, 81))) for seed in range(50)]
    assert not any(decision.outcome == "collapsed" for decision in rising)
    falling = np.interp(np.arange(81), [0, 40, 55], [0.95, 0.95, 0.5])
    for seed in range(50):
        decision = decide(DEFAULT, history(seed, accuracy, format_rate=falling))
        assert decision.outcome == "collapsed" and "well-formed" in decision.reason
        assert 47 <= decision.step <= 56 and 39 <= decision.onset <= 46, decision


def test_the_onset_is_before_the_first_step_over_the_limit() -> None:
    points = [*steady(30, grad_norm=200.0)]
    points[28:30] = [replace(points[28], grad_norm=60.0), replace(points[29], grad_norm=80.0)]
    assert decide(DEFAULT, points).onset == 29
    points[29] = replace(points[29], grad_norm=0.5)
    assert decide(DEFAULT, points).onset == 31, "what was good again had not begun to go wrong"


def test_a_collapse_comes_before_convergence_at_the_same_step() -> None:
    points = [Point(step, 0.3, 0.5, 0.02, 0.95) for step in range(100)]
    converged = decide(DEFAULT, points)
    assert converged.outcome == "converged"
    bad = [replace(p, kl=2.0) if p.step > converged.step - 5 else p for p in points]
    assert (decide(DEFAULT, bad).outcome, decide(DEFAULT, bad).step) == ("collapsed", converged.step)
    one = [replace(p, kl=2.0) if p.step == converged.step else p for p in points]
    assert decide(DEFAULT, one).step == converged.step + 1, "not at a step with a bad signal"
    assert "may be collapsing" in decide(DEFAULT, one[: converged.step + 1]).reason


# --- when a plateau is asked for ---


def test_the_plateau_is_where_the_rule_says() -> None:
    """Level from the start: the average over 3 is there at step 2, and 4 steps later nothing has risen."""
    level = [Point(step, 0.3, 1.0 if step else None) for step in range(12)]
    decision = decide(SHORT, level)
    assert (decision.outcome, decision.step, decision.best_step) == ("converged", 6, 1)
    assert decide(replace(SHORT, min_steps=9), level).step == 9
    assert decide(replace(SHORT, patience=6), level).step == 8
    rising = [replace(p, accuracy=0.3 + 0.006 * p.step) for p in level]
    assert decide(SHORT, rising).outcome == "go on", "0.024 in 4 steps"
    assert decide(replace(SHORT, min_rise=0.03), rising).outcome == "converged"
    assert decide(replace(SHORT, rule="epochs"), level).outcome == "go on"


def test_convergence_needs_gradient_norms() -> None:
    assert decide(SHORT, [Point(step, 0.3) for step in range(50)]).outcome == "go on"
    unfinished = [Point(step, 0.3, math.nan if step > 2 else 1.0) for step in range(50)]
    assert decide(replace(SHORT, collapse=NO_COLLAPSE), unfinished).outcome == "go on", "not finite is not stable"


def test_rare_validations_need_a_whole_window_of_new_ones() -> None:
    """Every fifth step validated: within the patience there is one new validation, which tells nothing."""
    points = [Point(step, 0.3 if step % 5 == 0 else None, 1.0) for step in range(60)]
    decision = decide(SHORT, points)
    assert (decision.outcome, decision.step) == ("converged", 25)
    assert decide(replace(SHORT, min_steps=27), points).step == 30, "asked where there is a validation"
    gap = [Point(step, 0.3 if step < 4 or step == 40 else None, 1.0) for step in range(60)]
    assert decide(SHORT, gap).outcome == "go on", "a single one after a gap"


def test_the_best_step_is_not_that_of_a_lucky_validation() -> None:
    accuracy = [0.1, 0.5, 0.1, 0.3, 0.31, 0.32, 0.1, 0.1, 0.1]
    decision = decide(replace(SHORT, collapse=NO_COLLAPSE), [Point(step, value) for step, value in enumerate(accuracy)])
    assert decision.best_step == 4
    assert decide(SHORT, [Point(0, 0.5), Point(1, 0.1)]).best_step is None
    assert decide(SHORT, []) == Decision("go on", 0, "nothing has been reported")


# --- any history ---

_maybe = st.none() | st.sampled_from([0.0, 0.1, 0.3, 0.31, 0.5, 0.9, 2.0, 30.0, 500.0, math.nan, math.inf])
_points = st.lists(st.builds(Point, st.integers(0, 60), _maybe, _maybe, _maybe, _maybe), max_size=40)
_gates = st.builds(
    Gate,
    rule=st.sampled_from(["plateau", "epochs"]),
    window=st.integers(2, 5),
    patience=st.integers(1, 6),
    min_rise=st.sampled_from([0.01, 0.1]),
    grad_norm_spread=st.sampled_from([0.5, 50.0]),
    min_steps=st.integers(0, 10),
    collapse=st.builds(Collapse, steps=st.integers(1, 4)) | st.just(NO_COLLAPSE),
)


def of_one_step_each(points: list[Point]) -> list[Point]:
    return [{p.step: p for p in points}[step] for step in sorted({p.step for p in points})]


@settings(max_examples=300, deadline=None)
@given(_gates, _points)
def test_later_steps_change_no_decision(gate: Gate, points: list[Point]) -> None:
    points = of_one_step_each(points)
    decisions = [decide(gate, points[:count]) for count in range(len(points) + 1)]
    taken = [decision for decision in decisions if decision.outcome != "go on"]
    assert all(decision == taken[0] for decision in taken)
    if taken:
        steps = [p.step for p in points]
        assert decisions.index(taken[0]) == steps.index(taken[0].step) + 1, "at the first step at which it holds"
        assert len(taken) == len(points) - steps.index(taken[0].step), "and from then on"
    for decision in decisions:
        assert decision.onset is not None or decision.outcome != "collapsed"
        assert decision.onset is None or decision.outcome != "converged"
    assert all(decision.onset is None or decision.onset <= decision.step for decision in decisions)


@settings(max_examples=200, deadline=None)
@given(_gates, _points, st.randoms(use_true_random=False))
def test_order_and_repeats_change_no_decision(gate: Gate, points: list[Point], chance: random.Random) -> None:
    points = of_one_step_each(points)
    shuffled = chance.choices(points, k=len(points)) + points if points else []
    chance.shuffle(shuffled)
    assert decide(gate, shuffled) == decide(gate, points)
    assert curve(shuffled) == curve(points)


def test_of_a_repeated_step_the_last_counts_measure_by_measure() -> None:
    first = [Point(4, 0.1, 9.0, 0.9, 0.5), Point(5, 0.1, 9.0)]
    again = [Point(4, 0.2), Point(5, 0.3, 1.0)]  # a resume after step 4 validates it once more
    assert curve(first + again) == [
        {"step": 4, "accuracy": 0.2, "grad_norm": 9.0, "kl": 0.9, "format_rate": 0.5},
        {"step": 5, "accuracy": 0.3, "grad_norm": 1.0},
    ]


@settings(max_examples=200, deadline=None)
@given(_gates, _points)
def test_records_are_json(gate: Gate, points: list[Point]) -> None:
    decision = decide(gate, points).as_dict()
    for value in (decision, curve(points), gate.as_dict()):
        assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert set(decision) == {"outcome", "step", "reason", "onset", "best_step"}


# --- what verl reports ---


def test_a_point_is_read_from_the_names_that_verl_gives() -> None:
    """As verl 0.9.1's `_val_metrics_update` forms them of two and one tasks with three samples each."""
    data = {
        "val-core/bfcl_paper_base/acc/mean@3": np.float64(0.5),
        "val-aux/bfcl_paper_base/acc/std@3": np.float64(0.4714),
        "val-aux/bfcl_paper_base/acc/best@2/mean": np.float64(0.733),
        "val-core/bfcl_paper_base/acc/best@3/mean": np.float64(0.842),
        "val-aux/bfcl_paper_base/reward/mean@3": np.float64(0.9),
        "val-core/bfcl_paper_miss_func/acc/mean@3": np.float64(0.0),
        "val-core/bfcl_paper_miss_func/acc/best@3/mean": np.float64(0.0),
        "val-core/bfcl_paper_base/acc/mean@3/of_another_kind": 9.0,
        "actor/grad_norm": np.float64(0.25),
        "actor/kl_loss": 0.125,
        "episode/format_rate": np.float32(0.75),
    }
    assert point(7, data) == Point(7, 0.25, 0.25, 0.125, 0.75)
    assert all(type(value) is float for value in vars(point(7, data)).values() if value != 7)


def test_what_is_missing_is_none_and_what_is_not_finite_is_nan() -> None:
    assert point(0, {"val-core/x/acc/mean@1": 0.5, "val-aux/y/acc/mean@1": 0.1}) == Point(0, 0.5)
    assert point(1, {}) == Point(1)
    odd = point(2, {"actor/grad_norm": np.float32("inf"), "actor/kl_loss": None, "episode/format_rate": math.nan})
    assert math.isnan(odd.grad_norm) and math.isnan(odd.kl) and odd.format_rate is None
    assert curve([odd]) == [{"step": 2, "grad_norm": None, "kl": None}]
    assert point(3, {"val-core/x/acc/mean@1": 0.5, "val-core/y/acc/mean@1": None}).accuracy is None


def test_the_trainer_and_the_driver_see_the_same() -> None:
    """verl's file logger writes through orjson: nan and infinity as null, a float32 by its shortest name."""
    for value in (
        math.nan,
        math.inf,
        np.float64(math.nan),
        np.float32(0.1),
        np.float32(1 / 3),
        np.float64(1 / 3),
        1,
        2.5,
    ):
        data = dict.fromkeys(("actor/grad_norm", "actor/kl_loss", "val-core/x/acc/mean@1"), value)
        written = json.loads(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY))
        assert repr(point(1, data)) == repr(point(1, written))
        same = [decide(Gate(), [point(step, row) for step in range(9)]) for row in (data, written)]
        assert same[0] == same[1]


def test_the_module_needs_neither_verl_nor_torch() -> None:
    code = "import sys, envtune.training.gates; assert not {'verl', 'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- settings ---


def test_settings_over_the_defaults() -> None:
    assert read_gate({}) == Gate()
    gate = read_gate({"rule": "epochs", "min_rise": 1, "collapse": {"kl": None, "steps": 2, "grad_norm": 7}})
    assert gate == Gate(rule="epochs", min_rise=1, collapse=Collapse(kl=None, steps=2, grad_norm=7))
    assert read_gate(gate.as_dict()) == gate
    assert read_gate(dict(OmegaConf.create(gate.as_dict()))) == gate, "as the trainer has them"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "gate must be a mapping"),
        (None, "gate must be a mapping"),
        ({"widow": 3}, "gate has no setting 'widow'"),
        ({1: 3}, "gate has no setting 1"),
        ({"rule": "steps"}, "gate.rule must be plateau or epochs"),
        ({"rule": None}, "gate.rule must be"),
        ({"window": True}, "gate.window must be a whole number"),
        ({"window": 1}, "from 2 on, not 1"),
        ({"window": 5.0}, "gate.window must be a whole number"),
        ({"window": None}, "gate.window must be"),
        ({"patience": 0}, "gate.patience must be"),
        ({"patience": True}, "gate.patience must be"),
        ({"patience": "9"}, "gate.patience must be"),
        ({"min_steps": -1}, "gate.min_steps must be"),
        ({"min_rise": 0}, "gate.min_rise must be a number above 0 and at most 1"),
        ({"min_rise": 1.5}, "gate.min_rise must be"),
        ({"min_rise": True}, "gate.min_rise must be"),
        ({"min_rise": None}, "gate.min_rise must be"),
        ({"min_rise": "1e-2"}, "not '1e-2'"),
        ({"grad_norm_spread": 0.0}, "gate.grad_norm_spread must be"),
        ({"grad_norm_spread": math.inf}, "gate.grad_norm_spread must be"),
        ({"collapse": None}, "gate.collapse must be a mapping"),
        ({"collapse": 5}, "gate.collapse must be a mapping"),
        ({"collapse": {"window": 3}}, "gate.collapse has no setting 'window'"),
        ({"collapse": {"steps": 0}}, "gate.collapse.steps must be"),
        ({"collapse": {"steps": None}}, "gate.collapse.steps must be"),
        ({"collapse": {"kl": math.nan}}, "gate.collapse.kl must be a number above 0"),
        ({"collapse": {"kl": False}}, "or null, not False"),
        ({"collapse": {"grad_norm": -1}}, "gate.collapse.grad_norm must be"),
        ({"collapse": {"grad_norm_ratio": 1}}, "gate.collapse.grad_norm_ratio must be a number above 1"),
        ({"collapse": {"format_drop": 25}}, "gate.collapse.format_drop must be"),
        ({"collapse": {"accuracy_drop": 0}}, "gate.collapse.accuracy_drop must be"),
    ],
)
def test_a_bad_setting_is_named_in_one_sentence(wrong: Any, says: str) -> None:
    with pytest.raises(EnvtuneError) as error:
        read_gate(wrong)
    assert says in str(error.value) and "\n" not in str(error.value)
