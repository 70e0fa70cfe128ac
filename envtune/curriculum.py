"""The curriculum and its ablations, as rows of data (paper, section 3.1 and the ablation figures).

A stage is one verl run. The next one starts from its weights, with a fresh optimizer and with the KL reference at
its own start. An arm is a list of stages: the paper's four, or one of its ablations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


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


@dataclass(frozen=True)
class Arm:
    """A way through the stages. about: what it takes away from the method, in one sentence."""

    name: str
    about: str
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises KeyError."""
        return {stage.name: stage for stage in self.stages}[name]


CURRICULUM: tuple[Stage, ...] = (
    Stage("stage1", "master syntax", "stage1", "format", "standard", 16, 10_000),
    Stage("stage2", "learn with hints", "base", "progress", "augmented", 32, 10_000),
    Stage("stage3", "solve hard tasks", "all", "progress", "augmented", 32, 24_576),
    Stage("stage4", "independent solving", "all", "progress", "standard", 32, 24_576),
)
_FIRST, _HINTS, _HARD, _ALONE = CURRICULUM

ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        arm.name: arm
        for arm in (
            Arm("full", "The method: all four stages.", CURRICULUM),
            Arm(
                "no-augmentation",
                "Stages 2 and 3 on the standard environment: no hint is ever given.",
                (_FIRST, replace(_HINTS, feedback="standard"), replace(_HARD, feedback="standard"), _ALONE),
            ),
            Arm(
                "binary-reward",
                "Stages 2 to 4 with a reward for wholly right episodes only.",
                (_FIRST, *(replace(stage, reward="binary") for stage in (_HINTS, _HARD, _ALONE))),
            ),
            Arm(
                "single-stage",
                "No curriculum: the last stage, all tasks on the standard environment, from the starting model.",
                (replace(_ALONE, name="single", aim="all tasks from the start"),),
            ),
        )
    }
)
