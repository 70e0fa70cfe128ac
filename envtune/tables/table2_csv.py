"""Table 2 as CSV, for programs: one line a stratum. Ends of intervals are in percent, as accuracies are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envtune.spread import Spread
from envtune.tables.against import judged
from envtune.tables.markdown import inert, number, text
from envtune.tables.paper import TABLE2_COLUMNS, PaperRow2
from envtune.tables.rows import Row
from envtune.tables.verdicts import AVERAGE, PaperCell, paper_cells

if TYPE_CHECKING:
    from envtune.statistics.intervals import Interval

_COLUMNS = (
    "source", "suite", "protocol", "packages", "items_sha256", "user", "model", "variant", "training_steps", "seeds",
    "commit", "runs", "stratum", "accuracy", "sd", "passed", "items", "not_run", "over_budget", "score",
    "low", "high", "interval", "paper", "verdict", "margin",
)  # fmt: skip


def table2_csv(
    paper: Sequence[PaperRow2],
    titles: Mapping[str, Mapping[str, str]],
    ours: Mapping[str, Sequence[Sequence[Row]]],
    margin: float,
) -> str:
    """A line a cell of the paper, then a line a stratum of each row of ours. titles: suite -> strata, empty for all that were
    run; margin: of the verdicts, in percentage points."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for published in paper:
        for column, (suite, stratum) in TABLE2_COLUMNS.items():
            said = {"source": published.source, "suite": suite, "protocol": "as published", "model": published.model}
            said |= {"variant": published.variant, "stratum": stratum}
            writer.writerow(said | {"accuracy": f"{published.accuracy[column]:.2f}"})
    for suite in titles:
        for rows in ours[suite]:
            for row in rows:
                writer.writerows(map(inert, _csv_rows(row, list(titles[suite]), paper, margin)))
    return stream.getvalue()


def _csv_rows(row: Row, strata: Sequence[str], paper: Sequence[PaperRow2], margin: float) -> list[dict[str, Any]]:
    identity = row.identity
    strata = strata or list(identity["items"])
    said = {
        "source": "envtune", "suite": row.runs[0].suite, "protocol": identity["protocol"]["name"],
        "packages": " ".join(f"{name}=={version}" for name, version in identity["packages"].items()),
        "items_sha256": identity["items_sha256"], "user": (identity.get("user") or {}).get("model", ""),
        "model": identity["model"], "variant": row.checkpoint,
        "training_steps": text(row.about.get("training_steps")), "seeds": row.seeds, "commit": " ".join(row.commits),
        "runs": len(row.runs),
    }  # fmt: skip
    cells = {cell.stratum: cell for cell in paper_cells(row, paper)}
    average = _figures(row.average(strata), row.score(strata), row.average_interval(strata))
    lines = [said | {"stratum": AVERAGE} | average | _verdict(row, cells.get(AVERAGE), margin)]
    for stratum in strata:
        counts = {what: row.count(stratum, what) for what in ("passed", "items", "not_run", "over_budget")}
        figures = _figures(row.accuracy(stratum), row.score([stratum]), row.interval(stratum))
        lines.append(said | {"stratum": stratum} | figures | counts | _verdict(row, cells.get(stratum), margin))
    return lines


def _figures(accuracy: Spread, score: Spread, interval: Interval | None) -> dict[str, str]:
    values = {"accuracy": number(accuracy.mean), "sd": number(accuracy.sd), "score": number(score.mean, 4)}
    if interval is not None:
        values |= {"low": number(100 * interval.low), "high": number(100 * interval.high), "interval": interval.method}
    return values


def _verdict(row: Row, cell: PaperCell | None, margin: float) -> dict[str, str]:
    if cell is None:
        return {}
    return {"paper": f"{cell.value:.2f}", "verdict": judged(row, cell, margin), "margin": f"{margin:g}"}
