"""Rows of the tables: the repeats of one checkpoint as one row, and rows of one protocol as one block.

What computes intervals is imported where one is asked for: the commands that only list or audit do without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from envtune.spread import Spread
from envtune.tables.collect import Cell, Run

if TYPE_CHECKING:
    from pandas import DataFrame

    from envtune.statistics.intervals import Interval

Part = Literal["cells", "sound"]
_EMPTY = Cell()


@dataclass(frozen=True)
class Row:
    """All runs of one checkpoint, with the same weights and under one protocol; at least one."""

    runs: tuple[Run, ...]

    @property
    def checkpoint(self) -> str:
        """start | stage1 | ..."""
        return self.runs[0].checkpoint

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `Run.identity`, of the first run: another differs in its seed alone."""
        return self.runs[0].identity

    @property
    def about(self) -> Mapping[str, Any]:
        """As `Run.about`, of the first run."""
        return self.runs[0].about

    @property
    def seeds(self) -> str:
        """Those of its runs, a space between."""
        return " ".join(str(run.seed) for run in self.runs)

    @property
    def commits(self) -> list[str]:
        """Of its runs, each once, "+" after one with changes that were not committed."""
        said = [run.summary["provenance"] for run in self.runs]
        return list(dict.fromkeys(f"{one['commit']}{'+' if one['dirty'] else ''}" for one in said if one["commit"]))

    def cells(self, stratum: str, part: Part = "cells") -> list[Cell]:
        """One a run; an empty one where it was not to be run."""
        return [(run.cells if part == "cells" else run.sound).get(stratum, _EMPTY) for run in self.runs]

    def count(self, stratum: str, what: str, part: Part = "cells") -> int:
        """Sum over the runs of a count of `Cell`."""
        return sum(int(getattr(cell, what)) for cell in self.cells(stratum, part))

    def accuracy(self, stratum: str, part: Part = "cells") -> Spread:
        """In percent."""
        return Spread.of([cell.accuracy for cell in self.cells(stratum, part)])

    def average(self, strata: Sequence[str], part: Part = "cells") -> Spread:
        """Of each run the unweighted mean of the strata's accuracies, in percent; empty when one of them is."""
        by_run = zip(*(self.cells(stratum, part) for stratum in strata), strict=True)
        return Spread.of([_mean([cell.accuracy for cell in cells]) for cells in by_run])

    @cached_property
    def _intervals(self) -> dict[tuple[str, ...], Interval]:
        """Those computed before: Markdown, CSV and LaTeX show the same ones."""
        return {}

    def interval(self, stratum: str, part: Part = "cells") -> Interval | None:
        """The 95 % interval of `accuracy`, in shares; None where that is empty."""
        if self.accuracy(stratum, part).mean is None:
            return None
        key = (part, stratum)
        if key not in self._intervals:
            from envtune.statistics.intervals import rate

            self._intervals[key] = rate(self._outcomes([stratum], part))
        return self._intervals[key]

    def average_interval(self, strata: Sequence[str], part: Part = "cells") -> Interval | None:
        """The 95 % interval of `average`, in shares; None where that is empty."""
        if self.average(strata, part).mean is None:
            return None
        key = (part, "average", *strata)
        if key not in self._intervals:
            from envtune.statistics.intervals import macro_average

            self._intervals[key] = macro_average(self._outcomes(strata, part), list(strata))
        return self._intervals[key]

    def _outcomes(self, strata: Sequence[str], part: Part) -> DataFrame:
        """Of these strata, over all runs."""
        from envtune.statistics.outcomes import outcomes

        return outcomes(
            {
                run.seed: [
                    one
                    for one in run.records
                    if one.stratum in strata and (part == "cells" or one.id not in run.unsound)
                ]
                for run in self.runs
            }
        )

    def score(self, strata: Sequence[str]) -> Spread:
        """Of each run the mean partial credit of all its items, in 0..1."""
        by_run = zip(*(self.cells(stratum) for stratum in strata), strict=True)
        return Spread.of([_mean_score([cell for cell in cells if cell.items]) for cells in by_run])


def _mean(values: Sequence[float | None]) -> float | None:
    return Spread.of(values).mean


def _mean_score(cells: Sequence[Cell]) -> float | None:
    scores = [cell.score for cell in cells]
    if not cells or None in scores:
        return None
    return sum(cell.credit or 0 for cell in cells) / sum(cell.items for cell in cells)


def blocks(runs: Sequence[Run]) -> list[list[Row]]:
    """The rows of each block, in the order in which they come first. Rows may stand together when all that was decided
    before a model and a seed came into it is equal."""
    found: dict[str, dict[tuple[str, ...], list[Run]]] = {}
    for run in runs:
        who = (run.checkpoint, str(run.identity["model"]), str(run.identity["checkpoint_sha256"]))
        found.setdefault(_protocol(run), {}).setdefault(who, []).append(run)
    return [[Row(tuple(of_row)) for of_row in rows.values()] for rows in found.values()]


def _protocol(run: Run) -> str:
    """What is equal in a block, as text."""
    kept = {key: value for key, value in run.identity.items() if key not in ("model", "checkpoint_sha256")}
    kept["decoding"] = {key: value for key, value in run.identity["decoding"].items() if key != "seed"}
    return json.dumps([run.suite, kept], sort_keys=True)
