"""The whole of training on real parts: verl's trainer on Ray, vLLM's rollouts, our episodes, checkpoints, hand-over.

Only the model is small: two random layers (`envtune.models.tiny`). It never gets a reward, so what moves its weights is
the entropy bonus; all that is asserted here is the machinery. Profile: reproduce/cpu.yaml with sizes cut.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from envtune.curriculum import CURRICULUM
from envtune.models.tiny import write_random_model
from envtune.profile import PROFILES, Profile, load_profile
from envtune.training import train, write_data
from envtune.training.metrics import last_step

LEARNING_RATE = "actor_rollout_ref.actor.optim.lr"
SIZES = {
    "data.train_batch_size": 2,
    "data.max_prompt_length": 4096,
    "data.max_response_length": 640,
    "actor_rollout_ref.rollout.n": 2,
    "actor_rollout_ref.rollout.max_model_len": 4736,
    "actor_rollout_ref.rollout.max_num_batched_tokens": 4736,
    LEARNING_RATE: 1e-3,
}


def make_profile(folder: Path, stages: dict[str, Any] | None = None, **verl: Any) -> Path:
    """The CPU profile with a tiny random model and small sizes, as a file, with its model and its data beside it."""
    content = yaml.safe_load((PROFILES / "cpu.yaml").read_text(encoding="utf-8"))
    content["name"] = "tiny"
    content["agent"] = {"max_reply_tokens": 16}
    content["verl"] |= {**SIZES, **verl}
    content["stages"] = stages or {}
    content["environment"]["OMP_NUM_THREADS"] = 1
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    profile = load_profile(str(path))
    write_random_model(profile.run_dir / "model", seed=0)
    write_data(profile)
    return path


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def same(one: Path, other: Path) -> bool:
    """Whether two models have bit for bit the same weights."""
    before, after = weights(one), weights(other)
    assert before.keys() == after.keys()
    return all(torch.equal(before[key], after[key]) for key in before)


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
    # the KL reference is the stage's own start
    assert metrics[0]["data"]["actor/kl_loss"] == pytest.approx(0, abs=1e-6)
    # vLLM sampled from the very weights that were trained
    assert metrics[0]["data"]["training/rollout_probs_diff_max"] == pytest.approx(0, abs=1e-4)
    assert [path.name for path in (folder / "checkpoints").glob("global_step_*")] == [f"global_step_{steps}"]
    assert list((folder / "tensorboard").rglob("events.out.*"))
    subset = next(stage.data for stage in CURRICULUM if stage.name == name)
    for step in range(1, steps + 1):
        dumped = rows(folder / "rollouts" / f"{step}.jsonl")
        assert len(dumped) == 4  # two prompts, two rollouts of each
        assert {row["gts"] for row in dumped} <= set(profile.tasks.ids(subset) or ())
    assert all(tensor.dtype == torch.float32 for tensor in weights(folder / "model").values())


def no_process_left(profile: Profile, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while any(_belongs(process, profile) for process in psutil.process_iter()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _belongs(process: psutil.Process, profile: Profile) -> bool:
    try:
        return process.environ().get("ENVTUNE_RUN_DIR") == str(profile.run_dir)
    except psutil.Error:
        return False


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
