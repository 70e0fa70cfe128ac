"""What a profile needs of a machine. Figures that nobody has measured say "reckoned" where they are reported."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from envtune.doctor.check import ask
from envtune.errors import EnvtuneError
from envtune.training.model_shape import ModelShape, shape_of

if TYPE_CHECKING:
    from envtune.profile import Profile

GIB = 2**30
GPU_BYTES = 80e9  # the authors name eight GPUs, not which; what is reckoned is reckoned for this memory
CPU_PROFILE_MEMORY = 11.7 * GIB  # measured, all processes of the CPU profile
_SMOLLM2 = ModelShape(576, 30, 9, 3, 1536, 49152, 64, tie_word_embeddings=True)  # before its folder has been written
_WEIGHTS_BUCKET = "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
_MEMORY_SHARE = "actor_rollout_ref.rollout.gpu_memory_utilization"


@dataclass(frozen=True)
class Needs:
    """What one node must have.

    extra: of pyproject.toml, whose packages are used; gpus: on each node (0 on the CPU profile); nodes: number of them;
    workers: verl's, on each node; gpu_share: of a GPU's memory, for rollouts; bucket: bytes of one worker's weights
    transfer; cores: fewer than these stop or slow the run; memory: bytes; open_files, processes: (least, advised).
    """

    extra: str
    gpus: int
    nodes: int
    workers: int
    gpu_share: float
    bucket: int
    cores: int
    memory: float
    open_files: tuple[int, int]
    processes: tuple[int, int]


def needs_of(profile: Profile) -> Needs:
    """The needs that follow from a profile's settings; where it is silent, from the paper's and from verl's defaults.

    Raises EnvtuneError where a setting that must be a number is none.
    """
    paper = _paper_settings()

    def setting(key: str, default: Any = None) -> Any:
        for spelling in (key, f"+{key}"):
            if spelling in profile.verl:
                return profile.verl[spelling]
        return paper.get(key, default)

    def number(key: str, default: Any = None) -> float:
        value = setting(key, default)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise EnvtuneError(f"profile {profile.name}: {key} is {value!r}; it must be a number") from None

    workers = int(number("trainer.n_gpus_per_node"))
    common = {
        "nodes": int(number("trainer.nnodes")),
        "workers": workers,
        "gpu_share": number(_MEMORY_SHARE),
        "bucket": int(number(_WEIGHTS_BUCKET, 2048)) << 20,
    }
    if setting("trainer.device") == "cpu":
        return Needs(
            "cpu", 0, **common, cores=2, memory=CPU_PROFILE_MEMORY, open_files=(1024, 4096), processes=(1024, 4096)
        )
    # verl asks Ray for bundles of 3 cores and a GPU, and waits for ever where there are fewer; 2 for what steers them.
    cores = workers if "num_cpus" in profile.ray else 3 * workers + 2
    # Reckoned: Python, torch and vLLM of a worker, and the whole model in fp32 twice, on its way to a checkpoint.
    shape = _shape(profile)
    memory = 10 * GIB * workers + 8 * (shape.parameters if shape else 0)
    return Needs(
        "gpu", workers, **common, cores=cores, memory=memory, open_files=(4096, 65536), processes=(4096, 32768)
    )


def _shape(profile: Profile) -> ModelShape | None:
    """The model's sizes; None where they cannot be told, also from a broken folder (another check says so)."""
    try:
        return shape_of(str(profile.start_model))
    except (OSError, ValueError, KeyError):
        return None


def _paper_settings() -> dict[str, Any]:
    """Published value of each setting. The file is read here, since its own module imports what may be missing."""
    from envtune.profile import ROOT

    text = (ROOT / "envtune" / "training" / "paper_settings.yaml").read_text(encoding="utf-8")
    return {entry["key"]: entry["paper"] for entry in yaml.safe_load(text)}


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that a run takes at the most, and fetches; None where unknown, and `reason` says why.

    run: checkpoints, results and rollouts in the run folder; hub: the model from the hub.
    """

    run: float | None
    hub: float = 0.0
    reason: str = ""


def ask_disk_need(profile_name: str, environment: Mapping[str, str], seconds: float) -> DiskNeed:
    """`disk_need` of a profile, asked in a process of its own: composing verl's configuration imports torch."""
    answer = ask([sys.executable, "-m", "envtune.doctor.needs", profile_name], seconds, environment)
    if answer.code != 0:
        return DiskNeed(None, reason=answer.reason)
    return DiskNeed(**json.loads(answer.out.splitlines()[-1]))


def disk_need(profile: Profile) -> DiskNeed:
    """What a run takes, by arithmetic. Imports hydra and verl; raises ImportError where they are not installed."""
    from envtune.tasks.split import load_split
    from envtune.training.config import compose
    from envtune.training.cost import Assumptions, peak_disk, plan_stage, stage_cost

    model = str(profile.start_model)
    hub = profile.model.get("source") == "hf"
    shape = _shape(profile) or (None if hub else _SMOLLM2)
    if shape is None:
        return DiskNeed(None, reason=f"the size of {model} is not known here")
    assumptions, costs = Assumptions(), []
    for stage in profile.curriculum:
        rows = len(profile.tasks.ids(stage.data) or load_split().subsets[stage.data])
        config = compose(profile, stage, model, rows)
        # the longest prompts that fit: their true lengths would need BFCL's data, and are a small part
        longest = int(config.data.max_prompt_length * assumptions.characters_per_token)
        plan = plan_stage(stage.name, config, [longest], 0, assumptions.characters_per_token)
        costs.append(stage_cost(plan, config, shape, assumptions))
    return DiskNeed(peak_disk(costs), 2.0 * shape.parameters if hub and not os.path.isdir(model) else 0.0)


def main(profile_name: str) -> None:
    """Print `disk_need` as one line of JSON."""
    from dataclasses import asdict

    from envtune.profile import load_profile

    sys.stdout.write(json.dumps(asdict(disk_need(load_profile(profile_name)))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
