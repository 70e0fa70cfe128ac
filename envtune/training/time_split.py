"""Where a step's time goes, from verl's timers and what each episode says of itself.

The parts are seconds of the step's wall clock, validation included, and add up to it. While a batch is rolled out,
many episodes run at once: the rollout's wall clock is divided as the mean episode's time is, and what the mean episode
does not fill is `waiting`, the time for which a place among the running episodes stood empty until the longest ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EPISODE_PARTS = ("generation", "environment", "tokenisation", "reward")
# verl's timers (`timing_raw`), by the part that they belong to
_TIMERS = {
    "log_probs": ("old_log_prob", "ref", "adv", "values"),
    "update": ("update_actor", "update_critic"),
    "weights": ("update_weights",),
    "checkpoint": ("save_checkpoint",),
    "validation": ("testing",),
}


def time_split(timers: Mapping[str, float], episodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metrics of one step: `split/<part>_s` for every part, and `rollout/idle_share` in [0, 1].

    timers: verl's, in seconds: step (without validation), gen, old_log_prob, ...; episodes: of each, the seconds of
    `EPISODE_PARTS`. An asynchronous trainer's episodes may be longer than the rollout phase they end in: their parts
    are then scaled to it, and nothing is waiting.
    """
    rollout = timers.get("gen", 0.0)
    means = {part: sum(one[part] for one in episodes) / len(episodes) if episodes else 0.0 for part in EPISODE_PARTS}
    busy = sum(means.values())
    scale = rollout / busy if busy > rollout else 1.0
    parts = {part: mean * scale for part, mean in means.items()}
    parts["waiting"] = max(rollout - busy, 0.0)
    parts |= {part: sum(timers.get(name, 0.0) for name in names) for part, names in _TIMERS.items()}
    total = timers.get("step", 0.0) + timers.get("testing", 0.0)
    parts["other"] = max(total - sum(parts.values()), 0.0)
    idle = parts["waiting"] / rollout if rollout else 0.0
    return {**{f"split/{part}_s": seconds for part, seconds in parts.items()}, "rollout/idle_share": idle}
