"""A tiny random model in the same format as a real one, so that tests run the real trainer and the real server.

Two Llama layers with random weights and a byte-level BPE tokenizer trained in place on the environment's own prompt
text, with a ChatML template. It says nothing sensible; everything around it works as with a real checkpoint.
Takes about a second, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from envtune.models.checkpoint import LlamaShape, SpecialTokens, write_checkpoint, write_note
from envtune.models.toy_conversations import toy_conversations

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = SpecialTokens(bos="<|im_start|>", eos="<|im_end|>", pad="<|endoftext|>", unk="<|endoftext|>")
_VOCABULARY = 1024


def write_random_model(out_dir: Path, seed: int = 0) -> Path:
    """Write the model into `out_dir` and return it. Equal seeds give equal files.

    About 400,000 parameters, context 8,192 tokens, 1,024 tokens in both tokenizer and model.
    """
    out_dir = Path(out_dir)
    shape = LlamaShape(
        vocabulary=_VOCABULARY,
        hidden=128,
        feed_forward=256,
        layers=2,
        heads=4,
        key_value_heads=2,
        positions=8192,
        rope_theta=10_000.0,
        norm_epsilon=1e-5,
    )
    tensors = dict(random_tensors(shape, np.random.default_rng(seed)))
    texts = (message["content"] for conversation in toy_conversations(64, seed=0) for message in conversation)
    write_checkpoint(out_dir, shape, tensors, byte_level_tokenizer(texts, _VOCABULARY), SPECIAL, CHATML)
    write_note(out_dir, {"source": "random", "seed": seed, "weights": "random; for tests only"})
    return out_dir


def random_tensors(
    shape: LlamaShape, rng: np.random.Generator, deviation: float = 0.05
) -> Iterator[tuple[str, np.ndarray]]:
    """Normal weights (0.05 is wide enough that the next-token distribution is not flat), norms of one."""
    head = shape.hidden // shape.heads
    queries, keys = shape.heads * head, shape.key_value_heads * head
    sizes = {
        "self_attn.q_proj": (queries, shape.hidden),
        "self_attn.k_proj": (keys, shape.hidden),
        "self_attn.v_proj": (keys, shape.hidden),
        "self_attn.o_proj": (shape.hidden, queries),
        "mlp.gate_proj": (shape.feed_forward, shape.hidden),
        "mlp.up_proj": (shape.feed_forward, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.feed_forward),
        "input_layernorm": (shape.hidden,),
        "post_attention_layernorm": (shape.hidden,),
    }
    yield "model.embed_tokens.weight", _normal(rng, (shape.vocabulary, shape.hidden), deviation)
    for layer in range(shape.layers):
        for part, size in sizes.items():
            weights = _normal(rng, size, deviation) if len(size) == 2 else np.ones(size, dtype=np.float32)
            yield f"model.layers.{layer}.{part}.weight", weights
    yield "model.norm.weight", np.ones(shape.hidden, dtype=np.float32)


def _normal(rng: np.random.Generator, size: tuple[int, ...], deviation: float) -> np.ndarray:
    return rng.normal(0.0, deviation, size).astype(np.float32)


def byte_level_tokenizer(
    texts: Iterable[str], vocabulary: int, split: str | None = None, whole: Sequence[str] = ()
) -> Tokenizer:
    """Byte-level BPE with exactly `vocabulary` entries: what training on the texts leaves free is filled with unused tokens.

    split: a regular expression; no learnt token reaches beyond one of its matches. None: GPT-2's, in which a space belongs to
    the word after it. whole: texts that are one token each.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        parts = pre_tokenizers.Split(Regex(split), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(whole),
        special_tokens=[SPECIAL.pad, SPECIAL.bos, SPECIAL.eos],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in whole])
    free = vocabulary - tokenizer.get_vocab_size(with_added_tokens=True)
    tokenizer.add_special_tokens([AddedToken(f"<|unused_{i}|>", special=True) for i in range(free)])
    return tokenizer
