"""Running the curriculum: one verl run a stage, each from the last one's weights.

    envtune train --profile cpu [--arm single-stage] [--seed 43] [--stage stage2]

A stage's folder, runs/<run>/<stage>/, holds config.yaml (its verl configuration), settings.json (hashes of that, of
the data and of the weights it started from), attempts/, checkpoints/, rollouts/, validation/, tensorboard/, log.txt,
metrics.jsonl, model/ (its result, fp32) and done.json, which is written last; then its checkpoints are removed. A stage
with a done.json is not run again; one without goes on from its newest whole checkpoint.

A stage ends when its gate says so (`envtune.training.gates`), or after its epochs. One that has collapsed has a
gate.json instead of a done.json, and is not gone on with.

Among the runs of an experiment a stage that another arm has computed with the same seed is taken over, and its done.json
says so (`envtune.training.taken_over`).

All stages share one Ray cluster (`envtune.training.cluster`). Where verl or one of its processes dies, it is started
anew, and the stage goes on; when that brings no newer checkpoint twice in a row, the run ends with what went wrong.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from envtune.curriculum import Stage
from envtune.doctor.gpu import survey
from envtune.environment.hints import hint_set
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, sha256_weights, write_json
from envtune.profile import Profile
from envtune.provenance import provenance
from envtune.run_record import end_killed_attempts, write_run_record, write_snapshot
from envtune.training import checkpoints, gates, metrics
from envtune.training.attempt import Attempt, AttemptFailed
from envtune.training.cluster import Shared
from envtune.training.config import agent_loop_config, compose, validate
from envtune.training.disk import refuse_full_disk
from envtune.training.processes import marked, only_one
from envtune.training.progress import say
from envtune.training.settings import refuse_other_settings, settings_of
from envtune.training.taken_over import take_over

_FRUITLESS = 2  # attempts in a row without a newer checkpoint, after which a stage is given up


def train(profile: Profile, *, stage: str | None = None, last: str | None = None, share: bool = False) -> None:
    """Train all stages in order, those up to and with `last`, or one. share: take a stage over from another run of the
    profile that has finished the same computation. Raises EnvtuneError when one cannot be run or fails."""
    names = [row.name for row in profile.curriculum]
    for name in (stage, last):
        if name is not None and name not in names:
            raise EnvtuneError(f"unknown stage {name!r} of the arm {profile.arm}; choose one of: {', '.join(names)}")
    wanted = [stage] if stage else names[: names.index(last or names[-1]) + 1]
    _refuse_without_gpus(profile, run_environment(profile))
    with (
        _disk_errors(profile),
        only_one(profile.run_dir),
        marked(run_environment(profile), profile.run_dir) as environment,
        Shared(profile.ray, profile.preload, environment, profile.run_dir) as shared,
    ):
        for row in profile.curriculum:
            if row.name in wanted:
                with _recorded(profile, row):
                    train_stage(profile, row, environment, shared, share)


@contextlib.contextmanager
def _recorded(profile: Profile, stage: Stage) -> Iterator[None]:
    """run.json and the stage's metrics.jsonl are brought up to date when it begins and when it has ended, in whatever way."""
    folder = profile.stage_dir(stage.name)
    _record(profile)
    try:
        yield
    finally:
        if (folder / "attempts").is_dir() and not (folder / "done.json").is_file():
            _guarded("metrics.jsonl", lambda: metrics.consolidate(folder))
        _record(profile)


def _record(profile: Profile, attempt: Path | None = None) -> None:
    """Write run.json; with the folder of an attempt that has begun, first what that runs with."""
    if attempt is not None:
        _guarded("what the attempt runs with", lambda: write_snapshot(attempt, {**os.environ, **profile.environment}))
    _guarded("run.json", lambda: write_run_record(profile))


def _guarded(what: str, write: Callable[[], object]) -> None:
    try:
        write()
    except Exception as error:  # noqa: BLE001 - a report must neither cost a run nor hide what went wrong in it
        say(f"{what} was not written: {error!r}")


@contextlib.contextmanager
def _disk_errors(profile: Profile) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # shutil.Error is one, and says of each file why
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or f"[Errno {errno.ENOSPC}]" in str(error)
        if not full:
            raise
        raise EnvtuneError(
            f"the disk of {profile.run_dir} is full; make room, and the same command goes on from the last checkpoint"
        ) from error


def _refuse_without_gpus(profile: Profile, environment: Mapping[str, str]) -> None:
    """Raise EnvtuneError where a run on this machine's own GPUs has too few: verl would wait for them without an end."""
    if profile.verl.get("trainer.device") == "cpu" or environment.get("RAY_ADDRESS"):
        return
    config = compose(profile, profile.curriculum[0], profile.start_model, 10**6)
    found, wanted = survey(environment, seconds=30.0), config.trainer.n_gpus_per_node
    if len(found.gpus) < wanted or config.trainer.nnodes > 1:
        raise EnvtuneError(
            f"the profile {profile.name} needs {config.trainer.nnodes} x {wanted} GPUs, and this machine shows "
            f"{len(found.gpus)}{f' ({found.problem})' if found.problem else ''}; `envtune doctor --profile {profile.name}` says more. "
            "Set trainer.n_gpus_per_node in the profile to what there is, or RAY_ADDRESS to a cluster that has them"
        )


def run_environment(profile: Profile) -> dict[str, str]:
    """Environment of a run's processes: ours and the profile's."""
    environment = {**os.environ, **profile.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the imports take minutes
    return environment


def train_stage(
    profile: Profile, stage: Stage, environment: Mapping[str, str], shared: Shared, share: bool = False
) -> Path:
    """Run one stage to its end, or go on with it; gives the folder of its result. Does nothing when it is done.

    environment: of its processes; shared: has the cluster to run on; share: see `train`. Raises EnvtuneError when it cannot be run, fails, or
    has collapsed.
    """
    folder = profile.stage_dir(stage.name)
    start = start_of(profile, stage)
    config = compose(profile, stage, start, _rows(profile, stage))
    validate(config)
    gate = gates.read_gate(profile.gate)
    settings = settings_of(profile, config, _manifest(profile)["files"], stage, start)
    refuse_other_settings(folder, settings, gate.as_dict(), config)
    if (folder / "done.json").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a kill may have come in between
        say(f"{stage.name}: done already ({folder / 'model'})")
        return folder / "model"
    if share and (other := take_over(profile, stage.name, settings, gate.as_dict())) is not None:
        say(f"{stage.name}: the same was computed in {other}; taken over from there ({folder / 'model'})")
        return folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "agent_loop.yaml", agent_loop_config(profile))  # JSON is YAML
    with atomic_write(folder / "config.yaml") as stream:
        stream.write(OmegaConf.to_yaml(config))
    write_json(folder / "settings.json", settings)
    step = _run(profile, stage, config, gate, environment, shared)
    checkpoints.hand_over(folder / "checkpoints", step, folder / "model")
    metrics.consolidate(folder, step)
    done = {
        "stage": stage.name,
        "feedback": {"hints": profile.feedback(stage), "digest": hint_set(profile.feedback(stage)).digest},
        "steps": step,
        "attempts": len(list((folder / "attempts").glob("[0-9]*"))),
        "gate": _gate_record(gate, folder, step),
        "model_sha256": sha256_weights(folder / "model"),
        "settings": settings,
        "provenance": provenance(),
    }
    (folder / "gate.json").unlink(missing_ok=True)
    write_json(folder / "done.json", done)
    shutil.rmtree(folder / "checkpoints")
    decision = done["gate"]["decision"]
    why = "its epochs are over"
    if decision["outcome"] == "converged":
        why = f"converged at step {decision['step']}: {decision['reason']}"
    say(f"{stage.name}: done after {step} steps; {why} ({folder / 'model'})")
    return folder / "model"


def _run(
    profile: Profile,
    stage: Stage,
    config: DictConfig,
    gate: gates.Gate,
    environment: Mapping[str, str],
    shared: Shared,
) -> int:
    """Attempts until the stage is over; gives its last step, of which there is a checkpoint. Raises EnvtuneError."""
    folder, fruitless = profile.stage_dir(stage.name), 0
    workers = int(config.trainer.nnodes * config.trainer.n_gpus_per_node)
    planned, ended_well = int(config.trainer.total_training_steps), False
    end_killed_attempts(folder)
    while True:
        decision = gates.decide(gate, _points(folder))
        if decision.outcome == "collapsed":
            raise _collapsed(gate, stage, folder, decision)
        step = checkpoints.repair(folder / "checkpoints", metrics.last_step(folder), workers)
        goal = decision.step if decision.outcome == "converged" else planned
        if step >= goal:
            return step
        if ended_well:
            raise EnvtuneError(
                f"{stage.name}: verl ended, and left no whole checkpoint of step {goal} or later (the newest is of step "
                f"{step}); see {folder / 'log.txt'}"
            )
        refuse_full_disk(profile, config, folder)
        attempt = Attempt(stage, folder, config, step, profile.stall_s, profile.environment)
        try:
            attempt.run(shared.get(), environment, begun=functools.partial(_record, profile))
            ended_well = True
        except AttemptFailed as error:
            newest = checkpoints.newest_whole(folder / "checkpoints", metrics.last_step(folder), workers)
            fruitless = 0 if newest > step else fruitless + 1
            if not error.reported or fruitless >= _FRUITLESS:
                raise
            say(f"{error}\n{stage.name}: going on with a new cluster")
            shared.close()


def _points(folder: Path, last: int | None = None) -> list[gates.Point]:
    """What the stage's steps reported, up to the step `last`."""
    return [gates.point(step, data) for step, data in metrics.merged(folder) if last is None or step <= last]


def _gate_record(gate: gates.Gate, folder: Path, last: int | None = None) -> dict[str, Any]:
    """The gate's settings, what it decided, and the curve that it decided from, up to the step `last`."""
    points = _points(folder, last)
    return {
        "settings": gate.as_dict(),
        "decision": gates.decide(gate, points).as_dict(),
        "curve": gates.curve(points),
    }


def _collapsed(gate: gates.Gate, stage: Stage, folder: Path, decision: gates.Decision) -> EnvtuneError:
    """Write the stage's gate.json; gives the error that says what is left."""
    good = checkpoints.last_good(folder / "checkpoints", decision.onset or decision.step)
    write_json(
        folder / "gate.json", {**_gate_record(gate, folder), "last_good_checkpoint": str(good) if good else None}
    )
    left = f"The last good checkpoint is {good}"
    if good is None:
        left = f"No checkpoint is from before; {stage.name} can only be begun again"
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
