"""verl's checkpoints of one stage: which one is whole, and the hand-over of the last one's weights.

verl writes `checkpoints/global_step_<n>/actor/...`, then `global_step_<n>/data.pt`, then the step's number into
`latest_checkpointed_iteration.txt`, none of them atomically, and only then, after validation, reports the step. A
checkpoint counts here when everything that verl would read is there and its step was reported, so that a resumed run
has the metrics of every step; the tracker is set to the newest such one and the others are removed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from envtune.errors import EnvtuneError
from envtune.files import atomic_write, sha256_file, write_json

_TRACKER = "latest_checkpointed_iteration.txt"


def newest_whole(folder: Path, reported: int) -> int:
    """Step of the newest whole checkpoint below `folder` that is not after the last `reported` step; 0 without one."""
    return max((step for step, path in _steps(folder) if step <= reported and _is_whole(path)), default=0)


def repair(folder: Path, reported: int) -> int:
    """Leave only the newest whole checkpoint, see `newest_whole`, and point verl's tracker at it; gives its step."""
    newest = newest_whole(folder, reported)
    for step, path in _steps(folder):
        if step != newest:
            shutil.rmtree(path)
    tracker = folder / _TRACKER
    if newest:
        with atomic_write(tracker) as stream:
            stream.write(str(newest))
    else:
        tracker.unlink(missing_ok=True)
    return newest


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
    shutil.copytree(source, unfinished)
    config = json.loads((unfinished / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    write_json(unfinished / "config.json", {**config, "dtype": "float32"})
    shutil.rmtree(target, ignore_errors=True)
    os.replace(unfinished, target)


def weights_sha256(model: str | Path) -> str | None:
    """One hash over a model folder's weights files; None for an id on the model hub."""
    folder = Path(model)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    if len(files) == 1:
        return sha256_file(files[0])
    return "+".join(sha256_file(file)[:16] for file in files)


def _steps(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.name.removeprefix("global_step_")), path) for path in folder.glob("global_step_*")]


def _is_whole(path: Path) -> bool:
    """Every shard of every rank, the fp32 model, and data.pt, which verl writes last and so only after the others.

    torch writes zip archives, whose directory is at the end: one that was cut short does not open.
    """
    import zipfile

    actor = path / "actor"
    shards = list(actor.glob("model_world_size_*_rank_*.pt"))
    if not shards:
        return False
    world = int(shards[0].name.split("_")[3])
    wanted = [path / "data.pt"]
    for rank in range(world):
        wanted += [actor / f"{part}_world_size_{world}_rank_{rank}.pt" for part in ("model", "optim", "extra_state")]
    if not all(file.is_file() and zipfile.is_zipfile(file) for file in wanted):
        return False
    return bool(list((actor / "huggingface").glob("*.safetensors")))
