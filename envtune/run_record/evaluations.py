"""What was evaluated in a run: of each checkpoint and suite the repeats, each with its counts and its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.evaluation.bfcl_v3.protocol import SUITE as BFCL_V3
from envtune.evaluation.migrate import upgrade_summary
from envtune.run_record.reading import read_object, total

# What a stratum's counts add up to.
_COUNTS = ("items", "passed", "failed", "not_run", "over_budget")


@dataclass(frozen=True)
class EvaluationFolder:
    """Where the records of one repeat lie. seed: None where nothing says it."""

    checkpoint: str
    suite: str
    seed: int | None
    path: Path


def evaluation_folders(evaluation: Path) -> list[EvaluationFolder]:
    """Every repeat in a run's `evaluation` folder that has a summary: checkpoints in the order start, stage1, ...,
    bfcl-v3 before other suites, seeds ascending.

    Also those of a release that knew bfcl-v3 alone, whose records lay in the checkpoint's own folder, where nothing
    newer is there.
    """
    found = []
    for summary in evaluation.glob("*/*/seed*/summary.json"):
        folder, seed = summary.parent, summary.parent.name.removeprefix("seed")
        if seed.isdigit():
            found.append(EvaluationFolder(folder.parents[1].name, folder.parent.name, int(seed), folder))
    newer = {one.checkpoint for one in found if one.suite == BFCL_V3}
    for summary in evaluation.glob("*/summary.json"):
        if summary.parent.name not in newer:
            about = (read_object(summary) or {}).get("about")
            said = about.get("seed") if isinstance(about, dict) else None
            found.append(
                EvaluationFolder(summary.parent.name, BFCL_V3, said if isinstance(said, int) else None, summary.parent)
            )
    return sorted(found, key=_place)


def _place(one: EvaluationFolder) -> tuple[Any, ...]:
    return one.checkpoint != "start", one.checkpoint, one.suite != BFCL_V3, one.suite, one.seed or 0


def read_evaluations(evaluation: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Checkpoint -> suite -> its runs, one a seed; see `_run`."""
    told: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for one in evaluation_folders(evaluation):
        summary = _today(read_object(one.path / "summary.json") or {})
        told.setdefault(one.checkpoint, {}).setdefault(one.suite, []).append(_run(one, summary))
    return told


def _today(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """A summary under today's names. One of a shape that is not known stays as it is: what it does not say is empty."""
    try:
        return upgrade_summary(summary)
    except (ValueError, KeyError, TypeError, AttributeError):
        return summary


def average(suite: str, summary: Mapping[str, Any]) -> float | None:
    """Unweighted mean of the strata's accuracies, in percent; None unless every item was run, and of bfcl-v3 unless all
    four categories are there."""
    strata: Mapping[str, Any] = summary.get("strata") or {}
    wanted = CATEGORIES if suite == BFCL_V3 else tuple(strata)
    of_all = [(strata.get(stratum) or {}).get("accuracy") for stratum in wanted]
    if not summary.get("complete") or not of_all or None in of_all:
        return None
    return float(sum(of_all) / len(of_all))


def _run(one: EvaluationFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a repeat's summary.json says. counts: sums over the strata; accuracy: stratum -> percent of those run; average:
    unweighted mean of the strata, in percent, None unless every item was run (of bfcl-v3 also unless all four are there);
    score: stratum -> mean partial credit; user: the model that played the user. A run that has not ended has no counts.
    """
    identity, about = summary.get("identity") or {}, summary.get("about") or {}
    strata: Mapping[str, Any] | None = summary.get("strata")
    return {
        "seed": one.seed,
        "complete": bool(summary.get("complete", False)),
        "model": identity.get("model"),
        "checkpoint_sha256": identity.get("checkpoint_sha256"),
        "training_steps": about.get("training_steps"),
        "items": identity.get("items"),
        "counts": None
        if strata is None
        else {name: total(counts.get(name) for counts in strata.values()) for name in _COUNTS},
        "accuracy": None if strata is None else {name: counts.get("accuracy") for name, counts in strata.items()},
        "average": average(one.suite, summary),
        "score": None if strata is None else {name: counts.get("score") for name, counts in strata.items()},
        "protocol": identity.get("protocol"),
        "release": identity.get("release"),
        "packages": identity.get("packages"),
        "options": identity.get("options"),
        "user": identity.get("user"),
        "decoding": identity.get("decoding"),
        "seconds": summary.get("seconds"),
        "commit": (summary.get("provenance") or {}).get("commit"),
    }
