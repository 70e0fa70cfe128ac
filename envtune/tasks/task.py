"""A task: one multi-turn instance of BFCL V3, frozen, identified by the hash of its content."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from envtune.files import sha256_json

_CALL_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*\(")


@dataclass(frozen=True, eq=False)
class Task:
    """One instance. Two tasks are equal when their content is.

    id: BFCL's ("multi_turn_base_0"); category: base | miss_func | miss_param | long_context; release: paper | current.
    question: per turn, the user's messages ({"role", "content"}; empty at the turn that reveals held-out tools).
    initial_config: class name -> scenario; shared between episodes, so read-only: copy before use.
    ground_truth: per turn, call strings; an empty turn is one that cannot be done with what is on offer.
    held_out: turn index -> names of the tools that come on offer at that turn and not before.
    tools: docs ({"name", "description", "parameters"}) of all tools of the involved classes, held-out ones included.
    tools_cut, turns_cut: None, or the number that `cut_tools` or `cut_turns` was asked to leave.
    """

    id: str
    category: str
    release: str
    question: tuple[tuple[Mapping[str, str], ...], ...]
    initial_config: Mapping[str, Any]
    involved_classes: tuple[str, ...]
    ground_truth: tuple[tuple[str, ...], ...]
    held_out: Mapping[int, tuple[str, ...]]
    tools: tuple[Mapping[str, Any], ...]
    tools_cut: int | None = None
    turns_cut: int | None = None

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 over every field: the identity of the task, to be put into records."""
        return sha256_json(
            {
                "id": self.id,
                "release": self.release,
                "question": [[dict(message) for message in turn] for turn in self.question],
                "initial_config": self.initial_config,
                "involved_classes": self.involved_classes,
                "ground_truth": self.ground_truth,
                "held_out": {str(turn): names for turn, names in self.held_out.items()},
                "tools": [dict(tool) for tool in self.tools],
                "tools_cut": self.tools_cut,
                **({} if self.turns_cut is None else {"turns_cut": self.turns_cut}),
            }
        )

    @property
    def index(self) -> int:
        """BFCL's number: the four categories' tasks of one number are variants of each other."""
        return int(self.id.rsplit("_", 1)[1])

    @property
    def long_context(self) -> bool:
        """Whether the API objects pad their outputs (BFCL decides it from the id)."""
        return self.category == "long_context"

    def tools_on_offer(self, turn: int) -> tuple[Mapping[str, Any], ...]:
        """Docs of the tools that may be called in this turn (from 0): all but those still held out."""
        hidden = {name for reveal, names in self.held_out.items() if reveal > turn for name in names}
        return tuple(tool for tool in self.tools if tool["name"] not in hidden)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Task) and self.content_hash == other.content_hash)

    def __hash__(self) -> int:
        return hash(
            (self.id, self.release, self.tools_cut, self.turns_cut)
        )  # cheap: tasks are the keys of what is worked out once


def cut_turns(task: Task, max_turns: int) -> Task:
    """A task's first `max_turns` turns: a different task, with its own hash. Tools that a later turn would reveal are gone."""
    late = {name for turn, names in task.held_out.items() if turn >= max_turns for name in names}
    return dataclasses.replace(
        task,
        question=task.question[:max_turns],
        ground_truth=task.ground_truth[:max_turns],
        held_out={turn: names for turn, names in task.held_out.items() if turn < max_turns},
        tools=tuple(tool for tool in task.tools if tool["name"] not in late),
        turns_cut=max_turns,
    )


def cut_task(task: Task, max_tools: int | None = None, tools_seed: int = 0, max_turns: int | None = None) -> Task:
    """The task as a profile takes it: `cut_turns`, then `cut_tools`; None: that is not cut."""
    if max_turns is not None:
        task = cut_turns(task, max_turns)
    return task if max_tools is None else cut_tools(task, max_tools, tools_seed)


def cut_tools(task: Task, max_tools: int, seed: int = 0) -> Task:
    """A task with at most `max_tools` tool docs, for models with little room: a different task, with its own hash.

    Kept are the tools that the ground truth calls and those held out (even when they are more than `max_tools`),
    then others drawn at random by `seed` and the task's id, in their old order.
    """
    needed = {match.group(1) for turn in task.ground_truth for call in turn if (match := _CALL_NAME.match(call))}
    needed |= {name for names in task.held_out.values() for name in names}
    others = sorted(tool["name"] for tool in task.tools if tool["name"] not in needed)
    room = max(0, max_tools - len(needed))
    drawn = random.Random(f"{seed}:{task.id}").sample(others, min(room, len(others)))
    kept = needed | set(drawn)
    return dataclasses.replace(
        task, tools=tuple(tool for tool in task.tools if tool["name"] in kept), tools_cut=max_tools
    )
