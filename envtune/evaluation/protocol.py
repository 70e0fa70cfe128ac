"""How the in-distribution suite is run, as data: what goes into every summary and into the header of every table.

Rows of different protocols are different numbers and never share a block of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from envtune.bfcl import CATEGORIES, get_release
from envtune.environment import Episode
from envtune.files import sha256_json
from envtune.tasks import Task

SUITE = "bfcl-v3"


@dataclass(frozen=True)
class Protocol:
    """One way to run the suite.

    name: stands for all that follows, so a change of any of it needs a new name; feedback, max_steps_per_turn, rules:
    as `Episode` takes them; description: one sentence for the tables.
    """

    name: str
    feedback: str
    max_steps_per_turn: int
    rules: str
    description: str


KIT_FORMAT = Protocol(
    name="kit-format-1",
    feedback="none",
    max_steps_per_turn=20,
    rules="bfcl",
    description=(
        "BFCL V3 multi-turn; the kit's reply format (`<think>`, then `<tool_call>` or `<answer>`) in the system prompt; "
        "standard feedback; BFCL's loop: a reply without a call ends the turn, after 21 executed steps in one turn "
        "(BFCL's limit of 20, as it counts) the entry is over; judged by bfcl-eval's own `multi_turn_checker`"
    ),
)


def identity(
    protocol: Protocol, tasks: tuple[Task, ...], model: str, checkpoint_sha256: str | None, decoding: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides what a record means: records made under another identity are of another run.

    `tasks` must be of one release. The prompt hash is over every task's opening messages, so it covers the format's
    instructions and the tool docs.
    """
    release = get_release(tasks[0].release)
    return {
        "suite": SUITE,
        "protocol": asdict(protocol),
        "release": release.name,
        "bfcl_eval": {"version": release.version, "wheel_sha256": release.sha256},
        "items": {category: n for category in CATEGORIES if (n := sum(task.category == category for task in tasks))},
        "tasks_sha256": sha256_json([[task.id, task.content_hash] for task in tasks]),
        "tools_cut": sorted({task.tools_cut for task in tasks if task.tools_cut is not None}),
        "prompt_sha256": sha256_json([Episode(task).start() for task in tasks]),
        "model": model,
        "checkpoint_sha256": checkpoint_sha256,
        "decoding": dict(decoding),
    }
