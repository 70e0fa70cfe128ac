"""Averages of printed cells, and gains between printed rows.

An average follows from the printed cells as they stand, or from the counts behind them; where no counts are known, from any
values that round to the cells. A gain follows from the two printed figures that it is the difference of, within the
rounding of all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from envtune.bfcl import CATEGORIES
from envtune.tables.audit.findings import Finding, Note, percent
from envtune.tables.audit.grain import fewest_runs
from envtune.tables.paper import (
    ACEBENCH,
    AS_RELEASED,
    CATEGORY_ITEMS,
    ROUNDING,
    STRATUM_ITEMS,
    TABLE2_COLUMNS,
    Gain,
    PaperRow,
    PaperRow2,
    count_of,
    printed,
)


@dataclass(frozen=True)
class Average:
    """A printed average. cells: those that it is the unweighted mean of; items: what each is a count of, None where that
    is not known."""

    table: int
    row: str
    column: str
    value: float
    cells: tuple[float, ...]
    items: tuple[int | None, ...]

    @property
    def mean(self) -> Fraction:
        """Of the cells as they are printed."""
        return _mean([printed(cell) for cell in self.cells])

    @property
    def exact(self) -> Fraction | None:
        """Of the counts; None where one is not known."""
        shares = [_share(cell, items) for cell, items in zip(self.cells, self.items, strict=True)]
        known = [share for share in shares if share is not None]
        return _mean(known) if len(known) == len(shares) else None

    @property
    def follows(self) -> bool:
        """Whether it can be the mean of the cells."""
        if self.exact is None and not self._is_mean_of(self.mean):  # the cells' rounding, and the average's own
            return abs(printed(self.value) - self.mean) <= 2 * ROUNDING
        return self._is_mean_of(self.mean) or (self.exact is not None and self._is_mean_of(self.exact))

    @property
    def follows_from_counts_alone(self) -> bool:
        """Whether it is no mean of the cells as they are printed, and yet right."""
        return self.exact is not None and self._is_mean_of(self.exact) and not self._is_mean_of(self.mean)

    def _is_mean_of(self, mean: Fraction) -> bool:
        return abs(printed(self.value) - mean) <= ROUNDING


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction()) / len(values)


def _share(cell: float, items: int | None) -> Fraction | None:
    count = None if items is None else count_of(cell, items)
    return None if count is None or items is None else Fraction(100 * count, items)


def table1_averages(rows: Sequence[PaperRow]) -> list[Finding]:
    """Averages of Table 1 that do not follow from their row."""
    found = []
    for row in rows:
        runs = fewest_runs(row.accuracy.values())
        items = (None if runs is None else runs * CATEGORY_ITEMS,) * len(CATEGORIES)
        cells = tuple(row.accuracy[category] for category in CATEGORIES)
        found.append(Average(1, row.name, "average", row.average, cells, items))
    return [_finding(average) for average in found if not average.follows]


def table2_averages(rows: Sequence[PaperRow2]) -> list[Finding]:
    """Averages of Table 2 that do not follow from their row."""
    return [_finding(average) for average in _averages2(rows) if not average.follows]


def average_notes(rows: Sequence[PaperRow2]) -> list[Note]:
    """Averages of Table 2 that look wrong and are right: computed from counts before rounding."""
    notes = []
    for average in _averages2(rows):
        if average.exact is not None and average.follows_from_counts_alone:
            passed = sum(count_of(c, n) or 0 for c, n in zip(average.cells, average.items, strict=True) if n)
            text = (
                f"{average.row}, {average.column}: {average.value:.2f} is right by the counts "
                f"({passed}/{sum(n or 0 for n in average.items)}); the printed cells alone would give {percent(average.mean)}."
            )
            notes.append(Note("Table 2, averages", text))
    return notes


def _averages2(rows: Sequence[PaperRow2]) -> Iterator[Average]:
    for row in rows:
        for column, (suite, stratum) in TABLE2_COLUMNS.items():
            if stratum == "average":
                parts = {c: one for c, (of, one) in TABLE2_COLUMNS.items() if of == suite and c != column}
                # which of ACEBench's columns has how many items is what its own check is about
                items = tuple(None if suite == ACEBENCH else STRATUM_ITEMS[one] for one in parts.values())
                cells = tuple(row.accuracy[part] for part in parts)
                yield Average(2, row.name, column, row.accuracy[column], cells, items)


def _finding(average: Average) -> Finding:
    cells = [f"{cell:.2f}" for cell in average.cells]
    listed = f"{', '.join(cells[:-1])} and {cells[-1]}"
    why = f"the mean of {listed} is {percent(average.mean, 4)}"
    why += ", also by the counts" if average.exact is not None else "; their rounding moves it by 0.005 at most"
    rounded = _mean([Fraction(round(printed(cell) * 10), 10) for cell in average.cells])
    if rounded == printed(average.value):
        why += ". It is the mean of the cells rounded to one decimal first"
    said = f"{average.value:.2f}", percent(average.mean)
    return Finding("average", average.table, average.row, average.column, *said, why)


def gain_findings(gains: Sequence[Gain], first: Sequence[PaperRow], second: Sequence[PaperRow2]) -> list[Finding]:
    """Printed gains that are not the difference of the printed figures."""
    findings = []
    for gain in gains:
        rows: Sequence[PaperRow | PaperRow2] = first if gain.table == 1 else second
        figures = {(row.model, row.variant): _figure(row, gain.column) for row in rows}
        after, before = figures.get((gain.model, gain.variant)), figures.get((gain.model, AS_RELEASED))
        where = gain.table, f"{gain.model} {gain.variant}", f"gain of {gain.column}", f"{gain.gain:+.2f}"
        if after is None or before is None:
            why = "one of the two figures that it is the difference of is not in the table"
            findings.append(Finding("gain", *where, "", why))
            continue
        difference = printed(after) - printed(before)
        if abs(printed(gain.gain) - difference) > 3 * ROUNDING:
            why = f"{after:.2f} - {before:.2f}; rounding of the three moves it by 0.015 at most"
            findings.append(Finding("gain", *where, f"{float(difference):+.2f}", why))
    return findings


def _figure(row: PaperRow | PaperRow2, column: str) -> float | None:
    return row.average if isinstance(row, PaperRow) and column == "average" else row.accuracy.get(column)
