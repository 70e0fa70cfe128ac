"""What there is of a run, on the terminal: each part, whether it is done, how long it took, and where it lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from envtune.bfcl import CATEGORIES
from envtune.evaluation.checkpoints import checkpoint_names
from envtune.evaluation.records import RunFolder
from envtune.profile import Profile
from envtune.run_record import format_run_record, read_run_record
from envtune.run_record.show import duration


def summarise(profile: Profile, console: Console | None = None) -> None:
    """Print the parts of the profile's run and what was measured. Nothing is written; what is missing is said."""
    console = console or Console()
    console.print(
        f"[bold]Profile {profile.name}[/], arm {profile.arm}, seed {profile.seed}  {profile.about}", highlight=False
    )
    console.print(_parts(profile))
    if (profile.run_dir / "run.json").is_file():
        format_run_record(read_run_record(profile.run_dir / "run.json"), console)
    if (measured := _measured(profile)).row_count:
        console.print(measured)
        console.print("Accuracy in %, judged by bfcl-eval; progress: mean share of turns that are right.", style="dim")


def _parts(profile: Profile) -> Table:
    table = Table("part", "state", "time", Column("where", overflow="fold"))

    def add(part: str, path: Path, done: bool, state: str = "", seconds: float | None = None) -> None:
        word = state or ("done" if done else "not yet")
        table.add_row(part, word, duration(seconds), _short(path) if done else "", style=None if done else "dim")

    start = profile.start_model
    if isinstance(start, Path):
        add("starting model", start, (start / "config.json").is_file())
    else:
        table.add_row("starting model", "from the hub", "", start)
    add("training data", profile.data_dir, (profile.data_dir / "manifest.json").is_file())
    record = _json(profile.run_dir / "run.json")
    spent = {row["name"]: row["seconds_spent"] for row in record["stages"]} if record else {}
    for stage in profile.curriculum:
        folder = profile.stage_dir(stage.name)
        done = _json(folder / "done.json")
        state = f"done, {done['steps']} steps" if done else ("begun" if folder.is_dir() else "")
        add(f"{stage.name}: {stage.aim}", folder / "model", bool(done), state, spent.get(stage.name))
        for what, path in (("metrics", folder / "metrics.jsonl"), ("tensorboard", folder / "tensorboard")):
            if path.exists():
                add(f"  {what}", path, True, " ")
    for name in checkpoint_names(profile):
        folder = profile.run_dir / "evaluation" / name
        summary = RunFolder(folder).read_summary()
        state = "" if summary is None else "done" if summary["complete"] else "begun"
        add(f"evaluation of {name}", folder, summary is not None, state, (summary or {}).get("seconds"))
    add("Table 1", profile.results_dir / "table1.md", (profile.results_dir / "table1.md").is_file())
    return table


def _measured(profile: Profile) -> Table:
    table = Table("checkpoint", *CATEGORIES, "progress", "ill-formed replies", "failed calls", "not run")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in checkpoint_names(profile):
        summary = RunFolder(profile.run_dir / "evaluation" / name).read_summary()
        if summary is None or "categories" not in summary:
            continue
        categories, totals = summary["categories"], summary["totals"]
        run = {c: counts["passed"] + counts["failed"] for c, counts in categories.items()}
        progress = sum(counts["progress"] * run[c] for c, counts in categories.items() if run[c])
        table.add_row(
            name,
            *(_accuracy(categories.get(category)) for category in CATEGORIES),
            f"{progress / sum(run.values()):.3f}" if any(run.values()) else "",
            _share(totals["ill_formed"], totals["steps"]),
            _share(totals["tool_errors"], totals["tool_calls"]),
            str(sum(counts["not_run"] for counts in categories.values()) or ""),
        )
    return table


def _accuracy(counts: dict[str, Any] | None) -> str:
    if counts is None or counts["accuracy"] is None:
        return ""
    return f"{counts['accuracy']:.2f} ({counts['passed']}/{counts['passed'] + counts['failed']})"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else ""


def _short(path: Path) -> str:
    """Relative to where the user stands, when that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def _json(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
