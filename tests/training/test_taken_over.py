"""A stage that another run has computed: taken over when everything that decides its result is the same, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.made_curves import make_stage

from envtune.figures.curves import stage_steps
from envtune.files import sha256_weights, write_json
from envtune.profile import Profile, load_profile
from envtune.training.config import compose
from envtune.training.gates import read_gate
from envtune.training.metrics import new_attempt
from envtune.training.settings import settings_of
from envtune.training.taken_over import take_over

FILES = {"stage1": {"rows_sha256": "a"}, "stage2": {"rows_sha256": "b"}, "validation": {"rows_sha256": "v"}}


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A run of the method whose stage 1 is done."""
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path))
    profile = load_profile("mini", seed=1)
    start = profile.start_model
    assert isinstance(start, Path)
    for model in (start, profile.stage_dir("stage1") / "model"):
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_text(str(model))
    folder = make_stage(profile.stage_dir("stage1"), 1, 4, seed=1)
    new_attempt(folder, 0)
    (folder / "checkpoints").mkdir()
    done = {
        "steps": 4, "gate": {"settings": gate(profile)}, "settings": settings(profile), "provenance": {"commit": "c0ffee"},
        "model_sha256": sha256_weights(folder / "model"),
    }  # fmt: skip
    write_json(folder / "done.json", done)
    return profile


def gate(profile: Profile) -> dict[str, Any]:
    return read_gate(profile.gate).as_dict()


def settings(profile: Profile) -> dict[str, Any]:
    stage = profile.curriculum[0]
    config = compose(profile, stage, profile.start_model, 20)
    return settings_of(profile, config, {**FILES, "single": {"rows_sha256": "s"}}, stage, profile.start_model)


def taken(profile: Profile) -> Path | None:
    return take_over(profile, profile.curriculum[0].name, settings(profile), gate(profile))


@pytest.mark.parametrize("arm", ["binary-reward", "no-augmentation"])
def test_stage_1_of_another_arm_with_the_same_seed_is_the_same(full: Profile, arm: str) -> None:
    profile = load_profile("mini", arm=arm, seed=1)
    source, target = full.stage_dir("stage1"), profile.stage_dir("stage1")
    assert taken(profile) == source
    assert (target / "model" / "model.safetensors").read_text() == (source / "model" / "model.safetensors").read_text()
    assert list(stage_steps(target)) == list(stage_steps(source))
    assert not (target / "checkpoints").exists() and list((target / "attempts").iterdir())
    done = json.loads((target / "done.json").read_text())
    assert done["taken_from"] == {"run": "mini.full.seed1", "model_sha256": done["model_sha256"], "commit": "c0ffee"}
    assert "taken_from" not in json.loads((source / "done.json").read_text())
    assert [path.name for path in target.parent.iterdir()] == ["stage1"]


def test_one_that_was_taken_over_names_the_run_that_computed_it(full: Profile) -> None:
    taken(load_profile("mini", arm="binary-reward", seed=1))
    (full.stage_dir("stage1") / "done.json").unlink()
    profile = load_profile("mini", arm="no-augmentation", seed=1)
    assert taken(profile) == load_profile("mini", arm="binary-reward", seed=1).stage_dir("stage1")
    assert json.loads((profile.stage_dir("stage1") / "done.json").read_text())["taken_from"]["run"] == "mini.full.seed1"


@pytest.mark.parametrize("changed", ["seed", "arm", "data", "gate", "weights", "begun", "unfinished", "old"])
def test_anything_else_is_computed(full: Profile, changed: str) -> None:
    other = load_profile(
        "mini", arm="single-stage" if changed == "arm" else "binary-reward", seed=2 if changed == "seed" else 1
    )
    done = full.stage_dir("stage1") / "done.json"
    told = json.loads(done.read_text())
    if changed == "data":
        told["settings"]["data"] = "0"
    if changed == "gate":
        told["gate"]["settings"]["window"] = 1
    if changed == "old":
        del told["settings"]
    write_json(done, told)
    if changed == "weights":
        (full.stage_dir("stage1") / "model" / "model.safetensors").write_text("other")
    if changed == "unfinished":
        done.unlink()
    if changed == "begun":
        new_attempt(other.stage_dir("stage1"), 0)
    before = sorted(other.run_dir.rglob("*"))
    assert taken(other) is None
    assert sorted(other.run_dir.rglob("*")) == before
