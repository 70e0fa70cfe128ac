"""The audit of the paper's printed figures: what does not add up, recomputed from results/paper/ alone.

envtune audit-paper
envtune audit-paper --json audit.json

Arithmetic is exact (fractions). A figure with two decimals stands for all values that round to it, so that nothing is a
finding for rounding alone. What follows from the arithmetic and contradicts nothing is a note.

averages.py   averages of printed cells, and gains between printed rows
grain.py      of how many runs (Table 1) or items (Table 2) a cell can be
acebench.py   whether ACEBench's two headers are swapped
curves.py     the ablation curves, where two of them speak of the same thing
findings.py   what a finding and a note are
text.py       all of it on the terminal, and the findings as Markdown
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envtune.tables.audit.acebench import acebench_findings, acebench_notes
from envtune.tables.audit.averages import average_notes, gain_findings, table1_averages, table2_averages
from envtune.tables.audit.curves import curve_findings, curve_notes
from envtune.tables.audit.findings import CellFit, Finding, Note
from envtune.tables.audit.grain import cell_fits, count_findings, count_notes, run_findings, run_notes
from envtune.tables.paper import paper_curves, paper_gains, paper_table1, paper_table2

__all__ = ["Audit", "CellFit", "Finding", "Note", "audit"]

_SCHEMA = 1


@dataclass(frozen=True)
class Audit:
    """findings: what does not add up; notes: what else follows; cells: the numbers that fit each cell."""

    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    cells: tuple[CellFit, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the schema."""
        return {"schema": _SCHEMA, **asdict(self)}


def audit(folder: Path) -> Audit:
    """Audit the figures in this folder (results/paper/). Raises EnvtuneError where a file cannot be read."""
    first, second = paper_table1(folder), paper_table2(folder)
    gains, curves = paper_gains(folder), paper_curves(folder)
    findings = (
        *table1_averages(first),
        *gain_findings(gains, first, second),
        *run_findings(first),
        *table2_averages(second),
        *count_findings(second),
        *acebench_findings(second),
        *curve_findings(curves),
    )
    notes = (
        *run_notes(first),
        *average_notes(second),
        *count_notes(second),
        *acebench_notes(second),
        *curve_notes(curves, first),
    )
    return Audit(findings, notes, tuple(cell_fits(first, second)))
