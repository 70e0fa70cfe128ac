"""The paper's published rows, read from results/paper/."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError

TABLE1_PROTOCOL = (
    "as published: BFCL V3 multi-turn, 100 held-out tasks a category (the split is not published), averages over runs; "
    "prompt, decoding and bfcl-eval release are not stated"
)


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
    path = folder / "table1.csv"
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return [
                PaperRow(
                    model=row["model"],
                    variant=row["variant"],
                    average=float(row["average"]),
                    accuracy={category: float(row[category]) for category in CATEGORIES},
                    runs=int(row["runs_inferred"]),
                    source=row["source"],
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error!r}); restore it from the repository") from error
