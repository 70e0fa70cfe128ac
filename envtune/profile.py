"""A profile: what is run, as one YAML file in reproduce/. Profiles differ in values, never in code path.

    reproduce/cpu.yaml   a small real model, everything on two cores
    reproduce/gpu.yaml   the paper's settings

This file also says where a run's files lie (`Profile.run_dir` and what is in it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import get_release
from envtune.curriculum import CURRICULUM, Stage
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "reproduce"
_STAGES = tuple(stage.name for stage in CURRICULUM)
_SUBSETS = ("stage1", "base", "all", "validation", "evaluation")


@dataclass(frozen=True)
class Tasks:
    """Which tasks a profile takes of each subset.

    stage1, base, all, validation, evaluation: ids, or None for the whole subset (evaluation: of the 300 held out).
    max_tools, tools_seed: arguments of `cut_tools`; None: tools are not cut. max_result_characters: what the model reads
    of one tool result in training; None: all of it (see `Episode`; evaluation follows BFCL and never shortens).
    """

    stage1: tuple[str, ...] | None = None
    base: tuple[str, ...] | None = None
    all: tuple[str, ...] | None = None
    validation: tuple[str, ...] | None = None
    evaluation: tuple[str, ...] | None = None
    max_tools: int | None = None
    tools_seed: int = 0
    max_result_characters: int | None = None

    def ids(self, subset: str) -> tuple[str, ...] | None:
        """The ids taken of a subset of the curriculum, "validation" or "evaluation"; None for all of them."""
        chosen: tuple[str, ...] | None = getattr(self, subset)
        return chosen


@dataclass(frozen=True)
class Profile:
    """One profile, read from its file.

    name: the file's, without .yaml; release: of BFCL; seed: of data order and sampling; model: source, path, ...;
    hints: the hint set of the stages on the augmented environment (`envtune.environment.hints.hint_set`); agent:
    settings of the agent loop; verl: verl key -> value for all stages (a key that verl's own configuration
    does not have starts with +); stages: stage -> such keys for it alone; ray: arguments of ``ray.init`` for the cluster
    that the stages share; preload: modules that verl's processes begin with (`envtune.training.preload`); evaluation:
    settings of the suite and its server; environment: variables set for every process of a run.
    """

    name: str
    release: str
    seed: int
    model: Mapping[str, Any]
    tasks: Tasks
    run_dir: Path
    results_dir: Path
    about: str = ""
    agent: Mapping[str, Any] = field(default_factory=dict)
    verl: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hints: str = "full"
    ray: Mapping[str, Any] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def feedback(self, stage: Stage) -> str:
        """The hint set of a stage: the profile's on the augmented environment, none on the standard one."""
        return self.hints if stage.feedback == "augmented" else "none"

    def stage_dir(self, stage: str) -> Path:
        """Folder of one stage's run: config.yaml, checkpoints/, metrics.jsonl, model/, done.json, ..."""
        return self.run_dir / stage

    @property
    def start_model(self) -> str | Path:
        """The model that training starts from: a folder, or an id on the model hub."""
        return str(self.model["path"]) if self.model.get("source") == "hf" else self.run_dir / "model"

    @property
    def data_dir(self) -> Path:
        """Folder of the rows that verl reads."""
        return self.run_dir / "data"


def load_profile(name: str) -> Profile:
    """The profile reproduce/<name>.yaml, or the one in the YAML file of that path.

    Runs lie in runs/<name>/ (`ENVTUNE_RUNS` names another folder than runs/), tables in results/<name>/
    (`ENVTUNE_RESULTS`). Raises EnvtuneError when there is no such file, or where it has an unknown or ill-formed entry.
    """
    import yaml

    path = Path(name) if name.endswith(".yaml") else PROFILES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in PROFILES.glob("*.yaml")))
        raise EnvtuneError(f"there is no profile {name!r}; choose one of: {there}, or name a .yaml file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise EnvtuneError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return _profile(path, content)
    except (KeyError, TypeError, ValueError) as error:
        raise EnvtuneError(f"{path}: {error}") from error


def _profile(path: Path, content: Any) -> Profile:
    known = {entry.name for entry in fields(Profile)} - {"run_dir", "results_dir"}
    if not isinstance(content, dict) or not {"name", "release", "seed", "model"} <= set(content) <= known:
        raise ValueError(f"needs name, release, seed and model, and takes nothing but: {', '.join(sorted(known))}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(content["name"])):
        raise ValueError(f"name {content['name']!r} may have small letters, digits and hyphens only")
    if strangers := set(content.get("stages") or {}) - set(_STAGES):
        raise ValueError(f"unknown stage {sorted(strangers)[0]!r}; there are: {', '.join(_STAGES)}")
    get_release(content["release"])
    tasks = dict(content.get("tasks") or {})
    for subset in _SUBSETS:
        if tasks.get(subset) is not None:
            tasks[subset] = tuple(str(task_id) for task_id in tasks[subset])
    maps = {
        key: MappingProxyType(dict(content.get(key) or {})) for key in ("model", "agent", "verl", "ray", "evaluation")
    }
    stages = {stage: MappingProxyType(dict(keys or {})) for stage, keys in (content.get("stages") or {}).items()}
    return Profile(
        name=content["name"],
        release=content["release"],
        seed=int(content["seed"]),
        about=" ".join(str(content.get("about", "")).split()),
        tasks=Tasks(**tasks),
        hints=hint_set(_listed(content.get("hints", "full"))).name,
        stages=MappingProxyType(stages),
        preload=tuple(str(module) for module in content.get("preload") or ()),
        environment=MappingProxyType({key: str(value) for key, value in (content.get("environment") or {}).items()}),
        run_dir=Path(os.environ.get("ENVTUNE_RUNS") or ROOT / "runs").absolute() / content["name"],
        results_dir=Path(os.environ.get("ENVTUNE_RESULTS") or ROOT / "results").absolute() / content["name"],
        **maps,
    )


def _listed(hints: Any) -> str:
    """A hint set as YAML may write it: a name, or a list of names and ids."""
    if isinstance(hints, str):
        return hints
    if isinstance(hints, list) and hints and all(isinstance(name, str) for name in hints):
        return ",".join(hints)
    raise ValueError('hints is the name of a hint set, such as "full", or a list of ids of hints')
