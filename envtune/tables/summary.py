"""What there is of a run, on the terminal: each part, whether it is done, how long it took, and where it lies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from envtune.evaluation.checkpoints import checkpoint_names
from envtune.evaluation.records import RunFolder
from envtune.profile import Profile
from envtune.run_record import format_run_record, read_run_record
from envtune.run_record.evaluations import BFCL_V3, EvaluationFolder, average, evaluation_folders
from envtune.run_record.show import duration
from envtune.tables.rows import Spread

Runs = list[tuple[EvaluationFolder, dict[str, Any]]]
_REPLIES = ("ill_formed", "tool_calls", "tool_errors")


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
        console.print(
            "Average: unweighted mean of the categories' accuracies in %; by category: passed of run, over all seeds; progress: "
            "mean share of turns that are right.",
            style="dim",
        )


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
    evaluated = _evaluated(profile)
    for name in checkpoint_names(profile):
        of_it = {suite: runs for (checkpoint, suite), runs in evaluated.items() if checkpoint == name}
        if not of_it:
            add(f"evaluation of {name}", profile.run_dir / "evaluation" / name, False)
        for suite, runs in of_it.items():
            state = "done" if all(run["complete"] for _, run in runs) else "begun"
            seconds = sum(run["seconds"] for _, run in runs)
            add(f"evaluation of {name}: {suite}", runs[0][0].path, True, f"{state}{_number(runs)}", seconds)
    for suite, reason in (_json(profile.run_dir / "evaluation" / "left_out.json") or {}).items():
        table.add_row(f"evaluation: {suite}", "left out", "", reason, style="dim")
    for number in (1, 2):
        path = profile.results_dir / f"table{number}.md"
        add(f"Table {number}", path, path.is_file())
    return table


def _evaluated(profile: Profile) -> dict[tuple[str, str], Runs]:
    """(checkpoint, suite) -> its runs, of the profile's checkpoints."""
    wanted = checkpoint_names(profile)
    found: dict[tuple[str, str], Runs] = {}
    for one in evaluation_folders(profile.run_dir / "evaluation"):
        summary = RunFolder(one.path).read_summary()
        if one.checkpoint in wanted and summary is not None:
            found.setdefault((one.checkpoint, one.suite), []).append((one, summary))
    return found


def _number(runs: Runs) -> str:
    return f", {len(runs)} runs" if len(runs) > 1 else ""


def _measured(profile: Profile) -> Table:
    table = Table(
        "checkpoint", "suite", "seeds", "average", Column("by category", overflow="fold"),
        "progress", "ill-formed replies", "failed calls", "not run",
    )  # fmt: skip
    for column in (table.columns[3], *table.columns[5:]):
        column.justify = "right"
    for (checkpoint, suite), found in _evaluated(profile).items():
        runs = [(one, summary) for one, summary in found if "strata" in summary]
        if not runs:
            continue
        replies = [_replies(summary) for _, summary in runs]
        sums = {name: sum(said.get(name, 0) for said in replies) for name in ("requests", *_REPLIES)}
        table.add_row(
            checkpoint,
            suite,
            " ".join("" if one.seed is None else str(one.seed) for one, _ in runs),
            _mean([average(suite, summary) for _, summary in runs]),
            ", ".join(_strata([summary["strata"] for _, summary in runs])),
            _progress([summary["strata"] for _, summary in runs]) if suite == BFCL_V3 else "",
            _share(sums["ill_formed"], sums["requests"]) if any(replies) else "",
            _share(sums["tool_errors"], sums["tool_calls"]),
            str(sum(counts["not_run"] for _, summary in runs for counts in summary["strata"].values()) or ""),
        )
    return table


def _replies(summary: Mapping[str, Any]) -> dict[str, int]:
    """How the model's replies came out, where the suite counts it."""
    said = summary.get("replies")
    return {} if said is None else {"requests": summary["totals"]["requests"], **said}


def _mean(values: Sequence[float | None]) -> str:
    """Over the runs; empty unless each has one."""
    figure = Spread.of(values).mean
    return "" if figure is None else f"{figure:.2f}"


def _strata(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Of each category passed of run, over all runs."""
    for stratum in dict.fromkeys(stratum for run in runs for stratum in run):
        of_it = [run[stratum] for run in runs if stratum in run]
        passed, failed = (sum(counts[name] for counts in of_it) for name in ("passed", "failed"))
        yield f"{stratum} {passed}/{passed + failed}"


def _progress(runs: Sequence[Mapping[str, Any]]) -> str:
    """Mean over the items that were run."""
    cells = [counts for run in runs for counts in run.values() if counts["score"] is not None]
    number = sum(counts["passed"] + counts["failed"] for counts in cells)
    return f"{sum(c['score'] * (c['passed'] + c['failed']) for c in cells) / number:.3f}" if number else ""


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else ""


def _short(path: Path) -> str:
    """Relative to where the user stands, when that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def _json(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
