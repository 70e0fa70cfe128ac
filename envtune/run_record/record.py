"""Putting a run's record together, and writing it."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.files import atomic_write
from envtune.profile import Profile
from envtune.run_record.attempts import attempt_folders
from envtune.run_record.evaluations import read_evaluations
from envtune.run_record.inputs import read_config, read_inputs
from envtune.run_record.machine import ran_with
from envtune.run_record.reading import as_text, finite, read_object
from envtune.run_record.schema import SCHEMA_VERSION
from envtune.run_record.stages import read_stage, run_status, totals

RECORD = "run.json"
_DIFF = "run.diff"
_LONGEST_DIFF = 1_000_000  # bytes of UTF-8 that the record itself holds


def write_run_record(profile: Profile) -> Path:
    """Write the run's run.json, whole, from the files that are there now; gives its path. One that says all this
    already is left as it is.

    A diff of more than 1 MB goes into run.diff beside it. Raises EnvtuneError when one of the files that it is made
    from cannot be read.
    """
    record = make_run_record(profile)
    code, beside = record["code"], profile.run_dir / _DIFF
    if code["diff"] is not None and len(code["diff"].encode("utf-8")) > _LONGEST_DIFF:
        with atomic_write(beside) as stream:
            stream.write(code["diff"])
        code |= {"diff": None, "diff_file": _DIFF}
    path = profile.run_dir / RECORD
    text = json.dumps(record, indent=2, allow_nan=False)
    if _without_time(_read(path)) != _without_time(json.loads(text)):
        with atomic_write(path) as stream:
            stream.write(text + "\n")
    if code["diff_file"] is None:
        beside.unlink(missing_ok=True)  # of an earlier record
    return path


def make_run_record(profile: Profile) -> dict[str, Any]:
    """The record as a JSON value, with the whole diff in it; see `envtune.run_record.schema` for what it has."""
    environment = {**os.environ, **profile.environment}
    configs = {stage.name: read_config(profile.stage_dir(stage.name)) for stage in profile.curriculum}
    stages = [read_stage(profile, stage, configs[stage.name], environment) for stage in profile.curriculum]
    ran = ran_with(_all_attempts(profile), environment)
    attempts = [attempt for stage in stages for attempt in stage["attempts"]]
    status = run_status(stages)
    ends = [one["ended"] for one in attempts if one["ended"]] if status in ("finished", "failed", "collapsed") else []
    record = {
        "schema": SCHEMA_VERSION,
        "written": as_text(datetime.datetime.now(datetime.UTC)),
        "run": {
            "name": profile.run_dir.name,
            "profile": profile.name,
            "arm": profile.arm,
            "seed": profile.seed,
            "status": status,
            "began": min((one["began"] for one in attempts if one["began"]), default=None),
            "ended": max(ends, default=None),
        },
        "as_of": ran["as_of"],
        "code": {**ran["code"], "diff_file": None},
        "image": ran["image"],
        "python": ran["python"],
        "packages": ran["packages"],
        "hardware": _hosts(attempts) or None,
        **read_inputs(profile, configs, ran["prompt_sha256"]),
        "stages": stages,
        "evaluation": read_evaluations(profile.run_dir / "evaluation"),
        "totals": totals(stages),
    }
    clean: dict[str, Any] = finite(record)
    return clean


def _read(path: Path) -> dict[str, Any]:
    """The record that is there; empty when there is none, or none that can be read (it is then written anew)."""
    try:
        return read_object(path) or {}
    except EnvtuneError:
        return {}


def _without_time(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "written"}


def _all_attempts(profile: Profile) -> list[tuple[str, Path, Mapping[str, Any]]]:
    """Name, folder and provenance of each attempt, in order. An older release has a stage's provenance in its done.json
    alone; it is then that of the last attempt."""
    found = []
    for stage in profile.curriculum:
        folders = attempt_folders(profile.stage_dir(stage.name))
        done = read_object(profile.stage_dir(stage.name) / "done.json") or {}
        for folder in folders:
            told = (read_object(folder / "attempt.json") or {}).get("provenance")
            if told is None and folder == folders[-1]:
                told = done.get("provenance")
            found.append((f"{stage.name}/attempts/{folder.name}", folder, told or {}))
    return found


def _hosts(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """Every host that an attempt names; what the last one says of it."""
    return {host: what for attempt in attempts for host, what in (attempt["hardware"] or {}).items()}
