"""Rows for verl: what is written is what verl's own dataset and loader read back, and what an episode opens with."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from helpers.scripted_engine import Player, ScriptedEngine, verl_defaults

from envtune.environment import Episode
from envtune.environment.gold_policy import gold_replies
from envtune.errors import EnvtuneError
from envtune.files import sha256_file
from envtune.profile import Profile, load_profile
from envtune.tasks import load_tasks
from envtune.training.dataset import EpisodeSpec, make_row, select_specs, write_data, write_files

IDS = ["multi_turn_base_0", "multi_turn_miss_func_0", "multi_turn_long_context_0"]


def specs(**changes: Any) -> list[EpisodeSpec]:
    return select_specs("all", **{"release": "paper", "reward": "progress", "ids": IDS, "max_tools": 8, **changes})


def verl_dataset(path: Path, tokenizer: Any, tmp_path: Path) -> Any:
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    config = OmegaConf.create(
        {"cache_dir": str(tmp_path / "verl"), "max_prompt_length": 16000, "return_raw_chat": True}
    )
    return RLHFDataset(str(path), tokenizer, config)


def test_verl_s_dataset_and_loader_read_the_rows_back(tokenizers: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    from torchdata.stateful_dataloader import StatefulDataLoader
    from verl.utils.dataset.rl_dataset import collate_fn

    tokenizer, wanted = tokenizers("smollm2"), specs(feedback="augmented")
    write_files(tmp_path, {"stage3": wanted}, tokenizer, 16000)
    dataset = verl_dataset(tmp_path / "stage3.parquet", tokenizer, tmp_path)
    assert len(dataset) == 3
    loader = StatefulDataLoader(dataset, batch_size=2, collate_fn=collate_fn)
    batches = iter(loader)
    first = next(batches)
    state = loader.state_dict()
    rest = next(batches)

    for place, (spec, task_id) in enumerate(zip(wanted, IDS, strict=True)):
        batch, at = (first, place) if place < 2 else (rest, 0)
        assert EpisodeSpec.from_json(batch["environment"][at]) == spec
        assert batch["raw_prompt"][at] == Episode(spec.task(), "augmented").start()
        assert batch["agent_name"][at] == "envtune"
        assert batch["index"][at] == place
        assert batch["reward_model"][at]["ground_truth"] == task_id
        assert batch["extra_info"][at]["split"] == "all"
    assert list(first["data_source"]) + list(rest["data_source"]) == [
        "bfcl_paper_base",
        "bfcl_paper_miss_func",
        "bfcl_paper_long_context",
    ]
    resumed = StatefulDataLoader(dataset, batch_size=2, collate_fn=collate_fn)
    resumed.load_state_dict(state)
    assert [list(batch["environment"]) for batch in resumed] == [list(rest["environment"])]


def test_rows_play_after_verl_s_whole_way_from_file_to_episode(
    tokenizers: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Parquet, dataset, collate, TensorDict, and the worker's own unpacking of it into the arguments of `run`."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    import numpy
    from omegaconf import OmegaConf
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
    from verl.utils import tensordict_utils
    from verl.utils.dataset.rl_dataset import collate_fn

    tokenizer, wanted = tokenizers("smollm2"), specs()
    write_files(tmp_path, {"stage3": wanted}, tokenizer, 16000)
    dataset = verl_dataset(tmp_path / "stage3.parquet", tokenizer, tmp_path)
    columns = collate_fn([dataset[index] for index in range(3)])
    columns["uid"] = numpy.array(["a", "b", "c"], dtype=object)
    batch = tensordict_utils.get_tensordict(columns)
    tensordict_utils.assign_non_tensor_data(batch, "global_steps", 5)
    outputs = {}

    class Worker(AgentLoopWorkerTQ.__ray_metadata__.modified_class):
        """verl's worker, with no queue behind it: episodes are played, their outputs kept here."""

        def __init__(self, config: dict[str, Any]) -> None:
            self.config = OmegaConf.create(config)
            self.player = Player(config, tokenizer)
            self.background_tasks = set()

        async def _run_prompt(self, prompt: Any, sampling_params: Any, trajectory: Any, trace: bool = False) -> None:
            spec = EpisodeSpec.from_json(prompt["environment"])
            engine = ScriptedEngine(tokenizer, list(gold_replies(spec.task())))
            loop = self.player.loop(engine, response_length=60_000)
            assert prompt.pop("agent_name") == "envtune"
            outputs[prompt["uid"]] = await loop.run(sampling_params, session_id=0, **prompt)

    async def play() -> None:
        worker = Worker(verl_defaults())
        await worker.generate_sequences(batch)
        await asyncio.gather(*worker.background_tasks)

    asyncio.run(play())
    assert [outputs[uid].reward_score for uid in "abc"] == [1.0] * 3
    assert [outputs[uid].extra_fields["reward_extra_info"]["task_id"] for uid in "abc"] == IDS


def test_the_manifest_says_what_the_data_are(tokenizers: Any, tmp_path: Path) -> None:
    files = {"stage1": specs(ids=IDS[:1], reward="format"), "validation": select_specs(
        "validation", release="paper", reward="progress", max_tools=8, ids=["multi_turn_base_120"]
    )}  # fmt: skip
    manifest = write_files(tmp_path, files, tokenizers("smollm2"), 16000)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    stage1 = manifest["files"]["stage1"]
    assert (stage1["rows"], stage1["reward"], stage1["release"], stage1["max_tools"]) == (1, "format", "paper", 8)
    assert stage1["tasks"] == {IDS[0]: files["stage1"][0].task().content_hash}
    assert 0 < stage1["longest_prompt"] <= manifest["max_prompt_length"] == 16000
    assert (
        len(stage1["wheel_sha256"]) == len(manifest["split"]["sha256"]) == len(manifest["chat_template_sha256"]) == 64
    )
    assert manifest["sha256"] == {
        name: sha256_file(tmp_path / name) for name in ("stage1.parquet", "validation.parquet")
    }
    assert "commit" in manifest["provenance"]


def test_writing_again_changes_nothing_and_mends_what_was_changed(tokenizers: Any, tmp_path: Path) -> None:
    tokenizer = tokenizers("smollm2")

    def write(**changes: Any) -> tuple[int, dict[str, Any]]:
        manifest = write_files(tmp_path, {"stage3": specs(**changes)}, tokenizer, 16000)
        return (tmp_path / "manifest.json").stat().st_mtime_ns, manifest

    first = write()
    assert write() == first
    for name in ("stage3.parquet", "manifest.json"):
        (tmp_path / name).write_bytes(b"cut off")
        assert write()[1]["sha256"] == first[1]["sha256"]
        assert sha256_file(tmp_path / "stage3.parquet") == first[1]["sha256"]["stage3.parquet"]
    assert write(reward="binary")[1]["sha256"] != first[1]["sha256"]


def test_a_prompt_that_verl_would_cut_is_an_error_and_nothing_is_written(tokenizers: Any, tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match=r"multi_turn_base_0 \(\d+\)"):
        write_files(tmp_path / "data", {"stage3": specs()}, tokenizers("smollm2"), 2000)
    assert not (tmp_path / "data").exists()


def test_the_longest_prompt_may_fill_the_limit(tokenizers: Any, tmp_path: Path) -> None:
    tokenizer = tokenizers("smollm2")
    longest = write_files(tmp_path, {"a": specs()}, tokenizer, 16000)["files"]["a"]["longest_prompt"]
    assert write_files(tmp_path, {"a": specs()}, tokenizer, longest)["files"]["a"]["longest_prompt"] == longest
    with pytest.raises(EnvtuneError, match="longer than"):
        write_files(tmp_path, {"a": specs()}, tokenizer, longest - 1)


def test_a_task_outside_the_subset_is_refused() -> None:
    heldout = next(task.id for task in load_tasks("paper", "heldout"))
    with pytest.raises(EnvtuneError, match=heldout):
        specs(ids=[*IDS, heldout])


def test_a_file_needs_tasks_and_one_setting(tokenizers: Any, tmp_path: Path) -> None:
    for wrong in ([], [*specs(), *specs(reward="binary")]):
        with pytest.raises(EnvtuneError, match="at least one task"):
            write_files(tmp_path, {"a": wrong}, tokenizers("smollm2"), 16000)


def test_whole_subsets_have_their_sizes() -> None:
    sizes = {name: len(select_specs(name, release="paper", reward="progress")) for name in ("stage1", "base", "all")}
    assert sizes == {"stage1": 75, "base": 100, "all": 400}
    rows = [
        make_row(i, spec) for i, spec in enumerate(select_specs("validation", release="current", reward="progress"))
    ]
    assert len(rows) == 100 and len({row["data_source"] for row in rows}) == 4


def write_profile(folder: Path, monkeypatch: Any, tokenizer: Any, **verl: Any) -> Profile:
    """A small profile with a model folder that holds only the tokenizer."""
    monkeypatch.setenv("ENVTUNE_RUNS", str(folder / "runs"))
    tokenizer.save_pretrained(folder / "runs" / "small" / "model")
    easy, validation = ([task.id for task in load_tasks("paper", name)] for name in ("stage1", "validation"))
    content = {
        "name": "small",
        "release": "paper",
        "seed": 1,
        "model": {"source": "smollm2-warm-start"},
        "tasks": {"stage1": easy[:2], "base": easy[:1], "all": IDS, "validation": validation[:2], "max_tools": 6},
        "verl": {"data.train_batch_size": 1, "data.max_prompt_length": 9000, **verl},
    }
    (folder / "small.yaml").write_text(json.dumps(content), encoding="utf-8")
    return load_profile(str(folder / "small.yaml"))


def test_a_profile_s_data_follow_the_curriculum(tokenizers: Any, tmp_path: Path, monkeypatch: Any) -> None:
    profile = write_profile(tmp_path, monkeypatch, tokenizers("smollm2"))
    assert write_data(profile) == profile.data_dir
    manifest = json.loads((profile.data_dir / "manifest.json").read_text("utf-8"))
    names = ("split", "rows", "reward", "feedback", "max_steps_per_turn", "max_tools")
    assert {name: tuple(file[key] for key in names) for name, file in manifest["files"].items()} == {
        "stage1": ("stage1", 2, "format", "none", 5, 6),
        "stage2": ("base", 1, "progress", "full", 5, 6),
        "stage3": ("all", 3, "progress", "full", 5, 6),
        "stage4": ("all", 3, "progress", "none", 5, 6),
        "validation": ("validation", 2, "progress", "none", 5, 6),
    }
    assert sorted(path.name for path in profile.data_dir.glob("*.parquet")) == sorted(manifest["sha256"])


def test_a_profile_s_long_context_policy_is_in_every_row(tokenizers: Any, tmp_path: Path, monkeypatch: Any) -> None:
    profile = write_profile(tmp_path, monkeypatch, tokenizers("smollm2"))
    profile = dataclasses.replace(profile, tasks=dataclasses.replace(profile.tasks, max_result_characters=8_000))
    write_data(profile)
    manifest = json.loads((profile.data_dir / "manifest.json").read_text("utf-8"))
    assert {file["max_result_characters"] for file in manifest["files"].values()} == {8_000}
    for path in profile.data_dir.glob("*.parquet"):
        for row in pandas.read_parquet(path)["environment"]:
            assert EpisodeSpec.from_json(row).max_result_characters == 8_000


def test_a_profile_s_faults_are_told_before_anything_is_written(
    tokenizers: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    tokenizer = tokenizers("smollm2")
    too_short = write_profile(tmp_path, monkeypatch, tokenizer, **{"data.max_prompt_length": 1000})
    with pytest.raises(EnvtuneError, match="max_prompt_length"):
        write_data(too_short)
    no_model = dataclasses.replace(too_short, run_dir=tmp_path / "elsewhere")
    with pytest.raises(EnvtuneError, match="envtune setup-model"):
        write_data(no_model)
    assert not too_short.data_dir.exists() and not no_model.data_dir.exists()
