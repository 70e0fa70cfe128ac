"""Of how many runs or items a printed cell can be.

A cell of Table 1 is a mean over r runs of 100 tasks, so a multiple of 1/r percent; a cell of Table 2 is a count of n items.
A cell that no such number gives is a finding. Which cells ACEBench's numbers of items belong to is acebench.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from envtune.bfcl import CATEGORIES
from envtune.tables.audit.findings import CellFit, Finding, Note, percent
from envtune.tables.paper import (
    ACEBENCH,
    CATEGORY_ITEMS,
    STRATUM_ITEMS,
    TABLE2_COLUMNS,
    PaperRow,
    PaperRow2,
    count_of,
)

MAX_RUNS = 30  # with more, nearly any two decimals fit, and nothing would be told
TRIED = (20, 30, 40, 50, 60, 100, 150, 155, 160, 200)  # numbers of items that a cell of Table 2 is tried with


def runs_that_fit(cells: Iterable[float]) -> tuple[int, ...]:
    """Numbers of runs, up to `MAX_RUNS`, of which every cell can be the mean, over 100 tasks each."""
    values = tuple(cells)
    return tuple(
        runs
        for runs in range(1, MAX_RUNS + 1)
        if all(count_of(value, runs * CATEGORY_ITEMS) is not None for value in values)
    )


def fewest_runs(cells: Iterable[float]) -> int | None:
    """The fewest runs that fit; None where none do."""
    return next(iter(runs_that_fit(cells)), None)


def items_that_fit(cells: Iterable[float]) -> tuple[int, ...]:
    """Those numbers of `TRIED` that every cell can be a count of."""
    values = tuple(cells)
    return tuple(n for n in TRIED if all(count_of(value, n) is not None for value in values))


def run_findings(rows: Sequence[PaperRow]) -> list[Finding]:
    """Rows of Table 1 that no number of runs gives, and those whose number in the file is not the fewest that fits."""
    findings = []
    for row in rows:
        runs = fewest_runs(row.accuracy.values())
        if runs is None:
            findings.append(_no_runs(row))
        elif runs != row.runs:
            why = f"the fewest runs over {CATEGORY_ITEMS} tasks whose mean can be all cells of the row"
            findings.append(Finding("runs", 1, row.name, "runs_inferred", str(row.runs), str(runs), why))
    return findings


def _no_runs(row: PaperRow) -> Finding:
    odd = [c for c in CATEGORIES if fewest_runs(value for d, value in row.accuracy.items() if d != c) is not None]
    why = f"no number of runs up to {MAX_RUNS}, over {CATEGORY_ITEMS} tasks, gives all four cells of the row"
    why += f"; without {' or without '.join(odd)} one does" if odd else ""
    said = ", ".join(f"{row.accuracy[category]:.2f}" for category in CATEGORIES)
    return Finding("grain", 1, row.name, " or ".join(odd) or "all categories", said, "", why)


def run_notes(rows: Sequence[PaperRow]) -> list[Note]:
    """How many runs the rows stand for, and how far that can be trusted."""
    by_runs: dict[int, list[PaperRow]] = {}
    for row in rows:
        if (runs := fewest_runs(row.accuracy.values())) is not None:
            by_runs.setdefault(runs, []).append(row)
    notes = []
    for runs, of_it in sorted(by_runs.items()):
        names = ", ".join(row.name for row in of_it)
        notes.append(
            Note("Table 1, runs", f"{runs} {'run is' if runs == 1 else 'runs are'} the fewest that fit: {names}.")
        )
    if len(by_runs) > 1:
        notes.append(Note("Table 1, runs", "Rows of different numbers of runs stand in one table."))
    for runs, of_it in sorted(by_runs.items()):
        ends = sorted({f"{value:.2f}"[-3:] for row in of_it for value in row.accuracy.values()})
        cells = len(CATEGORIES) * len(of_it)
        if cells >= runs > len(ends) > 0 and runs > 1:
            text = (
                f"The {cells} cells that fit {runs} runs end in {len(ends)} of {runs} possible ways ({', '.join(ends)}): that "
                "they are means of so many runs is inferred, and not sure."
            )
            notes.append(Note("Table 1, runs", text))
    return notes


def count_findings(rows: Sequence[PaperRow2]) -> list[Finding]:
    """Cells of web search and memory that no whole number of their items gives."""
    findings = []
    for row in rows:
        for column, (suite, stratum) in TABLE2_COLUMNS.items():
            if stratum == "average" or suite == ACEBENCH:
                continue
            value, items = row.accuracy[column], STRATUM_ITEMS[stratum]
            if count_of(value, items) is None:
                others = items_that_fit([value])
                why = f"no whole number of {items} items gives it"
                why += f"; of {' or '.join(map(str, others))} one does" if others else ""
                near = percent(Fraction(100 * round(value * items / 100), items))
                findings.append(Finding("grain", 2, row.name, column, f"{value:.2f}", f"{near} is nearest", why))
    return findings


def count_notes(rows: Sequence[PaperRow2]) -> list[Note]:
    """Which number of items fits all cells of a suite, in one run."""
    notes = []
    for suite, title in (("bfcl-web-search", "web search"), ("bfcl-memory", "memory")):
        columns = [c for c, (of, stratum) in TABLE2_COLUMNS.items() if of == suite and stratum != "average"]
        values = [row.accuracy[column] for row in rows for column in columns]
        fitting = items_that_fit(values)
        others = ", ".join(str(n) for n in TRIED if n not in fitting)
        all_fit = (
            f"All {len(values)} cells are counts of {' and of '.join(map(str, fitting))} items"
            if fitting
            else (f"The {len(values)} cells are not all counts of any one number of items")
        )
        notes.append(
            Note(f"Table 2, {title}", f"{all_fit}, not of {others}." if fitting else f"{all_fit} of {others}.")
        )
    return notes


def cell_fits(first: Sequence[PaperRow], second: Sequence[PaperRow2]) -> Iterator[CellFit]:
    """What each cell of both tables can be."""
    for row in first:
        runs = fewest_runs(row.accuracy.values())
        for category in CATEGORIES:
            value = row.accuracy[category]
            count = None if runs is None else count_of(value, runs * CATEGORY_ITEMS)
            said = "" if count is None or runs is None else f"{count}/{runs * CATEGORY_ITEMS}"
            yield CellFit(1, row.name, category, f"{value:.2f}", "runs", runs_that_fit([value]), said)
    for row2 in second:
        for column, (suite, stratum) in TABLE2_COLUMNS.items():
            if stratum != "average":
                value = row2.accuracy[column]
                count = None if suite == ACEBENCH else count_of(value, STRATUM_ITEMS[stratum])
                said = "" if count is None else f"{count}/{STRATUM_ITEMS[stratum]}"
                yield CellFit(2, row2.name, column, f"{value:.2f}", "items", items_that_fit([value]), said)
