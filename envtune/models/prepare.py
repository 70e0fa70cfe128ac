"""The model that a profile's training starts from, put where the trainer and the server look for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envtune.errors import EnvtuneError
from envtune.files import sha256_json
from envtune.models.checkpoint import read_note, write_note
from envtune.provenance import provenance

if TYPE_CHECKING:
    from envtune.profile import Profile

SOURCES = ("smollm2-warm-start", "mini", "hf")


def prepare_model(profile: Profile) -> str | Path:
    """Make sure that the profile's starting model is there; return its folder, or its id on the model hub.

    "smollm2-warm-start": written to the run folder's model/ (a few minutes), kept when one made by the same settings
    from the same source is there already. "mini": likewise, a small model that is trained here from scratch. "hf": the profile's path as it is; nothing is written.
    Raises EnvtuneError for an unknown source or setting and for a local path that does not hold a model.
    """
    source = profile.model.get("source")
    if source == "hf":
        return _existing(profile.model.get("path"))
    if source == "smollm2-warm-start":
        return _warm_started(Path(profile.start_model), profile.model.get("warm_start") or {})
    if source == "mini":
        return _mini(Path(profile.start_model), profile.model.get("mini") or {})
    raise EnvtuneError(f"unknown model source {source!r}; choose one of: {', '.join(SOURCES)}")


def _existing(path: Any) -> str:
    """A hub id ("owner/name") or a local folder with a config.json, unchanged."""
    if not isinstance(path, str) or not path:
        raise EnvtuneError("the profile's model has source hf but no path: give a hub id or a local folder")
    local = path.startswith((".", "/", "~")) or path.count("/") != 1 or Path(path).exists()
    if local and not (Path(path).expanduser() / "config.json").is_file():
        raise EnvtuneError(f"no model at {path}: there is no config.json; correct the path or put the model there")
    return path


def _warm_started(target: Path, overrides: Mapping[str, Any]) -> Path:
    """SmolLM2 after the warm start, in `target`."""
    from envtune.models.smollm2 import SOURCE, write_smollm2
    from envtune.models.warm_start import WarmStart, training_conversations, warm_start

    try:
        settings = WarmStart(**overrides)
    except TypeError as error:
        raise EnvtuneError(f"the profile's warm_start settings are wrong ({error}); see WarmStart's fields") from error
    wanted = {
        "source": dict(SOURCE),
        "warm_start": {**asdict(settings), "data_sha256": sha256_json(training_conversations(settings))},
    }

    def build(folder: Path) -> dict[str, Any]:
        write_smollm2(folder)
        return {"warm_start": warm_start(folder, settings)}

    return _built(target, wanted, build)


def _mini(target: Path, overrides: Mapping[str, Any]) -> Path:
    """The small model of envtune/models/mini.py, in `target`."""
    from envtune.models.mini import MiniModel, data_sha256, write_mini_model

    try:
        settings = MiniModel(**overrides)
    except TypeError as error:
        raise EnvtuneError(f"the profile's mini settings are wrong ({error}); see MiniModel's fields") from error
    wanted = {"mini": {**asdict(settings), "data_sha256": data_sha256(settings)}}
    return _built(target, wanted, lambda folder: {"training": write_mini_model(folder, settings)})


def _built(target: Path, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Path:
    """What `build` makes, in `target`: kept when its note has this spec, else made beside it and renamed when complete."""
    note = read_note(target)
    if note and note.get("spec") == spec:
        return target
    unfinished = target.with_name(f".{target.name}.unfinished")  # one name, so that a killed run's is found again
    shutil.rmtree(unfinished, ignore_errors=True)
    record = build(unfinished)
    write_note(unfinished, {"spec": spec, **record, "provenance": provenance()})
    if target.exists():
        shutil.rmtree(target)
    os.replace(unfinished, target)
    return target
