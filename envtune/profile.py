"""A profile: what is run, as one YAML file in reproduce/. Profiles differ in values, never in code path.

    reproduce/cpu.yaml   a small real model, everything on two cores
    reproduce/gpu.yaml   the paper's settings
    reproduce/*.yaml     other models: what differs from the profile that they extend

A run is a profile, an arm of the curriculum and a seed. This file also says where a run's files lie (`Profile.run_dir`
and what is in it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import get_release
from envtune.curriculum import ARMS, Stage
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError
from envtune.experiment import Experiment, read_experiment

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "reproduce"
_STAGES = tuple(dict.fromkeys(stage.name for arm in ARMS.values() for stage in arm.stages))
_SUBSETS = ("stage1", "base", "all", "validation", "evaluation")


@dataclass(frozen=True)
class Tasks:
    """Which tasks a profile takes of each subset.

    stage1, base, all, validation, evaluation: ids, or None for the whole subset (evaluation: of the 300 held out).
    max_tools, tools_seed, max_turns: arguments of `envtune.tasks.cut_task`; None: that is not cut. max_result_characters: what the model reads
    of one tool result in training; None: all of it (see `Episode`; evaluation follows BFCL and never shortens).
    """

    stage1: tuple[str, ...] | None = None
    base: tuple[str, ...] | None = None
    all: tuple[str, ...] | None = None
    validation: tuple[str, ...] | None = None
    evaluation: tuple[str, ...] | None = None
    max_tools: int | None = None
    tools_seed: int = 0
    max_turns: int | None = None
    max_result_characters: int | None = None

    @property
    def cut(self) -> dict[str, Any]:
        """What is cut of each task: arguments of `envtune.tasks.cut_task`."""
        return {"max_tools": self.max_tools, "tools_seed": self.tools_seed, "max_turns": self.max_turns}

    def ids(self, subset: str) -> tuple[str, ...] | None:
        """The ids taken of a subset of the curriculum, "validation" or "evaluation"; None for all of them."""
        chosen: tuple[str, ...] | None = getattr(self, subset)
        return chosen


@dataclass(frozen=True)
class Profile:
    """One profile, read from its file, with the arm and the seed of one run of it.

    name: the file's, without .yaml; base: the profile without `extends` that it comes down to, "cpu" or "gpu" for those in
    reproduce/; release: of BFCL; seed: of data order and sampling; model: source, path, ...; arm: a key of
    `envtune.curriculum.ARMS`; gate: when a stage ends (`envtune.training.gates.read_gate`); reasons: verl key -> why it
    is not the paper's in this profile;
    hints: the hint set of the stages on the augmented environment (`envtune.environment.hints.hint_set`); agent:
    settings of the agent loop; verl: verl key -> value for all stages (a key that verl's own configuration
    does not have starts with +); stages: stage -> such keys for it alone; ray: arguments of ``ray.init`` for the cluster
    that the stages share; preload: modules that verl's processes begin with (`envtune.training.preload`); evaluation:
    settings of the suite and its server; environment: variables set for every process of a run; stall_s: seconds without a
    step after which training counts as standing still; experiment: the arms and seeds that are run together, None for a
    profile of single runs.
    """

    name: str
    release: str
    seed: int
    model: Mapping[str, Any]
    tasks: Tasks
    run_dir: Path
    results_dir: Path
    about: str = ""
    base: str = ""
    arm: str = "full"
    gate: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(default_factory=dict)
    verl: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hints: str = "full"
    ray: Mapping[str, Any] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = 3600.0
    experiment: Experiment | None = None

    @property
    def curriculum(self) -> tuple[Stage, ...]:
        """The stages of the arm, in order."""
        return ARMS[self.arm].stages

    def before(self, stage: Stage) -> Stage | None:
        """The stage whose result this one starts from; None for the first, which starts from the model."""
        index = self.curriculum.index(stage)
        return self.curriculum[index - 1] if index else None

    def feedback(self, stage: Stage) -> str:
        """The hint set of a stage: the profile's on the augmented environment, none on the standard one."""
        return self.hints if stage.feedback == "augmented" else "none"

    def stage_dir(self, stage: str) -> Path:
        """Folder of one stage's run: config.yaml, checkpoints/, metrics.jsonl, model/, done.json, ..."""
        return self.run_dir / stage

    @property
    def start_model(self) -> str | Path:
        """The model that training starts from: a folder, or an id on the model hub."""
        return (
            str(self.model["path"]) if self.model.get("source") == "hf" else self.run_dir.parent / self.name / "model"
        )

    @property
    def registration(self) -> Path | None:
        """The file that says what was fixed before the profile's runs; None for a profile without claims."""
        path = PROFILES / f"{self.name}.md"
        return path if path.is_file() else None

    @property
    def data_dir(self) -> Path:
        """Folder of the rows that verl reads."""
        return self.run_dir / "data"


def load_profile(name: str, *, arm: str | None = None, seed: int | None = None) -> Profile:
    """The profile reproduce/<name>.yaml, or the one in the YAML file of that path; `arm` and `seed` over the file's own.

    Runs lie in runs/<name>/ (`ENVTUNE_RUNS` names another folder than runs/), tables in results/<name>/
    (`ENVTUNE_RESULTS`); with another arm or seed than the file's, in <name>.<arm>.seed<seed>/. All of them start from
    one model. Raises EnvtuneError when there is no such file, or where it has an unknown or ill-formed entry.
    """
    path = Path(name) if name.endswith(".yaml") else PROFILES / f"{name}.yaml"
    if not path.is_file():
        raise EnvtuneError(f"there is no profile {name!r}; choose one of: {', '.join(names())}, or name a .yaml file")
    try:
        content, base = _content(path)
        return _profile(content, base, arm, seed)
    except (KeyError, TypeError, ValueError) as error:
        raise EnvtuneError(f"{path}: {error}") from error


def names() -> list[str]:
    """The profiles in reproduce/. Other YAML there (an example for a cluster) has no `name`."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml") if _says(path, "name"))


def with_nodes(profile: Profile, nodes: int | None) -> Profile:
    """The profile on that many nodes, each with as many GPUs as the profile has on one; None: as it is."""
    if nodes is None:
        return profile
    if nodes < 1:
        raise EnvtuneError(f"a run needs at least one node, not {nodes}; set NNODES to how many there are")
    key = "trainer.nnodes"
    return replace(
        profile,
        verl=MappingProxyType({**profile.verl, key: nodes}),
        reasons=MappingProxyType({**profile.reasons, key: "asked for with NNODES"} if nodes > 1 else profile.reasons),
    )


def _says(path: Path, key: str) -> bool:
    return re.search(rf"^{key}:", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def _content(path: Path, above: tuple[Path, ...] = ()) -> tuple[Any, str | None]:
    """What a file says, over what the profile says that it extends; and the name of the profile at the bottom of it,
    None when the file extends none. `above`: the files that extend this one."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise EnvtuneError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "extends" not in content:
        return content, None
    extended = content.pop("extends")
    if not isinstance(extended, str) or "name" not in content:
        raise ValueError("a profile that extends another needs a name of its own, and extends one, by its name")
    candidates = (path.with_name(f"{extended}.yaml"), PROFILES / f"{extended}.yaml")
    base = next((at for at in candidates if at.is_file() and at != path), None)
    if base is None:
        raise EnvtuneError(f"{path}: extends {extended!r}, which is not there; choose one of: {', '.join(names())}")
    if base in above:
        raise EnvtuneError(f"{path}: extends itself by way of {extended!r}; one of them must stand alone")
    below, bottom = _content(base, (path, *above))
    if not isinstance(below, dict) or "name" not in below:
        raise ValueError(f"extends {extended!r}, which has no name")
    return _merged(below, content), bottom or str(below["name"])


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; anything else replaces what was there."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _profile(content: Any, base: str | None, arm: str | None, seed: int | None) -> Profile:
    known = {entry.name for entry in fields(Profile)} - {"run_dir", "results_dir", "base"}
    if not isinstance(content, dict) or not {"name", "release", "seed", "model"} <= set(content) <= known:
        raise ValueError(
            f"needs name, release, seed and model, and takes nothing but: extends, {', '.join(sorted(known))}"
        )
    name, own_arm, own_seed = str(content["name"]), str(content.get("arm", "full")), int(content["seed"])
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*(\.[0-9][a-z0-9-]*)*", name):
        raise ValueError(f"name {name!r} may have small letters, digits, hyphens and version dots only")
    if strangers := set(content.get("stages") or {}) - set(_STAGES):
        raise ValueError(f"unknown stage {sorted(strangers)[0]!r}; there are: {', '.join(_STAGES)}")
    arm, seed = arm or own_arm, own_seed if seed is None else seed
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; choose one of: {', '.join(ARMS)}")
    if seed < 0:
        raise ValueError(f"a seed is a whole number from 0 on, not {seed}")
    get_release(content["release"])
    tasks = dict(content.get("tasks") or {})
    for subset in _SUBSETS:
        if tasks.get(subset) is not None:
            tasks[subset] = tuple(str(task_id) for task_id in tasks[subset])
    maps = {
        key: MappingProxyType(dict(content.get(key) or {}))
        for key in ("model", "agent", "verl", "ray", "evaluation", "gate", "reasons")
    }
    stages = {stage: MappingProxyType(dict(keys or {})) for stage, keys in (content.get("stages") or {}).items()}
    folder = name if (arm, seed) == (own_arm, own_seed) else f"{name}.{arm}.seed{seed}"
    return Profile(
        name=name,
        base=base or name,
        release=content["release"],
        arm=arm,
        seed=seed,
        about=" ".join(str(content.get("about", "")).split()),
        tasks=Tasks(**tasks),
        hints=hint_set(_listed(content.get("hints", "full"))).name,
        stages=MappingProxyType(stages),
        stall_s=float(content.get("stall_s", 3600)),
        experiment=read_experiment(content["experiment"]) if "experiment" in content else None,
        preload=tuple(str(module) for module in content.get("preload") or ()),
        environment=MappingProxyType({key: str(value) for key, value in (content.get("environment") or {}).items()}),
        run_dir=Path(os.environ.get("ENVTUNE_RUNS") or ROOT / "runs").absolute() / folder,
        results_dir=Path(os.environ.get("ENVTUNE_RESULTS") or ROOT / "results").absolute() / folder,
        **maps,
    )


def _listed(hints: Any) -> str:
    """A hint set as YAML may write it: a name, or a list of names and ids."""
    if isinstance(hints, str):
        return hints
    if isinstance(hints, list) and hints and all(isinstance(name, str) for name in hints):
        return ",".join(hints)
    raise ValueError('hints is the name of a hint set, such as "full", or a list of ids of hints')
