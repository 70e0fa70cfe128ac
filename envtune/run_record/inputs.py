"""What a run was given: BFCL release, split, prompts, hints, and the seed of every component that has one."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from envtune.bfcl import get_release
from envtune.environment import CallResult, prompt
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError
from envtune.files import sha256_json
from envtune.profile import Profile
from envtune.run_record.reading import read_object
from envtune.tasks import load_split

# component -> verl's key
_SEEDS = MappingProxyType(
    {
        "data_order": "data.seed",
        "rollout": "actor_rollout_ref.rollout.seed",
        "actor_data_loader": "actor_rollout_ref.actor.data_loader_seed",
        "actor_engine": "actor_rollout_ref.actor.fsdp_config.seed",
        "reference_engine": "actor_rollout_ref.ref.fsdp_config.seed",
    }
)
_FROM_PROFILE = ("data_order", "rollout", "actor_data_loader")  # what `envtune.training.config` sets to its seed


def read_config(stage_dir: Path) -> dict[str, Any] | None:
    """The verl configuration that a stage was begun with; None when it was not."""
    path = stage_dir / "config.yaml"
    if not path.is_file():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EnvtuneError(f"{path} cannot be read ({' '.join(str(error).split())}); mend or remove it") from error
    if not isinstance(config, dict):
        raise EnvtuneError(f"{path} holds no configuration; mend or remove it")
    return config


def select(config: Mapping[str, Any] | None, key: str) -> Any:
    """What a configuration has under a dotted key; None where it has nothing."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def read_inputs(
    profile: Profile, configs: Mapping[str, Mapping[str, Any] | None], prompts_sha256: str | None
) -> dict[str, Any]:
    """The record's `bfcl`, `split`, `prompt`, `hints` and `seeds`.

    configs: stage -> its verl configuration, None where it has not begun; prompts_sha256: see `prompt_sha256`, of the
    code that ran.
    """
    manifest = read_object(profile.data_dir / "manifest.json") or {}
    files: Mapping[str, Any] = manifest.get("files") or {}
    release = get_release(profile.release)
    split, rows = load_split(), next(iter(files.values()), None)
    cut = rows or dataclasses.asdict(profile.tasks)  # the rows say what they were cut with
    return {
        "bfcl": {"release": release.name, "version": release.version, "wheel_sha256": release.sha256},
        "split": {
            **(manifest.get("split") or {"name": split.name, "sha256": split.sha256}),
            "counts": {name: about["rows"] for name, about in files.items()} or None,
        },
        "prompt": {
            "template_sha256": prompts_sha256,
            "rows_sha256": {name: about["rows_sha256"] for name, about in files.items()} or None,
            "chat_template_sha256": manifest.get("chat_template_sha256"),
            "max_prompt_length": manifest.get("max_prompt_length"),
            "max_result_characters": cut.get("max_result_characters"),
            "max_tools": cut.get("max_tools"),
            "max_turns": cut.get("max_turns"),
        },
        "hints": {stage.name: _hints(profile, stage, files.get(stage.name)) for stage in profile.curriculum},
        "seeds": _seeds(profile, configs, cut),
    }


@functools.cache
def prompt_sha256() -> str:
    """Hex SHA-256 over every kind of message that `envtune.environment.prompt` writes, for one made-up tool.

    What the tasks' own docs and requests make of it is in the hashes of the data's rows.
    """
    parameters = {"type": "dict", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    tool = {"name": "find", "description": "Finds a file.", "parameters": parameters}
    return sha256_json(
        [
            prompt.system_prompt([tool]),
            prompt.results([CallResult("find(name='a')", "{}", raised=False, error=False)], ["."]),
            prompt.shortened("0123456789", 4),
            prompt.go_on("."),
            prompt.ill_formed(".", "."),
            prompt.closed(".", impossible=False),
            prompt.closed(".", impossible=True),
        ]
    )


def _hints(profile: Profile, stage: Any, rows: Mapping[str, Any] | None) -> dict[str, Any]:
    """The hint set that a stage's episodes are played with: what made it, else its data, else the profile says."""
    done = read_object(profile.stage_dir(stage.name) / "done.json") or {}
    if "feedback" in done:
        return {"set": done["feedback"]["hints"], "digest": done["feedback"]["digest"]}
    if rows is not None and "hints_digest" in rows:
        return {"set": rows["feedback"], "digest": rows["hints_digest"]}
    hints = hint_set(profile.feedback(stage))
    return {"set": hints.name, "digest": hints.digest}


def _seeds(profile: Profile, configs: Mapping[str, Mapping[str, Any] | None], cut: Mapping[str, Any]) -> dict[str, Any]:
    """Component -> its seed, or stage -> seed where stages differ; None where there is none, or it is not known."""
    seeds: dict[str, Any] = {"run": profile.seed}
    for component, key in _SEEDS.items():
        seeds[component] = _one({name: _verl_seed(profile, name, configs[name], component, key) for name in configs})
    start = Path(profile.start_model)
    note = read_object(start / "envtune_model.json") if start.is_dir() else None
    evaluation = profile.evaluation
    return {
        **seeds,
        # each reply's own seed follows from the rollout's, the step and its place (envtune/training/agent_loop.py)
        "replies": seeds["rollout"] if _one({name: _is_seeded(profile, name) for name in configs}) is True else None,
        "tools": cut.get("tools_seed") if cut.get("max_tools") is not None else None,
        "warm_start": select(note, "warm_start.settings.seed"),
        "evaluation": evaluation.get("seed", profile.seed),
        "evaluation_server": (evaluation.get("server") or {}).get("seed", profile.seed),
    }


def _one(by_stage: Mapping[str, Any]) -> Any:
    """The value of all stages that have one, or the mapping as it is."""
    known = {value for value in by_stage.values() if value is not None}
    return dict(by_stage) if len(known) > 1 else next(iter(known), None)


def _is_seeded(profile: Profile, stage: str) -> bool:
    """Whether a stage's agent loop seeds each reply: what it was begun with says so, else the profile."""
    try:
        (entry,) = json.loads(
            (profile.stage_dir(stage) / "agent_loop.yaml").read_text(encoding="utf-8")
        )  # JSON is YAML
    except (OSError, ValueError):
        entry = profile.agent
    return bool(entry.get("seeded", False))


def _verl_seed(profile: Profile, stage: str, config: Mapping[str, Any] | None, component: str, key: str) -> Any:
    if config is not None:
        return select(config, key)
    keys = {**profile.verl, **profile.stages.get(stage, {})}
    return keys.get(key, keys.get(f"+{key}", profile.seed if component in _FROM_PROFILE else None))
