"""`make evaluate`: the starting model and each stage's result, one after another, against one vLLM server.

    envtune evaluate --profile cpu                                   the profile's own checkpoints
    envtune evaluate --profile gpu --baselines                       the models as released that the profile names
    envtune evaluate --profile cpu --model PATH                      another model, served with the profile's settings
    envtune evaluate --profile cpu --base-url URL --model NAME       whatever an endpoint serves under that name

Every suite of the profile's `evaluation.suites` is run. A checkpoint whose records of a suite are complete and were made
of the same weights, items and settings is not run again; what was measured of other weights is removed and measured
anew. Baselines are rows of the profile's tables. The other two forms write to runs/<profile>/evaluation/other-<name>/ and
take no part in them.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import (
    BASELINE,
    Checkpoint,
    baselines,
    checkpoint,
    checkpoint_names,
    checkpoints,
    slug,
)
from envtune.evaluation.records import RunFolder, differences
from envtune.evaluation.reply_formats import check_format
from envtune.evaluation.runner import identity
from envtune.evaluation.server import ServerSettings, VllmServer, chat_template
from envtune.evaluation.session import (
    evaluate_model,
    load,
    open_suites,
    refuse_incomplete,
    run_folder,
    stopped_cleanly,
    with_seed,
)
from envtune.evaluation.settings import check_settings
from envtune.evaluation.suite import Suite, Target, UserModel, endpoint_key
from envtune.evaluation.suites import BFCL_V3, Choice, read_choices
from envtune.evaluation.upstream.serve import SELF
from envtune.files import sha256_json, write_json
from envtune.run_record import write_run_record
from envtune.tasks import Task, cut_task, load_split, load_tasks

if TYPE_CHECKING:
    from envtune.profile import Profile

SUBSET = "heldout"
_OTHER = "other-"
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


def evaluate(
    profile: Profile, base_url: str | None = None, model: str | None = None, with_baselines: bool = False
) -> dict[str, Path]:
    """Evaluate as above; gives the folder of each checkpoint, with a folder of records for each suite and seed.

    Raises EnvtuneError when there is no model, the server does not start, or an item could not be run (what was run
    is kept: the same command goes on from there).
    """
    check_settings(profile.evaluation, f"profile {profile.name}")
    if base_url is not None and model is None:
        raise EnvtuneError("with --base-url name the model that the endpoint serves: --model NAME")
    if model is not None and not model.strip():
        raise EnvtuneError("--model is empty; name the endpoint's model, a folder or a hub id")
    console = Console(stderr=True)
    if with_baselines and not profile.evaluation.get("baselines"):
        raise EnvtuneError(f"profile {profile.name} names no baselines; list hub ids in its evaluation.baselines")
    if with_baselines:
        chosen = baselines(profile)
    elif base_url is not None and model is not None:
        chosen = [Checkpoint(_other(model), model, None, None)]
    elif model is not None:
        chosen = [checkpoint(_other(model), model, None)]
    else:
        chosen = checkpoints(profile)
    root = profile.run_dir / "evaluation"
    folders = {one.name: root / one.name for one in chosen}
    ended: dict[str, list[dict[str, Any]]] = {}
    choices = suite_choices(profile)
    seeds = {choice.suite: repeat_seeds(profile, choice) for choice in choices}
    with (
        stopped_cleanly(),
        open_suites(choices, root / "logs", _user(profile, "", "") is not None, console) as opened,
        VllmServer(server_settings(profile), root / "server.log") as server,
    ):
        write_json(root / "left_out.json", dict(opened.skipped))
        for one in chosen:
            target = _target(profile, one, base_url or "", one.model)
            suites = {name: opened.suites[name] for name in suites_of(one, chosen, choices) if name in opened.suites}
            for name, suite in suites.items():
                for seed in seeds[name]:
                    _drop_other(suite, with_seed(target, seed), run_folder(folders[one.name], name, seed), one, console)
            pending = base_url is None and not all(
                _is_complete(run_folder(folders[one.name], name, seed)) for name in suites for seed in seeds[name]
            )
            if pending:
                how = load(server, one, console)
                console.print(f"vLLM serves {one.name} ({how})")
                target = _target(profile, one, server.base_url, server.model_name)
            summaries = evaluate_model(suites, target, folders[one.name], seeds, _about(profile, one), console)
            ended |= {f"{one.name} ({name})": listed for name, listed in summaries.items()}
            server.check()
    write_run_record(profile)
    refuse_incomplete(ended)
    return folders


def suite_choices(profile: Profile) -> list[Choice]:
    """The profile's suites; bfcl-v3 on its held-out tasks. Of an ablation those for the ends of a run are left out: the
    paper compares arms in distribution."""
    settings = profile.evaluation.get("suites") or {BFCL_V3: {}}
    choices = read_choices(settings, f"profile {profile.name}")
    tasks = tuple(evaluation_tasks(profile))
    return [
        dataclasses.replace(choice, tasks=tasks) if choice.suite == BFCL_V3 else choice
        for choice in choices
        if profile.arm == "full" or choice.checkpoints == "all"
    ]


def suites_of(one: Checkpoint, chosen: Sequence[Checkpoint], choices: Sequence[Choice]) -> list[str]:
    """The suites that this one of the chosen checkpoints is evaluated on. All of them are for baselines."""
    at_an_end = one in (chosen[0], chosen[-1]) or one.name.startswith(BASELINE)
    return [choice.suite for choice in choices if at_an_end or choice.checkpoints == "all"]


def repeat_seeds(profile: Profile, choice: Choice) -> list[int]:
    """The seeds of a suite's repeats: as many as it says, or else `evaluation.repeats`, from the evaluation's seed on."""
    first = int(profile.evaluation.get("seed", profile.seed))
    return list(range(first, first + (choice.repeats or int(profile.evaluation.get("repeats", 1)))))


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
    return [cut_task(task, **profile.tasks.cut) for task in chosen]


def server_settings(profile: Profile) -> ServerSettings:
    """How the profile's vLLM server is started: its evaluation's `server` (command-line options), and the window."""
    options: dict[str, Any] = {"max-model-len": profile.evaluation.get("max_model_len"), "seed": profile.seed}
    options |= dict(profile.evaluation.get("server") or {})
    return ServerSettings(options, profile.environment, float(profile.evaluation.get("start_s", 900)))


def _user(profile: Profile, base_url: str, model: str) -> UserModel | None:
    """The profile's `evaluation.user`: "self" (the model under test, `model` at `base_url`, plays the user too: a trial of
    the path, no measurement), {base_url, model, decoding}, or nothing, and then what ENVTUNE_USER_BASE_URL and
    ENVTUNE_USER_MODEL name."""
    said = profile.evaluation.get("user")
    if said == "self":
        return UserModel(base_url, model, SELF, _limits(profile))
    if isinstance(said, Mapping):
        return UserModel.at(said["base_url"], said["model"], said.get("decoding"))
    url, name = os.environ.get("ENVTUNE_USER_BASE_URL"), os.environ.get("ENVTUNE_USER_MODEL")
    return UserModel.at(url, name) if url and name else None


def _limits(profile: Profile) -> dict[str, Any]:
    return {name: profile.evaluation[name] for name in ("temperature", "max_tokens") if name in profile.evaluation}


def _target(profile: Profile, one: Checkpoint, base_url: str, model: str) -> Target:
    decoding = {name: profile.evaluation[name] for name in _DECODING if name in profile.evaluation}
    return Target(
        base_url=base_url,
        model=model,
        label=model_name(profile, one),
        reply_format=check_format(str(profile.evaluation.get("format", "kit"))),
        decoding={"temperature": 0.0, "seed": profile.seed, **decoding},
        checkpoint_sha256=one.sha256,
        user=_user(profile, base_url, model),
        concurrency=int(profile.evaluation.get("concurrency", 16)),
        request_timeout_s=float(profile.evaluation.get("request_timeout_s", 600)),
        api_key=endpoint_key(),
    )


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
    return f"{_OTHER}{slug(model)}"


def _drop_other(suite: Suite, target: Target, folder: Path, one: Checkpoint, console: Console) -> None:
    """Make room where records of other weights, items or settings lie. Those of the profile's own checkpoints are removed:
    the same command would make them again. Those of other models, which may have cost money, are moved aside."""
    summary = RunFolder(folder).read_summary()
    if summary is None:
        return
    if differing := differences(summary.get("identity", {}), identity(suite, target)):
        said = f"{one.name}, {suite.name}: measured before with another {', '.join(differing)}; measured anew"
        if one.name.startswith((BASELINE, _OTHER)):
            kept = next(
                path
                for number in itertools.count(1)
                if not (path := folder.with_name(f"before{number}-{folder.name}")).exists()
            )
            folder.rename(kept)
            said += f"; the records of before: {kept}"
        else:
            shutil.rmtree(folder)
        console.print(said)


def _is_complete(folder: Path) -> bool:
    summary = RunFolder(folder).read_summary()
    return summary is not None and bool(summary["complete"])
