"""The paper's published rows, read from results/paper/."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.profile import ROOT

PAPER = ROOT / "results" / "paper"
_Row = TypeVar("_Row")
TABLE1_PROTOCOL = (
    "as published: BFCL V3 multi-turn, 100 held-out tasks a category (the split is not published), averages over runs; "
    "prompt, decoding and bfcl-eval release are not stated"
)
TABLE2_PROTOCOL = (
    "as published: BFCL V4 web search and memory, ACEBench agent; prompt, decoding, releases, ACEBench's language and the "
    "model that plays its user are not stated"
)
ACEBENCH = "acebench-agent"
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
        "acebench_agent_avg": (ACEBENCH, "average"),
        "acebench_multi_turn": (ACEBENCH, "agent_multi_turn"),
        "acebench_multi_step": (ACEBENCH, "agent_multi_step"),
    }
)
MULTI_TURN_ITEMS, MULTI_STEP_ITEMS = 30, 20  # of ACEBench's agent part, in either language
CATEGORY_ITEMS = 100  # held-out tasks a category of Table 1: the paper trains on the other half
# stratum of Table 2 -> items there are
STRATUM_ITEMS: Mapping[str, int] = MappingProxyType(
    {
        "web_search_base": 100,
        "web_search_no_snippet": 100,
        "memory_kv": 155,
        "memory_vector": 155,
        "memory_rec_sum": 155,
        "agent_multi_turn": MULTI_TURN_ITEMS,
        "agent_multi_step": MULTI_STEP_ITEMS,
    }
)
AS_RELEASED, TUNED = "as released", "+ Environment Tuning"  # the two variants of a model
ROUNDING = Fraction(5, 1000)  # of a percentage with two decimals, in percentage points


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

    @property
    def name(self) -> str:
        """As `PaperRow2.name`."""
        return _name(self.model, self.variant)


def paper_table1(folder: Path) -> list[PaperRow]:
    """The rows of `folder`/table1.csv, in its order. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "table1.csv",
        lambda row: PaperRow(
            model=row["model"],
            variant=row["variant"],
            average=_percent(row["average"]),
            accuracy={category: _percent(row[category]) for category in CATEGORIES},
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
        return _name(self.model, self.variant)


def _name(model: str, variant: str) -> str:
    return model if variant == AS_RELEASED else f"{model} {variant}"


def paper_table2(folder: Path) -> list[PaperRow2]:
    """The rows of `folder`/table2.csv, in its order. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "table2.csv",
        lambda row: PaperRow2(
            row["model"], row["variant"], {c: _percent(row[c]) for c in TABLE2_COLUMNS}, source=row["source"]
        ),
    )


@dataclass(frozen=True)
class Gain:
    """A gain that the paper prints: percentage points by which a column of this model's row lies above the same of the
    model as released."""

    table: int
    model: str
    variant: str
    column: str
    gain: float
    source: str


def paper_gains(folder: Path) -> list[Gain]:
    """The gains in `folder`/gains.csv. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "gains.csv",
        lambda row: Gain(
            int(row["table"]), row["model"], row["variant"], row["column"], float(row["gain"]), source=row["source"]
        ),
    )


@dataclass(frozen=True)
class CurvePoint:
    """A point of an ablation curve, read off by eye: accuracy is a share, good to about 0.01; step: of its stage."""

    figure: str
    panel: str
    arm: str
    stage: int
    step: int
    accuracy: float


def paper_curves(folder: Path) -> list[CurvePoint]:
    """The points in `folder`/figures.csv, in its order. Raises EnvtuneError when it cannot be read."""
    return _read(
        folder / "figures.csv",
        lambda row: CurvePoint(
            row["figure"], row["panel"], row["arm"], int(row["stage"]), int(row["step"]),
            float(row["validation_accuracy_read_off"]),
        ),
    )  # fmt: skip


def _read(path: Path, row_of: Callable[[Mapping[str, str]], _Row]) -> list[_Row]:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = [row_of(row) for row in csv.DictReader(stream)]
        if not rows:
            raise ValueError("it has no row")
        return rows
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise EnvtuneError(f"{path} cannot be read ({error!r}); restore it from the repository") from error


def _percent(text: str) -> float:
    """Raises ValueError on what is no percentage, NaN too."""
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(f"{text} is no percentage")
    return value


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


def is_count(percent: float | Fraction, items: int) -> bool:
    """Whether a percentage with two decimals can be passed of this many items."""
    return count_of(percent, items) is not None


def count_of(percent: float | Fraction, items: int) -> int | None:
    """How many passed of this many items a percentage with two decimals says; None when no whole number gives it."""
    said = printed(percent)
    passed = round(said * items / 100)
    return passed if abs(Fraction(100 * passed, items) - said) <= ROUNDING else None


def printed(percent: float | Fraction) -> Fraction:
    """A percentage as it is printed, with two decimals, exactly."""
    return percent if isinstance(percent, Fraction) else Fraction(round(percent * 100), 100)
