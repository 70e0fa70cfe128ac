"""Loading tasks: the one place where BFCL's data files are read."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import CATEGORIES, Release, get_release
from envtune.bfcl.classes import CLASS_FILES
from envtune.errors import EnvtuneError
from envtune.tasks.split import SPLITS, load_split
from envtune.tasks.task import Task

# What a model is told of a tool. BFCL's docs also hold the schema of the result; without it even the longest
# system prompt stays below the paper's 8,192 prompt tokens.
_DOC_FIELDS = ("name", "description", "parameters")


def load_tasks(release: str = "paper", split: str | None = None) -> tuple[Task, ...]:
    """The 800 multi-turn tasks of a release, or one subset of them, category by category, in BFCL's order.

    release: "paper" (bfcl-eval 2025.6.8) or "current" (2026.3.23); never mix the two.
    split: None for all, or one of "train" = "all" (400), "base" (100), "stage1" (75), "test" (400), "validation"
    (100), "heldout" (300).
    Raises EnvtuneError on an unknown name, or when the release cannot be fetched.
    """
    tasks = _load_all(get_release(release))
    if split is None:
        return tuple(tasks.values())
    if split not in SPLITS:
        raise EnvtuneError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
    wanted = load_split().subsets[split]
    return tuple(task for task in tasks.values() if task.id in wanted)


def find_task(task_id: str, release: str = "paper") -> Task:
    """The task of that id. Raises EnvtuneError when the release has none."""
    task = _load_all(get_release(release)).get(task_id)
    if task is None:
        raise EnvtuneError(
            f"unknown task id {task_id!r} in release {release!r}; ids run from multi_turn_<category>_0 to _199 "
            f"with category one of: {', '.join(CATEGORIES)}"
        )
    return task


@functools.cache
def _load_all(release: Release) -> Mapping[str, Task]:
    folder = release.folder() / "data"
    docs = {name: _read(folder / "multi_turn_func_doc" / f"{stem}.json") for name, stem in CLASS_FILES.items()}
    tools = {name: tuple({f: doc[f] for f in _DOC_FIELDS} for doc in listed) for name, listed in docs.items()}
    tasks: dict[str, Task] = {}
    for category in CATEGORIES:
        name = f"{release.data_prefix}_multi_turn_{category}.json"
        answers = {row["id"]: row["ground_truth"] for row in _read(folder / "possible_answer" / name)}
        for row in _read(folder / name):
            tasks[row["id"]] = _task(release, category, row, answers[row["id"]], tools)
    return MappingProxyType(tasks)


def _task(release: Release, category: str, row: Any, ground_truth: Any, tools: Mapping[str, Any]) -> Task:
    return Task(
        id=row["id"],
        category=category,
        release=release.name,
        question=tuple(tuple(turn) for turn in row["question"]),
        initial_config=row["initial_config"],
        involved_classes=tuple(row["involved_classes"]),
        ground_truth=tuple(tuple(turn) for turn in ground_truth),
        held_out={int(turn): tuple(names) for turn, names in row.get("missed_function", {}).items()},
        tools=tuple(tool for name in row["involved_classes"] for tool in tools[name]),
    )


def _read(path: Path) -> list[Any]:
    """BFCL's .json files hold one JSON value a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
