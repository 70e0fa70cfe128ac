"""A short supervised warm start on the reply format alone, in plain torch.

Why: SmolLM2-135M-Instruct never produces a well-formed reply by itself, so every rollout of a group would get the same
reward and GRPO no gradient. A few steps on synthetic conversations (toy_conversations.py; nothing of BFCL) teach it
the tags and no more: the settings stop where some replies are well-formed and some are not. Training proper starts
after that. The outcome is written down in envtune_model.json: data hash, losses, share of well-formed replies
before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from envtune.environment import ReplyKind, parse_reply
from envtune.files import sha256_json
from envtune.models.checkpoint import WEIGHTS
from envtune.models.toy_conversations import Conversation, toy_conversations


@dataclass(frozen=True)
class WarmStart:
    """Settings of the warm start.

    steps: optimizer steps; batch: conversations a step; learning_rate: of AdamW at its highest, no weight decay;
    probes, samples: held-out prompts and replies to each, sampled at temperature 1, that the share of well-formed
    replies is measured on (0 probes: not measured); max_reply: tokens a sampled reply may have.
    """

    steps: int = 8
    batch: int = 2
    learning_rate: float = 2e-4
    seed: int = 0
    probes: int = 2
    samples: int = 8
    max_reply: int = 96


@dataclass(frozen=True)
class Example:
    """A conversation as token ids, and which of them are learnt: the assistant's, its end token included."""

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]


def warm_start(model_dir: Path, settings: WarmStart) -> dict[str, Any]:
    """Train the checkpoint in `model_dir` in place; give the record of what was done, for envtune_model.json."""
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    conversations = training_conversations(settings)
    examples = [encode(tokenizer, conversation) for conversation in conversations]
    before = well_formed_rate(model, tokenizer, settings)
    losses = train(model, examples, settings)
    after = well_formed_rate(model, tokenizer, settings)
    _save_weights(model, model_dir)
    return {
        "settings": asdict(settings),
        "data": "synthetic conversations with made-up tools; no BFCL task, tool or solution",
        "data_sha256": sha256_json(conversations),
        "tokens": sum(len(example.ids) for example in examples),
        "tokens_learnt": sum(sum(example.learnt) for example in examples),
        "losses": losses,
        "well_formed_before": before,
        "well_formed_after": after,
    }


def training_conversations(settings: WarmStart) -> list[Conversation]:
    """The conversations that these settings train on, in order."""
    return toy_conversations(settings.steps * settings.batch, settings.seed)


def encode(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> Example:
    """Token ids of a conversation under the tokenizer's chat template, with the assistant's own tokens marked.

    Context and replies are tokenised apart, as in a rollout: there the reply's tokens are sampled after a context
    that ends with the template's opening of the assistant's message.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    done = ""
    for i, message in enumerate(conversation):
        if message["role"] != "assistant":
            continue
        opened = tokenizer.apply_chat_template(list(conversation[:i]), tokenize=False, add_generation_prompt=True)
        reply = message["content"] + tokenizer.eos_token
        whole = tokenizer.apply_chat_template(list(conversation[: i + 1]), tokenize=False)
        if not opened.startswith(done) or not whole.startswith(opened + reply):
            raise ValueError("the chat template rewrites earlier messages; the assistant's tokens cannot be told apart")
        for text, mark in ((opened[len(done) :], False), (reply, True)):
            piece = tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            learnt += [mark] * len(piece)
        done = opened + reply
    return Example(tuple(ids), tuple(learnt))


def train(model: PreTrainedModel, examples: Sequence[Example], settings: WarmStart) -> list[float]:
    """`steps` AdamW steps over the examples in order; the mean loss (nats a learnt token) of each step.

    Conversations go through one at a time and gradients add up: no padding, and memory for one conversation.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings.steps))
    model.train()
    losses = []
    with tqdm(total=settings.steps, desc="warm start", unit="step") as progress:
        for step in range(settings.steps):
            batch = examples[step * settings.batch : (step + 1) * settings.batch]
            learnt = sum(sum(example.learnt) for example in batch)
            total = 0.0
            for example in batch:
                loss = summed_loss(model, example) / learnt
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(round(total, 4))
            progress.set_postfix(loss=losses[-1])
            progress.update()
    model.eval()
    return losses


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the learning rate at a step (from 0): up over the first fifth, then down in a line to nearly zero.

    At a constant rate of this size the last of so few steps decide too much: well-formedness and tool names come
    and go from one step to the next.
    """
    rise = max(1, steps // 5)
    return min((step + 1) / rise, max(0.0, (steps - step) / (steps - rise + 1)))


def summed_loss(model: PreTrainedModel, example: Example) -> torch.Tensor:
    """Cross-entropy in nats, summed over the learnt tokens. Logits are made at these alone: they are most of the cost
    of a small model with a large vocabulary."""
    ids = torch.tensor([example.ids])
    learnt = torch.tensor(example.learnt)[1:]  # position i predicts token i + 1
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, :-1][learnt]
    logits = model.get_output_embeddings()(hidden)
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:][learnt], reduction="sum")


def well_formed_rate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: WarmStart) -> float | None:
    """Share of well-formed first replies to held-out toy prompts, sampled at temperature 1; None without probes."""
    if not settings.probes:
        return None
    generator = torch.Generator().manual_seed(settings.seed)
    replies: list[str] = []
    for conversation in toy_conversations(settings.probes, settings.seed + 1_000_003):
        opened = tokenizer.apply_chat_template(
            list(conversation[:2]), add_generation_prompt=True, return_dict=False, return_tensors="pt"
        )
        replies += sample_replies(model, tokenizer, opened, settings.samples, settings.max_reply, generator)
    return sum(parse_reply(reply).kind is not ReplyKind.ILL_FORMED for reply in replies) / len(replies)


@torch.no_grad()
def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    opened: torch.Tensor,
    count: int,
    limit: int,
    generator: torch.Generator,
) -> list[str]:
    """`count` replies of at most `limit` tokens to one prompt ((1, length) ids), sampled at temperature 1.

    The prompt goes through the model once for all replies. Sampling stops early when no reply can become well-formed.
    """
    state = model(input_ids=opened, use_cache=True, logits_to_keep=1)
    cache = state.past_key_values
    cache.batch_repeat_interleave(count)
    logits = state.logits[:, -1].repeat(count, 1)
    sampled = torch.empty((count, 0), dtype=torch.long)
    while True:
        drawn = torch.multinomial(torch.softmax(logits, dim=-1), 1, generator=generator)
        sampled = torch.cat([sampled, drawn], dim=1)
        texts = [_until_end(tokenizer, row) for row in sampled]
        if sampled.shape[1] == limit or all(ended or not _may_be_reply(text) for text, ended in texts):
            return [text for text, _ in texts]
        logits = model(input_ids=drawn, past_key_values=cache, use_cache=True).logits[:, -1]


def _until_end(tokenizer: PreTrainedTokenizerBase, row: torch.Tensor) -> tuple[str, bool]:
    """The text before the first end token, and whether there is one."""
    ids = row.tolist()
    ended = tokenizer.eos_token_id in ids
    return tokenizer.decode(ids[: ids.index(tokenizer.eos_token_id)] if ended else ids), ended


def _may_be_reply(text: str) -> bool:
    """Whether a text can be the beginning of a well-formed reply."""
    begun = text.lstrip()
    return begun.startswith("<think>"[: len(begun)])


def _save_weights(model: PreTrainedModel, model_dir: Path) -> None:
    """Replace the weights alone; config and tokenizer stay as they were written."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tied = model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    if tied:
        del weights["lm_head.weight"]
    save_file(weights, model_dir / WEIGHTS, metadata={"format": "pt"})
