"""Attempts at one stage: when each began and ended, on what, and what it cost.

An attempt whose driver was killed has no end.json. Its end is then estimated: the last time that one of its files, or
the stage's log while it was the newest attempt, was written to. The next attempt writes to that log too, so
`end_killed_attempts` is to be called before it begins: it keeps the estimate.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envtune.doctor.check import without_secrets
from envtune.errors import EnvtuneError
from envtune.files import write_json
from envtune.run_record.reading import as_text, as_time, read_object, total
from envtune.training.metrics import read_attempt

KILLED = "killed"


def attempt_folders(stage_dir: Path) -> list[Path]:
    """Folders of the attempts, in order, without those that were killed before they began."""
    found = sorted((stage_dir / "attempts").glob("[0-9]*"))
    return [folder for folder in found if (folder / "attempt.json").is_file()]


def read_attempts(stage_dir: Path, over: bool, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """All attempts, each as

    number, start_step; last_step: the last that it reported, None for none; steps_repeated: steps that it reported and
    a later attempt did again; began, ended; estimated: whether the end is; seconds; outcome: as in its end.json,
    "killed" without one, None when it may still be running or nothing is known; returncode, message; layout; gpus: of
    all nodes; gpu_hours, core_hours: one of them, the other is None; commit, dirty; hardware.

    over: whether the stage is, so that none of them still runs; environment: whose secrets a message must not have. An
    attempt of an older release says no more than start_step.
    """
    folders = attempt_folders(stage_dir)
    told = [_told(folder) for folder in folders]
    rows = []
    for place, (folder, about) in enumerate(zip(folders, told, strict=True)):
        later = told[place + 1 :]
        end = read_object(folder / "end.json") or {}
        reported = _reported(folder)
        rows.append(
            {
                "number": int(folder.name),
                "start_step": about["start_step"],
                "last_step": max(reported, default=None),
                "steps_repeated": sum(any(step > one["start_step"] for one in later) for step in reported if step > 0),
                **_span(stage_dir, folder, about, end, later[0] if later else None),
                "outcome": end.get("outcome", KILLED if "began" in about and (later or over) else None),
                "returncode": end.get("returncode"),
                "message": without_secrets(str(end.get("message") or ""), environment),
                "layout": about.get("layout"),
                "commit": (about.get("provenance") or {}).get("commit"),
                "dirty": (about.get("provenance") or {}).get("dirty"),
                "hardware": about.get("hardware"),
            }
        )
    return [{**row, **cost(row, row["seconds"])} for row in rows]


def cost(attempt: Mapping[str, Any], seconds: float | None) -> dict[str, Any]:
    """{"gpus", "gpu_hours", "core_hours"} of an attempt that took so many seconds."""
    layout, hosts = attempt["layout"], attempt["hardware"] or {}
    nothing: dict[str, Any] = {"gpus": None, "gpu_hours": None, "core_hours": None}
    if layout is None:
        return nothing
    if layout["device"] != "cpu":
        gpus = layout["nodes"] * layout["gpus_per_node"] + layout.get("rollout_gpus", 0)
        return {**nothing, "gpus": gpus, "gpu_hours": None if seconds is None else seconds * gpus / 3600}
    # cores are known of the hosts that were asked, so not of a run over more
    cores = total(host["cores"] for host in hosts.values()) if len(hosts) == layout["nodes"] else None
    known = seconds is not None and cores is not None
    return {**nothing, "gpus": 0, "core_hours": seconds * cores / 3600 if known else None}


def end_killed_attempts(stage_dir: Path) -> None:
    """Write the end.json that killed attempts lack, marked as estimated. Only to be called when none of them runs."""
    told = {folder: _told(folder) for folder in attempt_folders(stage_dir)}
    later = [*told.values(), None][1:]
    for (folder, about), following in zip(told.items(), later, strict=True):
        if "began" in about and not (folder / "end.json").exists():
            span = _span(stage_dir, folder, about, {}, following)
            message = "the process that watched it was killed"
            write_json(
                folder / "end.json",
                {"ended": span["ended"], "outcome": KILLED, "message": message, "estimated": True},
            )


def _told(folder: Path) -> dict[str, Any]:
    about = read_object(folder / "attempt.json") or {}
    if not isinstance(about.get("start_step"), int):
        raise EnvtuneError(f"{folder / 'attempt.json'} says no start_step; mend or remove it")
    return about


def _reported(folder: Path) -> list[int]:
    try:
        return sorted({step for step, _ in read_attempt(folder)})
    except (ValueError, KeyError, TypeError) as error:
        raise EnvtuneError(f"{folder / 'verl.jsonl'} cannot be read ({error}); mend it") from error


def _span(
    stage_dir: Path, folder: Path, about: Mapping[str, Any], end: Mapping[str, Any], following: Mapping[str, Any] | None
) -> dict[str, Any]:
    """{"began", "ended", "estimated", "seconds"}; all None where the attempt does not say when it began."""
    began, ended = as_time(about.get("began")), as_time(end.get("ended"))
    estimated = bool(end.get("estimated", False))
    if began is None:
        return {"began": None, "ended": end.get("ended"), "estimated": estimated, "seconds": None}
    if ended is None:
        ended, estimated = _last_sign(stage_dir, folder, began, as_time((following or {}).get("began"))), True
    return {
        "began": as_text(began),
        "ended": as_text(ended),
        "estimated": estimated,
        "seconds": max(0.0, (ended - began).total_seconds()),
    }


def _last_sign(
    stage_dir: Path, folder: Path, began: datetime.datetime, next_began: datetime.datetime | None
) -> datetime.datetime:
    """When an attempt last wrote to a file, between its beginning and the next one's."""
    own = [path for path in (*folder.iterdir(), *(stage_dir / "tensorboard" / folder.name).glob("*")) if path.is_file()]
    times = [_written(path) for path in own]
    log = stage_dir / "log.txt"
    if log.is_file():
        times.append(_written(log))
    return max([began, *(time for time in times if next_began is None or time <= next_began)])


def _written(path: Path) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
