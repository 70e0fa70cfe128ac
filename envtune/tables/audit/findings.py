"""What an audit of the paper's figures says: findings, which do not add up, and notes, which do."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Finding:
    """A printed figure that does not add up. kind: average | gain | grain | runs | headers | curve; table: 1 or 2, 0 for the
    curves; row, column: of the cell; printed, follows: what stands there, and what would follow ("" where nothing does)."""

    kind: str
    table: int
    row: str
    column: str
    printed: str
    follows: str
    why: str

    @property
    def where(self) -> str:
        """The cell in words."""
        return f"{f'Table {self.table}' if self.table else 'Figures'}, {self.row}, {self.column}"


@dataclass(frozen=True)
class CellFit:
    """What a printed cell can be. unit, fits: "runs", the numbers of runs of 100 tasks up to 30 that give it, or "items", the
    tried numbers of items; count: passed/items as the table has it, empty where that is not known."""

    table: int
    row: str
    column: str
    printed: str
    unit: str
    fits: tuple[int, ...]
    count: str


@dataclass(frozen=True)
class Note:
    """What follows from the figures and contradicts nothing."""

    about: str
    text: str


def percent(value: Fraction, digits: int = 2) -> str:
    """With `digits` decimals at most and two at least, halves away from zero as by hand."""
    scaled = value * 10**digits
    whole = (scaled + Fraction(1, 2)).__floor__()
    text = f"{whole // 10**digits}.{whole % 10**digits:0{digits}d}"
    while text[-3] != "." and text.endswith("0"):
        text = text[:-1]
    return text
