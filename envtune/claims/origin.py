"""Where the numbers of the claims come from: the profile, the model at the start, and each run with its commits and steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envtune.bfcl import get_release
from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.figures.curves import RunAt, find_runs
from envtune.profile import PROFILES, Profile
from envtune.run_record import RECORD
from envtune.run_record.reading import read_object


def origin(profile: Profile) -> dict[str, Any]:
    """{"profile", "registration" (the file that says what was fixed before the runs, None without one), "release",
    "model_sha256" (of the weights that the runs start from, None where none is known), "steps" (stage -> how many optimizer
    steps its finished runs took, each once), "runs"}.

    A run: {"run", "arm", "seed", "finished" (its last stage is), "stages" (stage -> {"steps", "taken_from"} of those that are
    done), "commits" (of the stages' ends and of run.json, "+" behind one with changes that were not committed)}.
    Raises EnvtuneError on a file that cannot be read, and where the runs do not start from the same weights.
    """
    read = [(run, _done(run)) for run in find_runs(profile)]
    starts, steps = set(), dict[str, set[int]]()
    for run, done in read:
        first = done.get(ARMS[run.arm].stages[0].name) or {}
        if start := ((first.get("settings") or {}).get("start") or {}).get("sha256"):
            starts.add(str(start))
        for stage, said in done.items():
            steps.setdefault(stage, set()).add(int(said["steps"]))
    if len(starts) > 1:
        raise EnvtuneError(
            f"the runs of {profile.name} start from different weights ({', '.join(one[:12] for one in sorted(starts))}) and "
            f"cannot be compared; move those of the older start out of {profile.run_dir.parent}"
        )
    release = get_release(profile.release)
    registered = profile.registration
    return {
        "profile": profile.name,
        "registration": f"{PROFILES.name}/{registered.name}" if registered is not None else None,
        "release": {"name": profile.release, "wheel_sha256": release.sha256},
        "model_sha256": next(iter(starts), None),
        "steps": {stage: sorted(found) for stage, found in steps.items()},
        "runs": [_told(run, done) for run, done in read],
    }


def _done(run: RunAt) -> dict[str, dict[str, Any]]:
    """Stage -> its done.json, of those that are done."""
    found = {stage.name: read_object(run.folder / stage.name / "done.json") for stage in ARMS[run.arm].stages}
    return {stage: done for stage, done in found.items() if done is not None}


def _told(run: RunAt, done: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "run": run.folder.name,
        "arm": run.arm,
        "seed": run.seed,
        "finished": ARMS[run.arm].stages[-1].name in done,
        "stages": {
            stage: {"steps": int(said["steps"]), "taken_from": (said.get("taken_from") or {}).get("run")}
            for stage, said in done.items()
        },
        "commits": _commits(run.folder, done),
    }


def _commits(folder: Path, done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    record = read_object(folder / RECORD) or {}
    told = [record.get("code") or {}, *((said.get("provenance") or {}) for said in done.values())]
    named = [f"{one['commit']}{'+' if one.get('dirty') else ''}" for one in told if one.get("commit")]
    return list(dict.fromkeys(named))
