"""Claims from made validation dumps: what is read, what the tests say, and what is left empty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.claims import CLAIMS, Change, arm_against_arm, decide, end_against_start, read_validations, write_claims
from envtune.errors import EnvtuneError
from envtune.files import write_json
from envtune.profile import load_profile
from envtune.statistics.sign_flip import least_midp, sign_flip_midp

TASKS = [f"multi_turn_{category}_{number}" for category in ("base", "miss_func") for number in range(8)]


def _dump(folder: Path, step: int, value: float, measure: str = "format", seed: int = 0) -> None:
    rng = np.random.default_rng([seed, step])
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in TASKS:
        for _ in range(2):
            row = {"format": 0.0, "format_rate": 0.5, "progress": 0.0, "acc": 0.0}
            rows.append({"task_id": task, **row, measure: value + rng.uniform(-0.1, 0.1)})
    (folder / f"{step}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "runs"


def _run(
    runs: Path,
    arm: str,
    seed: int,
    stage: str,
    values: dict[int, float],
    measure: str = "format",
    done: int | None = -1,
    start: str = "5ta27",
) -> Path:
    """A stage's validations. done: its last step, None for one that is not; the last validation's without it."""
    folder = runs / f"mini.{arm}.seed{seed}" / stage
    (folder / "attempts").mkdir(parents=True)
    for step, value in values.items():
        _dump(folder / "validation", step, value, measure, seed)
    if done is not None:
        steps = max(values) if done == -1 else done
        settings = {"start": {"model": "m", "sha256": start}}
        said = {"steps": steps, "settings": settings, "provenance": {"commit": "c0ffee", "dirty": seed == 3}}
        write_json(folder / "done.json", said)
    return folder


def _arm(runs: Path, arm: str, end: float, seeds: tuple[int, ...] = (1, 2, 3), done: int | None = -1) -> None:
    """The last stage of an arm with its progress at the end."""
    for seed in seeds:
        stage = "single" if arm == "single-stage" else "stage4"
        _run(runs, arm, seed, stage, {0: 0.1, 16: end}, "progress", done)


def test_a_rise_on_every_task_is_found_and_none_is_not(runs: Path) -> None:
    for seed in (1, 2, 3):
        _run(runs, "full", seed, "stage1", {0: 0.5, 12: 0.9, 24: 1.5})
    change = end_against_start(read_validations(load_profile("mini")), "stage1", "format")
    assert (change.tasks, change.clusters, sorted(change.seeds)) == (16, 8, [1, 2, 3])
    assert change.after - change.before == pytest.approx(1.0, abs=0.1)
    assert change.p == pytest.approx(least_midp(8))  # all clusters rose: one of 2^8 signs on each side, counted half
    assert change.every_seed_rose and change.low is not None and change.low > 0.8
    still = end_against_start(read_validations(load_profile("mini")), "stage1", "format_rate")
    assert (still.p, still.every_seed_rose, still.p_seeds, still.low) == (1.0, False, None, None)


def test_arms_are_compared_at_their_ends_on_the_seeds_that_both_have(runs: Path) -> None:
    for seed in (1, 2):
        _run(runs, "full", seed, "stage1", {0: 0.1, 24: 0.2}, "progress")
        _run(runs, "full", seed, "stage4", {0: 0.2, 24: 0.6}, "progress")
        _run(runs, "single-stage", seed, "single", {0: 0.1, 96: 0.3}, "progress")
    _run(runs, "full", 3, "stage4", {24: 0.9}, "progress")
    change = arm_against_arm(read_validations(load_profile("mini")), "single-stage", "full", "progress")
    assert sorted(change.seeds) == [1, 2]
    assert change.after - change.before == pytest.approx(0.3, abs=0.1)
    with pytest.raises(EnvtuneError, match="no finished seed in common"):
        arm_against_arm(read_validations(load_profile("mini")), "binary-reward", "full", "progress")


def test_a_run_that_has_not_finished_is_not_compared(runs: Path) -> None:
    _arm(runs, "full", 0.9)
    _arm(runs, "single-stage", 0.1, (1, 2))
    _arm(runs, "single-stage", 0.1, (3,), done=None)  # killed: its last validation is no end
    _arm(runs, "binary-reward", 0.1, done=20)  # done, and not validated at the end
    table = read_validations(load_profile("mini"))
    assert sorted(arm_against_arm(table, "single-stage", "full", "progress").seeds) == [1, 2]
    with pytest.raises(EnvtuneError, match="no finished seed"):
        arm_against_arm(table, "binary-reward", "full", "progress")
    page, numbers, _ = write_claims(load_profile("mini"))
    assert "Last stage not done, so not in the claims about arms: mini.single-stage.seed3." in page.read_text()
    by_run = {run["run"]: run["finished"] for run in json.loads(numbers.read_text())["origin"]["runs"]}
    assert by_run["mini.single-stage.seed3"] is False and by_run["mini.single-stage.seed2"] is True


def test_validations_after_the_step_that_a_stage_ended_with_are_left_out(runs: Path) -> None:
    _run(runs, "full", 1, "stage1", {0: 0.1, 8: 0.5, 12: 1.9}, done=8)
    _run(runs, "full", 1, "stage2", {0: 0.5, 4: 0.6})
    table = read_validations(load_profile("mini"))
    assert sorted(set(table.overall_step)) == [0, 8, 12]
    assert end_against_start(table, "stage1", "format").after == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("full", "other", "seeds", "verdict"),
    [
        (0.8, 0.3, (1, 2, 3), "holds"), (0.3, 0.8, (1, 2, 3), "refuted here"), (0.5, 0.5, (1, 2, 3), "inconclusive"),
        (0.8, 0.3, (1, 2), "too few seeds"), (0.8, 0.3, (), "not run"),
    ],
)  # fmt: skip
def test_the_rule_for_arms(runs: Path, full: float, other: float, seeds: tuple[int, ...], verdict: str) -> None:
    _arm(runs, "full", full)
    _arm(runs, "no-augmentation", other, seeds)
    if verdict == "inconclusive":  # one seed on the other side
        _dump(runs / "mini.no-augmentation.seed3" / "stage4" / "validation", 16, 0.9, "progress", 3)
    page, numbers, _ = write_claims(load_profile("mini"))
    [row] = [row for row in json.loads(numbers.read_text())["claims"] if row["claim"] == 3]
    assert row["verdict"] == verdict and f"(3) augmented against standard feedback: {verdict}." in page.read_text()
    assert ("p" in row) == bool(seeds)


CHANGE = Change("format", 0.2, 0.5, dict.fromkeys((1, 2, 3), (0.2, 0.5)), 24, 11, 0.001, 0.001, 0.2, 0.4)
DOWN = dict.fromkeys((1, 2, 3), (0.5, 0.2))


@pytest.mark.parametrize(
    ("changed", "of_stage", "of_arm"),
    [
        ({}, "holds", "holds"), ({"p": 0.01}, "does not hold", "inconclusive"),
        ({"seeds": {**CHANGE.seeds, 3: (0.3, 0.3)}}, "does not hold", "inconclusive"),
        ({"seeds": DOWN}, "does not hold", "refuted here"), ({"seeds": DOWN, "p": 0.02}, "does not hold", "inconclusive"),
        ({"seeds": {1: (0.2, 0.5), 2: (0.2, 0.5)}}, "too few seeds", "too few seeds"),
    ],
)  # fmt: skip
def test_the_rule_as_data(changed: dict[str, Any], of_stage: str, of_arm: str) -> None:
    change = replace(CHANGE, **changed)
    stage_claim = next(claim for claim in CLAIMS if claim.stage)
    arm_claim = next(claim for claim in CLAIMS if claim.other)
    assert (decide(stage_claim, change), decide(arm_claim, change)) == (of_stage, of_arm)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=9))
def test_the_test_is_the_packages_and_does_not_depend_on_the_unit(pairs: list[tuple[int, int]]) -> None:
    """Shares of eight turns, one task a cluster: the exact test of the whole numbers of turns, whatever the seed's name."""
    rows = [
        {"arm": "full", "seed": 1, "stage": "stage1", "done": True, "step": step, "task": str(task), "cluster": str(task), "progress": value / 8}
        for task, pair in enumerate(pairs)
        for step, value in zip((0, 16), pair, strict=True)
    ]  # fmt: skip
    change = end_against_start(pd.DataFrame(rows), "stage1", "progress")
    assert change.p == pytest.approx(sign_flip_midp(np.array([after - before for before, after in pairs])))


def test_files_have_numbers_for_what_was_run_and_nothing_for_the_rest(runs: Path) -> None:
    with pytest.raises(EnvtuneError, match="has validated"):
        write_claims(load_profile("mini"))
    for seed in (1, 2, 3):
        _run(runs, "full", seed, "stage1", {0: 0.5, 24: 1.5})
    page, numbers, curves = write_claims(load_profile("mini"))
    lines = [line for line in page.read_text().splitlines() if line.startswith("| (")]
    assert len({line.count("|") for line in lines}) == 1
    assert "holds" in lines[0] and "1: 0.5" in lines[0] and "holds" not in lines[1]
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == [
        "(2) progress reward against binary reward",
        "not run",
        "progress",
    ]
    assert not lines[2].split("|", 4)[4].replace("|", "").strip()
    told = json.loads(numbers.read_text())
    assert [row["verdict"] for row in told["claims"]] == ["holds", None, "not run", "not run", "not run"]
    before = [path.read_bytes() for path in (page, numbers, curves)]
    write_claims(load_profile("mini"))
    assert [path.read_bytes() for path in (page, numbers, curves)] == before
    assert len(pd.read_csv(curves)) == 3 * 2 * len(TASKS)


def test_numbers_say_where_they_come_from(runs: Path) -> None:
    for seed in (1, 3):
        _run(runs, "full", seed, "stage1", {0: 0.5, 24: 1.5})
    write_json(runs / "mini.full.seed1" / "run.json", {"code": {"commit": "beef", "dirty": False}})
    page, numbers, _ = write_claims(load_profile("mini"))
    whence = json.loads(numbers.read_text())["origin"]
    assert (whence["profile"], whence["release"]["name"], whence["model_sha256"]) == ("mini", "paper", "5ta27")
    assert whence["steps"] == {"stage1": [24]}
    assert [run["commits"] for run in whence["runs"]] == [["beef", "c0ffee"], ["c0ffee+"]]
    text = " ".join(page.read_text().split())
    assert "starting weights `5ta27`" in text and "`c0ffee+`" in text


def test_runs_from_different_weights_are_not_compared(runs: Path) -> None:
    _run(runs, "full", 1, "stage1", {0: 0.5, 24: 1.5})
    _run(runs, "full", 2, "stage1", {0: 0.5, 24: 1.5}, start="0ther")
    with pytest.raises(EnvtuneError, match="start from different weights"):
        write_claims(load_profile("mini"))


def test_a_dump_of_something_else_is_named(runs: Path) -> None:
    _run(runs, "full", 1, "stage1", {0: 0.5})
    (runs / "mini.full.seed1" / "stage1" / "validation" / "0.jsonl").write_text('{"task_id": "x"}\n')
    with pytest.raises(EnvtuneError, match=r"0\.jsonl, line 1"):
        read_validations(SimpleNamespace(name="mini", run_dir=runs / "mini", arm="full", seed=0))
