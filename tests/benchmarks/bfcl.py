"""BFCL's own executor and checker, imported from the unpacked wheel, on its ground truths: what ours is measured beside.

It evaluates call strings and never frees an instance; both are its way, and it is given ground truths only.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from typing import Any

from envtune.bfcl import get_release
from envtune.tasks import Task

Turns = list[list[list[str]]]
_NUMBERS = itertools.count()


def load_checker(release: str) -> Callable[[Task, Turns], bool]:
    """(task, turns) -> valid, by bfcl-eval's `multi_turn_checker`. One release a process: the package has one name."""
    sys.path.insert(0, str(get_release(release).folder().parent))
    module = importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")

    def check(task: Task, turns: Turns) -> bool:
        entry: dict[str, Any] = {
            "id": task.id, "initial_config": task.initial_config, "involved_classes": list(task.involved_classes),
        }  # fmt: skip
        gold = [list(turn) for turn in task.ground_truth]
        # a name used before would find the instances that it left behind
        verdict = module.multi_turn_checker(turns, gold, entry, "multi_turn", f"bench{next(_NUMBERS)}")
        return bool(verdict["valid"])

    return check
