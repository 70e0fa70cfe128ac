"""Hand-made run folders of suites from other packages, with summaries counted as the runner counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envtune.evaluation.migrate import SCHEMA_VERSION
from envtune.evaluation.records import Record, summarise_records
from envtune.evaluation.upstream.suite import UpstreamSuite
from envtune.files import sha256_json, write_json, write_jsonl

DESCRIPTION = "as its authors run it"


def item(stratum: str, number: int, passed: bool | None, score: float | None = None, **details: Any) -> Record:
    """A record; passed None: it was not run."""
    outcome = {True: "passed", False: "failed", None: "not_run"}[passed]
    return Record(
        f"{stratum}_{number}", stratum, str(number), outcome, "1" * 64, passed=passed, score=score, details=details
    )


def items(stratum: str, passed: int, of: int) -> list[Record]:
    """`of` records, the first of which passed."""
    return [item(stratum, number, number < passed) for number in range(of)]


def make_run(
    evaluation: Path, suite: str, checkpoint: str, records: Sequence[Record], seed: int = 42, **change: Any
) -> Path:
    """The folder of one repeat. change: weights, time, and anything of the identity."""
    folder = evaluation / checkpoint / suite / f"seed{seed}"
    strata: dict[str, int] = {}
    for record in records:
        strata[record.stratum] = strata.get(record.stratum, 0) + 1
    weights, time = change.pop("weights", f"weights of {checkpoint}"), change.pop("time", "2026-11-01T10:00:00+00:00")
    identity: dict[str, Any] = {
        "suite": suite,
        "protocol": {"name": f"{suite}-1-kit", "format": "kit", "description": DESCRIPTION, "user_simulator": False},
        "packages": {"upstream": "1.2.3"},
        "options": {},
        "items": strata,
        "items_sha256": sha256_json([[record.id, record.item_sha256] for record in records]),
        "model": "Scripted",
        "checkpoint_sha256": weights,
        "decoding": {"temperature": 0.5, "seed": seed},
    }
    about: Mapping[str, Any] = {"checkpoint": checkpoint, "training_steps": 3, "seed": seed, "notes": ["No claim."]}
    summary = {"schema": SCHEMA_VERSION, "identity": {**identity, **change}, "about": about, "seconds": 2.0}
    summary |= {"provenance": {"commit": "c0ffee" * 6, "dirty": False, "time": time}, **summarise_records(records)}
    figures = object.__new__(UpstreamSuite).figures(records)  # it needs no worker
    write_json(folder / "summary.json", {**summary, **figures})
    write_jsonl(folder / "records.jsonl", [record.as_dict() for record in records])
    return folder
