"""One side against the values that the paper printed, by the rule of `envtune.tables.verdicts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envtune.evaluation.repeat import Repeat
from envtune.gate.compare import Origin, origin_of
from envtune.gate.errors import Incomparable
from envtune.gate.sources import Side
from envtune.statistics.intervals import Interval
from envtune.tables.against import interval_of, judged
from envtune.tables.collect import Cell, Run
from envtune.tables.paper import PAPER, PaperRow, PaperRow2, paper_table1, paper_table2
from envtune.tables.rows import Row
from envtune.tables.verdicts import INCONSISTENT, MARGIN, NOT_RUN, PaperCell, paper_cells, paper_model


@dataclass(frozen=True)
class Held:
    """A cell of the paper and ours. label: suite and stratum; paper: in percent; interval: of ours, None where it was not
    run as the paper ran it (why_not); items: of ours, each once; is_lower: whether ours is inconsistent, and lower."""

    label: str
    paper: float
    interval: Interval | None
    items: int
    seeds: int
    verdict: str
    why_not: str
    is_lower: bool


@dataclass(frozen=True)
class PaperReport:
    """What `envtune regress --against-paper` says. row: the paper's; counts: verdict -> cells."""

    margin: float
    row: str
    cells: Sequence[Held]
    counts: Mapping[str, int]
    candidate: Origin


def against_paper(side: Side, margin: float = MARGIN, paper: Path = PAPER) -> PaperReport:
    """Each cell of the paper that the side's model, variant and suites belong to. margin: in percentage points.

    Raises Incomparable when the paper has no such row, or nothing was run as the paper ran it.
    """
    if not 0 < margin <= 100:
        raise Incomparable(
            f"--margin {margin} is no width of an interval; give percentage points above 0 and at most 100"
        )
    published = [*paper_table1(paper), *paper_table2(paper)]
    rows = [Row(tuple(_run(repeat) for repeat in repeats)) for repeats in side.suites.values()]
    found = [(row, cell) for row in rows for cell in paper_cells(row, published)]
    model = str(side.identity["model"])
    if not found:
        raise Incomparable(
            f"{side.source}: the paper has no row for {model!a}, checkpoint {side.checkpoint} and {', '.join(side.suites)}; "
            f"its models are {', '.join(_names(published))}, as released (checkpoint start) or trained (the last stage)"
        )
    cells = [_held(row, cell, margin) for row, cell in found]
    if all(cell.verdict == NOT_RUN for cell in cells):
        raise Incomparable(
            f"{side.source}: nothing was run as the paper ran it ({cells[0].why_not}); evaluate all items of a stratum"
        )
    return PaperReport(
        margin=margin,
        row=f"{paper_model(model)}, {found[0][1].variant}",
        cells=cells,
        counts=dict(Counter(cell.verdict for cell in cells)),
        candidate=origin_of(side),
    )


def _names(published: Sequence[PaperRow | PaperRow2]) -> list[str]:
    return list(dict.fromkeys(row.model for row in published))


def _held(row: Row, cell: PaperCell, margin: float) -> Held:
    interval = None if cell.why_not else interval_of(row, cell)
    verdict = judged(row, cell, margin)
    of_it = [record for record in row.runs[0].records if cell.stratum in (record.stratum, "average")]
    return Held(
        label=f"{cell.suite}/{cell.stratum}",
        paper=cell.value,
        interval=interval,
        items=len(of_it),
        seeds=len(row.runs),
        verdict=verdict,
        why_not=cell.why_not,
        is_lower=verdict == INCONSISTENT and interval is not None and 100 * interval.estimate < cell.value,
    )


def _run(repeat: Repeat) -> Run:
    """As tables have it; the repeat's counts are known to be those of its records."""
    one, counts = repeat.summary, repeat.summary.data["strata"]
    cells = {
        stratum: Cell(told["items"], told["passed"], told["failed"], told["over_budget"])
        for stratum, told in counts.items()
    }
    return Run(one.suite, one.checkpoint, one.seed, one.data, cells, {}, tuple(repeat.records))
