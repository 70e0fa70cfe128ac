"""What a profile's run has to evaluate: the starting model and the result of each stage that is done."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envtune.errors import EnvtuneError
from envtune.files import sha256_weights

if TYPE_CHECKING:
    from envtune.profile import Profile

START = "start"
BASELINE = "baseline-"


@dataclass(frozen=True)
class Checkpoint:
    """A model to evaluate. name: start | stage1 | ... | baseline-<model>; model: a folder or a hub id; training_steps: optimizer steps of
    all stages up to it, None where a stage does not say; sha256: of its weights, None for a hub id."""

    name: str
    model: str
    training_steps: int | None
    sha256: str | None


def checkpoint_names(profile: Profile) -> tuple[str, ...]:
    """What a profile's run can have: the starting model and each stage's result."""
    return (START, *(stage.name for stage in profile.curriculum))


def baselines(profile: Profile) -> list[Checkpoint]:
    """The models as released that the profile's `evaluation.baselines` names (folders or hub ids)."""
    listed = [str(model) for model in profile.evaluation.get("baselines") or ()]
    return [checkpoint(f"{BASELINE}{slug(model)}", model, 0) for model in listed]


def reported_names(profile: Profile) -> tuple[str, ...]:
    """What the profile's tables show: what its run can have, and its baselines."""
    listed = (str(model) for model in profile.evaluation.get("baselines") or ())
    return (*checkpoint_names(profile), *(f"{BASELINE}{slug(model)}" for model in listed))


def slug(model: str) -> str:
    """A hub id, or a folder's last part, as a file's name."""
    name = Path(model).resolve().name if Path(model).is_dir() else model
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "model"


def checkpoints(profile: Profile) -> list[Checkpoint]:
    """Those that exist, in order. Raises EnvtuneError when the starting model is not there."""
    start = profile.start_model
    if isinstance(start, Path) and not start.is_dir():
        raise EnvtuneError(f"there is no starting model in {start}; run `make data PROFILE={profile.name}` first")
    found = [checkpoint(START, str(start), 0)]
    steps: int | None = 0
    for stage in profile.curriculum:
        done = profile.stage_dir(stage.name) / "done.json"
        if not done.is_file():
            break  # a later stage's result would be of another run
        said = json.loads(done.read_text(encoding="utf-8")).get("steps")
        steps = None if said is None or steps is None else steps + int(said)
        found.append(checkpoint(stage.name, str(profile.stage_dir(stage.name) / "model"), steps))
    return found


def checkpoint(name: str, model: str, training_steps: int | None) -> Checkpoint:
    """A checkpoint with the hash of its weights. Raises EnvtuneError for a folder that holds none."""
    folder = Path(model)
    return Checkpoint(name, model, training_steps, sha256_weights(folder) if folder.is_dir() else None)
