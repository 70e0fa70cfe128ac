"""The tiny random model: what transformers reads is what was written, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from envtune.environment import format_instructions
from envtune.files import sha256_file
from envtune.models.tiny import write_random_model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("tiny") / "model", seed=7)


def test_loads_with_every_weight_used(model_dir: Path) -> None:
    model, report = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert model.config.rope_parameters["rope_theta"] == 10_000.0
    assert model.config.max_position_embeddings >= 4096
    with torch.no_grad():
        logits = model(torch.arange(12)[None]).logits
    assert logits.shape == (1, 12, model.config.vocab_size)
    assert torch.isfinite(logits).all()
    assert torch.softmax(logits, -1).max() > 2 / model.config.vocab_size  # not flat


def test_tokenizer_is_as_large_as_the_model_and_loses_nothing(model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    assert len(tokenizer) == 1024
    text = format_instructions() + "\n  naïve 猫 \t{}[]"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < len(text) / 2  # the merges were learnt from text like this


def test_template_opens_and_closes_messages(model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.encode("<|im_end|>") == [tokenizer.eos_token_id]


def test_equal_seeds_give_equal_files(model_dir: Path, tmp_path: Path) -> None:
    again = write_random_model(tmp_path / "again", seed=7)
    other = write_random_model(tmp_path / "other", seed=8)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"):
        assert sha256_file(again / name) == sha256_file(model_dir / name)
    assert sha256_file(other / "model.safetensors") != sha256_file(model_dir / "model.safetensors")
    assert sha256_file(other / "tokenizer.json") == sha256_file(model_dir / "tokenizer.json")
