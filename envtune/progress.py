"""`envtune progress`: how far each run of a profile's experiment is, from the files of the runs alone.

    envtune progress --profile mini
    make progress PROFILE=gpu          the one run of a profile without an experiment

It may be asked while a run goes on, and afterwards. Time left is an estimate: the steps that are left, at most, times the median
seconds of a step in that stage, of the run itself or else of the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from envtune.ablations import experiment_runs
from envtune.curriculum import Stage
from envtune.profile import Profile, load_profile
from envtune.run_record.attempts import attempt_folders
from envtune.run_record.inputs import read_config, select
from envtune.run_record.reading import read_object, read_steps
from envtune.run_record.show import duration
from envtune.run_record.stages import wall_clock
from envtune.training.processes import is_held


@dataclass(frozen=True)
class StageProgress:
    """step: the last that counts; planned: at most so many, None where it is not known; seconds: the median of a step's, None
    before the first; failed: what ended it without a result, empty otherwise; taken_from: the run that computed it."""

    name: str
    done: bool
    begun: bool
    step: int
    planned: int | None
    seconds: float | None
    failed: str = ""
    taken_from: str | None = None


@dataclass(frozen=True)
class RunProgress:
    """A run. state: "done", "running", "collapsed", "failed", "stopped" or "not begun"; silent: seconds since it last wrote."""

    profile: Profile
    stages: tuple[StageProgress, ...]
    state: str
    silent: float | None

    @property
    def current(self) -> StageProgress | None:
        """The first stage that is not done."""
        return next((stage for stage in self.stages if not stage.done), None)


def read_progress(profiles: Sequence[Profile]) -> list[RunProgress]:
    """How far these runs are. Raises EnvtuneError on a file of theirs that cannot be read."""
    return [_run(profile) for profile in profiles]


def time_left(run: RunProgress, runs: Sequence[RunProgress]) -> float | None:
    """Seconds that `run` still takes, about; None where a stage's length or speed is not known. runs: to estimate by, in the order
    that they are run in: a stage that an earlier one computes as well is taken over from it."""
    left = 0.0
    for number, stage in enumerate(run.stages, start=1):
        if stage.done or (not stage.begun and _is_computed_before(run, number, runs)):
            continue
        seconds = stage.seconds or _typical(runs, stage.name) or _typical([run]) or _typical(runs)
        if stage.planned is None or seconds is None:
            return None
        left += max(0, stage.planned - stage.step) * seconds
    return left


def _is_computed_before(run: RunProgress, number: int, runs: Sequence[RunProgress]) -> bool:
    """Whether the first `number` stages are those of a run before this one, with the same seed."""
    for other in runs:
        if other.profile.run_dir == run.profile.run_dir:
            return False
        same = other.profile.curriculum[:number] == run.profile.curriculum[:number]
        if same and other.profile.seed == run.profile.seed and other.state not in ("collapsed", "failed"):
            return True
    return False


def show_progress(name: str, console: Console, *, arm: str | None = None, seed: int | None = None) -> None:
    """Print a line a run: those of the profile's experiment, or with an arm or a seed, or without an experiment, the one run."""
    one = load_profile(name, arm=arm, seed=seed)
    several = one.experiment is not None and arm is None and seed is None
    runs = read_progress(experiment_runs(name) if several else [one])
    table = Table("arm", "seed", "state", "stages", "step", "s a step", "time left")
    for run in runs:
        table.add_row(*_cells(run, runs))
    console.print(table)
    for run in runs:
        if note := _note(run):
            console.print(f"{run.profile.arm}, seed {run.profile.seed}: {note}", markup=False, soft_wrap=True)
    open_runs = [run for run in runs if run.state not in ("done", "collapsed")]
    left = [time_left(run, runs) for run in open_runs]
    known = [seconds for seconds in left if seconds is not None]
    about = f"; about {duration(sum(known))} left" if open_runs and len(known) == len(left) else ""
    console.print(
        f"{len(runs) - len(open_runs)} of {len(runs)} over{about}. Runs: {one.run_dir.parent}", soft_wrap=True
    )


def show_experiment(name: str, console: Console) -> None:
    """Print its runs, what `envtune claims` found on them, and where the results lie. Raises EnvtuneError on an unreadable file."""
    show_progress(name, console)
    folder = load_profile(name).results_dir
    for claim in (read_object(folder / "claims.json") or {}).get("claims", []):
        if claim.get("sentence"):
            console.print(claim["sentence"], markup=False, soft_wrap=True)
    for what in ("report.html", "claims.md"):
        if (folder / what).is_file():
            console.print(str(folder / what), markup=False, soft_wrap=True)


def _cells(run: RunProgress, runs: Sequence[RunProgress]) -> list[str]:
    done, current = sum(stage.done for stage in run.stages), run.current
    now = seconds = ""
    if current is not None and current.begun:
        now = f"{current.name}: {current.step}" + ("" if current.planned is None else f"/{current.planned}")
        seconds = "" if current.seconds is None else f"{current.seconds:.1f}"
    left = "" if run.state in ("done", "collapsed") else duration(time_left(run, runs))
    return [run.profile.arm, str(run.profile.seed), run.state, f"{done} of {len(run.stages)}", now, seconds, left]


def _note(run: RunProgress) -> str:
    """What is to be said of a run besides; empty when nothing is."""
    current = run.current
    if current is not None and current.failed and run.state != "running":
        return f"{current.name}: {current.failed}; log: {run.profile.stage_dir(current.name) / 'log.txt'}"
    if run.state == "running" and run.silent is not None:
        return f"last sign of life {duration(run.silent)} ago"
    taken = [f"{stage.name} taken over from {stage.taken_from}" for stage in run.stages if stage.taken_from]
    return ", ".join(taken)


def _run(profile: Profile) -> RunProgress:
    stages = tuple(_stage(profile, stage) for stage in profile.curriculum)
    current = next((stage for stage in stages if not stage.done), None)
    silent = _silent(profile)
    if current is None:
        state = "done"
    elif is_held(profile.run_dir):
        state = "running"
    elif current.failed:
        state = "collapsed" if current.failed.startswith("collapsed") else "failed"
    else:
        state = "stopped" if any(stage.begun for stage in stages) else "not begun"
    return RunProgress(profile, stages, state, silent)


def _stage(profile: Profile, stage: Stage) -> StageProgress:
    folder = profile.stage_dir(stage.name)
    done = read_object(folder / "done.json")
    steps = [(step, data) for step, data in read_steps(folder) if step > 0]
    clocks = [clock for _, data in steps if (clock := wall_clock(data)) is not None]
    last = int(done["steps"]) if done else max((step for step, _ in steps), default=0)
    return StageProgress(
        name=stage.name,
        done=done is not None,
        begun=bool(attempt_folders(folder)),
        step=last,
        planned=_planned(profile, stage),
        seconds=statistics.median(clocks) if clocks else None,
        failed="" if done else _failure(folder),
        taken_from=((done or {}).get("taken_from") or {}).get("run"),
    )


def _planned(profile: Profile, stage: Stage) -> int | None:
    """Steps of the stage: as verl was given them, or before it begins as `envtune.training.config.compose` will find them."""
    given = select(read_config(profile.stage_dir(stage.name)), "trainer.total_training_steps")
    if given is not None:
        return int(given)
    own: Mapping[str, Any] = {**profile.verl, **profile.stages.get(stage.name, {})}
    if own.get("trainer.total_training_steps") is not None:
        return int(own["trainer.total_training_steps"])
    manifest = read_object(profile.data_dir / "manifest.json") or {}
    rows = (manifest.get("files") or {}).get(stage.name, {}).get("rows")
    if rows is None:
        return None
    batch = int(own.get("data.train_batch_size", stage.train_batch_size))
    return int(rows) // batch * int(own.get("trainer.total_epochs", stage.epochs))


def _failure(folder: Path) -> str:
    """What ended a stage that has no result; empty while it runs, or when it was only interrupted or killed."""
    gate = ((read_object(folder / "gate.json") or {}).get("decision")) or {}
    if gate.get("outcome") == "collapsed":
        return f"collapsed at step {gate.get('step')}: {gate.get('reason')}"
    attempts = attempt_folders(folder)
    end = (read_object(attempts[-1] / "end.json") or {}) if attempts else {}
    return str(end.get("message") or end["outcome"]) if end.get("outcome") in ("failed", "stalled") else ""


def _silent(profile: Profile) -> float | None:
    """Seconds since one of the run's attempts wrote anything."""
    files = (
        path
        for stage in profile.curriculum
        for pattern in ("log.txt", "attempts/*/verl.jsonl")
        for path in profile.stage_dir(stage.name).glob(pattern)
    )
    last = max((path.stat().st_mtime for path in files), default=None)
    return None if last is None else max(0.0, time.time() - last)


def _typical(runs: Sequence[RunProgress], stage: str | None = None) -> float | None:
    """The median of the stages' seconds a step: of that stage, or with None of all."""
    known = [one.seconds for run in runs for one in run.stages if stage in (None, one.name) and one.seconds is not None]
    return statistics.median(known) if known else None
