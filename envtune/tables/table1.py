"""Table 1, in distribution: the paper's rows, ours below them, block by block, and both against each other.

As Markdown, as LaTeX, and as CSV (table1_csv.py).

Everything comes from results/: the paper's figures and the copied records. The same files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.run_record.evaluations import BFCL_V3
from envtune.tables.against import against, lines
from envtune.tables.collect import read_runs
from envtune.tables.latex import latex
from envtune.tables.markdown import (
    LAST,
    Grid,
    Rendered,
    arm,
    averaged,
    counted,
    decoding,
    grid,
    last_cells,
    methods,
    notes,
    spread,
    unusual,
)
from envtune.tables.paper import TABLE1_PROTOCOL, PaperRow, paper_table1
from envtune.tables.rows import Part, Row, blocks
from envtune.tables.table1_csv import in_vain, table1_csv
from envtune.tables.verdicts import MARGIN
from envtune.tasks import load_defects

TITLES = MappingProxyType(
    {
        "base": "Base",
        "miss_func": "Missing functions",
        "miss_param": "Missing parameters",
        "long_context": "Long context",
    }
)


def table1(profile: str, records: Path, paper_folder: Path, margin: float = MARGIN) -> Rendered:
    """Table 1 for one profile, from copied records and the paper's figures (results/paper/).

    margin: of the verdicts, in percentage points. Raises EnvtuneError on unsound records.
    """
    paper = paper_table1(paper_folder)
    ours = blocks([run for run in read_runs(records) if run.suite == BFCL_V3])
    judged = against(paper, BFCL_V3, TITLES, ours, margin, "in distribution")
    grids = [_paper_grid(paper), *(_grid(profile, rows) for rows in ours), *judged]
    return Rendered(
        _markdown(profile, paper, ours, judged),
        table1_csv(paper, [row for rows in ours for row in rows], margin),
        latex("table1", grids),
    )


def _paper_grid(paper: Sequence[PaperRow]) -> Grid:
    rows = tuple(
        (
            row.model,
            row.variant,
            f"{row.average:.2f}",
            *(f"{row.accuracy[category]:.2f}" for category in CATEGORIES),
            str(row.runs),
        )
        for row in paper
    )
    head = ("Model", "Variant", "Average", *TITLES.values(), "Runs")
    return Grid("In distribution, as published: accuracy in %; runs are inferred", head, rows, 2)


def _grid(profile: str, rows: Sequence[Row]) -> Grid:
    identity = rows[0].identity
    told = tuple(
        (
            str(row.identity["model"]),
            row.checkpoint,
            averaged(row, CATEGORIES),
            *(counted(row, category) for category in CATEGORIES),
            spread(row.score(CATEGORIES), 3),
            *last_cells(row),
        )
        for row in rows
    )
    head = ("Model", "Checkpoint", "Average", *TITLES.values(), "Progress", *LAST)
    protocol = f"protocol {identity['protocol']['name']}, release {identity['release']}"
    title = f"In distribution, profile {profile}{arm(rows[0].about)}, {protocol}: accuracy in %"
    return Grid(title, head, told, 2, (f"{_methods(rows)}.", *rows[0].about.get("notes", ())))


def _methods(rows: Sequence[Row], part: Part = "cells") -> str:
    return methods(
        interval
        for row in rows
        for interval in (
            *(row.interval(category, part) for category in CATEGORIES),
            row.average_interval(CATEGORIES, part),
        )
    )


# ---- Markdown


def _markdown(profile: str, paper: Sequence[PaperRow], ours: Sequence[Sequence[Row]], judged: Sequence[Grid]) -> str:
    told = [
        "# Table 1: in distribution (BFCL V3 multi-turn, accuracy in %)",
        "",
        "Written by `make tables` from `../paper/table1.csv` and `records/`; do not edit. Each block is one protocol;",
        "rows of different blocks are not comparable. An empty cell was not run (to its end).",
        "",
        "## The paper",
        "",
        f"Protocol: {TABLE1_PROTOCOL}. Source: {paper[0].source}. Runs are inferred from the values' grain.",
        "",
        *_paper_grid(paper).markdown(),
    ]
    for rows in ours:
        told += ["", *_block(profile, rows)]
    if not ours:
        told += ["", f"## Profile {profile}", "", "Not run yet."]
    for one in judged:
        told += ["", *lines(one)]
    return "\n".join(told) + "\n"


def _block(profile: str, rows: Sequence[Row]) -> list[str]:
    identity, about = rows[0].identity, rows[0].about
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
        f"- {_methods(rows)}",
        "",
        *_grid(profile, rows).markdown(),
        "",
        *_sound(rows),
        *_impossible_turns(rows),
        *unusual(rows, TITLES),
    ]


def _sound(rows: Sequence[Row]) -> list[str]:
    """The same results without the tasks that are known to be unsound."""
    items = sum(cell.items for cell in rows[0].runs[0].cells.values())
    sound = min(sum(cell.items for cell in run.sound.values()) for row in rows for run in row.runs)
    return [
        f"On the sound tasks alone, {sound} of {items} (list of known defects, version {load_defects().version}):",
        "",
        *grid(
            ["Checkpoint", "Average", *TITLES.values()],
            [
                [
                    row.checkpoint,
                    averaged(row, CATEGORIES, "sound"),
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
            ["Checkpoint", *(TITLES[category] for category in shown)],
            [[row.checkpoint, *("/".join(map(str, counts[id(row)][c])) for c in shown)] for row in rows],
            left=1,
        ),
    ]


def _items(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {TITLES[c].lower()}" for c in CATEGORIES if (n := identity["items"].get(c, 0)))


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
