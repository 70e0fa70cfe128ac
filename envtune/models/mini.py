"""A Llama of about a million parameters, trained here in minutes on the reply format and on calling what docs offer.

It is the starting policy of reproduce/mini.yaml, where reinforcement learning on real BFCL tasks must show within minutes on two
cores whether it works. Its weights begin with heads that copy (copying.py). Its data are conversations (mini_conversations.py)
about made-up tools and about BFCL's, whose docs every prompt holds anyway; requests are random words, and a set share of the replies
is not in the format. Requests, solutions and results of BFCL are used nowhere, the tokenizer included. What was done is written into
envtune_model.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from envtune.environment import prompt
from envtune.files import sha256_json
from envtune.models.checkpoint import WEIGHTS, LlamaShape, write_checkpoint
from envtune.models.copying import ROPE_THETA, copying_tensors
from envtune.models.mini_conversations import Doc, mini_conversations
from envtune.models.tiny import CHATML, SPECIAL, byte_level_tokenizer
from envtune.models.toy_conversations import Conversation
from envtune.models.warm_start import Example, encode
from envtune.tasks import load_tasks

DATA = "synthetic requests for made-up tools and for BFCL's, of which the docs alone are used, by the tokenizer as well"
# A word is the same token wherever it stands, so that one that is asked for can be found in the docs; digits stand alone.
_SPLIT = "[A-Za-z]+|[0-9]|[^A-Za-z0-9]+"
_GROUP = 64  # examples that are sorted by length together, so that a batch needs little padding


@dataclass(frozen=True)
class MiniModel:
    """Settings of the model and its training.

    hidden, layers: its size (heads have 32 dimensions); vocabulary: tokens; positions: context in tokens; brief_steps: optimizer steps on
    brief conversations, so that copying and choosing are learnt at a quarter of the cost; steps: those after them, on the whole prompt;
    batch: conversations a step; learning_rate: of AdamW at its highest (three times as much undoes the copying heads); ill_formed:
    probability that a reply of the data is spoilt; tools, turns: of a conversation; threads: of torch, since sums over threads differ in
    the last digit.
    """

    hidden: int = 128
    layers: int = 4
    vocabulary: int = 2048
    positions: int = 4096
    brief_steps: int = 1000
    steps: int = 800
    batch: int = 8
    learning_rate: float = 7e-4
    ill_formed: float = 0.3
    tools: int = 4
    turns: int = 2
    seed: int = 0
    threads: int = 1


def write_mini_model(out_dir: Path, settings: MiniModel) -> dict[str, Any]:
    """Make the model and train it, in `out_dir`; gives the record of what was done. The same settings give the same weights on the same kind of
    machine."""
    shape = LlamaShape(
        vocabulary=settings.vocabulary,
        hidden=settings.hidden,
        feed_forward=3 * settings.hidden,
        layers=settings.layers,
        heads=settings.hidden // 32,
        key_value_heads=settings.hidden // 32,
        positions=settings.positions,
        rope_theta=ROPE_THETA,
        norm_epsilon=1e-5,
    )
    tensors = dict(copying_tensors(shape, np.random.default_rng(settings.seed)))
    write_checkpoint(out_dir, shape, tensors, trained_tokenizer(settings.vocabulary), SPECIAL, CHATML)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return _train(out_dir, settings)
    finally:
        torch.set_num_threads(threads)


def trained_tokenizer(vocabulary: int) -> Tokenizer:
    """Byte-level BPE of exactly `vocabulary` entries, trained on the tool docs of release `paper` and the prompt."""
    docs = [prompt.compact_json(doc) for doc in tool_docs()]
    whole = fixed_texts(docs)
    parts = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True))))
    texts = [part for doc in docs for part in parts.split(doc)] + [prompt.system_prompt([])] * len(docs)
    return byte_level_tokenizer(texts, vocabulary, _SPLIT, whole)


def fixed_texts(docs: Sequence[str]) -> list[str]:
    """What prompts say again and again: the environment's lines, what BFCL's docs say of a whole class, and the JSON between
    a doc's own words. As one token each they make prompts half as long."""
    lines = "\n".join(
        [
            prompt.system_prompt([]),
            prompt.go_on(prompt.results([], [])),
            prompt.closed("", True),
            prompt.closed("", False),
        ]
    )
    classes = {found for doc in docs for found in re.findall(r"This tool belongs to [^\"]*?Tool description: ", doc)}
    kinds = ("string", "integer", "float", "boolean", "array", "dict")
    json_parts = [
        '{"name":"', '","description":"', '","parameters":{"type":"dict","properties":{', '"}},"required":["', '"}},"required":[]}}',
        '},"required":[]}}', '"]}}', '"},"', '"}},"', '","', '"items":{"type":"string"}',
        *(f'":{{"type":"{kind}","description":"' for kind in kinds),
    ]  # fmt: skip
    return list(dict.fromkeys([*filter(None, map(str.strip, lines.split("\n"))), *sorted(classes), *json_parts]))


def tool_docs() -> list[dict[str, Any]]:
    """The docs of all tools of release `paper`, each once, in a fixed order."""
    docs = {prompt.compact_json(tool): dict(tool) for task in load_tasks("paper") for tool in task.tools}
    return [docs[text] for text in sorted(docs)]


def data_sha256(settings: MiniModel) -> str:
    """Hex SHA-256 of the first conversations of both kinds, by which a model of other data is known (the words are the tokenizer's)."""
    words, docs = pool(trained_tokenizer(settings.vocabulary)), tool_docs()
    return sha256_json([_conversations(words, docs, settings, 0, brief) for brief in (True, False)])


def pool(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> list[str]:
    """The words of the conversations: the tokenizer's entries of three letters or more, in order."""
    return sorted(entry for entry in tokenizer.get_vocab() if len(entry) > 2 and entry.isascii() and entry.isalpha())


def _train(out_dir: Path, settings: MiniModel) -> dict[str, Any]:
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(out_dir)
    model = AutoModelForCausalLM.from_pretrained(out_dir, dtype=torch.float32, attn_implementation="sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    total = settings.brief_steps + settings.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    words, docs, losses, tokens = pool(tokenizer), tool_docs(), [], 0
    model.train()
    with tqdm(total=total, desc="mini model", unit="step") as progress:
        for batch in _batches(tokenizer, words, docs, settings):
            loss = batch_loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            tokens += sum(len(example.ids) for example in batch)
            progress.set_postfix(loss=round(losses[-1], 3))
            progress.update()
    save_file(_weights(model), out_dir / WEIGHTS, metadata={"format": "pt"})
    every = max(1, total // 20)
    return {
        "settings": asdict(settings),
        "data": DATA,
        "parameters": sum(part.numel() for part in model.parameters()),
        "tokens": tokens,
        "losses": [round(loss, 4) for loss in losses[every - 1 :: every]],
    }


def _rate(step: int, total: int) -> float:
    """Share of the learning rate: up over the first twentieth, then down in a line."""
    rise = max(1, total // 20)
    return min((step + 1) / rise, (total - step) / (total - rise + 1))


def _batches(
    tokenizer: PreTrainedTokenizerBase, words: Sequence[str], docs: Sequence[Doc], settings: MiniModel
) -> Iterator[list[Example]]:
    """The batches of all steps, each of examples of about the same length."""
    group = 0
    for steps, brief in ((settings.brief_steps, True), (settings.steps, False)):
        while steps > 0:
            conversations = _conversations(words, docs, settings, group, brief)
            examples = sorted((encode(tokenizer, one) for one in conversations), key=lambda example: len(example.ids))
            starts = np.random.default_rng(group).permutation(range(0, _GROUP, settings.batch))[:steps]
            for start in starts:
                yield examples[start : start + settings.batch]
            steps, group = steps - len(starts), group + 1


def _conversations(
    words: Sequence[str], docs: Sequence[Doc], settings: MiniModel, group: int, brief: bool
) -> list[Conversation]:
    return mini_conversations(
        _GROUP,
        settings.seed * 1_000_003 + group,
        words,
        docs=docs,
        tools=settings.tools,
        turns=settings.turns,
        ill_formed=settings.ill_formed,
        brief=brief,
    )


def batch_loss(model: PreTrainedModel, batch: Sequence[Example]) -> torch.Tensor:
    """Mean cross-entropy in nats over the learnt tokens of a batch; shorter examples are padded on the right, where causal attention
    lets nothing see the padding."""
    longest = max(len(example.ids) for example in batch)
    ids, learnt = torch.zeros((len(batch), longest), dtype=torch.long), torch.zeros((len(batch), longest), dtype=bool)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        learnt[row, : len(example.ids)] = torch.tensor(example.learnt)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][learnt[:, 1:]]
    logits = model.get_output_embeddings()(hidden)
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][learnt[:, 1:]])


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """By name, without the output layer, which is the embedding."""
    return {name: one.contiguous() for name, one in model.state_dict().items() if name != "lm_head.weight"}
