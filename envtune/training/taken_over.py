"""A stage that another run of the profile has already computed: taken over instead of computed once more.

Arms share stages: stage 1 of all but the single stage is the same rows, seed, settings and starting weights. Whether two stages are
the same computation the hashes of `envtune.training.settings` say, which leave out where files lie, and the gate's settings.
Only runs of `envtune ablations` do this, and done.json then says where the stage came from.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.files import sha256_weights, write_json
from envtune.profile import Profile
from envtune.training.settings import same_settings

TAKEN_FROM = "taken_from"


def take_over(profile: Profile, stage: str, settings: Mapping[str, Any], gate: Mapping[str, Any]) -> Path | None:
    """Copy the finished equal stage of another run of the profile into this run; gives the folder it came from, None where
    there is none, or where this run has begun the stage itself.

    Files are linked, not copied, where the file system can: nothing writes into those of a finished stage.
    """
    folder = profile.stage_dir(stage)
    if (folder / "attempts").exists():
        return None
    for other in _others(profile, stage):
        done = _done(other)
        if done is None or not same_settings(done["settings"], settings) or done["gate"]["settings"] != gate:
            continue
        if sha256_weights(other / "model") != done["model_sha256"]:
            continue  # not the weights that the stage ended with
        commit = (done.get("provenance") or {}).get("commit")
        origin = {"run": other.parent.name, "model_sha256": done["model_sha256"], "commit": commit}
        _copy(other, folder, {**done, TAKEN_FROM: done.get(TAKEN_FROM) or origin})
        return other
    return None


def _others(profile: Profile, stage: str) -> Iterator[Path]:
    """The stage's folders in the other runs of the profile."""
    runs = profile.run_dir.parent
    for run in sorted({runs / profile.name, *runs.glob(f"{profile.name}.*.seed{profile.seed}")}):
        if run != profile.run_dir and (run / stage / "done.json").is_file():
            yield run / stage


def _done(folder: Path) -> dict[str, Any] | None:
    """The stage's done.json; None for one that does not say its settings and gate."""
    try:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        known = done["settings"] and done["gate"]["settings"] and done["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return done if known and (folder / "model").is_dir() else None


def _copy(source: Path, target: Path, done: Mapping[str, Any]) -> None:
    """A finished stage at `target`, whole or not at all, with `done` as its done.json."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(
            source,
            temporary,
            ignore=lambda at, _: ["done.json", "checkpoints"] if Path(at) == source else [],
            copy_function=_link,
        )
        write_json(temporary / "done.json", done)
        shutil.rmtree(target, ignore_errors=True)  # begun, and nothing attempted
        temporary.rename(target)
    except OSError as error:
        raise EnvtuneError(
            f"{source} cannot be taken over into {target} ({error}); make room, or mend what is named"
        ) from error


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target
