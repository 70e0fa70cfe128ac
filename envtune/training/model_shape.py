"""A model's sizes from its published configuration: what disk, memory and time are reckoned from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """A decoder of the Llama and Qwen families, by the names of its `config.json`.

    qkv_bias: whether query, key and value projections have biases (Qwen2); qk_norm: whether queries and keys are
    normalised a head (Qwen3).
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    head_dim: int
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights."""
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        layer = self.hidden_size * (2 * queries + 2 * keys + 3 * self.intermediate_size) + 2 * self.hidden_size
        layer += (queries + 2 * keys) * self.qkv_bias + 2 * self.head_dim * self.qk_norm
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + self.hidden_size

    @property
    def cache_bytes_per_token(self) -> int:
        """Size of one token's keys and values in bfloat16, all layers."""
        return 2 * 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


# From the models' config.json on the Hugging Face hub, so that a check needs no access to it.
_LLAMA_3_1_8B = ModelShape(4096, 32, 32, 8, 14336, 128256, 128)
HUB = MappingProxyType(
    {
        "Qwen/Qwen2.5-7B-Instruct": ModelShape(3584, 28, 28, 4, 18944, 152064, 128, qkv_bias=True),
        "Qwen/Qwen3-4B-Instruct-2507": ModelShape(2560, 36, 32, 8, 9728, 151936, 128, True, qk_norm=True),
        "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_3_1_8B,
        "Team-ACE/ToolACE-2-Llama-3.1-8B": _LLAMA_3_1_8B,
        "watt-ai/watt-tool-8B": _LLAMA_3_1_8B,
    }
)


def shape_of(path: str) -> ModelShape | None:
    """The shape of a model on the hub that is known here, or of the one in a folder; None where it cannot be told."""
    if path in HUB:
        return HUB[path]
    file = Path(path) / "config.json"
    if not file.is_file():
        return None
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    return ModelShape(
        hidden_size=config["hidden_size"],
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads", heads),
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        tie_word_embeddings=config.get("tie_word_embeddings", False),
        qkv_bias=config["model_type"] == "qwen2" or config.get("attention_bias", False),
        qk_norm=config["model_type"] == "qwen3",
    )
