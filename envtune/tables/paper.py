"""The paper's published rows, read from results/paper/."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError

_Row = TypeVar("_Row")
TABLE1_PROTOCOL = (
    "as published: BFCL V3 multi-turn, 100 held-out tasks a category (the split is not published), averages over runs; "
    "prompt, decoding and bfcl-eval release are not stated"
)
TABLE2_PROTOCOL = (
    "as published: BFCL V4 web search and memory, ACEBench agent; prompt, decoding, releases, ACEBench's language and the "
    "model that plays its user are not stated"
)
# column of results/paper/table2.csv -> suite and stratum; "average" is the suite's
TABLE2_COLUMNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "web_search_avg": ("bfcl-web-search", "average"),
        "web_search_base": ("bfcl-web-search", "web_search_base"),
        "web_search_no_snippet": ("bfcl-web-search", "web_search_no_snippet"),
        "memory_avg": ("bfcl-memory", "average"),
        "memory_kv": ("bfcl-memory", "memory_kv"),
        "memory_vector": ("bfcl-memory", "memory_vector"),
        "memory_rec_sum": ("bfcl-memory", "memory_rec_sum"),
        "acebench_agent_avg": ("acebench-agent", "average"),
        "acebench_multi_turn": ("acebench-agent", "agent_multi_turn"),
        "acebench_multi_step": ("acebench-agent", "agent_multi_step"),
    }
)
MULTI_TURN_ITEMS, MULTI_STEP_ITEMS = 30, 20  # of ACEBench's agent part, in either language


@dataclass(frozen=True)
class PaperRow:
    """A row of Table 1. accuracy: category -> percent as printed; average: as printed; runs: inferred, see the CSV's
    README; source: the table it stands in."""

    model: str
    variant: str
    average: float
    accuracy: dict[str, float]
    runs: int
    source: str


def paper_table1(folder: Path) -> list[PaperRow]:
    """The rows of `folder`/table1.csv, in its order. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "table1.csv",
        lambda row: PaperRow(
            model=row["model"],
            variant=row["variant"],
            average=float(row["average"]),
            accuracy={category: float(row[category]) for category in CATEGORIES},
            runs=int(row["runs_inferred"]),
            source=row["source"],
        ),
    )


@dataclass(frozen=True)
class PaperRow2:
    """A row of Table 2. accuracy: column of `TABLE2_COLUMNS` -> percent as printed; source: the table it stands in."""

    model: str
    variant: str
    accuracy: Mapping[str, float]
    source: str

    @property
    def name(self) -> str:
        """Model, and the variant unless it is as released."""
        return self.model if self.variant == "as released" else f"{self.model} {self.variant}"


def paper_table2(folder: Path) -> list[PaperRow2]:
    """The rows of `folder`/table2.csv, in its order. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "table2.csv",
        lambda row: PaperRow2(
            row["model"], row["variant"], {c: float(row[c]) for c in TABLE2_COLUMNS}, source=row["source"]
        ),
    )


def _read(path: Path, row_of: Callable[[Mapping[str, str]], _Row]) -> list[_Row]:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return [row_of(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error!r}); restore it from the repository") from error


def acebench_headers(rows: list[PaperRow2]) -> tuple[list[PaperRow2], list[PaperRow2]]:
    """Rows whose two ACEBench values are whole counts of that many items only as printed, and those where they are only
    with the two headers swapped. Other rows fit both ways, or neither."""
    printed, swapped = [], []
    for row in rows:
        turn, step = row.accuracy["acebench_multi_turn"], row.accuracy["acebench_multi_step"]
        as_printed = is_count(turn, MULTI_TURN_ITEMS) and is_count(step, MULTI_STEP_ITEMS)
        as_swapped = is_count(step, MULTI_TURN_ITEMS) and is_count(turn, MULTI_STEP_ITEMS)
        if as_printed != as_swapped:
            (printed if as_printed else swapped).append(row)
    return printed, swapped


def is_count(percent: float, items: int) -> bool:
    """Whether a percentage with two decimals can be passed of this many items."""
    return abs(100 * round(percent * items / 100) / items - percent) < 0.0051
