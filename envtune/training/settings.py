"""What a stage's result depends on: results of two different settings must not end up in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from envtune.curriculum import Stage
from envtune.errors import EnvtuneError
from envtune.files import sha256_json, sha256_weights
from envtune.profile import Profile
from envtune.training.config import agent_loop_config, differing_keys

# What may differ between attempts at a stage, since its result does not depend on it.
_NOT_THE_RESULT = (
    # where things lie: a run may move to a larger disk (what starting weights and data are is compared by hash)
    "actor_rollout_ref.model.path",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path",
    "data.train_files",
    "data.val_files",
    "trainer.default_local_dir",
    "trainer.rollout_data_dir",
    "trainer.validation_data_dir",
    # by how many GPUs it is computed, and in which portions: what there is to change after running out of memory
    "trainer.nnodes",
    "trainer.n_gpus_per_node",
    "actor_rollout_ref.rollout.gpu_memory_utilization",
    "actor_rollout_ref.rollout.max_num_seqs",
    "actor_rollout_ref.rollout.max_num_batched_tokens",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu",
    "actor_rollout_ref.actor.fsdp_config.param_offload",
    "actor_rollout_ref.actor.fsdp_config.optimizer_offload",
    # what is kept and said of it, and when it is to end (done.json has the gate)
    "trainer.save_freq",
    "trainer.logger",
    "envtune",
)


def settings_of(
    profile: Profile, config: DictConfig, files: Mapping[str, Any], stage: Stage, start: str | Path
) -> dict[str, Any]:
    """The settings as hashes: a result is reused, and a stage gone on with, only when all of them are the same.

    files: of the data's manifest; start: the weights that the stage starts from, a folder or an id on the model hub.
    """
    return {
        "config": sha256_json(OmegaConf.to_container(_of_the_result(config), resolve=False)),
        "data": sha256_json([files[name]["rows_sha256"] for name in (stage.name, "validation")]),
        "agent": sha256_json(agent_loop_config(profile)),
        "start": _start(profile, stage, start),
    }


def _start(profile: Profile, stage: Stage, start: str | Path) -> dict[str, str | None]:
    """The starting weights: where they are, and their hash (a stage's own result has said it; None for an id on the hub)."""
    before = profile.before(stage)
    if before is not None:
        done = json.loads((profile.stage_dir(before.name) / "done.json").read_text(encoding="utf-8"))
        return {"model": str(start), "sha256": str(done["model_sha256"])}
    return {"model": str(start), "sha256": sha256_weights(Path(start)) if Path(start).is_dir() else None}


def _known_by(settings: Mapping[str, Any], name: str) -> Any:
    """What a setting is compared by: starting weights by their hash, since a run may have moved, or by an id on the hub."""
    value = settings.get(name)
    if name == "start" and isinstance(value, Mapping):
        return value.get("sha256") or value.get("model")
    return value


def same_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two stages have the same settings, as `settings_of` gives them."""
    names = one.keys() | other.keys()
    return all(name in one and name in other and _known_by(one, name) == _known_by(other, name) for name in names)


def _of_the_result(config: Any) -> Any:
    """The configuration without what may differ between attempts."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    for key in _NOT_THE_RESULT:
        parent, _, name = key.rpartition(".")
        (OmegaConf.select(copy, parent) if parent else copy).pop(name, None)
    return copy


def refuse_other_settings(
    folder: Path, settings: Mapping[str, Any], gate: Mapping[str, Any], config: DictConfig
) -> None:
    """Raise EnvtuneError where the stage's folder holds a run with other settings, or a result that another gate ended;
    nothing is removed without being asked."""
    changed = []
    if (folder / "settings.json").is_file():
        old = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        changed = [name for name in settings if _known_by(old, name) != _known_by(settings, name)]
    if "config" in changed:
        old_config = OmegaConf.load(folder / "config.yaml")
        keys = list(differing_keys(_of_the_result(old_config), _of_the_result(config)))
        changed[changed.index("config")] = f"config ({', '.join(keys[:6])})"
    if (folder / "done.json").is_file():
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        if done.get("gate", {}).get("settings", gate) != gate:
            changed.append("gate")
    if changed:
        raise EnvtuneError(
            f"{folder} holds a run with other settings: {', '.join(changed)} changed; move or remove that folder (and "
            "those of the later stages) to train anew, or go back to the old settings"
        )
