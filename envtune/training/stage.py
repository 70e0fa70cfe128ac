"""Running the curriculum: one verl run a stage, each from the last one's weights.

    envtune train --profile cpu [--arm single-stage] [--seed 43] [--stage stage2]

A stage's folder, runs/<run>/<stage>/, holds config.yaml (its verl configuration), settings.json (hashes of that, of
the data and of the weights it started from), attempts/, checkpoints/, rollouts/, validation/, tensorboard/, log.txt,
metrics.jsonl, model/ (its result, fp32) and done.json, which is written last; then its checkpoints are removed. A stage
with a done.json is not run again; one without goes on from its newest whole checkpoint.

A stage ends when its gate says so (`envtune.training.gates`), or after its epochs. One that has collapsed has a
gate.json instead of a done.json, and is not gone on with.

All stages share one Ray cluster (`envtune.training.cluster`). Where verl or one of its processes dies, it is started
anew, and the stage goes on; when that brings no newer checkpoint twice in a row, the run ends with what went wrong.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from envtune.curriculum import Stage
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, sha256_json, sha256_weights, write_json
from envtune.profile import Profile
from envtune.provenance import provenance
from envtune.run_record import end_killed_attempts, write_run_record
from envtune.training import checkpoints, gates, metrics
from envtune.training.attempt import Attempt, AttemptFailed
from envtune.training.cluster import Cluster, cluster
from envtune.training.config import agent_loop_config, compose, differing_keys, validate
from envtune.training.disk import refuse_full_disk
from envtune.training.processes import kill_marked, marked
from envtune.training.progress import say

_FRUITLESS = 2  # attempts in a row without a newer checkpoint, after which a stage is given up
# What may differ between attempts at a stage, since its result does not depend on it: where and by how many GPUs it is
# computed, and when it is to end.
_NOT_THE_RESULT = ("trainer.nnodes", "trainer.n_gpus_per_node", "envtune")


def train(profile: Profile, *, stage: str | None = None, last: str | None = None) -> None:
    """Train all stages in order, those up to and with `last`, or one. Raises EnvtuneError when one cannot be run or fails."""
    names = [row.name for row in profile.curriculum]
    for name in (stage, last):
        if name is not None and name not in names:
            raise EnvtuneError(f"unknown stage {name!r} of the arm {profile.arm}; choose one of: {', '.join(names)}")
    wanted = [stage] if stage else names[: names.index(last or names[-1]) + 1]
    with (
        _disk_errors(profile),
        marked(run_environment(profile), profile.run_dir) as environment,
        _Shared(profile, environment) as shared,
    ):
        for row in profile.curriculum:
            if row.name in wanted:
                with _recorded(profile):
                    train_stage(profile, row, environment, shared)


class _Shared:
    """The cluster that all stages run on: started when it is first asked for, and again after `close`."""

    def __init__(self, profile: Profile, environment: Mapping[str, str]) -> None:
        self._profile, self._environment = profile, environment
        self._stack = contextlib.ExitStack()
        self._cluster: Cluster | None = None

    def __enter__(self) -> _Shared:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get(self) -> Cluster:
        """The running cluster."""
        if self._cluster is None:
            profile = self._profile
            start = cluster(profile.ray, profile.preload, self._environment, profile.run_dir / "cluster.log")
            self._cluster = self._stack.enter_context(start)
        return self._cluster

    def close(self) -> None:
        """End it, with every process of the run that is left."""
        self._cluster = None
        try:
            self._stack.close()
        finally:
            kill_marked(self._profile.run_dir)


@contextlib.contextmanager
def _recorded(profile: Profile) -> Iterator[None]:
    """run.json is written when a stage begins and when it has ended, in whatever way."""
    write_run_record(profile)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, EnvtuneError):  # neither may hide what has gone wrong
            write_run_record(profile)


@contextlib.contextmanager
def _disk_errors(profile: Profile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise EnvtuneError(
            f"the disk of {profile.run_dir} is full; make room, and the same command goes on from the last checkpoint"
        ) from error


def run_environment(profile: Profile) -> dict[str, str]:
    """Environment of a run's processes: ours and the profile's."""
    environment = {**os.environ, **profile.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the imports take minutes
    return environment


def train_stage(profile: Profile, stage: Stage, environment: Mapping[str, str], shared: _Shared) -> Path:
    """Run one stage to its end, or go on with it; gives the folder of its result. Does nothing when it is done.

    environment: of its processes; shared: has the cluster to run on. Raises EnvtuneError when it cannot be run, fails, or
    has collapsed.
    """
    folder = profile.stage_dir(stage.name)
    start = start_of(profile, stage)
    config = compose(profile, stage, start, _rows(profile, stage))
    validate(config)
    gate = gates.read_gate(profile.gate)
    settings = _settings(profile, stage, start, config)
    _refuse_other_settings(folder, settings, config)
    if (folder / "done.json").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a kill may have come in between
        say(f"{stage.name}: done already ({folder / 'model'})")
        return folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "agent_loop.yaml", agent_loop_config(profile))  # JSON is YAML
    with atomic_write(folder / "config.yaml") as stream:
        stream.write(OmegaConf.to_yaml(config))
    write_json(folder / "settings.json", settings)
    step = _run(profile, stage, config, gate, environment, shared)
    checkpoints.hand_over(folder / "checkpoints", step, folder / "model")
    metrics.consolidate(folder)
    done = {
        "stage": stage.name,
        "feedback": {"hints": profile.feedback(stage), "digest": hint_set(profile.feedback(stage)).digest},
        "steps": step,
        "attempts": len(list((folder / "attempts").glob("[0-9]*"))),
        "gate": _gate_record(profile, folder),
        "model_sha256": sha256_weights(folder / "model"),
        "settings": settings,
        "provenance": provenance(),
    }
    (folder / "gate.json").unlink(missing_ok=True)
    write_json(folder / "done.json", done)
    shutil.rmtree(folder / "checkpoints")
    decision = done["gate"]["decision"]
    why = decision["reason"] if decision["outcome"] == "converged" else "its epochs are over"
    say(f"{stage.name}: done after {step} steps, {why} ({folder / 'model'})")
    return folder / "model"


def _run(
    profile: Profile,
    stage: Stage,
    config: DictConfig,
    gate: gates.Gate,
    environment: Mapping[str, str],
    shared: _Shared,
) -> int:
    """Attempts until the stage is over; gives its last step, of which there is a checkpoint. Raises EnvtuneError."""
    folder, fruitless = profile.stage_dir(stage.name), 0
    workers = int(config.trainer.nnodes * config.trainer.n_gpus_per_node)
    planned, step = int(config.trainer.total_training_steps), 0
    end_killed_attempts(folder)
    while True:
        decision = _decide(gate, folder)
        if decision.outcome == "collapsed":
            raise _collapsed(profile, stage, folder, decision)
        before = step
        step = checkpoints.repair(folder / "checkpoints", metrics.last_step(folder), workers)
        if step >= (decision.step if decision.outcome == "converged" else planned):
            return step
        fruitless = 0 if step > before else fruitless
        refuse_full_disk(profile, config, folder)
        try:
            Attempt(stage, folder, config, step, profile.stall_s, profile.environment).run(
                shared.get(), environment, begun=lambda: write_run_record(profile)
            )
        except AttemptFailed as error:
            fruitless += 1
            if not error.reported or fruitless >= _FRUITLESS:
                raise
            say(f"{error}\n{stage.name}: going on with a new cluster")
            shared.close()
        else:
            over = _decide(gate, folder).outcome != "go on"
            if not over and (ended := metrics.last_step(folder)) < planned:
                raise EnvtuneError(f"{stage.name}: verl ended at step {ended} of {planned}; see {folder / 'log.txt'}")


def _decide(gate: gates.Gate, folder: Path) -> gates.Decision:
    return gates.decide(gate, [gates.point(step, data) for step, data in metrics.merged(folder)])


def _gate_record(profile: Profile, folder: Path) -> dict[str, Any]:
    """The gate's settings, what it decided, and the curve that it decided from."""
    gate = gates.read_gate(profile.gate)
    points = [gates.point(step, data) for step, data in metrics.merged(folder)]
    return {
        "settings": gate.as_dict(),
        "decision": gates.decide(gate, points).as_dict(),
        "curve": gates.curve(points),
    }


def _collapsed(profile: Profile, stage: Stage, folder: Path, decision: gates.Decision) -> EnvtuneError:
    """Write the stage's gate.json; gives the error that says what is left."""
    good = checkpoints.last_good(folder / "checkpoints", decision.onset or decision.step)
    record = {**_gate_record(profile, folder), "last_good_checkpoint": str(good) if good else None}
    write_json(folder / "gate.json", record)
    metrics.consolidate(folder)
    left = (
        f"The last good checkpoint is {good}"
        if good
        else f"No checkpoint is from before; {stage.name} can only be begun again"
    )
    return EnvtuneError(
        f"{stage.name} has collapsed at step {decision.step}: {decision.reason}. {left}. The curve is in "
        f"{folder / 'gate.json'}. To train on in spite of it, loosen gate.collapse in the profile; to begin the stage again "
        f"with other settings, move {folder} away"
    )


def start_of(profile: Profile, stage: Stage) -> str | Path:
    """The weights that a stage starts from: the profile's model, or the result of the stage before it."""
    before = profile.before(stage)
    if before is None:
        model = profile.start_model
        if isinstance(model, Path) and not (model / "config.json").is_file():
            raise EnvtuneError(f"there is no starting model in {model}; run: make data PROFILE={profile.name}")
        return model
    if not (profile.stage_dir(before.name) / "done.json").is_file():
        raise EnvtuneError(
            f"{stage.name} starts from {before.name}'s weights, and {before.name} is not done; train it first"
        )
    return profile.stage_dir(before.name) / "model"


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
        "config": sha256_json(OmegaConf.to_container(_of_the_result(config), resolve=False)),
        "data": sha256_json([files[name]["rows_sha256"] for name in (stage.name, "validation")]),
        "agent": sha256_json(agent_loop_config(profile)),
        "start": {"model": str(start), "sha256": sha256_weights(Path(start)) if Path(start).is_dir() else None},
    }


def _of_the_result(config: Any) -> Any:
    """The configuration without what may differ between attempts."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    for key in _NOT_THE_RESULT:
        parent, _, name = key.rpartition(".")
        (OmegaConf.select(copy, parent) if parent else copy).pop(name, None)
    return copy


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
        old_config = OmegaConf.load(folder / "config.yaml")
        keys = list(differing_keys(_of_the_result(old_config), _of_the_result(config)))
        changed[changed.index("config")] = f"config ({', '.join(keys[:6])})"
    raise EnvtuneError(
        f"{folder} holds a run with other settings: {', '.join(changed)} changed; move or remove that folder (and "
        "those of the later stages) to train anew, or go back to the old settings"
    )
