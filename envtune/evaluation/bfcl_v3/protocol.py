"""How the in-distribution suite is run, as data: what goes into every summary and into the header of every table.

Rows of different protocols are different numbers and never share a block of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from envtune.bfcl import get_release
from envtune.environment import Episode
from envtune.evaluation.bfcl_v3.function_calling import native_tools, request
from envtune.files import sha256_json
from envtune.tasks import Task

SUITE = "bfcl-v3"


@dataclass(frozen=True)
class Protocol:
    """One way to run the suite.

    name: stands for all that follows, so a change of any of it needs a new name; format: "kit" or "fc" (see
    envtune/evaluation/reply_formats.py); feedback, max_steps_per_turn, rules: as `Episode` takes them; description: one
    sentence for the tables.
    """

    name: str
    format: str
    feedback: str
    max_steps_per_turn: int
    rules: str
    description: str


_LOOP = (
    "BFCL's loop: a reply without a call ends the turn, after 21 executed steps in one turn (BFCL's limit of 20, as it "
    "counts) the entry is over; judged by bfcl-eval's own `multi_turn_checker`"
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "kit": Protocol(
            name="kit-format-1",
            format="kit",
            feedback="none",
            max_steps_per_turn=20,
            rules="bfcl",
            description=(
                "BFCL V3 multi-turn; the kit's reply format (`<think>`, then `<tool_call>` or `<answer>`) in the system "
                f"prompt; standard feedback; {_LOOP}"
            ),
        ),
        "fc": Protocol(
            name="native-fc-1",
            format="fc",
            feedback="none",
            max_steps_per_turn=20,
            rules="bfcl",
            description=(
                "BFCL V3 multi-turn; native function calling as bfcl-eval's OpenAI handler asks (no system prompt, tools "
                f"with each request), the docs' response schemas left out; standard feedback; {_LOOP}"
            ),
        ),
    }
)


def identity(protocol: Protocol, tasks: Sequence[Task]) -> dict[str, Any]:
    """What the suite's side decides of a record's meaning. `tasks` must be of one release.

    The prompt hash is over every task's opening messages (and tools), so it covers the format's instructions and docs.
    """
    release = get_release(tasks[0].release)
    prompts = [
        [request(task, 0), native_tools(task, 0)] if protocol.format == "fc" else Episode(task).start()
        for task in tasks
    ]
    return {
        "suite": SUITE,
        "protocol": asdict(protocol),
        "release": release.name,
        "bfcl_eval": {"version": release.version, "wheel_sha256": release.sha256},
        "items_sha256": sha256_json([[task.id, task.content_hash] for task in tasks]),
        "tools_cut": sorted({task.tools_cut for task in tasks if task.tools_cut is not None}),
        "prompt_sha256": sha256_json(prompts),
    }
