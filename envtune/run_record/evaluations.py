"""What was evaluated in a run: of each checkpoint the counts, the accuracy, and the protocol of the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.run_record.reading import read_object, total

# What a category's counts add up to; as in envtune/evaluation/records.py, which this cannot import: evaluation writes
# this record when it has ended.
_COUNTS = ("items", "passed", "failed", "not_run", "over_budget")


def read_evaluations(folder: Path) -> dict[str, Any]:
    """Checkpoint -> what its summary.json says; `accuracy` in percent by category, and the unweighted mean of all four,
    None where one has none. An evaluation that has begun and not ended has counts of None."""
    summaries = {path.parent.name: read_object(path) or {} for path in sorted(folder.glob("*/summary.json"))}
    order = sorted(summaries, key=lambda name: (name != "start", name))
    return {name: _evaluation(summaries[name]) for name in order}


def _evaluation(summary: Mapping[str, Any]) -> dict[str, Any]:
    identity, about = summary.get("identity") or {}, summary.get("about") or {}
    categories: Mapping[str, Any] | None = summary.get("categories")
    accuracy = None if categories is None else {name: counts.get("accuracy") for name, counts in categories.items()}
    of_all = [(accuracy or {}).get(category) for category in CATEGORIES]
    return {
        "complete": bool(summary.get("complete", False)),
        "model": identity.get("model"),
        "checkpoint_sha256": identity.get("checkpoint_sha256"),
        "training_steps": about.get("training_steps"),
        "items": identity.get("items"),
        "counts": None
        if categories is None
        else {name: total(counts.get(name) for counts in categories.values()) for name in _COUNTS},
        "accuracy": accuracy,
        "average": None if None in of_all else sum(of_all) / len(of_all),
        "progress": None
        if categories is None
        else {name: counts.get("progress") for name, counts in categories.items()},
        "protocol": identity.get("protocol"),
        "decoding": identity.get("decoding"),
        "seconds": summary.get("seconds"),
        "commit": (summary.get("provenance") or {}).get("commit"),
    }
