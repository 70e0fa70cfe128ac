"""What the tables' Markdown is made of: a grid, numbers with their spread and counts, and the lines above a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from envtune.spread import Spread
from envtune.tables.rows import Part, Row

if TYPE_CHECKING:
    from envtune.statistics.intervals import Interval

LAST = ("Steps", "Seeds", "Runs", "Commit")


class Rendered(NamedTuple):
    """One table in each form that it is written in; the fields are the files' suffixes."""

    md: str
    csv: str
    tex: str


@dataclass(frozen=True)
class Grid:
    """A table of words and figures. title: what it is of; the first `left` columns are words; below: lines under it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    below: tuple[str, ...] = ()

    def markdown(self) -> list[str]:
        """Its lines, without title and what is below."""
        return grid(self.head, self.rows, self.left)


def grid(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: int, escape: Callable[[str], str] | None = None
) -> list[str]:
    """A Markdown table; the first `left` columns are words, the others numbers. escape: of a cell; `plain` without it."""
    rule = ["---" if number < left else "---:" for number in range(len(head))]
    return ["| " + " | ".join(map(escape or plain, cells)) + " |" for cells in (head, rule, *rows)]


def plain(text: str) -> str:
    """Text that ends neither its cell nor its line, and is no HTML, link or comment: names come from files and models."""
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").replace("](", r"]\(").splitlines())


def inert(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a CSV of which no text is a formula where a spreadsheet opens it: names come from files. Such a text gets an
    apostrophe before it (OWASP, CSV injection)."""
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
        for name, value in values.items()
    }


def number(value: float | None, digits: int = 2) -> str:
    """Empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def spread(figure: Spread, digits: int = 2) -> str:
    """Mean ± standard deviation, where there are at least two runs."""
    sd = "" if figure.sd is None else f" ± {figure.sd:.{digits}f}"
    return "" if figure.mean is None else f"{figure.mean:.{digits}f}{sd}"


def bracketed(interval: Interval | None) -> str:
    """Low and high end in percent, in brackets after a space; empty for None."""
    return "" if interval is None else f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def averaged(row: Row, strata: Sequence[str], part: Part = "cells") -> str:
    """Unweighted mean of the strata's accuracies in percent, with its 95 % interval; empty where one of them is."""
    return spread(row.average(strata, part)) + bracketed(row.average_interval(strata, part))


def counted(row: Row, stratum: str, part: Part = "cells") -> str:
    """Accuracy in percent with its 95 % interval, and passed of run over all runs; empty unless every item of every run was
    run."""
    figure = row.accuracy(stratum, part)
    if figure.mean is None:
        return ""
    share = f"({row.count(stratum, 'passed', part)}/{row.count(stratum, 'items', part)})"
    return f"{spread(figure)}{bracketed(row.interval(stratum, part))} {share}"


def methods(intervals: Iterable[Interval | None]) -> str:
    """What the brackets are, for the lines of a block."""
    known = [interval for interval in intervals if interval is not None]
    levels = " and ".join(dict.fromkeys(f"{100 * interval.level:g} %" for interval in known)) or "95 %"
    how = "; ".join(dict.fromkeys(interval.method for interval in known))
    return f"In brackets: {levels} intervals{f' ({how})' if how else ''}"


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
