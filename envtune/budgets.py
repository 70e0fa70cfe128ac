"""How many tokens a task takes at the least: which tasks fit which budget, and what shortening long results would change.

    envtune validate --release paper --tokenizer Qwen/Qwen2.5-7B-Instruct
    envtune validate --release paper --tokenizer PATH --max-result-characters 8000

Long context pads what tools return, and one result can have more tokens than a whole response may (the paper's budgets
are 10,000 and 24,576 tokens for all turns together, in a context of 32,768). What is counted is the ground truth's own
path with almost no thinking, under the training rules: what it takes, any policy that makes these calls takes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.curriculum import CURRICULUM
from envtune.environment import Episode
from envtune.environment.gold_policy import play_gold
from envtune.errors import EnvtuneError
from envtune.tasks import Task

RESPONSE_BUDGETS = tuple(sorted({stage.max_response_length for stage in CURRICULUM}))
CONTEXT = 32_768  # the paper's max_model_len


@dataclass(frozen=True)
class TokenCount:
    """A task's tokens on the ground truth's path. prompt: the opening messages; response: all that follows, the
    environment's messages included, as `data.max_response_length` counts it."""

    task: Task
    prompt: int
    response: int


@dataclass(frozen=True)
class BudgetRow:
    """One category under one set of budgets. over: response budget -> ids of the tasks that exceed it; over_context:
    ids of those whose prompt and response exceed the context together."""

    category: str
    counts: tuple[TokenCount, ...]
    over: dict[int, tuple[str, ...]]
    over_context: tuple[str, ...]


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a folder or of the model hub. Raises EnvtuneError when it cannot be had or has no chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise EnvtuneError(
            f"no tokenizer {name!r}: name a model's folder, or an id of the hub if it can be reached"
        ) from error
    if not tokenizer.chat_template:
        raise EnvtuneError(f"the tokenizer {name!r} has no chat template; use an instruction-tuned model's")
    return tokenizer


def count_tokens(task: Task, tokenizer: Any, max_result_characters: int | None = None) -> TokenCount:
    """Play the ground truth and count what the conversation takes when rendered by the tokenizer's chat template."""
    episode = Episode(task, max_result_characters=max_result_characters)
    messages = play_gold(episode)
    prompt = _length(tokenizer, messages[:2], open_end=True)
    return TokenCount(task, prompt, _length(tokenizer, messages, open_end=False) - prompt)


def budget_rows(
    counts: Iterable[TokenCount], responses: Sequence[int] = RESPONSE_BUDGETS, context: int = CONTEXT
) -> list[BudgetRow]:
    """One row a category, in the order in which they come."""
    by_category: dict[str, list[TokenCount]] = {}
    for count in counts:
        by_category.setdefault(count.task.category, []).append(count)
    return [
        BudgetRow(
            category,
            tuple(found),
            {budget: tuple(c.task.id for c in found if c.response > budget) for budget in responses},
            tuple(c.task.id for c in found if c.prompt + c.response > context),
        )
        for category, found in by_category.items()
    ]


def _length(tokenizer: Any, messages: list[dict[str, str]], open_end: bool) -> int:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=open_end)
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
