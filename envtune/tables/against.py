"""The block "Against the paper": the paper's cells, ours where a row of ours reproduces them, and the verdict.

One table a protocol: rows of two protocols never stand together. A row of the paper that nothing of ours reproduces is one
line with its average; one of which some cell is reproduced has a line a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from envtune.bfcl import CATEGORIES
from envtune.tables.markdown import Grid, averaged, counted
from envtune.tables.paper import ACEBENCH, TABLE2_COLUMNS, PaperRow, PaperRow2, acebench_headers
from envtune.tables.rows import Row
from envtune.tables.verdicts import AVERAGE, NOT_RUN, PaperCell, cells_of, paper_cells, verdict

if TYPE_CHECKING:
    from envtune.statistics.intervals import Interval

_HEAD = ("Model", "Variant", "Column", "Paper", "Ours", "n", "Runs", "Protocol", "Verdict")
_LEFT = 3


def against(
    paper: Sequence[PaperRow | PaperRow2],
    suite: str,
    titles: Mapping[str, str],
    blocks: Sequence[Sequence[Row]],
    margin: float,
    of: str,
) -> list[Grid]:
    """One grid for each block of a suite with a row that reproduces a cell of the paper; one in which nothing was run, where
    no block has. titles: stratum -> column; of: the suite in words; margin: in percentage points."""
    grids = [_grid(paper, suite, titles, rows, margin, of) for rows in blocks if _reproduces(rows, paper)]
    return grids or [_grid(paper, suite, titles, [row for rows in blocks for row in rows], margin, of)]


def lines(grid: Grid) -> list[str]:
    """The block as Markdown."""
    below = (f"- {line}" for line in grid.below)
    return [f"## {grid.title}", "", *below, "", *grid.markdown()]


def judged(row: Row, cell: PaperCell, margin: float) -> str:
    """The verdict on our row's figure for this cell of the paper."""
    interval = None if cell.why_not else interval_of(row, cell)
    return NOT_RUN if interval is None else verdict(cell.value, interval, margin)


def interval_of(row: Row, cell: PaperCell) -> Interval | None:
    """Of our figure for a cell of the paper, in shares; None where it has none."""
    if cell.stratum != AVERAGE:
        return row.interval(cell.stratum)
    return row.average_interval(_strata(cell))


def _strata(cell: PaperCell) -> list[str]:
    """Those that the suite's average is of."""
    if cell.table == 1:
        return list(CATEGORIES)
    return [stratum for suite, stratum in TABLE2_COLUMNS.values() if suite == cell.suite and stratum != AVERAGE]


def _reproduces(rows: Iterable[Row], paper: Sequence[PaperRow | PaperRow2]) -> bool:
    return any(not cell.why_not for row in rows for cell in paper_cells(row, paper))


def _grid(
    paper: Sequence[PaperRow | PaperRow2],
    suite: str,
    titles: Mapping[str, str],
    rows: Sequence[Row],
    margin: float,
    of: str,
) -> Grid:
    found: dict[tuple[str, str], list[tuple[Row, list[PaperCell]]]] = {}
    for row in rows:
        for first in (cells := paper_cells(row, paper))[:1]:
            found.setdefault((first.model, first.variant), []).append((row, cells))
    told: list[tuple[str, ...]] = []
    reasons: list[str] = []
    protocols = []
    for published in paper:
        who = published.model, published.variant
        ours = found.get(who, [])
        counting = [one for one in ours if not all(cell.why_not for cell in one[1])]
        if not counting:
            average = next(cell for cell in cells_of(published, suite) if cell.stratum == AVERAGE)
            told.append((*who, "Average", f"{average.value:.2f}", "", "", "", "", NOT_RUN))
        for row, cells in counting:  # a starting model and a baseline may be the same model
            protocols.append(_protocol(row))
            which = f" ({row.checkpoint})" if len(counting) > 1 else ""
            told += [_line(row, cells, cell, titles, margin, which) for cell in cells]
        whys = dict.fromkeys(cell.why_not for _, cells in ours for cell in cells)
        reasons += [f"{published.name}: {why}" for why in whys if why]
    title = f"Against the paper, {of}" + "".join(f", protocol {protocol}" for protocol in protocols[:1])
    return Grid(title, _HEAD, tuple(told), _LEFT, tuple(_below(paper, suite, reasons, margin)))


def _below(paper: Sequence[PaperRow | PaperRow2], suite: str, reasons: Sequence[str], margin: float) -> Iterator[str]:
    yield (
        f"Verdict: consistent where the paper's value lies in our interval and the interval is narrower than {margin:g} "
        "percentage points; inconsistent where it lies outside; inconclusive where it lies inside a wider one"
    )
    swapped = acebench_headers([row for row in paper if isinstance(row, PaperRow2)])[1]
    if suite == ACEBENCH and swapped:
        yield f"The paper's two columns are exchanged here for {', '.join(row.name for row in swapped)}"
    if reasons:
        yield f"Ours, and not counted: {'; '.join(reasons)}"


def _protocol(row: Row) -> str:
    release = row.identity.get("release")
    return str(row.identity["protocol"]["name"]) + (f", release {release}" if release else "")


def _line(
    row: Row, cells: Sequence[PaperCell], cell: PaperCell, titles: Mapping[str, str], margin: float, which: str
) -> tuple[str, ...]:
    who = cell.model, f"{cell.variant}{which}", titles.get(cell.stratum, "Average"), f"{cell.value:.2f}"
    if cell.why_not:
        return (*who, "", "", "", "", NOT_RUN)
    strata = _strata(cell) if cell.stratum == AVERAGE else [cell.stratum]
    ours = averaged(row, strata) if cell.stratum == AVERAGE else counted(row, cell.stratum)
    items = sum(row.cells(stratum)[0].items for stratum in strata)
    protocol = str(row.identity["protocol"]["name"])
    return (*who, ours, str(items), str(len(row.runs)), protocol, judged(row, cell, margin))
