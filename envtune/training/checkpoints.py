"""verl's checkpoints of one stage: which one is whole, and the hand-over of the last one's weights.

verl writes `checkpoints/global_step_<n>/actor/...`, then `global_step_<n>/data.pt`, then the step's number into
`latest_checkpointed_iteration.txt`, none of them atomically, and only then, after validation, reports the step. A
checkpoint counts here when everything that verl would read is there and its step was reported, so that a resumed run
has the metrics of every step; the tracker is set to the newest such one and what is not whole is removed. Which whole
ones stay is said at `prune`.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.files import atomic_write, write_json
from envtune.training import gates

_TRACKER = "latest_checkpointed_iteration.txt"


def newest_whole(folder: Path, reported: int, workers: int | None = None) -> int:
    """Step of the newest whole checkpoint below `folder` that is not after the last `reported` step; 0 without one.

    workers: how many the run has; verl cannot spread a checkpoint over another number. Raises EnvtuneError then.
    """
    newest = max((step for step, path in _steps(folder) if step <= reported and _is_whole(path)), default=0)
    if newest and workers is not None and (wrote := _workers(folder / f"global_step_{newest}")) != workers:
        raise EnvtuneError(
            f"{folder}: the checkpoints are of {wrote} workers, this run has {workers} (nodes x GPUs a node); go on with "
            f"{wrote}, or remove the folder to start the stage again"
        )
    return newest


def repair(folder: Path, reported: int, workers: int | None = None) -> int:
    """Remove what is not whole or after the last `reported` step, see `newest_whole`, and point verl's tracker at the
    newest one that stays; gives its step, 0 when none does."""
    newest = newest_whole(folder, reported, workers)
    for step, path in _steps(folder):
        if step > newest or not _is_whole(path):
            shutil.rmtree(path)
    tracker = folder / _TRACKER
    if newest:
        with atomic_write(tracker) as stream:
            stream.write(str(newest))
    else:
        tracker.unlink(missing_ok=True)
    return newest


def prune(folder: Path, history: Mapping[int, Mapping[str, Any]], onset: int | None = None) -> None:
    """The rule, applied before a checkpoint is written: of the whole ones that are there two stay, the newest, and that
    with the best validation accuracy (`history`: step -> metrics, as reported). So three exist at the most, the
    unfinished one included; all of a stage's are removed when its result is handed over.

    onset: the step from which the run may be collapsing (`gates.Decision`); while there is one, the newest from before it
    stays in place of the best.
    """
    whole = [step for step, path in _steps(folder) if _is_whole(path)]
    safe = max((step for step in whole if onset is not None and step < onset), default=0)
    keep = {max(whole, default=0), safe or best(whole, history)}
    for step, path in _steps(folder):
        if step not in keep:
            shutil.rmtree(path)


def best(steps: Iterable[int], history: Mapping[int, Mapping[str, Any]]) -> int:
    """The step with the best validation accuracy in `history`, the later one of equals; 0 when none has an accuracy."""
    accuracies = {step: gates.point(step, history[step]).accuracy for step in steps if step in history}
    known = [(accuracy, step) for step, accuracy in accuracies.items() if accuracy is not None]
    return max(known, default=(0.0, 0))[1]


def last_good(folder: Path, before: int) -> Path | None:
    """The newest whole checkpoint of a step before `before`; None without one."""
    steps = [step for step, path in _steps(folder) if step < before and _is_whole(path)]
    return folder / f"global_step_{max(steps)}" if steps else None


def hand_over(folder: Path, step: int, target: Path) -> None:
    """Put the weights of a checkpoint into `target` as a Hugging Face model in fp32, whole or not at all.

    verl's `hf_model` files hold fp32 tensors, but its config.json says bfloat16 (the type of the empty model that verl
    saves through), and whoever loads the model would round them: it is corrected here.
    """
    source = folder / f"global_step_{step}" / "actor" / "huggingface"
    if not list(source.glob("*.safetensors")):
        raise EnvtuneError(f"{source}: has no weights; actor.checkpoint.save_contents must include hf_model")
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, copy_function=_link)
    config = json.loads((unfinished / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    write_json(unfinished / "config.json", {**config, "dtype": "float32"})
    shutil.rmtree(target, ignore_errors=True)
    os.replace(unfinished, target)


def _link(source: str, target: str) -> None:
    """A second name for a file where the disk can, so that no room is needed; else a copy. Files put there are only ever
    replaced, never written to."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _steps(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.name.removeprefix("global_step_")), path) for path in folder.glob("global_step_*")]


def _workers(path: Path) -> int:
    """Number of workers that wrote a checkpoint; 0 where there is no shard."""
    shards = list((path / "actor").glob("model_world_size_*_rank_*.pt"))
    return int(shards[0].name.split("_")[3]) if shards else 0


def _is_whole(path: Path) -> bool:
    """Every shard of every rank, the fp32 model, and data.pt, which verl writes last and so only after the others.

    torch writes zip archives, whose directory is at the end: one that was cut short does not open. A safetensors file
    says at its beginning how long it is.
    """
    actor, world = path / "actor", _workers(path)
    wanted = [path / "data.pt"]
    for rank in range(world):
        wanted += [actor / f"{part}_world_size_{world}_rank_{rank}.pt" for part in ("model", "optim", "extra_state")]
    if not world or not all(file.is_file() and zipfile.is_zipfile(file) for file in wanted):
        return False
    weights = list((actor / "huggingface").glob("*.safetensors"))
    return bool(weights) and all(map(_is_as_long_as_it_says, weights))


def _is_as_long_as_it_says(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            return False
        header = stream.read(int.from_bytes(head, "little"))
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return file.stat().st_size == 8 + len(header) + end
