"""A run small enough for a test on every real part: verl on Ray, vLLM, our episodes; the model is two random layers.

The profile is reproduce/cpu.yaml with sizes cut. The model never gets a reward, so what moves its weights is the
entropy bonus.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from safetensors.torch import load_file

from envtune.models.tiny import write_random_model
from envtune.profile import PROFILES, Profile, load_profile
from envtune.training import write_data

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


def make_profile(
    folder: Path,
    stages: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    gate: dict[str, Any] | None = None,
    **verl: Any,
) -> Path:
    """The CPU profile with a tiny random model and small sizes, as a file, with its model and its data beside it."""
    content = yaml.safe_load((PROFILES / "cpu.yaml").read_text(encoding="utf-8"))
    content["name"] = "tiny"
    content["agent"]["max_reply_tokens"] = 16
    content["verl"] |= {**SIZES, **verl}
    content["stages"] = stages or {}
    content["gate"] = gate or content["gate"]
    content["environment"] |= {"OMP_NUM_THREADS": 1, **(environment or {})}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    profile = load_profile(str(path))
    write_random_model(profile.run_dir / "model", seed=0)
    write_data(profile)
    return path


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def same(one: Path, other: Path) -> bool:
    """Whether two models have bit for bit the same weights."""
    before, after = weights(one), weights(other)
    assert before.keys() == after.keys()
    return all(torch.equal(before[key], after[key]) for key in before)


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
