"""What a run says on the terminal."""

from __future__ import annotations

import time
from pathlib import Path

from envtune.training import metrics


def say(text: str) -> None:
    """One line, with the time of day."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(f"[{time.strftime('%H:%M:%S')}] {text}", markup=False)


def show_steps(stage: str, attempt: Path, shown: int, wanted: int, began: float) -> int:
    """Print a line for each step that verl has reported since `shown`; gives the last one. began: of the attempt, in
    seconds of the monotonic clock."""
    for step, data in metrics.read_attempt(attempt):
        if step > shown and "actor/grad_norm" in data:
            reward = data.get("critic/score/mean", data.get("critic/rewards/mean", float("nan")))
            say(
                f"{stage}: step {step}/{wanted}, reward {reward:.3f}, gradient norm {data['actor/grad_norm']:.3g}, "
                f"{data.get('timing_s/step', float('nan')):.0f} s, {data.get('rollout/idle_share', float('nan')):.0%} of the "
                f"rollout idle ({time.monotonic() - began:.0f} s since the start)"
            )
            shown = step
    return shown
