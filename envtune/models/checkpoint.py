"""A model folder in Hugging Face format, written without torch: weights, config, tokenizer, chat template.

Why not `save_pretrained`: it needs torch and a model in memory, and what transformers 5 writes is silently wrong in
4.57 (there rope theta falls back to 10,000). This writer states rope theta both ways and names the one tokenizer class
that both read. transformers and vLLM load the folder as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

WEIGHTS = "model.safetensors"
NOTE = "envtune_model.json"  # where a model folder says what it is and where it came from


@dataclass(frozen=True)
class LlamaShape:
    """Sizes of a Llama-like decoder with tied embeddings. `positions` is the context length in tokens."""

    vocabulary: int
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    key_value_heads: int
    positions: int
    rope_theta: float
    norm_epsilon: float

    def as_config(self, special: SpecialTokens, tokenizer: Tokenizer) -> dict[str, Any]:
        """The config.json of this shape, readable by transformers 4.57 and 5.x and by vLLM."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.hidden // self.heads,
            "max_position_embeddings": self.positions,
            "rms_norm_eps": self.norm_epsilon,
            "rope_theta": self.rope_theta,  # transformers 4
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},  # transformers 5
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "initializer_range": 0.02,
            "torch_dtype": "float32",
            "bos_token_id": tokenizer.token_to_id(special.bos),
            "eos_token_id": tokenizer.token_to_id(special.eos),
            "pad_token_id": tokenizer.token_to_id(special.pad),
        }


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens with a role, as text."""

    bos: str
    eos: str
    pad: str
    unk: str


def write_checkpoint(
    out_dir: Path,
    shape: LlamaShape,
    tensors: Mapping[str, np.ndarray],
    tokenizer: Tokenizer,
    special: SpecialTokens,
    chat_template: str,
) -> None:
    """Write the model folder: fp32 weights (names as transformers' LlamaForCausalLM), config, tokenizer, template.

    The tokenizer must have exactly `shape.vocabulary` entries: vLLM masks ids that the tokenizer does not know, and
    its log-probabilities would then differ from the trainer's.
    """
    if tokenizer.get_vocab_size(with_added_tokens=True) != shape.vocabulary:
        known = tokenizer.get_vocab_size(with_added_tokens=True)
        raise ValueError(f"the tokenizer has {known} entries, the model {shape.vocabulary}")
    out_dir.mkdir(parents=True, exist_ok=True)
    weights = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
    save_file(weights, out_dir / WEIGHTS, metadata={"format": "pt"})
    config = shape.as_config(special, tokenizer)
    tokenizer.save(str(out_dir / "tokenizer.json"))
    _write_json(out_dir / "config.json", config)
    _write_json(
        out_dir / "generation_config.json",
        {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    _write_json(
        out_dir / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": special.bos,
            "eos_token": special.eos,
            "pad_token": special.pad,
            "unk_token": special.unk,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.positions,
            "model_input_names": ["input_ids", "attention_mask"],
            "chat_template": chat_template,
        },
    )


def write_note(model_dir: Path, note: Mapping[str, Any]) -> None:
    """Write what the model is and where it came from beside it (envtune_model.json)."""
    _write_json(model_dir / NOTE, note)


def read_note(model_dir: Path) -> dict[str, Any] | None:
    """The folder's envtune_model.json, or None when there is none or it is not a JSON object (a broken write)."""
    try:
        note = json.loads((model_dir / NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
