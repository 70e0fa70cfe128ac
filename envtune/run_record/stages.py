"""One stage of a run, and the sum of all: steps, seconds, tokens, GPU-hours, where the time went, how it went."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envtune.curriculum import Stage
from envtune.profile import Profile
from envtune.run_record.attempts import attempt_folders, cost, read_attempts
from envtune.run_record.inputs import select
from envtune.run_record.reading import Steps, as_time, number, read_object, read_steps, total
from envtune.training import gates

STATUSES = ("not begun", "running", "finished", "failed", "collapsed")
TOKENS = ("prompt", "response", "sampled")
_SUMS = ("steps", "seconds", "seconds_spent", "gpu_hours", "core_hours")
_SPLIT, _SPLIT_END = "split/", "_s"
# what is said of the last step, and verl's key (the last one: ours)
_LAST = (
    ("reward", "critic/score/mean"),
    ("grad_norm", "actor/grad_norm"),
    ("kl", "actor/kl_loss"),
    ("response_length", "response_length/mean"),
    ("format_rate", "episode/format_rate"),
)


def read_stage(
    profile: Profile, stage: Stage, config: Mapping[str, Any] | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """A stage's entry in the record. config: its verl configuration, None where it has not begun.

    steps: those that count; planned_steps: at most so many; seconds: of these steps, validation included;
    seconds_spent: of all attempts, start-up and what a kill lost included; tokens: sums over the training episodes;
    gpu_hours (on a GPU), core_hours (without one): seconds_spent times the devices; rollout_idle_share: of the
    rollouts' seconds; time_split: seconds by part.
    """
    folder = profile.stage_dir(stage.name)
    done = read_object(folder / "done.json")
    gate = (done or {}).get("gate") or read_object(folder / "gate.json")
    steps = read_steps(folder)
    if done is not None:  # of a stage whose gate was changed later ones may have been reported
        steps = [(step, data) for step, data in steps if step <= int(done["steps"])]
    training = [(step, data) for step, data in steps if step > 0]
    last = max((step for step, _ in training), default=0)
    collapsed = done is None and _has_collapsed(folder, gate)
    attempts = read_attempts(folder, over=done is not None or collapsed, environment=environment)
    if done is not None and attempts and attempts[-1]["seconds"] is None:  # an older release timed the last one alone
        seconds = number(done.get("seconds_last_attempt"))
        attempts[-1] |= {"seconds": seconds, **cost(attempts[-1], seconds)}
    data = [data for _, data in training]
    settings = (done or {}).get("settings") or read_object(folder / "settings.json") or {}
    return {
        "name": stage.name,
        "aim": stage.aim,
        "data": stage.data,
        "reward": stage.reward,
        "feedback": stage.feedback,
        "status": _status(done is not None, collapsed, attempts),
        "steps": int(done["steps"]) if done is not None else last,
        "planned_steps": select(config, "trainer.total_training_steps"),
        "attempts": attempts,
        "seconds": total(wall_clock(one) for one in data),
        "seconds_spent": total(attempt["seconds"] for attempt in attempts),
        "tokens": {name: _whole(total(one.get(f"tokens/{name}") for one in data)) for name in TOKENS},
        "gpu_hours": total(attempt["gpu_hours"] for attempt in attempts),
        "core_hours": total(attempt["core_hours"] for attempt in attempts),
        "rollout_idle_share": _idle_share(data),
        "time_split": _time_split(data),
        "gate": gate,
        "start": settings.get("start"),
        "model_sha256": (done or {}).get("model_sha256"),
        "metrics": _metrics(steps),
    }


def totals(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums over the stages that have begun; None where one of them does not know its part."""
    begun = [stage for stage in stages if stage["status"] != "not begun"]
    return {
        **{name: total(stage[name] for stage in begun) for name in _SUMS},
        "tokens": {name: total(stage["tokens"][name] for stage in begun) for name in TOKENS},
    }


def run_status(stages: Sequence[Mapping[str, Any]]) -> str:
    """The run's, one of `STATUSES`. Files cannot tell a run that is running from one whose driver was killed: both have
    begun and not ended, and both are "running"."""
    statuses = [stage["status"] for stage in stages]
    if "collapsed" in statuses:
        return "collapsed"
    if all(status == "finished" for status in statuses):
        return "finished"
    begun = [status for status in statuses if status != "not begun"]
    if not begun:
        return "not begun"
    return "failed" if begun[-1] == "failed" else "running"


def _status(done: bool, collapsed: bool, attempts: Sequence[Mapping[str, Any]]) -> str:
    if done:
        return "finished"
    if collapsed:
        return "collapsed"
    if not attempts:
        return "not begun"
    return "running" if attempts[-1]["outcome"] in (None, "finished") else "failed"


def _has_collapsed(folder: Path, gate: Mapping[str, Any] | None) -> bool:
    """Whether a stage without a result ended there: one that was gone on with has an attempt that began later."""
    if ((gate or {}).get("decision") or {}).get("outcome") != "collapsed":
        return False
    decided = datetime.datetime.fromtimestamp((folder / "gate.json").stat().st_mtime, datetime.UTC)
    told = (read_object(attempt / "attempt.json") or {} for attempt in attempt_folders(folder))
    return all(began is None or began <= decided for began in (as_time(about.get("began")) for about in told))


def wall_clock(step: Mapping[str, Any]) -> float | None:
    """Seconds of one step: verl's own, which leave validation out, and validation's."""
    return total([step.get("timing_s/step"), step.get("timing_s/testing", 0.0)])


def _idle_share(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of the steps' shares, each weighted with its rollout's seconds."""
    rollout = total(step.get("timing_s/gen") for step in steps)
    shares = [(number(step.get("rollout/idle_share")), number(step.get("timing_s/gen"))) for step in steps]
    idle = total(share * seconds if share is not None and seconds is not None else None for share, seconds in shares)
    return idle / rollout if rollout and idle is not None else None


def _time_split(steps: Sequence[Mapping[str, Any]]) -> dict[str, float | None] | None:
    names = dict.fromkeys(key for step in steps for key in step if key.startswith(_SPLIT) and key.endswith(_SPLIT_END))
    return {key.removeprefix(_SPLIT): total(step.get(key) for step in steps) for key in names} or None


def _metrics(steps: Steps) -> dict[str, Any]:
    """validation: first, last and best (the later one of equals), each {"step", "accuracy" (mean over the sources),
    "sources"}; and of the last training step what `_LAST` names."""
    validations = [one for step, data in steps if (one := _validation(step, data)) is not None]
    trained = [data for step, data in steps if step > 0]
    return {
        "validation": {
            "first": validations[0] if validations else None,
            "last": validations[-1] if validations else None,
            "best": max(validations, key=lambda one: (one["accuracy"], one["step"]), default=None),
        },
        **{name: number(trained[-1].get(key)) if trained else None for name, key in _LAST},
    }


def _validation(step: int, data: Mapping[str, Any]) -> dict[str, Any] | None:
    accuracy = gates.point(step, data).accuracy
    sources = {match[1]: number(value) for key, value in data.items() if (match := gates.ACCURACY.fullmatch(key))}
    return None if accuracy is None else {"step": step, "accuracy": accuracy, "sources": sources}


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
