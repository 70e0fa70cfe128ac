"""Is a set-up right: a run of a public model beside what BFCL's authors publish for it.

    make calibrate PROFILE=gpu
    envtune calibrate --base-url URL --model NAME --row qwen3-8b-fc --out DIR

The published counts are data (results/published/bfcl_v3.csv). What decides is the average over the four categories, whose
interval comes from all 800 items; those of single categories are too wide to.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record
from envtune.profile import ROOT
from envtune.statistics.intervals import Interval, macro_average, rate
from envtune.statistics.outcomes import outcomes
from envtune.tables.markdown import grid
from envtune.tables.verdicts import INCONSISTENT, MARGIN, verdict

PUBLISHED = ROOT / "results" / "published" / "bfcl_v3.csv"


@dataclass(frozen=True)
class Published:
    """One model's published result. items: of each category; passed: category -> items passed; serve: options of
    `vllm serve` with which this kit asks it natively; source: where the counts stand."""

    name: str
    hub_id: str
    release: str
    items: int
    passed: Mapping[str, int]
    serve: Mapping[str, Any]
    source: str

    def percent(self, category: str) -> float:
        """Accuracy in a category."""
        return 100 * self.passed[category] / self.items

    @property
    def average(self) -> float:
        """Unweighted mean over the categories, in percent."""
        return sum(map(self.percent, CATEGORIES)) / len(CATEGORIES)


def published(name: str, path: Path = PUBLISHED) -> Published:
    """The row called `name`. Raises EnvtuneError, with the names that there are, when there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = {row["name"]: _row(row) for row in csv.DictReader(stream)}
    except (OSError, KeyError, ValueError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error!r}); restore it from the repository") from error
    if name not in rows:
        raise EnvtuneError(f"there is no published result {name!r}; choose of: {', '.join(rows)}")
    return rows[name]


def _row(row: Mapping[str, str]) -> Published:
    options = (option.partition("=") for option in row["serve"].split())
    return Published(
        name=row["name"],
        hub_id=row["hub_id"],
        release=row["release"],
        items=int(row["items"]),
        passed=MappingProxyType({category: int(row[category]) for category in CATEGORIES}),
        serve=MappingProxyType({name: value or True for name, _, value in options}),
        source=row["source"],
    )


@dataclass(frozen=True)
class Calibration:
    """markdown: the comparison as a page; verdict: on the average, see `envtune.tables.verdicts`."""

    markdown: str
    verdict: str

    @property
    def is_right(self) -> bool:
        """Whether nothing speaks against the set-up."""
        return self.verdict != INCONSISTENT


def calibrate(row: Published, records: Sequence[Record], summary: Mapping[str, Any]) -> Calibration:
    """Compare one run of all items. Raises EnvtuneError when it is not of all of them, or of another release."""
    counts = {category: sum(record.stratum == category for record in records) for category in CATEGORIES}
    if summary["identity"]["release"] != row.release or set(counts.values()) != {row.items}:
        raise EnvtuneError(
            f"{row.name} was published for all {row.items} items a category of the release {row.release}"
        )
    of_run = outcomes({int(summary["identity"]["decoding"].get("seed", 0)): records})
    average = macro_average(of_run, CATEGORIES)
    lines = [
        _line(category, row.percent(category), rate(of_run[of_run.stratum == category]), f"{row.passed[category]}")
        for category in CATEGORIES
    ]
    decided = verdict(row.average, average)
    identity, provenance = summary["identity"], summary["provenance"]
    text = [
        f"# Calibration: {row.name}",
        "",
        f"Published: {row.source}; release {row.release}, {row.items} items a category.",
        f"Ours: model {identity['model']}, protocol {identity['protocol']['name']}, seed {identity['decoding'].get('seed')}, "
        f"commit `{str(provenance['commit'])[:12]}`, {provenance['time']}.",
        "",
        *grid(
            ["", "Published", "Passed", "Ours", "95 % interval", "Verdict"],
            [*lines, _line("average", row.average, average, "")],
            left=1,
        ),
        "",
        f"The average decides: **{decided}** (margin {MARGIN:g} points). Single categories are shown, and decide nothing.",
    ]
    return Calibration("\n".join(text) + "\n", decided)


def _line(name: str, expected: float, ours: Interval, passed: str) -> list[str]:
    between = f"{100 * ours.low:.1f} to {100 * ours.high:.1f}"
    return [name, f"{expected:.2f}", passed, f"{100 * ours.estimate:.2f}", between, verdict(expected, ours)]
