"""Hand-made files of runs, as training leaves them: every number another one, so that a mix-up shows."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envtune.files import write_json
from envtune.profile import Profile
from envtune.provenance import provenance
from envtune.run_record import (
    read_run_record,
    write_run_record,
)

BEGAN = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
GPUS = {"nodes": 2, "gpus_per_node": 4, "device": "cuda"}
CPU = {"nodes": 1, "gpus_per_node": 1, "device": "cpu"}
HOST = {"host": {"cores": 6, "memory_bytes": 2**34, "gpus": []}}
PARTS = ("generation", "environment", "waiting", "update", "validation", "other")
COLLAPSE = {"settings": {}, "decision": {"outcome": "collapsed", "step": 2, "reason": "KL [red]7.1", "best_step": 1}}


def at(minutes: float) -> str:
    return (BEGAN + datetime.timedelta(minutes=minutes)).isoformat(timespec="seconds")


def touch_at(path: Path, minutes: float) -> None:
    path.touch()
    seconds = (BEGAN + datetime.timedelta(minutes=minutes)).timestamp()
    os.utime(path, (seconds, seconds))


def step_of(number: int, **more: float) -> dict[str, float]:
    """What is reported of a step: every number another one. The parts of its time add up to it."""
    seconds = {part: float(number * 10 + place) for place, part in enumerate(PARTS)}
    rollout = seconds["generation"] + seconds["environment"] + seconds["waiting"]
    return {
        **{f"split/{part}_s": value for part, value in seconds.items()},
        "timing_s/step": sum(seconds.values()) - seconds["validation"],
        "timing_s/testing": seconds["validation"],
        "timing_s/gen": rollout,
        "rollout/idle_share": seconds["waiting"] / rollout,
        **{f"tokens/{name}": number * 1000.0 + place for place, name in enumerate(("prompt", "response", "sampled"))},
        "val-core/bfcl_base/acc/mean@1": number / 10, "val-core/bfcl_miss/acc/mean@1": number / 20,
        "critic/score/mean": number / 2, "actor/grad_norm": number / 4, "actor/kl_loss": number / 8,
        "episode/format_rate": 0.5, "response_length/mean": 100.0 + number,
        **more,
    }  # fmt: skip


def make_attempt(stage: Path, number: int, start: int, steps: Mapping[int, Mapping[str, float]], **about: Any) -> Path:
    """about: what attempt.json says; `end`: what end.json does, none without it."""
    folder, end = stage / "attempts" / f"{number:03d}", about.pop("end", None)
    folder.mkdir(parents=True)
    write_json(folder / "attempt.json", {"start_step": start, **about})
    rows = (json.dumps({"step": step, "data": data}) + "\n" for step, data in steps.items())
    (folder / "verl.jsonl").write_text("".join(rows), encoding="utf-8")
    if end is not None:
        write_json(folder / "end.json", end)
    for path in folder.iterdir():
        touch_at(path, 0)  # before all that is estimated
    return folder


def make_resumed_stage(profile: Profile, layout: Mapping[str, Any], **about: Any) -> Path:
    """Killed after step 3, of which the checkpoint of step 2 was left; then finished at step 4."""
    stage = profile.stage_dir("stage1")
    shared = {"layout": layout, "hardware": HOST, **about}
    first = make_attempt(stage, 1, 0, {n: step_of(n) for n in (1, 2, 3)}, began=at(0), **shared)
    with (first / "verl.jsonl").open("a") as stream:
        stream.write('{"step": 4, "da')  # the kill cut it short
    touch_at(first / "verl.jsonl", 50)
    again = step_of(3, **{"tokens/prompt": 9999.0})
    make_attempt(
        stage, 2, 2, {3: again, 4: step_of(4)}, began=at(60), **shared, end={"ended": at(90), "outcome": "finished"}
    )
    touch_at(stage / "log.txt", 91)
    return stage


def finish(stage: Path, **more: Any) -> None:
    settings = {"config": "c", "data": "d", "agent": "a", "start": {"model": "/models/m", "sha256": "s"}}
    done = {
        "stage": stage.name, "feedback": {"hints": "none", "digest": "d1"}, "steps": 4, "attempts": 2,
        "model_sha256": "m", "settings": settings, "provenance": provenance(), **more,
    }  # fmt: skip
    write_json(stage / "done.json", done)


def record_of(profile: Profile) -> dict[str, Any]:
    path = write_run_record(profile)
    text = path.read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read_run_record(path) == json.loads(text)
    return read_run_record(path)
