"""The dry run: the paper's profile composes and validates for all stages, its departures have reasons, sums are right."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from omegaconf import DictConfig
from rich.console import Console

from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile
from envtune.training import cost
from envtune.training.dry_run import Findings, check_stages, dry_run, from_start_model, stage_costs
from envtune.training.lock_check import check_lock
from envtune.training.model_shape import HUB, ModelShape, shape_of
from envtune.training.paper_settings import Setting, departures, load_settings, stale, unexplained

ROOT = Path(__file__).parents[2]
QWEN = HUB["Qwen/Qwen2.5-7B-Instruct"]


@pytest.fixture(scope="module")
def gpu() -> Profile:
    return load_profile("gpu")


@pytest.fixture(scope="module")
def findings(gpu: Profile) -> Findings:
    return check_stages(gpu)


def changed(profile: Profile, **verl: object) -> Profile:
    """The profile with other verl keys; a double underscore stands for a dot."""
    keys = {key.replace("__", "."): value for key, value in verl.items()}
    return dataclasses.replace(profile, verl={**profile.verl, **keys})


def test_all_stages_of_the_papers_profile_compose_and_validate(findings: Findings) -> None:
    assert findings.problems == []
    steps = {name: config.trainer.total_training_steps for name, config in findings.configs.items()}
    # 75 // 16, 100 // 32 and 400 // 32 batches an epoch, 20 epochs
    assert steps == {"stage1": 80, "stage2": 60, "stage3": 240, "stage4": 240}


def test_each_stage_starts_from_the_result_of_the_one_before(gpu: Profile, findings: Findings) -> None:
    starts = [config.actor_rollout_ref.model.path for config in findings.configs.values()]
    results = [str(gpu.stage_dir(stage) / "model") for stage in ("stage1", "stage2", "stage3")]
    assert starts == ["Qwen/Qwen2.5-7B-Instruct", *results]


def test_what_departs_from_the_paper_is_known_and_has_reasons(gpu: Profile, findings: Findings) -> None:
    configs = from_start_model(gpu, findings.configs)
    found = {entry.key.rpartition(".")[2]: (entry.stages, entry.paper, entry.ours) for entry in departures(configs)}
    assert found == {
        "ppo_mini_batch_size": (("stage1",), 32, 16),
        "name": (("stage1", "stage2", "stage3", "stage4"), "sglang", "vllm"),
    }
    assert unexplained(configs) == []


def test_every_published_setting_is_one_that_verl_has(findings: Findings) -> None:
    from omegaconf import OmegaConf

    for setting in load_settings():
        for name, config in findings.configs.items():
            assert OmegaConf.select(config, setting.key) is not None, f"{setting.key} in {name}"


def test_a_departure_without_a_reason_and_a_reason_without_a_departure_are_problems() -> None:
    config = {"stage1": DictConfig({"a": {"b": 2, "same": True}}), "stage2": DictConfig({"a": {"b": 2, "same": True}})}
    settings = [
        Setting("a.b", {"stage1": 1, "stage2": 2}),
        Setting("a.same", True, why="no longer so"),
        Setting("a.gone", 0.5),
    ]
    assert unexplained(config, settings) == [
        "a.b is 2, the paper has 1, and no reason is given",
        "a.gone is not set, the paper has 0.5, and no reason is given",
    ]
    assert stale(config, settings) == [
        "a.same has a reason for departing from the paper but does not depart",
    ]


@pytest.mark.parametrize(
    ("paper", "ours", "same"),
    [(1.0, 1, True), (1, True, False), (True, True, True), ("a", "a", True), (2, "2", False), (2, None, False)],
)
def test_values_are_compared_by_what_they_mean(paper: object, ours: object, same: bool) -> None:
    assert (departures({"s": DictConfig({"k": ours})}, [Setting("k", paper)]) == []) is same


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"actor_rollout_ref__actor__loss_agg_mode": "by-eye"}, "Invalid loss_agg_mode: by-eye"),
        ({"actor_rollout_ref__rollout__mode": "sync"}, "Rollout mode 'sync'"),
        ({"actor_rollout_ref__rollout__max_model_len": 16384}, "rollout.max_model_len is 16384"),
        ({"actor_rollout_ref__actor__ppo_max_token_len_per_gpu": 9000}, "does not fit into an update's batch"),
        ({"actor_rollout_ref__actor__lerning_rate": 1}, "verl has no setting"),
    ],
)
def test_a_wrong_setting_is_a_problem_named_for_each_stage(
    gpu: Profile, keys: Mapping[str, object], words: str
) -> None:
    problems = check_stages(changed(gpu, **keys)).problems
    assert problems and all(words in problem and problem.startswith("stage") for problem in problems)


def test_parameters_of_known_models_are_the_published_counts() -> None:
    counts = {name.split("/")[1]: shape.parameters for name, shape in HUB.items()}
    assert counts["Qwen2.5-7B-Instruct"] == 7_615_616_512
    assert counts["Llama-3.1-8B-Instruct"] == 8_030_261_248
    assert counts["Qwen3-4B-Instruct-2507"] == 4_022_468_096


def test_a_model_in_a_folder_is_counted_as_its_weights_are(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 48, "vocab_size": 100}
    models = [LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True)), Qwen2ForCausalLM(Qwen2Config(**sizes))]
    for number, model in enumerate(models):
        model.config.save_pretrained(tmp_path / str(number))
        shape = shape_of(str(tmp_path / str(number)))
        assert shape is not None and shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert shape_of(str(tmp_path / "nowhere")) is None


def test_disk_is_checkpoints_kept_and_the_result(gpu: Profile, findings: Findings) -> None:
    costs = stage_costs(gpu, findings, QWEN, cost.Assumptions())
    plan = costs[0].plan
    assert (plan.checkpoints_written, plan.checkpoints_kept) == (16, 3)  # every fifth of 80 steps
    checkpoint = QWEN.parameters * (4 + 8 + 4)  # verl's shards, AdamW's moments, the whole model
    dumps = 80 * 256 * (plan.prompt_length + 0.6 * 10_000) * 4
    assert costs[0].checkpoints == 3 * checkpoint
    assert costs[0].disk == pytest.approx(4 * QWEN.parameters + dumps)
    assert cost.peak_disk(costs) == pytest.approx(sum(one.disk for one in costs) + 3 * checkpoint)
    assert cost.checkpoint_bytes(QWEN, ["model"]) == 4 * QWEN.parameters


def test_hours_follow_from_tokens_and_the_stated_rates() -> None:
    shape = ModelShape(2, 1, 1, 1, 2, 2, head_dim=2)
    plan = cost.StagePlan("stage1", 10, 4, 0, 50.0, 100, 2, 1, gpus=2)
    given = cost.Assumptions((0.5, 0.5), 0.4, 0.5, 1000.0, 10.0, 1.0, 1e9, 4.0)
    # 4 episodes of 50 + 50 tokens: 4 * 50 * 0.4 = 80 written at 20 a second, and 400 tokens through six passes
    forward = 2 * shape.parameters + 2 * 1 * 1 * 2 * 100
    assert cost.step_seconds(plan, shape, 0.5, given) == pytest.approx(80 / 20 + 400 * forward * 6 / (2 * 0.5 * 1000))


def test_keys_and_values_fit_beside_the_weights() -> None:
    tokens = cost.cache_tokens_per_gpu(QWEN, 80e9, 0.8, 1)
    assert tokens == pytest.approx((64e9 - 2 * QWEN.parameters) / (2 * 2 * 28 * 4 * 128))
    assert cost.cache_tokens_per_gpu(QWEN, 10e9, 0.8, 1) == 0, "the weights alone do not fit"


def test_the_lock_is_left_unchecked_without_a_package_index(tmp_path: Path) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_CACHE_DIR": str(tmp_path), "UV_HTTP_RETRIES": "0"}
    check = check_lock("gpu", os.environ | nowhere)
    assert check.holds is None and "no package index can be reached" in check.message


def test_a_missing_lock_is_said() -> None:
    with pytest.raises(EnvtuneError, match=r"requirements-tpu\.txt is missing"):
        check_lock("tpu")


@pytest.mark.slow  # asks the package index
def test_the_gpu_lock_resolves_and_a_changed_one_does_not(tmp_path: Path) -> None:
    assert check_lock("gpu").holds is True
    for name in ("pyproject.toml", "README.md", "requirements-gpu.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "envtune").mkdir()
    shutil.copy(ROOT / "envtune" / "__init__.py", tmp_path / "envtune")
    lock = tmp_path / "requirements-gpu.txt"
    lock.write_text(lock.read_text().replace("verl==0.9.1", "verl==0.9.0"), encoding="utf-8")
    check = check_lock("gpu", root=tmp_path)
    assert check.holds is False and "does not resolve" in check.message


def test_the_cpu_profile_passes_and_says_where_it_is_not_the_paper() -> None:
    said = io.StringIO()
    assert dry_run(load_profile("cpu"), Console(file=said, width=200)) == 0
    assert "All of this holds." in said.getvalue() and "Qwen/Qwen2.5-7B-Instruct" in said.getvalue()
    assert "ESTIMATE" not in said.getvalue(), "hours are reckoned for GPUs alone"


def test_a_problem_makes_the_exit_code_one(tmp_path: Path, gpu: Profile) -> None:
    said = io.StringIO()
    wrong = changed(gpu, trainer__device="cpu", data__max_response_length=10**6)
    assert dry_run(wrong, Console(file=said, width=200)) == 1
    assert "4 problems" in said.getvalue()
    assert "Problem: stage4: prompt and response may be 1008192 tokens together" in said.getvalue()


def test_a_wrong_gate_is_a_problem(gpu: Profile) -> None:
    wrong = dataclasses.replace(gpu, gate={"rule": "plateau", "windw": 3})
    assert any("gate has no setting 'windw'" in problem for problem in check_stages(wrong).problems)
