"""The whole of training on real parts: verl's trainer on Ray, vLLM's rollouts, our episodes, checkpoints, hand-over.

Only the model is small: two random layers (`envtune.models.write_random_model`). It never gets a reward, so what moves
its weights is the entropy bonus; all that is asserted here is the machinery. Profile: reproduce/cpu.yaml with sizes cut.
"""

from __future__ import annotations

import json
import math
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

SIZES = {
    "data.max_prompt_length": 4096,
    "data.max_response_length": 640,
    "actor_rollout_ref.rollout.n": 2,
    "actor_rollout_ref.rollout.max_model_len": 4736,
    "actor_rollout_ref.rollout.max_num_batched_tokens": 4736,
    "actor_rollout_ref.actor.optim.lr": 1e-3,
}


def make_profile(folder: Path, **verl: Any) -> Path:
    """The CPU profile with a tiny random model and small sizes, as a file, with its model and its data beside it."""
    content = yaml.safe_load((PROFILES / "cpu.yaml").read_text(encoding="utf-8"))
    content["name"] = "tiny"
    content["agent"] = {"max_reply_tokens": 16}
    content["verl"] |= {**SIZES, **verl}
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


def check_stage(profile: Profile, name: str, start: Path, steps: int) -> None:
    """What every finished stage must show."""
    folder = profile.stage_dir(name)
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    assert done["steps"] == steps
    metrics = rows(folder / "metrics.jsonl")
    assert [row["step"] for row in metrics] == list(range(1, steps + 1))
    for row in metrics:
        data = row["data"]
        assert all(math.isfinite(value) for value in data.values() if isinstance(value, float)), data
        assert data["actor/grad_norm"] > 0
        assert data["actor/lr"] == SIZES["actor_rollout_ref.actor.optim.lr"]
    assert metrics[0]["data"]["actor/kl_loss"] == pytest.approx(0, abs=1e-6)  # the reference is the stage's start
    assert [path.name for path in (folder / "checkpoints").glob("global_step_*")] == [f"global_step_{steps}"]
    assert list((folder / "tensorboard").rglob("events.out.*"))
    for step in range(1, steps + 1):
        dumped = rows(folder / "rollouts" / f"{step}.jsonl")
        assert len(dumped) == 4  # two prompts, two rollouts of each
        assert {row["gts"] for row in dumped} <= set(profile.tasks.ids(_stage(name).data) or ())
    before, after = weights(start), weights(folder / "model")
    assert before.keys() == after.keys()
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    assert any(not torch.equal(before[key], after[key]) for key in after)
    # fp32 indeed, not bf16 written as fp32
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in after.values())


def _stage(name: str) -> Any:
    return next(stage for stage in CURRICULUM if stage.name == name)


def started_from(profile: Profile, name: str) -> dict[str, torch.Tensor]:
    """The weights that verl's actor had before the first step of a stage, undoing nothing: as verl loaded them."""
    from transformers import AutoModelForCausalLM

    config = yaml.safe_load((profile.stage_dir(name) / "config.yaml").read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(config["actor_rollout_ref"]["model"]["path"])
    return {key: tensor for key, tensor in model.state_dict().items()}


def no_process_left(profile: Profile) -> bool:
    marks = []
    for process in psutil.process_iter():
        try:
            marks.append(process.environ().get("ENVTUNE_RUN_DIR"))
        except psutil.Error:
            continue
    return str(profile.run_dir) not in marks


@pytest.mark.timeout(900)
def test_two_chained_stages(tmp_path: Path) -> None:
    profile = load_profile(str(make_profile(tmp_path)))
    train(profile, last="stage2")
    check_stage(profile, "stage1", profile.run_dir / "model", steps=1)
    check_stage(profile, "stage2", profile.stage_dir("stage1") / "model", steps=1)
    assert no_process_left(profile)
