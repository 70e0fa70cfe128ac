"""A hand-made experiment of the profile mini: validations of every stage, as verl leaves them, of several arms and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from envtune.curriculum import ARMS
from envtune.files import write_json, write_jsonl

TASKS = tuple(f"multi_turn_{category}_{number}" for category in ("base", "miss_func") for number in range(8))
ENDS = {"full": 0.8, "binary-reward": 0.4, "no-augmentation": 0.8, "single-stage": 0.2}


def make_experiment(
    runs: Path, ends: Mapping[str, float] = ENDS, seeds: Sequence[int] = (1, 2, 3), steps: int = 8
) -> None:
    """Runs whose held-out progress rises evenly to the arm's end, and whose format reward rises in the first stage."""
    for arm, end in ends.items():
        for seed in seeds:
            rng = np.random.default_rng([seed, list(ARMS).index(arm)])
            stages = ARMS[arm].stages
            for number, stage in enumerate(stages):
                folder = runs / f"mini.{arm}.seed{seed}" / stage.name
                (folder / "attempts").mkdir(parents=True)
                for step in (0, steps):
                    place = number + step / steps
                    level = {"progress": end * place / len(stages), "format": min(1.5, 0.2 + place)}
                    rows = [_row(task, level, rng) for task in TASKS for _ in range(2)]
                    write_jsonl(folder / "validation" / f"{step}.jsonl", rows)
                start = {"model": "m", "sha256": "ab" * 32}
                done = {
                    "steps": steps,
                    "settings": {"start": start},
                    "provenance": {"commit": "c0ffee" * 6, "dirty": False},
                }
                write_json(folder / "done.json", done)


def _row(task: str, level: Mapping[str, float], rng: np.random.Generator) -> dict[str, object]:
    noisy = {name: float(max(0.0, value + rng.normal(0, 0.05))) for name, value in level.items()}
    return {"task_id": task, "format_rate": 0.5, "acc": 0.0, **noisy}
