"""Known defects of the benchmark: tasks that cannot be passed, or that pass by accident, as a versioned list.

The list is known_defects.json beside this file; README.md there says what is on it. Every entry holds what is wrong and
the evidence; tests/tasks/test_defects.py derives the evidence again from BFCL's data, and looks for what is missing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from envtune.bfcl import get_release
from envtune.tasks.task import Task


@dataclass(frozen=True)
class DefectClass:
    """A kind of defect. unsound: whether a task that has it says nothing about the model that passes or fails it."""

    name: str
    unsound: bool
    definition: str


@dataclass(frozen=True)
class Defect:
    """One defect of one task in one release.

    wrong: a sentence; evidence: what a program needs to show it again, each a mapping of names to JSON values;
    threads: public threads that name the task, as owner/repository#number.
    """

    task_id: str
    release: str
    kind: DefectClass
    wrong: str
    evidence: tuple[Mapping[str, Any], ...]
    threads: tuple[str, ...]


@dataclass(frozen=True)
class DefectList:
    """The list. version: raised with every change, and named by every result that is reported on the sound tasks."""

    version: str
    date: str
    classes: Mapping[str, DefectClass]
    defects: tuple[Defect, ...]


@functools.cache
def load_defects() -> DefectList:
    """The whole list, both releases."""
    data = json.loads(resources.files("envtune.tasks").joinpath("known_defects.json").read_text("utf-8"))
    classes = {name: DefectClass(name, row["unsound"], row["definition"]) for name, row in data["classes"].items()}
    defects = tuple(
        Defect(task_id, release, classes[row["class"]], row["wrong"], tuple(row["evidence"]), tuple(row["threads"]))
        for row in data["defects"]
        for release in row["releases"]
        for task_id in row["ids"]
    )
    return DefectList(data["version"], data["date"], MappingProxyType(classes), defects)


def known_defects(release: str) -> tuple[Defect, ...]:
    """Those of one release ("paper" or "current"), in the list's order. Raises EnvtuneError on another name."""
    get_release(release)
    return tuple(defect for defect in load_defects().defects if defect.release == release)


def defects_of(task: Task) -> tuple[Defect, ...]:
    """What is known to be wrong with one task."""
    return tuple(defect for defect in known_defects(task.release) if defect.task_id == task.id)


def is_sound(task_id: str, release: str) -> bool:
    """Whether the task has no defect of a class that makes it unsound."""
    get_release(release)
    return task_id not in _unsound(release)


@functools.cache
def _unsound(release: str) -> frozenset[str]:
    return frozenset(defect.task_id for defect in known_defects(release) if defect.kind.unsound)
