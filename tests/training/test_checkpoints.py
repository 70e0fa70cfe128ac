"""Checkpoints: a half-written one is never taken for a good one, and weights are handed over unrounded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from envtune.errors import EnvtuneError
from envtune.files import sha256_weights
from envtune.training.checkpoints import best, hand_over, last_good, newest_whole, prune, repair

WEIGHTS = {"w": torch.tensor([1.0 + 2**-20, -3.0])}  # needs fp32: bf16 would round it to 1


def write_checkpoint(folder: Path, step: int) -> Path:
    """What verl leaves of a step on one worker."""
    path = folder / f"global_step_{step}"
    actor = path / "actor"
    (actor / "huggingface").mkdir(parents=True)
    for part in ("model", "optim", "extra_state"):
        torch.save({"step": step}, actor / f"{part}_world_size_1_rank_0.pt")
    save_file(WEIGHTS, actor / "huggingface" / "model.safetensors")
    (actor / "huggingface" / "config.json").write_text('{"dtype": "bfloat16", "model_type": "llama"}')
    torch.save({}, path / "data.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    return path


def damage_missing_shard(path: Path) -> None:
    (path / "actor" / "optim_world_size_1_rank_0.pt").unlink()


def damage_cut_shard(path: Path) -> None:
    shard = path / "actor" / "model_world_size_1_rank_0.pt"
    shard.write_bytes(shard.read_bytes()[:-40])


def damage_no_data(path: Path) -> None:
    (path / "data.pt").unlink()


def damage_no_model(path: Path) -> None:
    shutil.rmtree(path / "actor" / "huggingface")


def damage_cut_model(path: Path) -> None:
    weights = path / "actor" / "huggingface" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def damage_garbled_model(path: Path) -> None:
    (path / "actor" / "huggingface" / "model.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0hello")


DAMAGES = [
    damage_missing_shard,
    damage_cut_shard,
    damage_no_data,
    damage_no_model,
    damage_cut_model,
    damage_garbled_model,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_half_written_checkpoint_does_not_count(tmp_path: Path, damage) -> None:
    write_checkpoint(tmp_path, 5)
    damage(write_checkpoint(tmp_path, 10))
    assert newest_whole(tmp_path, reported=10) == 5
    assert repair(tmp_path, reported=10) == 5
    assert (tmp_path / "latest_checkpointed_iteration.txt").read_text() == "5"
    assert not (tmp_path / "global_step_10").exists()


def test_a_tracker_that_a_kill_left_empty_is_mended(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("")
    assert repair(tmp_path, reported=5) == 5
    assert (tmp_path / "latest_checkpointed_iteration.txt").read_text() == "5"


def test_a_checkpoint_whose_step_was_not_reported_does_not_count(tmp_path: Path) -> None:
    """verl reports a step after it has saved it and validated: a kill in between would lose the step's metrics."""
    write_checkpoint(tmp_path, 5)
    write_checkpoint(tmp_path, 10)
    assert repair(tmp_path, reported=9) == 5
    assert [path.name for path in tmp_path.glob("global_step_*")] == ["global_step_5"]


def accuracy(value: float) -> dict[str, float]:
    """Reported metrics of a step with this validation accuracy."""
    return {f"val-core/bfcl_paper_{category}/acc/mean@1": value for category in ("base", "miss_func")}


def steps(folder: Path) -> set[int]:
    return {int(path.name.removeprefix("global_step_")) for path in folder.glob("global_step_*")}


def test_the_newest_and_the_best_stay_when_another_is_to_be_written(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write_checkpoint(tmp_path, step)
    history = {5: accuracy(0.1), 10: accuracy(0.3), 15: accuracy(0.2), 20: accuracy(0.25)}
    prune(tmp_path, history)
    assert steps(tmp_path) == {10, 20}
    write_checkpoint(tmp_path, 25)  # three at the most, and only while one is being written
    prune(tmp_path, history | {25: accuracy(0.3)})
    assert steps(tmp_path) == {25}, "of two equally good ones the later is the best"


def test_while_a_collapse_is_on_its_way_the_newest_from_before_it_stays(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write_checkpoint(tmp_path, step)
    history = {5: accuracy(0.1), 10: accuracy(0.2), 15: accuracy(0.9), 20: accuracy(0.1)}
    prune(tmp_path, history, onset=12)
    assert steps(tmp_path) == {10, 20}
    prune(tmp_path, history, onset=3)
    assert steps(tmp_path) == {10, 20}, "where none is from before it, the best"


def test_one_that_is_not_whole_is_neither_newest_nor_best(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    damage_cut_shard(write_checkpoint(tmp_path, 10))
    prune(tmp_path, {5: accuracy(0.1), 10: accuracy(0.9)})
    assert steps(tmp_path) == {5}


def test_without_an_accuracy_only_the_newest_stays(tmp_path: Path) -> None:
    for step in (5, 10):
        write_checkpoint(tmp_path, step)
    assert best([5, 10], {5: {"actor/grad_norm": 1.0}}) == 0
    prune(tmp_path, {})
    assert steps(tmp_path) == {10}


def test_the_last_good_one_is_from_before(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        write_checkpoint(tmp_path, step)
    assert last_good(tmp_path, before=15) == tmp_path / "global_step_10"
    assert last_good(tmp_path, before=5) is None


def test_another_number_of_workers_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    assert newest_whole(tmp_path, reported=5, workers=1) == 5
    with pytest.raises(EnvtuneError, match="of 1 workers, this run has 8"):
        repair(tmp_path, reported=5, workers=8)
    assert steps(tmp_path) == {5}, "nothing is removed"


def test_nothing_whole_means_from_the_start(tmp_path: Path) -> None:
    damage_no_data(write_checkpoint(tmp_path, 5))
    assert repair(tmp_path, reported=5) == 0
    assert list(tmp_path.iterdir()) == []
    assert repair(tmp_path / "not there", reported=0) == 0


def test_weights_are_handed_over_in_fp32(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoints", 5)
    hand_over(tmp_path / "checkpoints", 5, tmp_path / "model")
    assert torch.equal(load_file(tmp_path / "model" / "model.safetensors")["w"], WEIGHTS["w"])
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {"dtype": "float32", "model_type": "llama"}
    assert len(sha256_weights(tmp_path / "model")) == 64


def test_a_checkpoint_without_weights_says_what_to_set(tmp_path: Path) -> None:
    damage_no_model(write_checkpoint(tmp_path / "checkpoints", 5))
    with pytest.raises(EnvtuneError, match="hf_model"):
        hand_over(tmp_path / "checkpoints", 5, tmp_path / "model")
    assert not (tmp_path / "model").exists()
