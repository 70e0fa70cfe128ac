"""`make tables`: copy a run's records into results/ and write its tables from the copies.

Where there is no run (a fresh checkout), the tables are written anew from the copies that are there.
"""

from __future__ import annotations

from pathlib import Path

from envtune.evaluation.checkpoints import reported_names
from envtune.files import atomic_write
from envtune.profile import ROOT, Profile
from envtune.tables.collect import copy_records
from envtune.tables.paper import PAPER
from envtune.tables.readme import update_readme
from envtune.tables.table1 import table1
from envtune.tables.table2 import table2
from envtune.tables.verdicts import MARGIN

__all__ = ["PAPER", "RESULTS", "write_tables"]

RESULTS = ROOT / "results"  # what is committed, and what the README shows


def write_tables(profile: Profile, margin: float = MARGIN) -> list[Path]:
    """Copy the records and write table1 and table2, each as .md, .csv and .tex; gives the paths of what was written.

    margin: of the verdicts against the paper, in percentage points.
    """
    folder = profile.results_dir
    records = folder / "records"
    if (evaluation := profile.run_dir / "evaluation").is_dir():
        copy_records(evaluation, reported_names(profile), records)
    written = []
    for name, table in (("table1", table1), ("table2", table2)):
        for suffix, text in table(profile.name, records, PAPER, margin)._asdict().items():
            path = folder / f"{name}.{suffix}"
            with atomic_write(path) as stream:
                stream.write(text)
            written.append(path)
    if folder.parent == RESULTS and update_readme(ROOT / "README.md", RESULTS):
        written.append(ROOT / "README.md")
    return written
