"""What a run may change between attempts, and what it may not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from envtune.curriculum import CURRICULUM
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile, with_nodes
from envtune.training import train
from envtune.training.config import compose
from envtune.training.gates import read_gate
from envtune.training.settings import refuse_other_settings, settings_of

FILES = {name: {"rows_sha256": name} for name in ("stage1", "stage2", "validation")}
GATE = read_gate({}).as_dict()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    return load_profile("gpu")


def settings(profile: Profile, files: Any = FILES, stage: int = 0) -> tuple[Path, dict[str, Any], Any]:
    row = CURRICULUM[stage]
    before = profile.before(row)
    start = profile.stage_dir(before.name) / "model" if before else profile.start_model
    config = compose(profile, row, start, 100)
    return profile.stage_dir(row.name), settings_of(profile, config, files, row, start), config


def begin(profile: Profile, stage: int = 0) -> None:
    """What a stage that has begun has in its folder."""
    folder, of_it, config = settings(profile, stage=stage)
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(of_it))
    OmegaConf.save(config, folder / "config.yaml")


def changed(profile: Profile, **keys: Any) -> Profile:
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return dataclasses.replace(profile, verl={**profile.verl, **named})


def test_the_same_again_and_a_folder_that_is_not_there_are_fine(profile: Profile) -> None:
    folder, of_it, config = settings(profile)
    refuse_other_settings(folder, of_it, GATE, config)
    begin(profile)
    refuse_other_settings(folder, of_it, GATE, config)


@pytest.mark.parametrize(
    "keys",
    [
        {"actor_rollout_ref__rollout__gpu_memory_utilization": 0.6},
        {"trainer__save_freq": 1},
        {"actor_rollout_ref__actor__fsdp_config__optimizer_offload": True},
    ],
)
def test_what_helps_after_running_out_of_memory_may_change(profile: Profile, keys: dict[str, Any]) -> None:
    begin(profile)
    folder, of_it, config = settings(changed(profile, **keys))
    refuse_other_settings(folder, of_it, GATE, config)


def test_nodes_and_gpus_may_change(profile: Profile) -> None:
    begin(profile)
    folder, of_it, config = settings(with_nodes(changed(profile, trainer__n_gpus_per_node=4), 2))
    refuse_other_settings(folder, of_it, GATE, config)


def test_a_run_may_move_to_a_larger_disk(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = profile.stage_dir("stage1")
    first.mkdir(parents=True)
    (first / "done.json").write_text(json.dumps({"model_sha256": "abc"}))
    begin(profile, stage=1)
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "elsewhere"))
    folder, of_it, config = settings(load_profile("gpu"), stage=1)
    assert folder.is_dir()
    refuse_other_settings(folder, of_it, GATE, config)
    (tmp_path / "elsewhere" / "gpu" / "stage1" / "done.json").write_text(json.dumps({"model_sha256": "other"}))
    with pytest.raises(EnvtuneError, match="start changed"):
        refuse_other_settings(folder, settings(load_profile("gpu"), stage=1)[1], GATE, config)


def test_what_the_result_depends_on_may_not_change(profile: Profile) -> None:
    begin(profile)
    for other, complaint in (
        (settings(changed(profile, actor_rollout_ref__actor__optim__lr=2e-6)), r"actor\.optim\.lr"),
        (settings(dataclasses.replace(profile, seed=1)), r"data\.seed"),
        (settings(profile, {**FILES, "stage1": {"rows_sha256": "other"}}), "data changed"),
        (settings(dataclasses.replace(profile, model={"source": "hf", "path": "a/b"})), "start changed"),
        (settings(dataclasses.replace(profile, agent={"seeded": True})), "agent changed"),
    ):
        folder, of_it, config = other
        with pytest.raises(EnvtuneError, match=complaint):
            refuse_other_settings(folder, of_it, GATE, config)


def test_a_result_is_of_its_gate_and_a_stage_in_progress_may_get_another(profile: Profile) -> None:
    begin(profile)
    folder, of_it, config = settings(profile)
    other = read_gate({"rule": "epochs"}).as_dict()
    refuse_other_settings(folder, of_it, other, config)
    (folder / "done.json").write_text(json.dumps({"gate": {"settings": GATE}}))
    refuse_other_settings(folder, of_it, GATE, config)
    with pytest.raises(EnvtuneError, match="gate changed"):
        refuse_other_settings(folder, of_it, other, config)


def test_a_run_on_gpus_is_refused_where_there_are_too_few(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho NVIDIA H100, 81559, 0, 580.65.06, [N/A], 9.0\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(EnvtuneError, match=r"needs 1 x 8 GPUs, and this machine shows 1; .*envtune doctor"):
        train(profile)
    assert not profile.run_dir.exists(), "nothing is begun"
