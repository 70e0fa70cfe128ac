"""The table of `envtune validate --tokenizer`: what the ground truths take, and the tasks that exceed a budget."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

from envtune.bfcl import get_release
from envtune.budgets import CONTEXT, RESPONSE_BUDGETS, BudgetRow, budget_rows, count_tokens, load_tokenizer
from envtune.tasks import load_tasks


def print_budgets(releases: Iterable[str], tokenizer: str, max_result_characters: int | None, console: Console) -> None:
    """Count all tasks of the releases and print a table and a list for each. Raises EnvtuneError without a tokenizer."""
    loaded = load_tokenizer(tokenizer)
    policy = "whole results" if max_result_characters is None else f"results cut to {max_result_characters} characters"
    for release in releases:
        tasks = load_tasks(release)
        train = {task.id for task in load_tasks(release, "train")}
        counted = track(tasks, f"{release}: counting", console=console, transient=True)
        rows = budget_rows(count_tokens(task, loaded, max_result_characters) for task in counted)
        version = get_release(release).version
        console.print(_table(f"{release} (bfcl-eval {version}), tokenizer {tokenizer}, {policy}", rows, train))
        for row in rows:
            for budget, ids in row.over.items():
                _list(console, row, f"{budget:,} tokens of response", ids)
            _list(console, row, f"{CONTEXT:,} tokens of context", row.over_context)


def _table(title: str, rows: list[BudgetRow], train: set[str]) -> Table:
    table = Table(title=title, caption="over a budget: tasks (of them in the training split); minimal thinking")
    table.add_column("category", overflow="fold")
    heads = ["longest prompt", "median response", "longest"]
    for head in (*heads, *(f"over {budget:,}" for budget in RESPONSE_BUDGETS), f"over {CONTEXT:,} in all"):
        table.add_column(head, justify="right")
    for row in rows:
        responses = sorted(count.response for count in row.counts)
        sizes = [max(count.prompt for count in row.counts), round(median(responses))]
        sizes.append(responses[-1])
        over = [f"{len(ids)} ({len(train.intersection(ids))})" for ids in (*row.over.values(), row.over_context)]
        table.add_row(row.category, *(f"{size:,}" for size in sizes), *over)
    return table


def _list(console: Console, row: BudgetRow, budget: str, ids: tuple[str, ...]) -> None:
    if ids:
        numbers = " ".join(task_id.rsplit("_", 1)[1] for task_id in ids)
        console.print(f"multi_turn_{row.category}, over {budget}: {numbers}", highlight=False, soft_wrap=True)
