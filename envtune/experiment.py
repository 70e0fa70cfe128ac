"""What a profile's experiment is: which arms with which seeds, and whether the suites are run on what was trained.

    experiment: {arms: [full, single-stage], seeds: [1, 2, 3], evaluate: false}

`make reproduce` of a profile that has this runs all of it, and `envtune claims` compares the arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from envtune.curriculum import ARMS


@dataclass(frozen=True)
class Experiment:
    """arms, seeds: every arm is run with every seed; evaluate: whether the suites are run and tables written (without, the
    validations of training are what is measured)."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluate: bool = True

    @property
    def runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of each run, all arms of a seed one after another, so that what is finished can be compared."""
        return tuple((arm, seed) for seed in self.seeds for arm in self.arms)


def read_experiment(content: Any) -> Experiment:
    """The experiment as a profile says it. Raises ValueError for anything else than such a mapping."""
    known = [entry.name for entry in fields(Experiment)]
    if not isinstance(content, Mapping) or not {"arms", "seeds"} <= set(content) <= set(known):
        raise ValueError(f"experiment needs arms and seeds, and takes nothing but: {', '.join(known)}")
    arms, seeds, evaluate = content["arms"], content["seeds"], content.get("evaluate", True)
    if not isinstance(arms, list) or not arms or len({str(arm) for arm in arms}) < len(arms):
        raise ValueError(f"experiment.arms is a list of arms, each once, not {arms!r}")
    if strangers := [arm for arm in arms if arm not in ARMS]:
        raise ValueError(f"experiment.arms has the unknown arm {strangers[0]!r}; choose of: {', '.join(ARMS)}")
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"experiment.seeds is a list of whole numbers from 0 on, each once, not {seeds!r}")
    if not isinstance(evaluate, bool):
        raise ValueError(f"experiment.evaluate is true or false, not {evaluate!r}")
    return Experiment(tuple(arms), tuple(seeds), evaluate)
