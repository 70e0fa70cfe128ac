"""A run's record on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
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
    console.print(_stages(record))
    split = [stage for stage in record["stages"] if stage["time_split"]]
    if split:
        console.print(_time_split(split))
    console.print(
        "time: wall clock of the steps that count; spent: all attempts, with starting up and what was lost to kills; "
        "GPU-hours (core-hours without a GPU) are of what was spent; idle: of the rollouts.",
        style="dim",
    )


def _stages(record: Mapping[str, Any]) -> Table:
    hours = "core-hours" if record["totals"]["core_hours"] is not None else "GPU-hours"
    key = hours.lower().replace("-", "_")
    table = Table("stage", "state", "steps", "attempts", "time", "spent", hours, "tokens sampled", "idle", "gate")
    for column in table.columns[2:9]:
        column.justify = "right"
    for stage in record["stages"]:
        planned = "" if stage["planned_steps"] is None else f" of {stage['planned_steps']}"
        begun = stage["status"] != "not begun"
        table.add_row(
            escape(stage["name"]),
            stage["status"],
            f"{stage['steps']}{planned}" if begun else "",
            str(len(stage["attempts"]) or ""),
            duration(stage["seconds"]),
            duration(stage["seconds_spent"]),
            _number(stage[key], 2),
            _number(stage["tokens"]["sampled"]),
            "" if stage["rollout_idle_share"] is None else f"{stage['rollout_idle_share']:.0%}",
            escape(_decision(stage)),
            style=None if begun else "dim",
        )
    if len(record["stages"]) > 1:
        sums = record["totals"]
        table.add_section()
        table.add_row(
            _WHOLE,
            _finished(record),
            _number(sums["steps"]),
            "",
            duration(sums["seconds"]),
            duration(sums["seconds_spent"]),
            _number(sums[key], 2),
            _number(sums["tokens"]["sampled"]),
        )
    return table


def _finished(record: Mapping[str, Any]) -> str:
    """How many of the stages are finished."""
    finished = sum(stage["status"] == "finished" for stage in record["stages"])
    return f"{finished} of {len(record['stages'])}"


def _time_split(stages: list[Mapping[str, Any]]) -> Table:
    parts = list(dict.fromkeys(part for stage in stages for part in stage["time_split"]))
    table = Table("of the time, %", *(part.removesuffix("_s").replace("_", " ") for part in parts))
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in stages:
        known = [seconds for seconds in stage["time_split"].values() if seconds is not None]
        whole = sum(known)
        shares = (stage["time_split"].get(part) for part in parts)
        table.add_row(
            escape(stage["name"]),
            *("" if part is None or not whole else f"{100 * part / whole:.1f}" for part in shares),
        )
    return table


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
