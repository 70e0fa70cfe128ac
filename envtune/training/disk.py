"""Room for a stage's checkpoints, reckoned before it starts: a run that fills the disk at night has cost the night."""

from __future__ import annotations

import shutil
from pathlib import Path

from omegaconf import DictConfig

from envtune.errors import EnvtuneError
from envtune.profile import Profile
from envtune.training.cost import KEPT, checkpoint_bytes, checkpoints_written, result_bytes
from envtune.training.model_shape import shape_of


def needed_bytes(config: DictConfig) -> int | None:
    """What a stage's checkpoints and its result take at the most; None when the model's size cannot be told."""
    shape = shape_of(str(config.actor_rollout_ref.model.path))
    if shape is None:
        return None
    size = checkpoint_bytes(shape, list(config.actor_rollout_ref.actor.checkpoint.save_contents))
    return min(checkpoints_written(config), KEPT) * size + result_bytes(shape)


def refuse_full_disk(profile: Profile, config: DictConfig, folder: Path) -> None:
    """Raise EnvtuneError when the stage's folder cannot take what the stage will write. Rollouts come on top; they are
    small beside a checkpoint."""
    needed = needed_bytes(config)
    if needed is None:
        return
    there = sum(path.stat().st_size for path in (folder / "checkpoints").rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed > free + there:
        raise EnvtuneError(
            f"{folder} needs {needed / 1e9:.1f} GB for checkpoints and the stage's result, and has {(free + there) / 1e9:.1f}; "
            f"make room, or set ENVTUNE_RUNS to a folder on a larger disk (now {profile.run_dir.parent})"
        )
