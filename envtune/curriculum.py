"""The curriculum: four stages as four rows of data (paper, section 3.1).

A stage is one verl run. The next one starts from its weights, with a fresh optimizer and with the KL reference at
its own start.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage.

    name: also its folder's; aim: in the paper's words; data: the subset of tasks (see `envtune.tasks.split`);
    reward: a key of `envtune.rewards.REWARDS`; feedback: "standard" or "augmented" (which hints that means is the profile's `hints`); train_batch_size: prompts a step;
    max_response_length: tokens of all turns together, the environment's included; epochs: passes over the data.
    """

    name: str
    aim: str
    data: str
    reward: str
    feedback: str
    train_batch_size: int
    max_response_length: int
    epochs: int = 20


CURRICULUM: tuple[Stage, ...] = (
    Stage("stage1", "master syntax", "stage1", "format", "standard", 16, 10_000),
    Stage("stage2", "learn with hints", "base", "progress", "augmented", 32, 10_000),
    Stage("stage3", "solve hard tasks", "all", "progress", "augmented", 32, 24_576),
    Stage("stage4", "independent solving", "all", "progress", "standard", 32, 24_576),
)
