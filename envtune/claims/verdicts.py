"""The claims and the rule that decides them, as data: what reproduce/mini.md fixed before the runs.

A change counts when the exact test over clusters has p < LEVEL and every seed changed in that direction. For the claims about an
arm that is symmetric: up it holds, down it is refuted here. With fewer seeds than LEAST_SEEDS nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from envtune.claims.paired import Change

LEVEL = 0.01
LEAST_SEEDS = 3
HOLDS, FAILS, REFUTED, INCONCLUSIVE = "holds", "does not hold", "refuted here", "inconclusive"
TOO_FEW, NOT_RUN = "too few seeds", "not run"


@dataclass(frozen=True)
class Claim:
    """what: in words; measure: of the held-out tasks; stage: whose end is compared with its start, or None; other: the arm that
    `full` is compared with at the ends, or None; counts: whether it is a claim, or told beside one."""

    number: int
    what: str
    measure: str
    stage: str | None = None
    other: str | None = None
    counts: bool = True

    @property
    def sides(self) -> tuple[str, str]:
        """What is compared: the first with the second, which is to be higher."""
        if self.stage is not None:
            name = self.stage.replace("stage", "stage ")
            return f"start of {name}", f"end of {name}"
        return f"arm {self.other}", "arm full"


CLAIMS = (
    Claim(1, "stage 1 raises the format reward", "format", stage="stage1"),
    Claim(1, "stage 1 raises the share of well-formed replies", "format_rate", stage="stage1", counts=False),
    Claim(2, "progress reward against binary reward", "progress", other="binary-reward"),
    Claim(3, "augmented against standard feedback", "progress", other="no-augmentation"),
    Claim(4, "curriculum against a single stage", "progress", other="single-stage"),
)


def decide(claim: Claim, change: Change | None) -> str:
    """The verdict: one of the words above."""
    if change is None:
        return NOT_RUN
    if len(change.seeds) < LEAST_SEEDS:
        return TOO_FEW
    if change.p < LEVEL and change.every_seed_rose:
        return HOLDS
    if claim.stage is not None:
        return FAILS
    return REFUTED if change.p < LEVEL and change.every_seed_fell else INCONCLUSIVE


_REASONS: Mapping[str, str] = MappingProxyType(
    {
        HOLDS: f"p is below {LEVEL}, and every seed is higher",
        FAILS: f"it needs p below {LEVEL}, and every seed higher",
        REFUTED: f"p is below {LEVEL}, and every seed is lower",
        INCONCLUSIVE: f"deciding it needs p below {LEVEL}, and every seed on one side",
        TOO_FEW: f"at least {LEAST_SEEDS} seeds are needed, and nothing is decided",
    }
)


def sentence(claim: Claim, change: Change | None) -> str:
    """The verdict with the numbers that it rests on."""
    verdict = decide(claim, change)
    before, after = claim.sides
    head = f"({claim.number}) {claim.what}: {verdict}"
    if change is None:
        return f"{head}. No finished runs of {before} and {after} with a seed in common."
    numbers = f"{claim.measure} {change.after:.3f} ({after}) against {change.before:.3f} ({before}), p = {change.p:.2g}"
    seeds = f"{change.rose} of {len(change.seeds)} seeds higher, {change.fell} lower"
    return f"{head}. {numbers}; {seeds}: {_REASONS[verdict]}."
