"""Every stage of every profile composes, verl accepts it, and the paper's values are in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from envtune.curriculum import ARMS, CURRICULUM
from envtune.errors import EnvtuneError
from envtune.profile import PROFILES, Profile, load_profile, names
from envtune.training.config import agent_loop_config, compose, compose_all, differing_keys, validate
from envtune.training.paper_settings import departures, load_settings, markdown_table, recipes_table, stale, unexplained

ROWS = {"stage1": 75, "base": 100, "all": 400}


@pytest.fixture(scope="module", params=names())
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(request.param)


@pytest.fixture(scope="module")
def gpu() -> dict[str, object]:
    loaded = load_profile("gpu")
    return {stage.name: compose(loaded, stage, "Qwen/Qwen2.5-7B-Instruct", ROWS[stage.data]) for stage in CURRICULUM}


@pytest.mark.parametrize("arm", ARMS)
def test_verl_accepts_every_stage_of_every_arm(profile: Profile, arm: str) -> None:
    """And where the profile is at the paper's scale, each setting is the paper's or has a reason."""
    profile = dataclasses.replace(profile, arm=arm)
    configs = {}
    for stage in profile.curriculum:
        rows = len(profile.tasks.ids(stage.data) or ()) or ROWS[stage.data]
        configs[stage.name] = compose(profile, stage, profile.start_model, rows)
        validate(configs[stage.name])
    if profile.base == "gpu":
        assert unexplained(configs, load_settings(profile.reasons)) == []


def test_the_recipes_are_the_papers_models_and_one_more() -> None:
    on_gpus = [profile for name in names() if (profile := load_profile(name)).base == "gpu"]
    published = next(one for one in load_settings() if one.key == "actor_rollout_ref.model.path")
    models = {profile.start_model for profile in on_gpus}
    assert models == {published.paper, *published.also, "Qwen/Qwen3-4B-Instruct-2507"}
    assert all(profile.model["source"] == "hf" for profile in on_gpus)
    for profile in on_gpus[1:]:  # short: only what differs
        assert len((PROFILES / f"{profile.name}.yaml").read_text(encoding="utf-8").splitlines()) < 12


def test_gpu_has_the_papers_settings_or_a_reason(gpu) -> None:
    assert unexplained(gpu) == stale(gpu) == []
    assert {departure.key for departure in departures(gpu)} == {
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.rollout.name",
    }


def test_the_readme_s_table_is_that_of_the_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """To mend it: python -m envtune.training.paper_settings"""
    monkeypatch.delenv("ENVTUNE_RUNS", raising=False)
    readme = (PROFILES / "README.md").read_text(encoding="utf-8")
    assert markdown_table(compose_all()) in readme
    assert recipes_table(profile for name in names() if (profile := load_profile(name)).base == "gpu") in readme


def test_the_stages_rows_are_the_papers() -> None:
    settings = {setting.key: setting for setting in load_settings()}
    for stage in CURRICULUM:
        assert settings["data.train_batch_size"].value(stage.name) == stage.train_batch_size
        assert settings["data.max_response_length"].value(stage.name) == stage.max_response_length
        assert settings["trainer.total_epochs"].value(stage.name) == stage.epochs


def test_steps_follow_from_rows_batch_and_epochs(gpu) -> None:
    # verl drops an incomplete last batch: 75 // 16 = 4, 100 // 32 = 3, 400 // 32 = 12 steps an epoch
    assert [config.trainer.total_training_steps for config in gpu.values()] == [80, 60, 240, 240]


def test_profiles_differ_in_values_only(gpu) -> None:
    cpu = compose(load_profile("cpu"), CURRICULUM[0], "some/model", 2)
    for key in (
        "actor_rollout_ref.rollout.agent.default_agent_loop",
        "actor_rollout_ref.rollout.name",
        "trainer.v1.trainer_mode",
        "algorithm.adv_estimator",
        "actor_rollout_ref.actor.use_kl_loss",
        "actor_rollout_ref.actor.loss_agg_mode",
        "actor_rollout_ref.actor.strategy",
        "trainer.logger",
    ):
        assert OmegaConf.select(cpu, key) == OmegaConf.select(gpu["stage1"], key), key


@pytest.mark.parametrize(
    "keys",
    [
        {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "reward"},
        {"trainer.v1.trainer_mode": "colocate_async"},
        {
            "trainer.v1.trainer_mode": "separate_async",
            "actor_rollout_ref.hybrid_engine": False,
            "actor_rollout_ref.rollout.nnodes": 1,
        },
    ],
    ids=["groups of equal rewards refilled", "colocated asynchronous", "separate asynchronous"],
)
def test_ways_to_roll_out_that_are_not_the_papers(profile: Profile, keys: dict[str, object]) -> None:
    """Options, off in every profile: verl accepts them, and our trainer has a class for each of verl's modes."""
    changed = dataclasses.replace(profile, verl={**profile.verl, **keys})
    config = compose(changed, CURRICULUM[0], "some/model", 400)
    validate(config)
    mode = str(keys.get("trainer.v1.trainer_mode", "sync"))
    assert config.trainer.v1.trainer_mode == f"envtune_{mode}"


def test_a_key_that_verl_does_not_have_is_refused(profile: Profile) -> None:
    wrong = dataclasses.replace(profile, verl={**profile.verl, "trainer.total_epoch": 3})
    with pytest.raises(EnvtuneError, match=r"verl has no setting 'trainer\.total_epoch'"):
        compose(wrong, CURRICULUM[0], "some/model", 400)


def test_what_verl_refuses_is_one_sentence(profile: Profile) -> None:
    wrong = dataclasses.replace(profile, verl={**profile.verl, "actor_rollout_ref.actor.loss_agg_mode": "median"})
    with pytest.raises(EnvtuneError, match="verl refuses the configuration"):
        validate(compose(wrong, CURRICULUM[0], "some/model", 400))


def test_too_few_tasks_for_a_batch(profile: Profile) -> None:
    wrong = dataclasses.replace(profile, verl={**profile.verl, "trainer.total_training_steps": None}, stages={})
    with pytest.raises(EnvtuneError, match="do not fill one batch"):
        compose(wrong, CURRICULUM[0], "some/model", 1)


def test_what_changed_can_be_named(profile: Profile) -> None:
    old, new = (compose(profile, CURRICULUM[0], model, 400) for model in ("a/b", "c/d"))
    assert "actor_rollout_ref.model.path" in set(differing_keys(old, new))


def test_the_agent_loop_is_ours(profile: Profile) -> None:
    (entry,) = agent_loop_config(profile)
    assert entry["name"] == "envtune"
    from hydra.utils import get_class

    assert get_class(entry["_target_"]).__name__ == "EnvtuneAgentLoop"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "not valid YAML"),
        ("name: x", "needs name, release, seed and model"),
        ("{name: x, release: paper, seed: 1, model: {}, verll: {}}", "takes nothing but"),
        ("{name: ../x, release: paper, seed: 1, model: {}}", "small letters"),
        ("{name: x, release: v9, seed: 1, model: {}}", "unknown BFCL release"),
        ("{name: x, release: paper, seed: one, model: {}}", "invalid literal"),
        ("{name: x, release: paper, seed: 1, model: {}, tasks: {stage5: []}}", "stage5"),
        ("{name: x, release: paper, seed: 1, model: {}, stages: {stage5: {}}}", "unknown stage 'stage5'"),
    ],
)
def test_a_bad_profile_says_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(EnvtuneError, match=complaint):
        load_profile(str(path))


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(EnvtuneError, match="cpu, gpu"):
        load_profile("tpu")
