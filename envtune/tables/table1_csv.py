"""Table 1 as CSV, for programs: one line a row of the paper or of ours. Ends of intervals are in percent, as accuracies are."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from envtune.bfcl import CATEGORIES
from envtune.tables.against import judged
from envtune.tables.markdown import inert, methods, number, text
from envtune.tables.paper import PaperRow
from envtune.tables.rows import Row
from envtune.tables.verdicts import AVERAGE, paper_cells
from envtune.tasks import load_defects

if TYPE_CHECKING:
    from envtune.statistics.intervals import Interval


def table1_csv(paper: Sequence[PaperRow], ours: Sequence[Row], margin: float) -> str:
    """A line a row of the paper, then a line a row of ours. margin: of the verdicts, in percentage points."""
    parts = ("", "_sd", "_low", "_high", "_passed", "_items", "_not_run", "_over_budget", "_progress")
    columns = [
        "source", "protocol", "release", "items_sha256", "tools_cut", "model", "variant", "training_steps", "seeds",
        "commit", "runs", "average", "average_sd", "average_low", "average_high", "progress",
        *(f"{category}{part}" for category in CATEGORIES for part in parts),
        "defects_version", "average_sound",
        *(f"{category}_sound{part}" for category in CATEGORIES for part in ("", "_passed", "_items")),
        *(f"{category}_impossible{part}" for category in CATEGORIES for part in ("_turns", "_without_call")),
        "intervals", *(f"{column}_{what}" for column in (AVERAGE, *CATEGORIES) for what in ("paper", "verdict")), "margin",
    ]  # fmt: skip
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for published in paper:
        row: dict[str, Any] = {"source": published.source, "protocol": "as published", "model": published.model}
        row |= {"variant": published.variant, "runs": published.runs, "average": f"{published.average:.2f}"}
        writer.writerow(row | {category: f"{value:.2f}" for category, value in published.accuracy.items()})
    for one in ours:
        writer.writerow(inert(_csv_row(one) | _verdicts(one, paper, margin)))
    return stream.getvalue()


def _csv_row(row: Row) -> dict[str, Any]:
    average = row.average(CATEGORIES)
    values: dict[str, Any] = {
        "source": "envtune", "protocol": row.identity["protocol"]["name"], "release": row.identity["release"],
        "items_sha256": row.identity["items_sha256"], "tools_cut": " ".join(map(str, row.identity["tools_cut"])),
        "model": row.identity["model"], "variant": row.checkpoint,
        "training_steps": text(row.about.get("training_steps")), "seeds": row.seeds, "commit": " ".join(row.commits),
        "runs": len(row.runs), "average": number(average.mean), "average_sd": number(average.sd),
        "progress": number(row.score(CATEGORIES).mean, 4), "defects_version": load_defects().version,
        "average_sound": number(row.average(CATEGORIES, "sound").mean),
    }  # fmt: skip
    values |= _ends("average", row.average_interval(CATEGORIES))
    values["intervals"] = methods([*(row.interval(c) for c in CATEGORIES), row.average_interval(CATEGORIES)])
    for category in CATEGORIES:
        accuracy = row.accuracy(category)
        values |= {category: number(accuracy.mean), f"{category}_sd": number(accuracy.sd)}
        values |= _ends(category, row.interval(category))
        values |= {
            f"{category}_{what}": row.count(category, what) for what in ("passed", "items", "not_run", "over_budget")
        }
        values[f"{category}_progress"] = number(row.score([category]).mean, 4)
        values[f"{category}_sound"] = number(row.accuracy(category, "sound").mean)
        values |= {f"{category}_sound_{what}": row.count(category, what, "sound") for what in ("passed", "items")}
        without, turns = in_vain(row, category)
        if turns:
            values |= {f"{category}_impossible_turns": turns, f"{category}_impossible_without_call": without}
    return values


def _ends(column: str, interval: Interval | None) -> dict[str, str]:
    """Low and high end in percent."""
    if interval is None:
        return {}
    return {f"{column}_low": number(100 * interval.low), f"{column}_high": number(100 * interval.high)}


def _verdicts(row: Row, paper: Sequence[PaperRow], margin: float) -> dict[str, str]:
    """Of a row of a model and variant that the paper has."""
    cells = paper_cells(row, paper)
    values = {"margin": f"{margin:g}"} if cells else {}
    for cell in cells:
        values |= {f"{cell.stratum}_paper": f"{cell.value:.2f}", f"{cell.stratum}_verdict": judged(row, cell, margin)}
    return values


def in_vain(row: Row, category: str) -> tuple[int, int]:
    """Impossible turns that were answered without a call, and those reached, over all runs."""
    said = [run.summary.get("irrelevance", {}).get(category, {}) for run in row.runs]
    return sum(one.get("without_call", 0) for one in said), sum(one.get("turns", 0) for one in said)
