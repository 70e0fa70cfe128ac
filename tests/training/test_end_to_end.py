"""The whole of training on real parts: verl's trainer on Ray, vLLM's rollouts, our episodes, checkpoints, hand-over.

Only the model is small (`tests/helpers/tiny_run.py`): all that is asserted here is the machinery.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import LEARNING_RATE, make_profile, no_process_left, rows, same, weights

from envtune.curriculum import CURRICULUM
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile
from envtune.run_record import read_run_record
from envtune.training import train
from envtune.training.metrics import last_step


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def check_stage(profile: Profile, name: str, steps: int = 1) -> None:
    """What every finished stage must show."""
    folder = profile.stage_dir(name)
    assert json.loads((folder / "done.json").read_text(encoding="utf-8"))["steps"] == steps
    metrics = rows(folder / "metrics.jsonl")
    assert [row["step"] for row in metrics] == list(range(1, steps + 1))
    for row in metrics:
        assert all(math.isfinite(value) for value in row["data"].values() if isinstance(value, float)), row
        assert row["data"]["actor/grad_norm"] > 0
        assert any(key.startswith("val-core/") for key in row["data"])
        check_reports(row["data"])
    # the KL reference is the stage's own start
    assert metrics[0]["data"]["actor/kl_loss"] == pytest.approx(0, abs=1e-6)
    # vLLM sampled from the very weights that were trained
    assert metrics[0]["data"]["training/rollout_probs_diff_max"] == pytest.approx(0, abs=1e-4)
    assert not (folder / "checkpoints").exists(), "a finished stage keeps its result alone"
    assert list((folder / "tensorboard").rglob("events.out.*"))
    subset = next(stage.data for stage in CURRICULUM if stage.name == name)
    for step in range(1, steps + 1):
        dumped = rows(folder / "rollouts" / f"{step}.jsonl")
        assert len(dumped) == 4  # two prompts, two rollouts of each
        assert {row["gts"] for row in dumped} <= set(profile.tasks.ids(subset) or ())
    assert all(tensor.dtype == torch.float32 for tensor in weights(folder / "model").values())


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change a file, and make sure that it has changed."""
    before = path.read_text(encoding="utf-8")
    after = change(before)
    assert after != before
    path.write_text(after, encoding="utf-8")


def check_reports(data: dict[str, float]) -> None:
    """What our trainer adds to verl's metrics of a step."""
    parts = {key: value for key, value in data.items() if key.startswith("split/")}
    assert sum(parts.values()) == pytest.approx(data["timing_s/step"] + data["timing_s/testing"], rel=0.02)
    assert parts["split/generation_s"] > parts["split/environment_s"] > 0 < parts["split/tokenisation_s"]
    assert 0 <= data["rollout/idle_share"] < 1
    assert data["tokens/response"] > data["tokens/sampled"] > 0 < data["tokens/prompt"]
    assert 0 <= data["episode/format_rate"] <= 1 and data["episode/replies"] >= 1


@pytest.mark.timeout(900)
def test_two_chained_stages(tmp_path: Path) -> None:
    # with a learning rate of 0 stage 2 ends with what it started from: so it shows what it was handed
    profile = load_profile(str(make_profile(tmp_path, stages={"stage2": {LEARNING_RATE: 0.0}})))
    train(profile, last="stage2")
    assert no_process_left(profile, within_s=0)
    check_stage(profile, "stage1")
    check_stage(profile, "stage2")
    start, first, second = profile.run_dir / "model", *(profile.stage_dir(f"stage{n}") / "model" for n in (1, 2))
    assert not same(start, first)
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in weights(first).values())
    assert same(first, second)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_four_stages_and_none_twice(tmp_path: Path) -> None:
    profile = load_profile(str(make_profile(tmp_path)))
    train(profile)
    before = profile.run_dir / "model"
    for stage in CURRICULUM:
        check_stage(profile, stage.name)
        result = profile.stage_dir(stage.name) / "model"
        assert not same(before, result)
        before = result
    finished = {path: path.stat().st_mtime_ns for path in profile.run_dir.rglob("*") if path.is_file()}
    train(profile)
    assert {path: path.stat().st_mtime_ns for path in profile.run_dir.rglob("*") if path.is_file()} == finished


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_stage_that_has_converged_ends_and_one_that_collapses_stops_the_run(tmp_path: Path) -> None:
    """The trainer ends the run at the step that the gate names, and the driver reads the same from the metrics."""
    keys = {"trainer.total_training_steps": 12, "trainer.save_freq": 3}
    # no reward, so no rise: converged as soon as it may be; the next checkpoint is the stage's result
    gate = {"rule": "plateau", "window": 2, "patience": 1, "min_steps": 4, "grad_norm_spread": 100.0}
    path = make_profile(tmp_path, gate=gate, **keys)
    profile = load_profile(str(path))
    train(profile, last="stage1")
    done = json.loads((profile.stage_dir("stage1") / "done.json").read_text(encoding="utf-8"))
    assert done["gate"]["decision"]["outcome"] == "converged" and "stopped rising" in done["gate"]["decision"]["reason"]
    assert 4 <= done["gate"]["decision"]["step"] <= done["steps"] == 6
    check_stage(profile, "stage1", steps=done["steps"])
    assert [row["step"] for row in done["gate"]["curve"]] == list(range(1, done["steps"] + 1))

    # the same with a limit that any gradient is above: stage 2 collapses at its second step
    edit(
        path, lambda text: text.replace("  rule: plateau", "  rule: epochs\n  collapse: {grad_norm: 1.0e-12, steps: 2}")
    )
    edit(path, lambda text: text.replace("trainer.save_freq: 3", "trainer.save_freq: 1"))
    profile = load_profile(str(path))
    shutil.rmtree(profile.stage_dir("stage1"))
    with pytest.raises(EnvtuneError, match=r"stage1 has collapsed at step 2: .*No checkpoint is from before"):
        train(profile)
    folder = profile.stage_dir("stage1")
    gate = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
    assert (gate["decision"]["step"], gate["decision"]["onset"], gate["last_good_checkpoint"]) == (2, 1, None)
    assert not (folder / "done.json").exists() and [row["step"] for row in rows(folder / "metrics.jsonl")] == [1, 2]
    attempts = list((folder / "attempts").iterdir())
    with pytest.raises(EnvtuneError, match="has collapsed at step 2"):  # and it is not gone on with
        train(profile)
    assert list((folder / "attempts").iterdir()) == attempts
    record = read_run_record(profile.run_dir / "run.json")
    assert record["run"]["status"] == "collapsed" and record["stages"][0]["gate"]["decision"]["step"] == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_stage_goes_on(tmp_path: Path) -> None:
    """kill -9 at the worst moment: the checkpoint of step 2 is written, its metrics are not."""
    path = make_profile(tmp_path, **{"trainer.total_training_steps": 3, "trainer.save_freq": 1})
    profile = load_profile(str(path))
    folder = profile.stage_dir("stage1")
    command = [sys.executable, "-m", "envtune.cli", "train", "--profile", str(path), "--stage", "stage1"]
    with subprocess.Popen(command) as first:
        while not (folder / "checkpoints" / "global_step_2" / "data.pt").is_file():
            assert first.poll() is None
            time.sleep(0.05)
        first.kill()
    assert no_process_left(profile, within_s=60)
    assert not (folder / "done.json").exists()
    reported = last_step(folder)
    assert reported >= 1
    subprocess.run(command, check=True)
    check_stage(profile, "stage1", steps=3)
    starts = [json.loads(file.read_text())["start_step"] for file in sorted(folder.glob("attempts/*/attempt.json"))]
    assert starts == [0, min(reported, 2)]
