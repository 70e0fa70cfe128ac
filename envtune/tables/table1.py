"""Table 1, in distribution: the paper's rows, and ours below them, block by block, as Markdown and as CSV.

Everything comes from results/: the paper's figures and the copied records. The same files give the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.run_record.evaluations import BFCL_V3
from envtune.tables.collect import read_runs
from envtune.tables.markdown import LAST, arm, counted, decoding, grid, last_cells, notes, number, spread, text, unusual
from envtune.tables.paper import TABLE1_PROTOCOL, PaperRow, paper_table1
from envtune.tables.rows import Row, blocks
from envtune.tasks import load_defects

_TITLES = MappingProxyType(
    {
        "base": "Base",
        "miss_func": "Missing functions",
        "miss_param": "Missing parameters",
        "long_context": "Long context",
    }
)


def table1(profile: str, records: Path, paper_folder: Path) -> tuple[str, str]:
    """(Markdown, CSV) of Table 1 for one profile, from copied records and the paper's figures (results/paper/).

    Raises EnvtuneError on unsound records.
    """
    paper = paper_table1(paper_folder)
    ours = blocks([run for run in read_runs(records) if run.suite == BFCL_V3])
    return _markdown(profile, paper, ours), _csv(paper, [row for rows in ours for row in rows])


# ---- Markdown


def _markdown(profile: str, paper: Sequence[PaperRow], ours: Sequence[Sequence[Row]]) -> str:
    lines = [
        "# Table 1: in distribution (BFCL V3 multi-turn, accuracy in %)",
        "",
        "Written by `make tables` from `../paper/table1.csv` and `records/`; do not edit. Each block is one protocol;",
        "rows of different blocks are not comparable. An empty cell was not run (to its end).",
        "",
        "## The paper",
        "",
        f"Protocol: {TABLE1_PROTOCOL}. Source: {paper[0].source}. Runs are inferred from the values' grain.",
        "",
        *grid(
            ["Model", "Variant", "Average", *_TITLES.values(), "Runs"],
            [
                [
                    row.model,
                    row.variant,
                    f"{row.average:.2f}",
                    *(f"{row.accuracy[c]:.2f}" for c in CATEGORIES),
                    str(row.runs),
                ]
                for row in paper
            ],
            left=2,
        ),
    ]
    for rows in ours:
        lines += ["", *_block(profile, rows)]
    if not ours:
        lines += ["", f"## Profile {profile}", "", "Not run yet."]
    return "\n".join(lines) + "\n"


def _block(profile: str, rows: Sequence[Row]) -> list[str]:
    identity, about = rows[0].identity, rows[0].about
    table = grid(
        ["Model", "Checkpoint", "Average", *_TITLES.values(), "Progress", *LAST],
        [
            [
                str(row.identity["model"]), row.checkpoint, spread(row.average(CATEGORIES)),
                *(counted(row, category) for category in CATEGORIES), spread(row.score(CATEGORIES), 3), *last_cells(row),
            ]
            for row in rows
        ],
        left=2,
    )  # fmt: skip
    return [
        f"## Profile {profile}{arm(about)}, protocol {identity['protocol']['name']}, release {identity['release']}",
        "",
        *notes(rows),
        f"- Protocol: {identity['protocol']['description']}",
        f"- Release: bfcl-eval {identity['bfcl_eval']['version']}, wheel sha256 `{identity['bfcl_eval']['wheel_sha256'][:16]}`",
        f"- Tasks: {_items(identity)}; split {_split(about)}; tasks' hash `{identity['items_sha256'][:16]}`",
        f"- Tool docs: {_cut(identity)}",
        f"- Decoding: {decoding(rows[0])}",
        "- Steps: optimizer steps of all stages up to the checkpoint. Progress: mean share of turns that are right, by the",
        "  training rule. Of several runs: mean ± standard deviation, counts over all of them",
        "",
        *table,
        "",
        *_sound(rows),
        *_impossible_turns(rows),
        *unusual(rows, _TITLES),
    ]


def _sound(rows: Sequence[Row]) -> list[str]:
    """The same results without the tasks that are known to be unsound."""
    items = sum(cell.items for cell in rows[0].runs[0].cells.values())
    sound = min(sum(cell.items for cell in run.sound.values()) for row in rows for run in row.runs)
    return [
        f"On the sound tasks alone, {sound} of {items} (list of known defects, version {load_defects().version}):",
        "",
        *grid(
            ["Checkpoint", "Average", *_TITLES.values()],
            [
                [
                    row.checkpoint,
                    spread(row.average(CATEGORIES, "sound")),
                    *(counted(row, c, "sound") for c in CATEGORIES),
                ]
                for row in rows
            ],
            left=1,
        ),
    ]


def _impossible_turns(rows: Sequence[Row]) -> list[str]:
    """Of the turns that lack a tool or a value those answered without a call, where records say it."""
    counts = {id(row): {category: in_vain(row, category) for category in CATEGORIES} for row in rows}
    shown = [c for c in CATEGORIES if any(of_row[c][1] for of_row in counts.values())]
    if not shown:
        return []
    return [
        "",
        "Turns that cannot be done, answered without a call (BFCL does not check this; of those reached, over all runs):",
        "",
        *grid(
            ["Checkpoint", *(_TITLES[category] for category in shown)],
            [[row.checkpoint, *("/".join(map(str, counts[id(row)][c])) for c in shown)] for row in rows],
            left=1,
        ),
    ]


def in_vain(row: Row, category: str) -> tuple[int, int]:
    """Impossible turns that were answered without a call, and those reached, over all runs."""
    said = [run.summary.get("irrelevance", {}).get(category, {}) for run in row.runs]
    return sum(one.get("without_call", 0) for one in said), sum(one.get("turns", 0) for one in said)


def _items(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {_TITLES[c].lower()}" for c in CATEGORIES if (n := identity["items"].get(c, 0)))


def _split(about: Mapping[str, Any]) -> str:
    split = about.get("split")
    return f"{split['name']} ({split['subset']}, sha256 `{split['sha256'][:16]}`)" if split else "not stated"


def _cut(identity: Mapping[str, Any]) -> str:
    cut = identity["tools_cut"]
    return (
        f"cut to at most {' or '.join(map(str, cut))} tools a task, those of the ground truth among them"
        if cut
        else "all"
    )


# ---- CSV


def _csv(paper: Sequence[PaperRow], ours: Sequence[Row]) -> str:
    parts = ("", "_sd", "_passed", "_items", "_not_run", "_over_budget", "_progress")
    columns = [
        "source", "protocol", "release", "items_sha256", "tools_cut", "model", "variant", "training_steps", "seeds",
        "commit", "runs", "average", "average_sd", "progress",
        *(f"{category}{part}" for category in CATEGORIES for part in parts),
        "defects_version", "average_sound",
        *(f"{category}_sound{part}" for category in CATEGORIES for part in ("", "_passed", "_items")),
        *(f"{category}_impossible{part}" for category in CATEGORIES for part in ("_turns", "_without_call")),
    ]  # fmt: skip
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for published in paper:
        row: dict[str, Any] = {"source": published.source, "protocol": "as published", "model": published.model}
        row |= {"variant": published.variant, "runs": published.runs, "average": f"{published.average:.2f}"}
        writer.writerow(row | {category: f"{value:.2f}" for category, value in published.accuracy.items()})
    for one in ours:
        writer.writerow(_csv_row(one))
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
    for category in CATEGORIES:
        accuracy = row.accuracy(category)
        values |= {category: number(accuracy.mean), f"{category}_sd": number(accuracy.sd)}
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
