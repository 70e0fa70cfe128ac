"""Hand-made runs whose metrics have the shapes of real ones: rising, noisy, of several stages, arms and seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path

from envtune.bfcl import CATEGORIES
from envtune.curriculum import ARMS
from envtune.files import write_json, write_jsonl

PARTS = ("generation", "environment", "tokenisation", "reward", "waiting", "log_probs", "update", "weights", "checkpoint",
         "validation", "other")  # fmt: skip
SECONDS = (40.0, 6.0, 1.0, 1.0, 25.0, 12.0, 30.0, 4.0, 3.0, 15.0, 2.0)


def step_data(stage: int, step: int, noise: random.Random) -> dict[str, float | None]:
    """What verl's file says of a step; step 0 is a validation alone."""
    rise = 1 - math.exp(-step / 25)
    levels = zip(CATEGORIES, (0.30, 0.22, 0.18, 0.25), strict=True)
    validation = {
        f"val-core/bfcl_paper_{category}/acc/mean@1": max(
            0.0, level * (0.3 + 0.2 * stage + 0.3 * rise) + noise.gauss(0, 0.02)
        )
        for category, level in levels
    }
    if step == 0:
        return {**validation}
    spike = 8.0 if noise.random() < 0.02 else 1.0
    return {
        **validation,
        "critic/score/mean": 0.2 + 0.5 * rise + noise.gauss(0, 0.04),
        "actor/grad_norm": spike * (0.3 + 0.1 * noise.random()),
        "actor/kl_loss": 0.002 * step + noise.random() * 0.01 if step > 1 else 0.0,
        "episode/format_rate": min(1.0, 0.7 + 0.28 * rise + noise.gauss(0, 0.01)),
        "episode/tool_calls": 10.0, "episode/tool_errors": 4 - 2.5 * rise + noise.random(),
        "episode/replies": 8.0, "episode/hints": (3 - 2 * rise + noise.random()) if stage in (2, 3) else 0.0,
        "response_length/mean": 2500 + 800 * stage + 40 * step + noise.gauss(0, 120),
        "rollout/idle_share": 0.3 + 0.05 * noise.random(),
        **{f"split/{part}_s": seconds * (0.8 + 0.4 * noise.random()) for part, seconds in zip(PARTS, SECONDS, strict=True)},
    }  # fmt: skip


def make_stage(folder: Path, number: int, steps: int, seed: int, first: int = 0, done: bool = True) -> Path:
    """A stage of `steps` steps, from a validation at step 0 on unless `first` is 1."""
    noise = random.Random(f"{folder.name} {seed}")
    rows = [{"step": step, "data": step_data(number, step, noise)} for step in range(first, steps + 1)]
    write_jsonl(folder / "metrics.jsonl", rows)
    if done:
        write_json(folder / "done.json", {"steps": steps})
    return folder


def make_run_folder(runs: Path, name: str, arm: str, seed: int, lengths: Mapping[str, int], first: int = 0) -> Path:
    """The folder of a run: of each stage its metrics. lengths: stage -> steps; stages that it lacks have not begun."""
    for stage in ARMS[arm].stages:
        if stage.name in lengths:
            number = int(stage.name.removeprefix("stage")) if stage.name != "single" else 1
            make_stage(runs / name / stage.name, number, lengths[stage.name], seed, first)
    return runs / name
