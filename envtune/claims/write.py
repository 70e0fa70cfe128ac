"""The claims of a profile as files: a table, the numbers, and the validation curves of every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from envtune.claims.paired import Change, arm_against_arm, end_against_start
from envtune.claims.validation import MEASURES, read_validations
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, write_json
from envtune.profile import Profile

# number of the claim -> what it says, and the arm without what it is about
_ARMS = {2: ("progress against binary reward", "binary-reward"), 3: ("augmented against standard feedback", "no-augmentation"),
         4: ("curriculum against a single stage", "single-stage")}  # fmt: skip
LEVEL = 0.01


def write_claims(profile: Profile) -> list[Path]:
    """Write claims.md, claims.json and curves.csv.gz into the profile's results; gives their paths.

    Claims whose runs are not there have no numbers. Raises EnvtuneError without any validation.
    """
    validations = read_validations(profile)
    if not len(validations):
        raise EnvtuneError(f"no run of {profile.name} has validated; run: envtune train --profile {profile.name}")
    folder = profile.results_dir
    folder.mkdir(parents=True, exist_ok=True)
    found = list(_claims(validations))
    with atomic_write(folder / "claims.md") as stream:
        stream.write(_page(found))
    write_json(
        folder / "claims.json", [{"claim": text, **(change.as_dict() if change else {})} for text, change in found]
    )
    _write_curves(folder / "curves.csv.gz", validations)
    return [folder / name for name in ("claims.md", "claims.json", "curves.csv.gz")]


def _claims(validations: pd.DataFrame) -> list[tuple[str, Change | None]]:
    rows: list[tuple[str, Change | None]] = []
    for measure, what in (("format", "format reward"), ("format_rate", "share of well-formed replies")):
        rows.append((f"(1) stage 1 raises the {what}", _or_none(end_against_start, validations, "stage1", measure)))
    for number, (what, arm) in _ARMS.items():
        rows.append((f"({number}) {what}", _or_none(arm_against_arm, validations, arm, "full", "progress")))
    return rows


def _or_none(test: Callable[..., Change], *arguments: Any) -> Change | None:
    try:
        return test(*arguments)
    except EnvtuneError:
        return None


def _page(found: list[tuple[str, Change | None]]) -> str:
    lines = [
        "Held-out tasks, sampled at temperature 1. p: exact sign flips over clusters of tasks, two-sided; interval: of the",
        "difference over seeds (t, 95 %). Claims without runs are empty. What was fixed before the runs: reproduce/mini.md.",
        "",
        "| claim | measure | before | after | difference over seeds | p (tasks) | p (seeds) | by seed | tasks (clusters) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for text, change in found:
        lines.append(f"| {text} | {' | '.join(_cells(change)) if change else ' | ' * 7} |")
    return "\n".join(lines) + "\n"


def _cells(change: Change) -> list[str]:
    seeds = "; ".join(f"{seed}: {before:.2f} to {after:.2f}" for seed, (before, after) in change.seeds.items())
    spread = "" if change.low is None else f"[{change.low:.2f}, {change.high:.2f}]"
    p_seeds = "" if change.p_seeds is None else f"{change.p_seeds:.2g}"
    numbers = [f"{change.before:.3f}", f"{change.after:.3f}", spread, f"{change.p:.2g}", p_seeds]
    return [change.measure, *numbers, seeds, f"{change.tasks} ({change.clusters})"]


def _write_curves(path: Path, validations: pd.DataFrame) -> None:
    rounded = validations.drop(columns="cluster").round(dict.fromkeys(MEASURES, 6))
    with atomic_write(path) as stream:
        stream.write(rounded.to_csv(index=False, lineterminator="\n"))
