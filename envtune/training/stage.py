"""Running the curriculum: one verl run a stage, each from the last one's weights.

    envtune train --profile cpu [--stage stage2]

A stage's folder, runs/<profile>/<stage>/, holds config.yaml (its verl configuration), settings.json (hashes of that, of
the data and of the weights it started from), attempts/, checkpoints/, rollouts/, validation/, tensorboard/, log.txt,
metrics.jsonl, model/ (its result, fp32) and done.json, which is written last. A stage with a done.json is not run
again; one without goes on from its newest whole checkpoint. All stages share one Ray cluster (`envtune.training.cluster`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from envtune.curriculum import CURRICULUM, Stage
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, sha256_json, write_json
from envtune.profile import Profile
from envtune.provenance import provenance
from envtune.training import checkpoints, metrics
from envtune.training.cluster import Cluster, cluster
from envtune.training.config import agent_loop_config, compose, differing_keys, validate
from envtune.training.processes import marked, watched

_POLL_S = 2.0


def train(profile: Profile, *, stage: str | None = None, last: str | None = None) -> None:
    """Train all stages in order, those up to and with `last`, or one. Raises EnvtuneError when one cannot be run or fails."""
    names = [row.name for row in CURRICULUM]
    for name in (stage, last):
        if name is not None and name not in names:
            raise EnvtuneError(f"unknown stage {name!r}; choose one of: {', '.join(names)}")
    wanted = [stage] if stage else names[: names.index(last or names[-1]) + 1]
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(marked(run_environment(profile), profile.run_dir))
        start = functools.partial(cluster, profile.ray, profile.preload, environment, profile.run_dir / "cluster.log")
        shared = functools.cache(lambda: stack.enter_context(start()))  # not before a stage has something to run
        for row in CURRICULUM:
            if row.name in wanted:
                train_stage(profile, row, environment, shared)


def run_environment(profile: Profile) -> dict[str, str]:
    """Environment of a run's processes: ours and the profile's."""
    environment = {**os.environ, **profile.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the imports take minutes
    return environment


def train_stage(profile: Profile, stage: Stage, environment: Mapping[str, str], shared: Callable[[], Cluster]) -> Path:
    """Run one stage to its end, or go on with it; gives the folder of its result. Does nothing when it is done.

    environment: of its processes; shared: gives the cluster to run on, called when there is something to run.
    """
    folder = profile.stage_dir(stage.name)
    start = start_of(profile, stage)
    config = compose(profile, stage, start, _rows(profile, stage))
    validate(config)
    settings = _settings(profile, stage, start, config)
    _refuse_other_settings(folder, settings, config)
    if (folder / "done.json").is_file():
        _say(f"{stage.name}: done already ({folder / 'model'})")
        return folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "agent_loop.yaml", agent_loop_config(profile))  # JSON is YAML
    with atomic_write(folder / "config.yaml") as stream:
        stream.write(OmegaConf.to_yaml(config))
    write_json(folder / "settings.json", settings)
    wanted = int(config.trainer.total_training_steps)
    step = checkpoints.repair(folder / "checkpoints", metrics.last_step(folder))
    began = time.monotonic()
    if step < wanted:
        _run(stage, folder, config, shared(), environment, step)
        step = checkpoints.repair(folder / "checkpoints", metrics.last_step(folder))
    if step < wanted:
        raise EnvtuneError(f"{stage.name}: verl ended at step {step} of {wanted}; see {folder / 'log.txt'}")
    checkpoints.hand_over(folder / "checkpoints", step, folder / "model")
    metrics.consolidate(folder)
    done = {
        "stage": stage.name,
        "feedback": {"hints": profile.feedback(stage), "digest": hint_set(profile.feedback(stage)).digest},
        "steps": step,
        "attempts": len(list((folder / "attempts").glob("[0-9]*"))),
        "seconds_last_attempt": round(time.monotonic() - began, 1),
        "model_sha256": checkpoints.weights_sha256(folder / "model"),
        "settings": settings,
        "provenance": provenance(),
    }
    write_json(folder / "done.json", done)
    _say(f"{stage.name}: done in {done['seconds_last_attempt']:.0f} s, {step} steps ({folder / 'model'})")
    return folder / "model"


def start_of(profile: Profile, stage: Stage) -> str | Path:
    """The weights that a stage starts from: the profile's model, or the result of the stage before it."""
    index = CURRICULUM.index(stage)
    if index == 0:
        model = profile.start_model
        if isinstance(model, Path) and not (model / "config.json").is_file():
            raise EnvtuneError(f"there is no starting model in {model}; run: make data PROFILE={profile.name}")
        return model
    before = profile.stage_dir(CURRICULUM[index - 1].name)
    if not (before / "done.json").is_file():
        raise EnvtuneError(
            f"{stage.name} starts from {before.name}'s weights, and {before.name} is not done; train it first"
        )
    return before / "model"


def _rows(profile: Profile, stage: Stage) -> int:
    """Rows of the stage's data. Raises EnvtuneError when they are not there."""
    return int(_manifest(profile)["files"][stage.name]["rows"])


def _manifest(profile: Profile) -> Mapping[str, Any]:
    path = profile.data_dir / "manifest.json"
    if not path.is_file():
        raise EnvtuneError(f"there are no training rows in {profile.data_dir}; run: make data PROFILE={profile.name}")
    manifest: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _settings(profile: Profile, stage: Stage, start: str | Path, config: DictConfig) -> dict[str, Any]:
    """What a stage's result depends on, as hashes: a result is reused only when all of them are the same."""
    files = _manifest(profile)["files"]
    return {
        "config": sha256_json(OmegaConf.to_container(config, resolve=False)),
        "data": sha256_json([files[name]["rows_sha256"] for name in (stage.name, "validation")]),
        "agent": sha256_json(agent_loop_config(profile)),
        "start": {"model": str(start), "sha256": checkpoints.weights_sha256(start)},
    }


def _refuse_other_settings(folder: Path, settings: Mapping[str, Any], config: DictConfig) -> None:
    """Results of two different settings must not end up in one folder, and none is removed without being asked."""
    path = folder / "settings.json"
    if not path.is_file():
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in settings if old.get(name) != settings[name]]
    if not changed:
        return
    if "config" in changed:
        keys = list(differing_keys(OmegaConf.load(folder / "config.yaml"), config))
        changed[changed.index("config")] = f"config ({', '.join(keys[:6])})"
    raise EnvtuneError(
        f"{folder} holds a run with other settings: {', '.join(changed)} changed; move or remove that folder (and "
        "those of the later stages) to train anew, or go back to the old settings"
    )


def _run(
    stage: Stage, folder: Path, config: DictConfig, shared: Cluster, environment: Mapping[str, str], step: int
) -> None:
    """One attempt: verl's main_ppo in a process of its own, its progress on our terminal."""
    wanted = int(config.trainer.total_training_steps)
    attempt = metrics.new_attempt(folder, step)
    with atomic_write(attempt / "config.yaml") as stream:
        stream.write(OmegaConf.to_yaml(_attempt_config(config, folder, attempt, shared)))
    command = [shared.python, "-m", "verl.trainer.main_ppo", "--config-path", str(attempt), "--config-name", "config"]
    environment = {**environment, "RAY_ADDRESS": shared.address, "HYDRA_FULL_ERROR": "1"}
    where = f"from step {step}" if step else "from the start"
    _say(f"{stage.name} ({stage.aim}): {where}, {wanted} steps; log: {folder / 'log.txt'}")
    began = time.monotonic()
    shown = step
    with (folder / "log.txt").open("ab") as log, watched(command, environment, log, folder) as process:
        while process.poll() is None:
            time.sleep(_POLL_S)
            shown = _show_progress(stage, attempt, shown, wanted, began)
    _show_progress(stage, attempt, shown, wanted, began)
    if process.returncode != 0:
        raise EnvtuneError(
            f"{stage.name}: verl ended with code {process.returncode}; the same command goes on from its last "
            f"checkpoint. The end of {folder / 'log.txt'}:\n{_last_error(folder / 'log.txt')}"
        )


def _attempt_config(config: DictConfig, folder: Path, attempt: Path, shared: Cluster) -> DictConfig:
    """The stage's configuration with what is this attempt's own: where its reports go, and how its processes start."""
    own = {
        "ray_kwargs.ray_init.runtime_env.py_executable": shared.python,
        "ray_kwargs.ray_init.runtime_env.env_vars": {
            "VERL_FILE_LOGGER_PATH": str(attempt / "verl.jsonl"),
            "TENSORBOARD_DIR": str(folder / "tensorboard" / attempt.name),
        },
        "hydra": {"run": {"dir": str(attempt)}, "output_subdir": None},
    }
    full = config.copy()
    for key, value in own.items():
        OmegaConf.update(full, key, value, force_add=True)
    return full


def _show_progress(stage: Stage, attempt: Path, shown: int, wanted: int, began: float) -> int:
    """Print a line for each step that verl has reported since `shown`; gives the last one."""
    for step, data in metrics.read_attempt(attempt):
        if step > shown and "actor/grad_norm" in data:
            reward = data.get("critic/score/mean", data.get("critic/rewards/mean", float("nan")))
            _say(
                f"{stage.name}: step {step}/{wanted}, reward {reward:.3f}, gradient norm {data['actor/grad_norm']:.3g}, "
                f"{data.get('timing_s/step', float('nan')):.0f} s ({time.monotonic() - began:.0f} s since the start)"
            )
            shown = step
    return shown


def _last_error(log: Path) -> str:
    """The lines of a log that say what went wrong: from the last traceback on, or the last few."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [number for number, line in enumerate(lines) if "Error" in line]
    end = errors[-1] + 1 if errors else len(lines)
    return "\n".join(line[:300] for line in lines[max(0, end - 8) : end])


def _say(text: str) -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(f"[{time.strftime('%H:%M:%S')}] {text}", markup=False)
