"""One stage's verl configuration: verl's own defaults, the paper's settings, the stage's row, the profile's keys.

Each layer overrides the one before it:

1. verl's ppo_trainer.yaml, composed by hydra;
2. the published settings (paper_settings.yaml beside this file);
3. the stage's row (`envtune.curriculum`), and the wiring of this kit: data, model, agent loop, folders, loggers;
4. the profile: its keys for all stages, then those for this one.

The result is validated by verl itself. Nothing here needs a GPU, Ray, or the model's weights.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from envtune.curriculum import CURRICULUM, Stage
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile
from envtune.tasks import load_tasks
from envtune.training.paper_settings import load_settings

AGENT_NAME = "envtune"  # what rows call our agent loop, and what it is registered as


def compose(profile: Profile, stage: Stage, model: str | Path, train_rows: int) -> DictConfig:
    """The full configuration of one stage, for verl's main_ppo.

    model: the weights that it starts from; train_rows: rows of its data, from which the number of steps follows
    (verl drops an incomplete last batch of an epoch). Raises EnvtuneError on a key that verl does not have.
    """
    config = copy.deepcopy(_verl_defaults())
    paper = {setting.key: setting.value(stage.name) for setting in load_settings()}
    layers = (paper, _stage_keys(stage), _wiring(profile, stage, str(model)))
    for keys in (*layers, profile.verl, profile.stages.get(stage.name, {})):
        _apply(config, keys, profile)
    mode = config.trainer.v1.trainer_mode
    config.trainer.v1.trainer_mode = "envtune_" + mode.removeprefix("envtune_")  # verl's modes, as our trainer has them
    batch = OmegaConf.select(config, "data.train_batch_size")
    # verl 0.9.1 refuses a mini-batch larger than the train batch, or with dynamic batches pads to it and halves the loss
    config.actor_rollout_ref.actor.ppo_mini_batch_size = min(config.actor_rollout_ref.actor.ppo_mini_batch_size, batch)
    if config.trainer.total_training_steps is None:
        config.trainer.total_training_steps = train_rows // batch * config.trainer.total_epochs
    if config.trainer.total_training_steps < 1:
        raise EnvtuneError(
            f"{stage.name}: {train_rows} tasks do not fill one batch of {batch}; take more tasks or a smaller batch"
        )
    return config


def validate(config: DictConfig) -> None:
    """verl's own validation, and what verl would find out only later. Raises EnvtuneError with the reason."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    said = io.StringIO()  # it prints that all is well
    try:
        with contextlib.redirect_stdout(said):
            validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
            # the objects that verl's processes make of these parts; each checks its own values
            for part in ("algorithm", "actor_rollout_ref.rollout"):
                omega_conf_to_dataclass(OmegaConf.select(config, part))
    except (AssertionError, ValueError, TypeError, HydraException, OmegaConfBaseException) as error:
        raise EnvtuneError(f"verl refuses the configuration: {' '.join(str(error).split())}") from error
    _check_lengths(config)
    _check_checkpoints(config)


def _check_checkpoints(config: DictConfig) -> None:
    """What keeps a stage from having a result to hand over. Raises EnvtuneError."""
    if config.trainer.save_freq < 1:
        raise EnvtuneError(
            f"trainer.save_freq is {config.trainer.save_freq}: a stage needs checkpoints, every 5 steps say"
        )
    needed = {"model", "optimizer", "extra", "hf_model"}
    if missing := needed - set(config.actor_rollout_ref.actor.checkpoint.save_contents):
        raise EnvtuneError(
            f"actor.checkpoint.save_contents lacks {', '.join(sorted(missing))}, of which the next stage is made"
        )


def _check_lengths(config: DictConfig) -> None:
    """What would come out only with the first long episode. Raises EnvtuneError."""
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    longest = config.data.max_prompt_length + config.data.max_response_length
    if rollout.max_model_len is not None and longest > rollout.max_model_len:
        raise EnvtuneError(
            f"prompt and response may be {longest} tokens together, rollout.max_model_len is {rollout.max_model_len}"
        )
    fits = actor.ppo_max_token_len_per_gpu * actor.ulysses_sequence_parallel_size
    if actor.use_dynamic_bsz and longest > fits:
        raise EnvtuneError(f"an episode of {longest} tokens does not fit into an update's batch of {fits} tokens")


def compose_all(names: Sequence[str] = ("gpu", "cpu")) -> dict[str, dict[str, DictConfig]]:
    """Profile -> stage -> configuration, each stage from the profile's starting model, for comparing them."""
    profiles = {name: load_profile(name) for name in names}
    rows = {stage.name: len(load_tasks("paper", stage.data)) for stage in CURRICULUM}
    return {
        name: {
            stage.name: compose(
                profile, stage, profile.start_model, len(profile.tasks.ids(stage.data) or ()) or rows[stage.name]
            )
            for stage in CURRICULUM
        }
        for name, profile in profiles.items()
    }


def agent_loop_config(profile: Profile) -> list[dict[str, Any]]:
    """Content of the file that registers our agent loop with verl (`agent_loop_config_path`)."""
    target = "envtune.training.agent_loop.EnvtuneAgentLoop"
    return [{"name": AGENT_NAME, "_target_": target, **profile.agent}]


@functools.cache
def _verl_defaults() -> DictConfig:
    """verl's composed defaults; to be copied before use."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        return hydra_compose("ppo_trainer")


def _stage_keys(stage: Stage) -> dict[str, Any]:
    return {
        "data.train_batch_size": stage.train_batch_size,
        "data.max_response_length": stage.max_response_length,
        "trainer.total_epochs": stage.epochs,
    }


def _wiring(profile: Profile, stage: Stage, model: str) -> dict[str, Any]:
    """What makes verl run this kit's stage, the same for every profile."""
    folder = profile.stage_dir(stage.name)
    return {
        "data.train_files": str(profile.data_dir / f"{stage.name}.parquet"),
        "data.val_files": str(profile.data_dir / "validation.parquet"),
        "data.seed": profile.seed,
        "data.truncation": "error",  # a prompt that does not fit has been refused when the data were written
        "data.filter_overlong_prompts": False,
        "actor_rollout_ref.model.path": model,
        "actor_rollout_ref.actor.data_loader_seed": profile.seed,
        "actor_rollout_ref.rollout.seed": profile.seed,
        # fp32 master weights, and the whole model beside verl's shards: the next stage starts from it, unrounded
        "actor_rollout_ref.actor.fsdp_config.model_dtype": "fp32",
        "actor_rollout_ref.ref.fsdp_config.model_dtype": "fp32",
        "actor_rollout_ref.actor.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": str(folder / "agent_loop.yaml"),
        "actor_rollout_ref.rollout.agent.default_agent_loop": AGENT_NAME,
        "trainer.project_name": f"envtune-{profile.name}",
        "trainer.experiment_name": stage.name,
        "trainer.default_local_dir": str(folder / "checkpoints"),
        "trainer.rollout_data_dir": str(folder / "rollouts"),
        "trainer.validation_data_dir": str(folder / "validation"),
        "trainer.max_actor_ckpt_to_keep": None,  # `checkpoints.prune` does, and keeps the best one as well
        "+envtune": {"stage_dir": str(folder), "gate": dict(profile.gate)},  # for our trainer
        "trainer.logger": ["console", "file", "tensorboard"],
        "trainer.resume_mode": "auto",  # within the stage: its folder holds no other stage's checkpoints
        "critic.enable": False,  # GRPO has none; said, so that verl does not warn
    }


def _apply(config: DictConfig, keys: Mapping[str, Any], profile: Profile) -> None:
    """Set dotted keys. As in hydra, a key that verl's configuration does not have must start with +."""
    for key, value in keys.items():
        try:
            OmegaConf.update(config, key.removeprefix("+"), value, merge=False, force_add=key.startswith("+"))
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise EnvtuneError(f"profile {profile.name}: verl has no setting {key!r} ({reason})") from error


def differing_keys(old: DictConfig, new: DictConfig) -> Iterator[str]:
    """Dotted keys whose values differ between two configurations, to tell a user what has changed."""
    before, after = (_flat(OmegaConf.to_container(config, resolve=False)) for config in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix.removesuffix("."): value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{prefix}{name}.").items()}
