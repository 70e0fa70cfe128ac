"""Table 1, in distribution: the paper's rows, and ours below them, block by block, as Markdown and as CSV.

Everything comes from results/: the paper's figures and the copied records. The same files give the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.tables.collect import Cell, RunRow, read_rows
from envtune.tables.paper import TABLE1_PROTOCOL, PaperRow, paper_table1
from envtune.tasks import load_defects

_TITLES = {
    "base": "Base",
    "miss_func": "Missing functions",
    "miss_param": "Missing parameters",
    "long_context": "Long context",
}


def table1(profile: str, records: Path, paper_folder: Path) -> tuple[str, str]:
    """(Markdown, CSV) of Table 1 for one profile, from copied records and the paper's figures (results/paper/).

    Raises EnvtuneError on unsound records.
    """
    paper, ours = paper_table1(paper_folder), read_rows(records)
    return _markdown(profile, paper, ours), _csv(paper, ours)


# ---- Markdown


def _markdown(profile: str, paper: Sequence[PaperRow], ours: Sequence[RunRow]) -> str:
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
        *_grid(
            ["Model", "Variant", "Average", *(_TITLES[category] for category in CATEGORIES), "Runs"],
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
    for block in dict.fromkeys(row.block for row in ours):
        lines += ["", *_block(profile, [row for row in ours if row.block == block])]
    if not ours:
        lines += ["", f"## Profile {profile}", "", "Not run yet."]
    return "\n".join(lines) + "\n"


def _block(profile: str, rows: Sequence[RunRow]) -> list[str]:
    identity, about = rows[0].identity, rows[0].about
    notes = list(dict.fromkeys(note for row in rows for note in row.about.get("notes", ())))
    table = _grid(
        ["Model", "Checkpoint", "Average", *(_TITLES[category] for category in CATEGORIES), "Steps", "Seed", "Commit"],
        [
            [
                str(row.identity["model"]), str(row.about["checkpoint"]), _number(row.average),
                *(_counted(row.cells[category]) for category in CATEGORIES),
                _text(row.about.get("training_steps")), _text(row.about.get("seed")), _commit(row),
            ]
            for row in rows
        ],
        left=2,
    )  # fmt: skip
    missing = _listed(rows, "not_run")
    over_budget = _listed(rows, "over_budget")
    return [
        f"## Profile {profile}{_arm(about)}, protocol {identity['protocol']['name']}, release {identity['release']}",
        "",
        *([f"**{' '.join(notes)}**", ""] if notes else []),
        f"- Protocol: {identity['protocol']['description']}",
        f"- Release: bfcl-eval {identity['bfcl_eval']['version']}, wheel sha256 `{identity['bfcl_eval']['wheel_sha256'][:16]}`",
        f"- Tasks: {_items(identity)}; split {_split(about)}; tasks' hash `{identity['tasks_sha256'][:16]}`",
        f"- Tool docs: {_cut(identity)}",
        f"- Decoding: {', '.join(f'{k} {v}' for k, v in identity['decoding'].items())}; one run",
        "- Steps: optimizer steps of all stages up to the checkpoint",
        "",
        *table,
        "",
        *_sound(rows),
        *(["", f"Not run (no answer from the endpoint or the judge): {missing}."] if missing else []),
        *(["", f"Over budget (outgrew the model's context; not passed): {over_budget}."] if over_budget else []),
    ]


def _arm(about: Mapping[str, Any]) -> str:
    """The ablation that rows are of; nothing for the method itself, nor for records of before there were arms."""
    arm = about.get("arm", "full")
    return "" if arm == "full" else f", arm {arm}"


def _listed(rows: Sequence[RunRow], count: str) -> str:
    """Checkpoint, category and number of the cells in which the count is not 0."""
    return "; ".join(
        f"{row.about['checkpoint']}, {_TITLES[category].lower()}: {number} of {cell.items}"
        for row in rows
        for category, cell in row.cells.items()
        if (number := getattr(cell, count))
    )


def _sound(rows: Sequence[RunRow]) -> list[str]:
    """The same results without the tasks that are known to be unsound."""
    items = sum(cell.items for cell in rows[0].cells.values())
    sound = min(sum(cell.items for cell in row.sound.values()) for row in rows)
    return [
        f"On the sound tasks alone, {sound} of {items} (list of known defects, version {load_defects().version}):",
        "",
        *_grid(
            ["Checkpoint", "Average", *(_TITLES[category] for category in CATEGORIES)],
            [
                [str(row.about["checkpoint"]), _number(row.average_sound), *(_counted(row.sound[c]) for c in CATEGORIES)]
                for row in rows
            ],
            left=1,
        ),
    ]  # fmt: skip


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table; the first `left` columns are words, the others numbers."""
    rule = ["---" if number < left else "---:" for number in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _counted(cell: Cell) -> str:
    return "" if cell.accuracy is None else f"{cell.accuracy:.2f} ({cell.passed}/{cell.items})"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _commit(row: RunRow) -> str:
    commit = row.summary["provenance"]["commit"]
    return "" if commit is None else f"`{commit[:12]}`{' + changes' if row.summary['provenance']['dirty'] else ''}"


def _items(identity: Mapping[str, Any]) -> str:
    listed = [f"{n} {_TITLES[c].lower()}" for c in CATEGORIES if (n := identity["items"].get(c, 0))]
    return ", ".join(listed)


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


def _csv(paper: Sequence[PaperRow], ours: Sequence[RunRow]) -> str:
    columns = [
        "source", "protocol", "release", "tasks_sha256", "tools_cut", "model", "variant", "training_steps", "seed",
        "commit", "runs", "average",
        *(f"{category}{part}" for category in CATEGORIES for part in ("", "_passed", "_items", "_not_run", "_over_budget")),
        "defects_version", "average_sound",
        *(f"{category}_sound{part}" for category in CATEGORIES for part in ("", "_passed", "_items")),
    ]  # fmt: skip
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for published in paper:
        row: dict[str, Any] = {"source": published.source, "protocol": "as published", "model": published.model}
        row |= {"variant": published.variant, "runs": published.runs, "average": f"{published.average:.2f}"}
        writer.writerow(row | {category: f"{value:.2f}" for category, value in published.accuracy.items()})
    for run in ours:
        row = {
            "source": "envtune", "protocol": run.identity["protocol"]["name"], "release": run.identity["release"],
            "tasks_sha256": run.identity["tasks_sha256"], "tools_cut": " ".join(map(str, run.identity["tools_cut"])),
            "model": run.identity["model"], "variant": run.about["checkpoint"],
            "training_steps": _text(run.about.get("training_steps")), "seed": _text(run.about.get("seed")),
            "commit": _text(run.summary["provenance"]["commit"]), "runs": 1, "average": _number(run.average),
        }  # fmt: skip
        for category, cell in run.cells.items():
            row |= {category: _number(cell.accuracy), f"{category}_items": cell.items}
            row |= {f"{category}_passed": cell.passed, f"{category}_not_run": cell.not_run}
            row[f"{category}_over_budget"] = cell.over_budget
        row |= {"defects_version": load_defects().version, "average_sound": _number(run.average_sound)}
        for category, cell in run.sound.items():
            row |= {f"{category}_sound": _number(cell.accuracy), f"{category}_sound_items": cell.items}
            row |= {f"{category}_sound_passed": cell.passed}
        writer.writerow(row)
    return stream.getvalue()
