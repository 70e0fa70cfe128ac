"""`make evaluate`: the starting model and each stage's result, one after another, against one vLLM server.

    envtune evaluate --profile cpu                                   the profile's own checkpoints
    envtune evaluate --profile cpu --model PATH                      another model, served with the profile's settings
    envtune evaluate --profile cpu --base-url URL --model NAME       whatever an endpoint serves under that name

A checkpoint whose records are complete and were made of the same weights, tasks and settings is not run again; what
was measured of other weights is removed and measured anew. The other two forms write to
runs/<profile>/evaluation/other-<name>/ and take no part in the profile's table.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import Checkpoint, checkpoint, checkpoint_names, checkpoints
from envtune.evaluation.protocol import KIT_FORMAT, identity
from envtune.evaluation.records import RunFolder, differences
from envtune.evaluation.server import ServerSettings, VllmServer, chat_template
from envtune.evaluation.suite import evaluate_suite
from envtune.files import sha256_json
from envtune.run_record import write_run_record
from envtune.tasks import Task, cut_tools, load_split, load_tasks

if TYPE_CHECKING:
    from envtune.profile import Profile

SUBSET = "heldout"
_DECODING = ("temperature", "top_p", "max_tokens", "seed")
# What must be said of a model wherever its numbers stand, by the source it comes from.
_NAMES = MappingProxyType({"smollm2-warm-start": "SmolLM2-135M-Instruct (4-bit, dequantised) + format warm start"})
_NOTES = MappingProxyType(
    {
        "smollm2-warm-start": (
            "This run proves the whole path on real parts. It makes no claim of skill.",
            "The starting model is SmolLM2-135M-Instruct with weights dequantised from 4 bits (not the original "
            "checkpoint), after a short supervised warm start on the reply format.",
        )
    }
)
_SETTINGS = (*_DECODING, "concurrency", "max_model_len", "request_timeout_s", "server", "start_s")


def evaluate(profile: Profile, base_url: str | None = None, model: str | None = None) -> dict[str, Path]:
    """Evaluate as above; gives the folder of each checkpoint's records.

    Raises EnvtuneError when there is no model, the server does not start, or an item could not be run (what was run
    is kept: the same command goes on from there).
    """
    unknown = set(profile.evaluation) - set(_SETTINGS)
    if unknown:
        raise EnvtuneError(
            f"profile {profile.name}: unknown evaluation setting {sorted(unknown)[0]!r}; there are: {', '.join(_SETTINGS)}"
        )
    if base_url is not None and model is None:
        raise EnvtuneError("with --base-url name the model that the endpoint serves: --model NAME")
    console = Console(stderr=True)
    tasks = evaluation_tasks(profile)
    if base_url is not None and model is not None:
        chosen = [Checkpoint(_other(model), model, None, None)]
    elif model is not None:
        chosen = [checkpoint(_other(model), model, None)]
    else:
        chosen = checkpoints(profile)
    folders = {one.name: profile.run_dir / "evaluation" / one.name for one in chosen}
    pending = [one for one in chosen if not _is_done(profile, one, tasks, folders[one.name], console)]
    with VllmServer(server_settings(profile), profile.run_dir / "evaluation" / "server.log") as server:
        for one in pending:
            url, name = base_url, one.model
            if url is None:
                with console.status(f"vLLM loads {one.name}") if console.is_terminal else contextlib.nullcontext():
                    how = server.load(one.model)
                console.print(f"vLLM serves {one.name} ({how})")
                url, name = server.base_url, server.model_name
            evaluate_suite(
                url,
                name,
                tasks,
                folders[one.name],
                decoding=_decoding(profile),
                about=_about(profile, one),
                checkpoint_sha256=one.sha256,
                concurrency=int(profile.evaluation.get("concurrency", 16)),
                request_timeout_s=float(profile.evaluation.get("request_timeout_s", 600)),
                console=console,
            )
            server.check()
    write_run_record(profile)
    _say(folders, console)
    return folders


def evaluation_tasks(profile: Profile) -> list[Task]:
    """The held-out tasks that the profile evaluates on, with tools cut as it says.

    Raises EnvtuneError when an id is not held out: training may have seen it.
    """
    held_out = {task.id: task for task in load_tasks(profile.release, SUBSET)}
    ids = profile.tasks.ids("evaluation")
    if strangers := sorted(set(ids or ()) - set(held_out)):
        raise EnvtuneError(
            f"profile {profile.name}: not among the held-out tasks of release {profile.release!r}: "
            f"{', '.join(strangers[:5])}"
        )
    chosen = list(held_out.values()) if ids is None else [held_out[task_id] for task_id in ids]
    if profile.tasks.max_tools is None:
        return chosen
    return [cut_tools(task, profile.tasks.max_tools, profile.tasks.tools_seed) for task in chosen]


def server_settings(profile: Profile) -> ServerSettings:
    """How the profile's vLLM server is started: its evaluation's `server` (command-line options), and the window."""
    options: dict[str, Any] = {"max-model-len": profile.evaluation.get("max_model_len"), "seed": profile.seed}
    options |= dict(profile.evaluation.get("server") or {})
    return ServerSettings(options, profile.environment, float(profile.evaluation.get("start_s", 900)))


def _decoding(profile: Profile) -> dict[str, Any]:
    decoding = {name: profile.evaluation[name] for name in _DECODING if name in profile.evaluation}
    return {"temperature": 0.0, "seed": profile.seed, **decoding}


def _about(profile: Profile, one: Checkpoint) -> dict[str, Any]:
    """What the summary says of a run besides what decides its meaning."""
    folder = Path(one.model)
    template = chat_template(folder) if folder.is_dir() else None
    split = load_split()
    return {
        "profile": profile.name,
        "checkpoint": one.name,
        "model": model_name(profile, one),
        "training_steps": one.training_steps,
        "seed": profile.seed,
        "arm": profile.arm,
        "split": {"name": split.name, "subset": SUBSET, "sha256": split.sha256},
        "chat_template_sha256": None if template is None else sha256_json(template),
        "notes": list(_NOTES.get(profile.model["source"], ())) if one.name in checkpoint_names(profile) else [],
    }


def model_name(profile: Profile, one: Checkpoint) -> str:
    """What tables call the model: where the checkpoint comes from a run, the model that it started from."""
    if one.name not in checkpoint_names(profile):
        return Path(one.model).name if Path(one.model).is_dir() else one.model
    return _NAMES.get(profile.model["source"]) or str(profile.model["path"])


def _other(model: str) -> str:
    name = Path(model).name if Path(model).is_dir() else model
    return "other-" + (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") or "model")


def _is_done(profile: Profile, one: Checkpoint, tasks: list[Task], folder: Path, console: Console) -> bool:
    """Whether there is nothing left to run; records of other weights, tasks or settings are removed."""
    summary = RunFolder(folder).read_summary()
    if summary is None:
        return False
    who = identity(KIT_FORMAT, tuple(tasks), model_name(profile, one), one.sha256, _decoding(profile))
    if differing := differences(summary.get("identity", {}), who):
        console.print(f"{one.name}: measured before with another {', '.join(differing)}; measured anew")
        shutil.rmtree(folder)
        return False
    if summary["complete"]:
        console.print(f"{one.name}: done before")
    return bool(summary["complete"])


def _say(folders: Mapping[str, Path], console: Console) -> None:
    """One line a checkpoint, and an error when something could not be run."""
    left = []
    for name, folder in folders.items():
        summary = RunFolder(folder).read_summary()
        assert summary is not None
        shares = ", ".join(
            f"{category} {counts['passed']}/{counts['passed'] + counts['failed']}"
            for category, counts in summary["categories"].items()
        )
        console.print(f"{name}: {shares} ({summary['seconds']:.0f} s): {folder}")
        if not summary["complete"]:
            left.append(name)
    if left:
        raise EnvtuneError(
            f"the endpoint or the judge gave no answer for some items of {', '.join(left)}; run the same command again "
            "to try those (the records say what happened)"
        )
