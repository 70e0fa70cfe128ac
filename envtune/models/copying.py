"""Weights of a small Llama that copies before it has learnt anything.

A transformer learns to go on with what came after the same word earlier in its context ("induction", Olsson et al. 2022, arXiv
2209.11895) only after millions of tokens, and calls of tools need it: names stand in the docs. Here the two heads that do it
are laid out by hand; training starts from them and can change them as it likes.

The residual stream is split in two: the first half holds the token, and in its last place a constant; the second half holds the
token before it. Heads have 32 dimensions, of which rotary position embedding turns those of high frequency by the distance and,
at this `ROPE_THETA`, leaves those of low frequency as they are over some thousand tokens.

    layer 0   the first half of the heads look one token back, whatever it is, and write it into the second half
    layer 1   all heads but one look where the token before was the present one, and write what stands there into the first half
    layer 2   half of the heads look at the same token elsewhere; what they take from there is left to training
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from envtune.models.checkpoint import LlamaShape
from envtune.models.tiny import random_tensors

ROPE_THETA = 1e10
_HEAD = 32
_PAIRS = _HEAD // 2
_FAST = np.arange(4)  # frequencies that tell one token's distance from two
_SLOW = np.r_[np.arange(5, _PAIRS), _PAIRS + np.arange(5, _PAIRS)]  # dimensions that distances do not turn
_DEVIATION = 0.05  # of an embedding's entries


def copying_tensors(shape: LlamaShape, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors as of `random_tensors`, with the heads above in them. shape: hidden = 32 * heads = key-value heads, at least 64; at
    least 3 layers; rope_theta = ROPE_THETA."""
    tensors = dict(random_tensors(shape, rng, deviation=0.02))
    half, heads = shape.hidden // 2, shape.heads
    token, constant, before = np.arange(half - 1), half - 1, half + np.arange(half - 1)
    embedding = tensors["model.embed_tokens.weight"]
    embedding[:] = 0
    embedding[:, token] = rng.normal(0.0, _DEVIATION, (shape.vocabulary, len(token)))
    embedding[:, constant] = _DEVIATION

    one_back = max(1, heads // 2)
    q, k, v, o = _attention(tensors, 0, one_back)
    speeds = ROPE_THETA ** (-_FAST / _PAIRS)
    for head, part in enumerate(np.array_split(token, one_back)):
        at = head * _HEAD
        q[at + _FAST, constant] = 5 * np.cos(speeds)
        q[at + _PAIRS + _FAST, constant] = -5 * np.sin(speeds)
        k[at + _FAST, constant] = 5
        v[at + np.arange(len(part)), part] = 1
        o[before[part], at + np.arange(len(part))] = _DEVIATION / 2**0.5

    finders = max(1, heads - 1)
    q, k, v, o = _attention(tensors, 1, finders)
    _look_for(q, k, token, before, finders, gain=2.2)
    for head, part in enumerate(np.array_split(token, finders)):
        at = head * _HEAD + np.arange(len(part))
        v[at, part] = 1
        o[part, at] = 4 * _DEVIATION

    q, k, _, _ = _attention(tensors, 2, 0)
    same = max(1, heads // 2)
    q[: same * _HEAD], k[: same * _HEAD] = 0, 0
    _look_for(q, k, token, token, same, gain=1.2)
    yield from tensors.items()


def _attention(tensors: dict[str, np.ndarray], layer: int, heads: int) -> tuple[np.ndarray, ...]:
    """Query, key, value and output weights of a layer, with zeros at its first `heads` heads."""
    parts = tuple(tensors[f"model.layers.{layer}.self_attn.{name}_proj.weight"] for name in "qkvo")
    for part in parts[:3]:
        part[: heads * _HEAD] = 0
    parts[3][:, : heads * _HEAD] = 0
    return parts


def _look_for(q: np.ndarray, k: np.ndarray, asked: np.ndarray, found: np.ndarray, heads: int, gain: float) -> None:
    """The first `heads` heads attend to where the dimensions `found` hold what `asked` hold here."""
    for head in range(heads):
        place = (head * len(_SLOW) + np.arange(len(_SLOW))) % len(asked)
        q[head * _HEAD + _SLOW, asked[place]] = gain
        k[head * _HEAD + _SLOW, found[place]] = gain
