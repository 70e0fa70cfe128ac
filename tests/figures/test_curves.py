"""Reading what runs reported: which runs there are, which steps count, what each metric is made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.made_curves import make_run_folder
from hypothesis import given
from hypothesis import strategies as st

from envtune.errors import EnvtuneError
from envtune.figures.curves import COLUMNS, find_runs, read_curves, stage_steps, step_metrics
from envtune.figures.lines import SPAN, over_seeds, smoothed
from envtune.files import write_json, write_jsonl
from envtune.profile import Profile, load_profile
from envtune.training.metrics import new_attempt


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    return load_profile("cpu")


def values(curves: pd.DataFrame, metric: str) -> list[tuple[Any, ...]]:
    chosen = curves[curves["metric"] == metric]
    return list(chosen[["run", "stage", "step", "overall_step", "value"]].itertuples(index=False, name=None))


def write_steps(folder: Path, *rows: tuple[int, dict[str, Any]], done: bool = True) -> None:
    write_jsonl(folder / "metrics.jsonl", [{"step": step, "data": data} for step, data in rows])
    if done:
        write_json(folder / "done.json", {"steps": rows[-1][0]})


def test_without_a_run_the_table_is_empty_and_has_its_columns(profile: Profile) -> None:
    curves = read_curves(profile)
    assert curves.empty and tuple(curves.columns) == COLUMNS
    (profile.run_dir / "model").mkdir(parents=True)  # prepared, not begun
    assert find_runs(profile) == []


def test_runs_are_found_by_their_folders(profile: Profile) -> None:
    runs = profile.run_dir.parent
    for name, arm, seed in (
        ("cpu.single-stage.seed7", "single-stage", 7),
        ("cpu.full.seed43", "full", 43),
        ("cpu", "full", 42),
        ("cpu.no-augmentation.seed42", "no-augmentation", 42),
    ):
        make_run_folder(runs, name, arm, seed, {"stage1": 1, "single": 1})
    make_run_folder(runs, "cpu2", "full", 1, {"stage1": 1})
    make_run_folder(runs, "cpu.unknown.seed1", "full", 1, {"stage1": 1})
    make_run_folder(runs, "cpu-big.full.seed1", "full", 1, {"stage1": 1})
    found = [(run.folder.name, run.arm, run.seed) for run in find_runs(profile)]
    assert found == [
        ("cpu", "full", 42),
        ("cpu.full.seed43", "full", 43),
        ("cpu.no-augmentation.seed42", "no-augmentation", 42),
        ("cpu.single-stage.seed7", "single-stage", 7),
    ]


def test_the_profiles_own_run_is_told_by_its_record_when_asked_for_another_arm(profile: Profile) -> None:
    make_run_folder(profile.run_dir.parent, "cpu", "full", 42, {"stage1": 1})
    other = load_profile("cpu", arm="binary-reward")
    with pytest.raises(EnvtuneError, match="envtune record --profile cpu"):
        find_runs(other)
    write_json(profile.run_dir / "run.json", {"run": {"arm": "full", "seed": 42}})
    assert [(run.arm, run.seed) for run in find_runs(other)] == [("full", 42)]


def test_steps_are_counted_over_the_stages(profile: Profile) -> None:
    write_steps(profile.stage_dir("stage1"), (1, {"critic/score/mean": 0.1}), (2, {"critic/score/mean": 0.2}))
    write_steps(
        profile.stage_dir("stage2"), (0, {"val-core/bfcl_paper_base/acc/mean@1": 0.5}), (1, {"critic/score/mean": 0.3})
    )
    write_steps(profile.stage_dir("stage3"), (1, {"critic/score/mean": 0.4}))
    curves = read_curves(profile)
    assert values(curves, "reward") == [
        ("cpu", "stage1", 1, 1, 0.1), ("cpu", "stage1", 2, 2, 0.2), ("cpu", "stage2", 1, 3, 0.3), ("cpu", "stage3", 1, 4, 0.4),
    ]  # fmt: skip
    assert values(curves, "accuracy/base") == [("cpu", "stage2", 0, 2, 0.5)]


def test_what_a_metric_is_made_of() -> None:
    data = {
        "val-core/bfcl_paper_base/acc/mean@1": 0.4, "val-core/bfcl_paper_long_context/acc/mean@1": 0.2,
        "val-core/bfcl_paper_base/reward/mean@1": 0.9, "val-core/own/acc/mean@4": 0.6,
        "episode/tool_calls": 8.0, "episode/tool_errors": 2.0, "episode/replies": 10.0, "episode/hints": 1.0,
        "split/generation_s": 3.5, "split/log_probs_s": None, "actor/grad_norm": None, "actor/kl_loss": math.inf,
        "timing_s/step": 9.0,
    }  # fmt: skip
    got = dict(step_metrics(3, data))
    missing = {name for name, value in got.items() if math.isnan(value)}
    assert missing == {"grad_norm", "kl", "seconds/log_probs"}
    assert {name: value for name, value in got.items() if name not in missing} == {
        "accuracy": pytest.approx(0.4), "accuracy/base": 0.4, "accuracy/long_context": 0.2, "accuracy/own": 0.6,
        "tool_error_rate": 0.25, "hint_rate": 0.1, "seconds/generation": 3.5,
    }  # fmt: skip


def test_no_call_is_no_error_rate_of_zero() -> None:
    assert dict(step_metrics(1, {"episode/tool_calls": 0.0, "episode/tool_errors": 0.0})) == {}


def test_a_stage_that_goes_on_is_read_from_its_attempts(tmp_path: Path) -> None:
    write_steps(tmp_path, (1, {"critic/score/mean": 0.1}), done=False)
    for number, start, steps in ((1, 0, (1, 2)), (2, 1, (2, 3))):
        attempt = new_attempt(tmp_path, start)
        rows = (json.dumps({"step": step, "data": {"critic/score/mean": number + step / 10}}) for step in steps)
        (attempt / "verl.jsonl").write_text("".join(f"{row}\n" for row in rows))
    assert [(step, data["critic/score/mean"]) for step, data in stage_steps(tmp_path)] == [(1, 1.1), (2, 2.2), (3, 2.3)]
    write_json(tmp_path / "done.json", {"steps": 1})  # the gate was changed: what came after it does not count
    assert [step for step, _ in stage_steps(tmp_path)] == [1]


@pytest.mark.parametrize("line", ['{"step": 1}', "[]", '{"step": "x", "data": {}}', '{"step": 1, "data": 3}', "{"])
def test_a_file_that_is_none_names_the_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 0, "data": {{}}}}\n{line}\n')
    with pytest.raises(EnvtuneError, match="line 2"):
        stage_steps(tmp_path)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_smoothing_stays_among_the_values_and_weighs_the_last_most(numbers: list[float]) -> None:
    curve = smoothed(pd.Series(numbers))
    assert curve.iloc[0] == numbers[0]
    assert curve.between(min(numbers) - 1e-9, max(numbers) + 1e-9).all()
    # the definition: weights (1 - 2/(span + 1))^age, normalised
    keep = 1 - 2 / (SPAN + 1)
    weights = [keep**age for age in range(len(numbers))][::-1]
    expected = sum(w * x for w, x in zip(weights, numbers, strict=True)) / sum(weights)
    assert curve.iloc[-1] == pytest.approx(expected, abs=1e-9)


def test_the_band_ends_where_a_seed_does() -> None:
    curves = pd.DataFrame(
        [("a", 1, 0.1), ("a", 2, 0.1), ("b", 1, 0.3), ("b", 2, 0.3), ("a", 3, 0.1)], columns=["run", "x", "value"]
    )
    both = over_seeds(curves)
    assert both.loc[2].tolist() == pytest.approx([0.2, 0.1, 0.3])
    assert both.loc[3].isna().all()
