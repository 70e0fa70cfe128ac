"""Claims from made validation dumps: what is read, what the tests say, and what is left empty."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from envtune.claims import arm_against_arm, end_against_start, read_validations, write_claims
from envtune.errors import EnvtuneError
from envtune.profile import load_profile

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


def _run(runs: Path, arm: str, seed: int, stage: str, values: dict[int, float], measure: str = "format") -> None:
    folder = runs / f"mini.{arm}.seed{seed}" / stage
    (folder / "attempts").mkdir(parents=True)
    for step, value in values.items():
        _dump(folder / "validation", step, value, measure, seed)


def test_a_rise_on_every_task_is_found_and_none_is_not(runs: Path) -> None:
    for seed in (1, 2, 3):
        _run(runs, "full", seed, "stage1", {0: 0.5, 12: 0.9, 24: 1.5})
    change = end_against_start(read_validations(load_profile("mini")), "stage1", "format")
    assert (change.tasks, change.clusters, sorted(change.seeds)) == (16, 8, [1, 2, 3])
    assert change.after - change.before == pytest.approx(1.0, abs=0.1)
    assert change.p == pytest.approx(2 / 2**8)  # all clusters rose: one of 2^8 signs on each side
    assert change.every_seed_rose and change.low is not None and change.low > 0.8
    still = end_against_start(read_validations(load_profile("mini")), "stage1", "format_rate")
    assert (still.p, still.every_seed_rose) == (1.0, False)


def test_runs_that_end_at_different_steps_are_refused(runs: Path) -> None:
    _run(runs, "full", 1, "stage1", {0: 0.5, 24: 1.0})
    _run(runs, "full", 2, "stage1", {0: 0.5, 12: 1.0})
    with pytest.raises(EnvtuneError, match="different steps"):
        end_against_start(read_validations(load_profile("mini")), "stage1", "format")


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


def test_files_have_numbers_for_what_was_run_and_nothing_for_the_rest(runs: Path) -> None:
    with pytest.raises(EnvtuneError, match="has validated"):
        write_claims(load_profile("mini"))
    for seed in (1, 2):
        _run(runs, "full", seed, "stage1", {0: 0.5, 24: 1.5})
    page, numbers, curves = write_claims(load_profile("mini"))
    lines = [line for line in page.read_text().splitlines() if line.startswith("| (")]
    assert len({line.count("|") for line in lines}) == 1
    assert "1: 0.5" in lines[0] and lines[2].replace("|", "").strip() == "(2) progress against binary reward"
    assert [set(row) == {"claim"} for row in json.loads(numbers.read_text())] == [False, False, True, True, True]
    before = curves.read_bytes()
    write_claims(load_profile("mini"))
    assert curves.read_bytes() == before
    assert len(pd.read_csv(curves)) == 2 * 2 * len(TASKS)


def test_a_dump_of_something_else_is_named(runs: Path) -> None:
    _run(runs, "full", 1, "stage1", {0: 0.5})
    (runs / "mini.full.seed1" / "stage1" / "validation" / "0.jsonl").write_text('{"task_id": "x"}\n')
    with pytest.raises(EnvtuneError, match=r"0\.jsonl, line 1"):
        read_validations(SimpleNamespace(name="mini", run_dir=runs / "mini", arm="full", seed=0))
