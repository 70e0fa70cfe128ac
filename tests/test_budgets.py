"""Token budgets: what is counted, and that a policy that shortens results changes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from envtune.budgets import budget_rows, count_tokens, load_tokenizer
from envtune.cli import app
from envtune.environment import Episode
from envtune.environment.gold_policy import gold_replies
from envtune.errors import EnvtuneError
from envtune.models.tiny import write_random_model
from envtune.tasks import find_task, load_tasks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with SmolLM2's tokenizer."""
    path = tmp_path_factory.mktemp("model")
    write_random_model(path)
    return path


def test_prompt_and_response_are_the_whole_conversation(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    task = find_task("multi_turn_base_0")
    count = count_tokens(task, tokenizer)
    episode = Episode(task)
    messages = episode.start()
    opening = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    for reply in gold_replies(task):
        messages += [{"role": "assistant", "content": reply}, *episode.step(reply).messages]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert count.prompt == len(tokenizer.encode(opening, add_special_tokens=False))
    assert count.prompt + count.response == len(tokenizer.encode(whole, add_special_tokens=False))


def test_long_context_is_what_exceeds_a_budget(folder: Path) -> None:
    """42 ground truths ask for the data of a stock, which has more tokens than a response may."""
    tokenizer = load_tokenizer(str(folder))
    padded = [
        t
        for t in load_tasks("paper")
        if t.long_context and any("get_stock_info" in c for x in t.ground_truth for c in x)
    ]
    assert len(padded) == 42
    twins = [find_task(task.id.replace("long_context", "base")) for task in padded[:3]]
    (long, base) = budget_rows(count_tokens(task, tokenizer) for task in (*padded[:3], *twins))
    assert long.over[24576] == tuple(task.id for task in padded[:3])
    assert base.over[24576] == base.over_context == ()
    (short,) = budget_rows(count_tokens(task, tokenizer, 2_000) for task in padded[:3])
    assert short.over[24576] == ()
    assert [count.prompt for count in short.counts] == [count.prompt for count in long.counts]


def test_what_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match="no tokenizer"):
        load_tokenizer(str(tmp_path / "nothing"))
    result = CliRunner().invoke(app, ["validate", "--tokenizer", str(tmp_path / "nothing")])
    assert isinstance(result.exception, EnvtuneError)
