"""Profiles: the hint set, what one extends, arms and seeds, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envtune.curriculum import ARMS, CURRICULUM
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile, with_nodes


def profile(folder: Path, **entries: Any) -> Profile:
    path = folder / "mine.yaml"
    content = {"name": "mine", "release": "paper", "seed": 1, "model": {"source": "hf", "path": "m"}, **entries}
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return load_profile(str(path))


@pytest.mark.parametrize(
    ("entries", "augmented"),
    [
        ({}, "full"), ({"hints": "authors"}, "authors"), ({"hints": "none"}, "none"), ({"hints": "augmented"}, "full"),
        ({"hints": "full,-travel.*"}, "full,-travel.*"),
        ({"hints": ["ticket.closed", "ticket.fields"]}, "ticket.closed,ticket.fields"),
    ],
)  # fmt: skip
def test_the_set_is_for_the_stages_on_the_augmented_environment(
    tmp_path: Path, entries: dict[str, Any], augmented: str
) -> None:
    loaded = profile(tmp_path, **entries)
    assert [loaded.feedback(stage) for stage in CURRICULUM] == ["none", augmented, augmented, "none"]


@pytest.mark.parametrize(
    ("hints", "wanted"), [("loud", "unknown feedback 'loud'"), (5, "name of a hint set"), ([], "hint set")]
)
def test_what_is_no_set_is_refused(tmp_path: Path, hints: Any, wanted: str) -> None:
    with pytest.raises(EnvtuneError, match=wanted):
        profile(tmp_path, hints=hints)


# -- what a profile extends


def write(folder: Path, name: str, **entries: Any) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, **entries}), encoding="utf-8")
    return path


def test_what_is_not_said_is_that_of_the_profile_below(tmp_path: Path) -> None:
    write(tmp_path, "below", release="paper", seed=1, model={"source": "hf", "path": "a/b"}, verl={"x": 1, "y": 2})
    write(tmp_path, "middle", extends="below", verl={"y": 3}, tasks={"base": ["one"]})
    top = write(tmp_path, "top", extends="middle", model={"path": "c/d"}, tasks={"base": ["two"]})
    loaded = load_profile(str(top))
    assert (loaded.name, loaded.base, loaded.seed) == ("top", "below", 1)
    assert dict(loaded.verl) == {"x": 1, "y": 3}
    assert dict(loaded.model) == {"source": "hf", "path": "c/d"}
    assert loaded.tasks.base == ("two",), "lists are replaced"


def test_the_profiles_of_reproduce_can_be_extended_from_anywhere(tmp_path: Path) -> None:
    loaded = load_profile(str(write(tmp_path, "mine", extends="cpu", seed=7)))
    assert (loaded.base, loaded.seed, loaded.release) == ("cpu", 7, "paper")


def test_extending_what_is_not_there_or_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match="extends 'nothing', which is not there"):
        load_profile(str(write(tmp_path, "mine", extends="nothing")))
    write(tmp_path, "one", extends="two")
    with pytest.raises(EnvtuneError, match="extends itself"):
        load_profile(str(write(tmp_path, "two", extends="one")))


# -- arms and seeds


def test_each_arm_and_seed_has_folders_of_its_own_and_one_starting_model() -> None:
    runs = [load_profile("cpu", arm=arm, seed=seed) for arm in (None, *ARMS) for seed in (None, 42, 43)]
    assert {run.run_dir.name for run in runs} == {"cpu"} | {
        f"cpu.{arm}.seed{seed}" for arm in ARMS for seed in (42, 43) if (arm, seed) != ("full", 42)
    }
    assert {run.results_dir.name for run in runs} == {run.run_dir.name for run in runs}
    assert len({run.start_model for run in runs}) == 1


def test_what_an_arm_takes_away() -> None:
    full = ARMS["full"].stages
    without = ARMS["no-augmentation"].stages
    assert [stage.feedback for stage in full] == ["standard", "augmented", "augmented", "standard"]
    assert [replace(stage, feedback="") for stage in without] == [replace(stage, feedback="") for stage in full]
    assert {stage.feedback for stage in without} == {"standard"}
    binary = ARMS["binary-reward"].stages
    assert [stage.reward for stage in binary] == ["format", "binary", "binary", "binary"]
    assert [replace(stage, reward="") for stage in binary] == [replace(stage, reward="") for stage in full]
    (single,) = ARMS["single-stage"].stages
    assert (single.data, single.reward, single.feedback) == ("all", "progress", "standard")
    assert load_profile("gpu", arm="single-stage").before(single) is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"arm": "half"}, "unknown arm 'half'; choose one of: full"), ({"seed": -1}, "whole number from 0")],
)
def test_a_wrong_arm_or_seed_is_one_sentence(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EnvtuneError, match=complaint):
        load_profile("cpu", **arguments)


def test_nodes_are_a_departure_with_a_reason() -> None:
    profile = with_nodes(load_profile("gpu"), 4)
    assert profile.verl["trainer.nnodes"] == 4 and "NNODES" in profile.reasons["trainer.nnodes"]
    with pytest.raises(EnvtuneError, match="at least one node"):
        with_nodes(profile, 0)


# -- the experiment


def test_an_experiment_is_arms_with_seeds(tmp_path: Path) -> None:
    assert profile(tmp_path).experiment is None
    told = profile(tmp_path, experiment={"arms": ["full", "single-stage"], "seeds": [3, 1]}).experiment
    assert told is not None and told.evaluate
    assert told.runs == (("full", 3), ("single-stage", 3), ("full", 1), ("single-stage", 1))


@pytest.mark.parametrize(
    ("experiment", "complaint"),
    [
        (None, "needs arms and seeds"), ({"arms": ["full"]}, "needs arms and seeds"),
        ({"arms": ["full"], "seeds": [1], "steps": 3}, "nothing but: arms, seeds, evaluate"),
        ({"arms": ["half"], "seeds": [1]}, "unknown arm 'half'; choose of: full"),
        ({"arms": "full", "seeds": [1]}, "list of arms"), ({"arms": ["full", "full"], "seeds": [1]}, "each once"),
        ({"arms": ["full"], "seeds": [1.5]}, "whole numbers"), ({"arms": ["full"], "seeds": [True]}, "whole numbers"),
        ({"arms": ["full"], "seeds": [1, 1]}, "each once"), ({"arms": ["full"], "seeds": []}, "whole numbers"),
        ({"arms": ["full"], "seeds": [-1]}, "from 0 on"),
        ({"arms": ["full"], "seeds": [1], "evaluate": "no"}, "true or false"),
    ],
)  # fmt: skip
def test_an_ill_formed_experiment_is_one_sentence(tmp_path: Path, experiment: Any, complaint: str) -> None:
    with pytest.raises(EnvtuneError, match=complaint) as raised:
        profile(tmp_path, experiment=experiment)
    assert "\n" not in str(raised.value)
