"""A run's record on the terminal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WHOLE = "all stages"


def format_run_record(record: Mapping[str, Any], console: Console) -> None:
    """Print what each stage took and how it ended, and where its time went. What is not known is left empty."""
    run = record["run"]
    console.print(
        f"Run {escape(run['name'])}: profile {escape(run['profile'])}, arm {escape(run['arm'])}, seed {run['seed']}, "
        f"{run['status']}",
        highlight=False,
    )
    console.print(_table(record))
    for stage in record["stages"]:
        if decision := _decision(stage):
            console.print(f"{escape(stage['name'])}: {escape(decision)}", highlight=False)
    console.print(
        "time: wall clock of the steps that count, and its parts in %; spent: all attempts, with starting up and what was "
        "lost to kills; GPU-hours (core-hours without a GPU) are of what was spent; idle: of the rollouts.",
        style="dim",
    )


def _table(record: Mapping[str, Any]) -> Table:
    """A column a stage: there are few of them, and a terminal is narrow."""
    stages, sums = record["stages"], record["totals"]
    several = len(stages) > 1
    hours = "core-hours" if sums["core_hours"] is not None else "GPU-hours"
    key = hours.lower().replace("-", "_")
    table = Table("", *(escape(stage["name"]) for stage in stages), *([_WHOLE] if several else []))
    for column in table.columns[1:]:
        column.justify = "right"

    def row(label: str, value: Callable[[Mapping[str, Any]], str], total: str = "") -> None:
        table.add_row(label, *(value(stage) for stage in stages), *([total] if several else []))

    row("state", lambda stage: stage["status"], _finished(record))
    row("steps", _steps, _number(sums["steps"]))
    row("attempts", lambda stage: str(len(stage["attempts"]) or ""))
    row("time", lambda stage: duration(stage["seconds"]), duration(sums["seconds"]))
    row("spent", lambda stage: duration(stage["seconds_spent"]), duration(sums["seconds_spent"]))
    row(hours, lambda stage: _number(stage[key], 2), _number(sums[key], 2))
    row("tokens sampled", lambda stage: _number(stage["tokens"]["sampled"]), _number(sums["tokens"]["sampled"]))
    row("idle", lambda stage: "" if stage["rollout_idle_share"] is None else f"{stage['rollout_idle_share']:.0%}")
    table.add_section()
    for part in dict.fromkeys(part for stage in stages for part in stage["time_split"] or {}):
        row(f"% {part.removesuffix('_s').replace('_', ' ')}", functools.partial(_share, part))
    return table


def _steps(stage: Mapping[str, Any]) -> str:
    planned = "" if stage["planned_steps"] is None else f" of {stage['planned_steps']}"
    return "" if stage["status"] == "not begun" else f"{stage['steps']}{planned}"


def _share(part: str, stage: Mapping[str, Any]) -> str:
    """A part of a stage's time, in percent."""
    split = stage["time_split"] or {}
    whole = sum(seconds for seconds in split.values() if seconds is not None)
    return "" if split.get(part) is None or not whole else f"{100 * split[part] / whole:.1f}"


def _finished(record: Mapping[str, Any]) -> str:
    """How many of the stages are finished."""
    finished = sum(stage["status"] == "finished" for stage in record["stages"])
    return f"{finished} of {len(record['stages'])}"


def _decision(stage: Mapping[str, Any]) -> str:
    decision = (stage["gate"] or {}).get("decision") or {}
    if not decision:
        return ""
    if decision.get("outcome") == "go on":  # the gate never ended it
        return "epochs over" if stage["status"] == "finished" else ""
    at = "" if decision.get("step") is None else f" at step {decision['step']}"
    reason = f": {decision['reason']}" if decision.get("reason") else ""
    return f"{decision.get('outcome')}{at}{reason}"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds as people read them; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
