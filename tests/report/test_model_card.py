"""The model card: front matter that the hub reads, results that were measured, each with its protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from made_reports import STATE, make_evaluation, record_of

from envtune.profile import Profile
from envtune.report import write_model_card
from envtune.tables.collect import copy_records


def front(card: str) -> dict[str, Any]:
    head, text, rest = card.split("---\n", 2)
    assert head == "" and rest.startswith("\n# ")
    value = yaml.safe_load(text)
    assert isinstance(value, dict)
    return value


def write(profile: Profile) -> str:
    return write_model_card(profile).read_text(encoding="utf-8")


def test_the_hub_reads_it(whole: Profile, tmp_path: Path) -> None:
    path = write_model_card(whole, tmp_path / "README.md")
    card = path.read_text(encoding="utf-8")
    data = ModelCard(card).data
    assert data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data.library_name == "transformers" and data.pipeline_tag == "text-generation"
    assert data.license == "other" and data.license_link.endswith(data.base_model)
    assert data.model_name == "envtune-cpu"
    values = {result.dataset_config: result.metric_value for result in data.eval_results}
    # of the last checkpoint: all of base pass, none of long context does
    assert values == {"base": 100.0, "miss_func": 100.0, "miss_param": 0.0, "long_context": 0.0}
    for result in data.eval_results:
        assert "protocol kit-format-1, release paper, temperature 0.0" in result.dataset_name
        assert "protocol kit-format-1" in result.metric_name
    assert "4 of 4 passed, 1 run(s)" in card


def test_it_tells_of_the_training(whole: Profile) -> None:
    card = write(whole)
    assert "makes no claim of skill" in card and "No claim of skill." in card
    assert "5.33 core-hours, 2 h 40 min in all attempts" in card
    assert "| stage3 | solve hard tasks | all | progress | augmented | 6 | finished | `aaaaaaaaaaaaaaaa` |" in card
    assert "| `actor_rollout_ref.rollout.n` | all | 16 | 2 |" in card


def test_what_was_not_run_is_no_result(begun: Profile) -> None:
    assert "model-index" not in front(write(begun))
    assert "Not evaluated." in write(begun) and "No run: there is no" in write(begun)
    not_run = replace(record_of("multi_turn_miss_func_2", None), outcome="not_run", passed=None)
    make_evaluation(begun, "stage1", [record_of("multi_turn_base_1", STATE), not_run])
    make_evaluation(begun, "start", [record_of("multi_turn_base_1", None)])
    copy_records(begun.run_dir / "evaluation", ("start", "stage1"), begun.results_dir / "records")
    (model,) = front(write(begun))["model-index"]
    (result,) = model["results"]
    assert result["dataset"]["config"] == "base" and result["metrics"][0]["value"] == 0.0
    assert "| bfcl-v3 | miss\\_func |  |  | 1 |" in write(begun)


def test_several_seeds_are_one_result(begun: Profile) -> None:
    for seed, error in ((1, None), (2, STATE), (3, None)):
        make_evaluation(begun, "stage1", [record_of("multi_turn_base_1", error)], seed=seed)
    copy_records(begun.run_dir / "evaluation", ("stage1",), begun.results_dir / "records")
    (result,) = front(write(begun))["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 66.67 and "2 of 3 passed, 3 run(s)" in result["metrics"][0]["name"]


@pytest.mark.parametrize(
    ("model", "base", "license"),
    [
        ({"source": "hf", "path": "Qwen/Qwen2.5-7B-Instruct"}, "Qwen/Qwen2.5-7B-Instruct", "other"),
        (
            {"source": "hf", "path": "Qwen/Qwen2.5-7B-Instruct", "license": "apache-2.0"},
            "Qwen/Qwen2.5-7B-Instruct",
            "apache-2.0",
        ),
        ({"source": "hf", "path": "/models/mine"}, None, "other"),
        ({"source": "hf", "path": "Qwen/x\n- injected: [1"}, None, "other"),
    ],
)
def test_base_and_licence(begun: Profile, model: dict[str, str], base: str | None, license: str) -> None:
    said = front(write(replace(begun, model=MappingProxyType(model))))
    assert said.get("base_model") == base and said["license"] == license
    assert ("license_link" in said) == (base is not None and license == "other")


def test_names_are_only_text(begun: Profile) -> None:
    name = "x](https://example.org) | <script> --- \n---\nlicense: mit"
    protocol = {"name": name, "format": "kit", "description": "", "feedback": "none"}
    make_evaluation(begun, "stage1", [record_of("multi_turn_base_1", None)], protocol=protocol)
    copy_records(begun.run_dir / "evaluation", ("stage1",), begun.results_dir / "records")
    card = write(begun)
    assert front(card)["license"] == "other"
    row = next(line for line in card.splitlines() if line.startswith("| bfcl-v3 | base |"))
    assert "\\](https" in row and "\\<script\\>" in row and row.replace("\\|", "").count("|") == 8
