"""What the tables' Markdown is made of: a grid, numbers with their spread and counts, and the lines above a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envtune.spread import Spread
from envtune.tables.rows import Part, Row

LAST = ("Steps", "Seeds", "Runs", "Commit")


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table; the first `left` columns are words, the others numbers."""
    rule = ["---" if number < left else "---:" for number in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def number(value: float | None, digits: int = 2) -> str:
    """Empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def spread(figure: Spread, digits: int = 2) -> str:
    """Mean ± standard deviation, where there are at least two runs."""
    sd = "" if figure.sd is None else f" ± {figure.sd:.{digits}f}"
    return "" if figure.mean is None else f"{figure.mean:.{digits}f}{sd}"


def counted(row: Row, stratum: str, part: Part = "cells") -> str:
    """Accuracy in percent, and passed of run over all runs; empty unless every item of every run was run."""
    figure = row.accuracy(stratum, part)
    if figure.mean is None:
        return ""
    return f"{spread(figure)} ({row.count(stratum, 'passed', part)}/{row.count(stratum, 'items', part)})"


def text(value: Any) -> str:
    """Empty for None."""
    return "" if value is None else str(value)


def last_cells(row: Row) -> list[str]:
    """The cells under `LAST`."""
    commits = ", ".join(f"`{c[:12]}`{' + changes' if c.endswith('+') else ''}" for c in row.commits)
    return [text(row.about.get("training_steps")), row.seeds, str(len(row.runs)), commits]


def arm(about: Mapping[str, Any]) -> str:
    """The ablation that rows are of; nothing for the method itself, nor for records of before there were arms."""
    name = about.get("arm", "full")
    return "" if name == "full" else f", arm {name}"


def notes(rows: Sequence[Row]) -> list[str]:
    """What must stand above the rows, in bold, and an empty line."""
    said = list(dict.fromkeys(note for row in rows for note in row.about.get("notes", ())))
    return [f"**{' '.join(said)}**", ""] if said else []


def decoding(row: Row) -> str:
    """All but the seed, which is a column."""
    return ", ".join(f"{k} {v}" for k, v in row.identity["decoding"].items() if k != "seed")


def listed(rows: Sequence[Row], titles: Mapping[str, str], what: str) -> str:
    """Checkpoint, stratum and number of the cells in which the count is not 0."""
    return "; ".join(
        f"{row.checkpoint}, {title.lower()}: {count} of {row.count(stratum, 'items')}"
        for row in rows
        for stratum, title in titles.items()
        if (count := row.count(stratum, what))
    )


def unusual(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    """The lines below a block on items that were not run, and on those that outgrew the context."""
    missing, over_budget = listed(rows, titles, "not_run"), listed(rows, titles, "over_budget")
    return [
        *(["", f"Not run (no answer from the endpoint, or no verdict): {missing}."] if missing else []),
        *(["", f"Over budget (outgrew the model's context; not passed): {over_budget}."] if over_budget else []),
    ]
