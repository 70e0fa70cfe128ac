"""The claims of a profile as files: a page with the verdicts, the numbers with their origin, and the validation curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from envtune.claims.origin import origin
from envtune.claims.paired import Change, arm_against_arm, end_against_start
from envtune.claims.validation import MEASURES, read_validations
from envtune.claims.verdicts import CLAIMS, LEAST_SEEDS, LEVEL, Claim, decide, sentence
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, write_json
from envtune.profile import Profile
from envtune.tables.markdown import grid, number

TEST = "sign flips of clusters of tasks, two-sided mid-p (envtune.statistics.sign_flip)"
_HEAD = ("Claim", "Verdict", "Measure", "By seed", "Before", "After", "95 % interval of the difference over seeds", "p (tasks)",
         "p (seeds)", "Tasks (clusters)")  # fmt: skip
_WORDS = 4  # of the columns above
_WIDTH = 120

Found = Sequence[tuple[Claim, Change | None]]


def write_claims(profile: Profile) -> list[Path]:
    """Write claims.md, claims.json and curves.csv.gz into the profile's results; gives their paths.

    Claims whose runs are not there or not finished have no numbers. Raises EnvtuneError without any validation, and where
    the runs do not start from the same weights.
    """
    validations = read_validations(profile)
    if not len(validations):
        raise EnvtuneError(f"no run of {profile.name} has validated; run: make reproduce PROFILE={profile.name}")
    whence = origin(profile)
    found = [(claim, _test(claim, validations)) for claim in CLAIMS]
    folder = profile.results_dir
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "claims.md") as stream:
        stream.write(_page(found, whence))
    rule = {"level": LEVEL, "least_seeds": LEAST_SEEDS, "test": TEST}
    write_json(folder / "claims.json", {**rule, "claims": [_as_dict(*one) for one in found], "origin": whence})
    _write_curves(folder / "curves.csv.gz", validations)
    return [folder / name for name in ("claims.md", "claims.json", "curves.csv.gz")]


def _test(claim: Claim, validations: pd.DataFrame) -> Change | None:
    """None where there are no finished runs to compare."""
    try:
        if claim.stage is not None:
            return end_against_start(validations, claim.stage, claim.measure)
        return arm_against_arm(validations, str(claim.other), "full", claim.measure)
    except EnvtuneError:
        return None


def _as_dict(claim: Claim, change: Change | None) -> dict[str, Any]:
    before, after = claim.sides
    return {
        "claim": claim.number,
        "what": claim.what,
        "counts": claim.counts,
        "stage": claim.stage,
        "other": claim.other,
        "measure": claim.measure,
        "sides": {"before": before, "after": after},
        "verdict": _verdict(claim, change),
        "sentence": sentence(claim, change) if claim.counts else None,
        **(change.as_dict() if change else {}),
    }


def _page(found: Found, whence: Mapping[str, Any]) -> str:
    rows = [
        [f"({claim.number}) {claim.what}", _verdict(claim, change) or "", *_cells(claim, change)]
        for claim, change in found
    ]
    lines = [
        *(f"- {sentence(claim, change)}" for claim, change in found if claim.counts),
        "",
        *grid(_HEAD, rows, _WORDS),
        "",
        *_wrapped(
            "Means over held-out tasks and seeds. Before and after: the start and the end of stage 1, or the end of the other arm "
            f"and that of `full`. p (tasks): {TEST}; p (seeds) and the interval: t over the seeds' differences. Decided at p (tasks) "
            f"below {LEVEL} with every seed on that side, and at least {LEAST_SEEDS} seeds. A row without a verdict stands beside its "
            "claim and has no say. Compared are runs whose last stage, for claim 1 whose stage 1, is done. Other empty cells were not "
            "measured."
            + (f" What was fixed before the runs: {whence['registration']}." if whence["registration"] else "")
        ),
        "",
        *_origin(whence),
    ]
    return "\n".join(lines) + "\n"


def _verdict(claim: Claim, change: Change | None) -> str | None:
    """None for what is only told beside a claim."""
    return decide(claim, change) if claim.counts else None


def _cells(claim: Claim, change: Change | None) -> list[str]:
    if change is None:
        return [claim.measure, *[""] * (len(_HEAD) - 3)]
    seeds = "; ".join(f"{seed}: {before:.2f} to {after:.2f}" for seed, (before, after) in change.seeds.items())
    spread = "" if change.low is None else f"[{change.low:.3f}, {change.high:.3f}]"
    p_seeds = "" if change.p_seeds is None else f"{change.p_seeds:.2g}"
    numbers = [number(change.before, 3), number(change.after, 3), spread, f"{change.p:.2g}", p_seeds]
    return [change.measure, seeds, *numbers, f"{change.tasks} ({change.clusters})"]


def _origin(whence: Mapping[str, Any]) -> list[str]:
    runs = whence["runs"]
    commits = dict.fromkeys(f"`{_short(commit)}`" for run in runs for commit in run["commits"])
    steps = ", ".join(f"{stage} {' or '.join(map(str, found))}" for stage, found in whence["steps"].items())
    open_runs = [run["run"] for run in runs if not run["finished"]]
    start = (whence["model_sha256"] or "not known")[:12]
    told = (
        f"From profile {whence['profile']}, BFCL release {whence['release']['name']}, starting weights `{start}`, optimizer steps: "
        f"{steps or 'none finished'}; {len(runs)} runs at commit {', '.join(commits) or 'not known'}; each is listed in claims.json."
    )
    left_out = f"Last stage not done, so not in the claims about arms: {', '.join(open_runs)}."
    return [*_wrapped(told), *(["", *_wrapped(left_out)] if open_runs else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False)


def _short(commit: str) -> str:
    return commit.removesuffix("+")[:12] + ("+" if commit.endswith("+") else "")


def _write_curves(path: Path, validations: pd.DataFrame) -> None:
    rounded = validations.drop(columns="cluster").round(dict.fromkeys(MEASURES, 6))
    with atomic_write(path) as stream:
        stream.write(rounded.to_csv(index=False, lineterminator="\n"))
