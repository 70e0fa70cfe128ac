"""The warm start on a tiny random model: what it learns from, that it learns, that it repeats, what it writes down."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from envtune.files import sha256_file
from envtune.models.tiny import write_random_model
from envtune.models.toy_conversations import toy_conversations
from envtune.models.warm_start import Example, WarmStart, encode, sample_replies, summed_loss, warm_start

SETTINGS = WarmStart(steps=12, batch=2, learning_rate=3e-3, seed=1, probes=1, samples=3, max_reply=8)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("warm") / "start")


@pytest.fixture(scope="module")
def tokenizer(start: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(start)


def test_exactly_the_assistants_tokens_are_learnt(tokenizer: PreTrainedTokenizerBase) -> None:
    for conversation in toy_conversations(10, seed=5):
        example = encode(tokenizer, conversation)
        learnt = tokenizer.decode([i for i, mark in zip(example.ids, example.learnt, strict=True) if mark])
        replies = [message["content"] for message in conversation if message["role"] == "assistant"]
        assert learnt == "".join(reply + tokenizer.eos_token for reply in replies)
        whole = tokenizer.apply_chat_template(list(conversation), tokenize=False)
        assert tokenizer.decode(example.ids) == whole.removesuffix("\n")


def test_replies_follow_the_opening_of_the_assistants_message(tokenizer: PreTrainedTokenizerBase) -> None:
    example = encode(tokenizer, toy_conversations(1, seed=5)[0])
    first = example.learnt.index(True)
    assert tokenizer.decode(example.ids[:first]).endswith("<|im_start|>assistant\n")


def test_a_template_that_rewrites_earlier_messages_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{{ messages | length }}" + kept
        with pytest.raises(ValueError, match="rewrites"):
            encode(tokenizer, toy_conversations(1, seed=5)[0])
    finally:
        tokenizer.chat_template = kept


def test_the_loss_is_that_of_the_learnt_tokens_alone(start: Path) -> None:
    """Against the whole model's log-probabilities, summed by hand."""
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    example = Example(ids=(5, 6, 7, 8, 9, 10), learnt=(False, False, True, False, True, True))
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([example.ids])).logits[0], dim=-1)
        loss = summed_loss(model, example)
    expected = -(logprobs[1, 7] + logprobs[3, 9] + logprobs[4, 10])
    torch.testing.assert_close(loss, expected)


def test_loss_falls_the_record_is_complete_and_a_second_run_is_the_same(tmp_path: Path) -> None:
    records, hashes = [], []
    for name in ("a", "b"):
        model_dir = write_random_model(tmp_path / name)
        untrained = sha256_file(model_dir / "model.safetensors")
        config = sha256_file(model_dir / "config.json")
        records.append(warm_start(model_dir, SETTINGS))
        hashes.append(sha256_file(model_dir / "model.safetensors"))
        assert hashes[-1] != untrained
        assert sha256_file(model_dir / "config.json") == config
    assert records[0] == records[1]
    assert hashes[0] == hashes[1]
    losses = records[0]["losses"]
    assert len(losses) == SETTINGS.steps
    assert losses[-1] < losses[0] - 1.0
    assert 0 < records[0]["tokens_learnt"] < records[0]["tokens"]
    assert records[0]["well_formed_before"] == 0.0
    _, report = AutoModelForCausalLM.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def test_sampling_gives_what_the_model_makes_likely(start: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A model taught one reply by heart writes it, token by token from the cached prompt, and stops at its end."""
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "<think>a</think>\n<answer>b</answer>"},
    ]
    example = encode(tokenizer, tuple(messages))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss = torch.tensor(torch.inf)
    for _ in range(400):
        optimizer.zero_grad()
        loss = summed_loss(model, example)
        loss.backward()
        optimizer.step()
        if loss < 5e-3:  # then a sampled reply differs from it once in 200 times
            break
    assert loss < 5e-3
    opened = tokenizer.apply_chat_template(
        messages[:1], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    replies = sample_replies(model, tokenizer, opened, 3, 40, torch.Generator().manual_seed(0))
    assert replies == [messages[1]["content"]] * 3
