"""A Llama of about a million parameters, trained here in minutes on the reply format and on copying from tool docs.

It is the starting policy of reproduce/mini.yaml, where reinforcement learning on real BFCL tasks must show within minutes on two
cores whether it works. Its data are conversations of made-up tools (mini_conversations.py), in which a set share of the replies
is not in the format. Its byte-level BPE tokenizer is trained on the docs of BFCL's tools, which the prompts hold; requests,
solutions and results of BFCL are used nowhere. What was done is written into envtune_model.json.
"""

from __future__ import annotations

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
from envtune.models.checkpoint import WEIGHTS, LlamaShape, write_checkpoint
from envtune.models.mini_conversations import mini_conversations
from envtune.models.tiny import CHATML, SPECIAL, byte_level_tokenizer, random_tensors
from envtune.models.warm_start import Example, encode
from envtune.tasks import load_tasks

DATA = "synthetic conversations with made-up tools; the tokenizer alone has seen BFCL, namely its tool docs"
_GROUP = 64  # examples that are sorted by length together, so that a batch needs little padding


@dataclass(frozen=True)
class MiniModel:
    """Settings of the model and its training.

    hidden, layers: its size (heads have 32 dimensions); vocabulary: tokens; positions: context in tokens; brief_steps:
    optimizer steps on brief conversations, so that copying is learnt at a quarter of the cost;
    steps: those after them, on the whole prompt; batch: conversations a step; learning_rate: of AdamW at its highest; ill_formed: probability that a reply of the
    data is spoilt; tools, turns: of a conversation; threads: of torch, since sums over threads differ in the last digit.
    """

    hidden: int = 128
    layers: int = 3
    vocabulary: int = 1024
    positions: int = 4096
    brief_steps: int = 150
    steps: int = 260
    batch: int = 8
    learning_rate: float = 3e-3
    ill_formed: float = 0.4
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
        rope_theta=10_000.0,
        norm_epsilon=1e-5,
    )
    tensors = dict(random_tensors(shape, np.random.default_rng(settings.seed), deviation=0.02))
    write_checkpoint(out_dir, shape, tensors, trained_tokenizer(settings.vocabulary), SPECIAL, CHATML)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return _train(out_dir, settings)
    finally:
        torch.set_num_threads(threads)


def trained_tokenizer(vocabulary: int) -> Tokenizer:
    """Byte-level BPE of exactly `vocabulary` entries, trained on the tool docs of the tasks of release `paper` and the prompt."""
    docs = {prompt.compact_json(tool) for task in load_tasks("paper") for tool in task.tools}
    fixed = prompt.go_on(prompt.ill_formed("")) + prompt.system_prompt([])
    return byte_level_tokenizer([*sorted(docs), *[fixed] * len(docs)], vocabulary)


def pool(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The words of the conversations: the tokenizer's entries that are two letters or more, in order, without a space before them."""
    entries = {token.removeprefix("Ġ") for token in tokenizer.get_vocab()}
    return sorted(entry for entry in entries if len(entry) > 1 and entry.isascii() and entry.isalpha())


def _train(out_dir: Path, settings: MiniModel) -> dict[str, Any]:
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(out_dir)
    model = AutoModelForCausalLM.from_pretrained(out_dir, dtype=torch.float32, attn_implementation="sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    total = settings.brief_steps + settings.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    words, losses, tokens = pool(tokenizer), [], 0
    model.train()
    with tqdm(total=total, desc="mini model", unit="step") as progress:
        for batch in _batches(tokenizer, words, settings):
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


def _batches(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], settings: MiniModel) -> Iterator[list[Example]]:
    """The batches of all steps, each of examples of about the same length."""
    group = 0
    for steps, brief in ((settings.brief_steps, True), (settings.steps, False)):
        while steps > 0:
            conversations = mini_conversations(
                _GROUP,
                settings.seed * 1_000_003 + group,
                words,
                tools=min(2, settings.tools) if brief else settings.tools,
                turns=settings.turns,
                ill_formed=settings.ill_formed,
                brief=brief,
            )
            examples = sorted((encode(tokenizer, one) for one in conversations), key=lambda example: len(example.ids))
            starts = np.random.default_rng(group).permutation(range(0, _GROUP, settings.batch))[:steps]
            for start in starts:
                yield examples[start : start + settings.batch]
            steps, group = steps - len(starts), group + 1


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
