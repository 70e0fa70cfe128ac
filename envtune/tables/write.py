"""`make tables`: copy a run's records into results/ and write its tables from the copies."""

from __future__ import annotations

from pathlib import Path

from envtune.evaluation.checkpoints import CHECKPOINTS
from envtune.files import atomic_write
from envtune.profile import ROOT, Profile
from envtune.tables.collect import copy_records
from envtune.tables.table1 import table1

PAPER = ROOT / "results" / "paper"


def write_tables(profile: Profile) -> list[Path]:
    """Copy the records and write table1.md and table1.csv; gives the paths of the tables."""
    folder = profile.results_dir
    copy_records(profile.run_dir / "evaluation", CHECKPOINTS, folder / "records")
    written = []
    for suffix, text in zip(("md", "csv"), table1(profile.name, folder / "records", PAPER), strict=True):
        path = folder / f"table1.{suffix}"
        with atomic_write(path) as stream:
            stream.write(text)
        written.append(path)
    return written
