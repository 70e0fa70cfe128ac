"""A figure over several runs of the same thing: its mean and how far the runs lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A figure over runs. mean: None unless every run has it; sd: sample standard deviation, None below two runs."""

    mean: float | None
    sd: float | None

    @staticmethod
    def of(values: Sequence[float | None]) -> Spread:
        """Over one value a run, in any unit."""
        known = [value for value in values if value is not None]
        if not values or len(known) < len(values):
            return Spread(None, None)
        return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)
