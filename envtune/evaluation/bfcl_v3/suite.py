"""BFCL V3 multi-turn as a suite: four categories of one release, in either reply format."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.environment import ReplyKind, StopReason, Trajectory
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.conversation import Conversation, play
from envtune.evaluation.bfcl_v3.judge import Judge, JudgeError, Verdict
from envtune.evaluation.bfcl_v3.protocol import PROTOCOLS, SUITE, identity
from envtune.evaluation.endpoint import EndpointFailure
from envtune.evaluation.records import Record, by_stratum
from envtune.evaluation.suite import NotRun, Play, Played, Target
from envtune.evaluation.upstream.serve import Item
from envtune.tasks import Task, is_sound, load_defects


class BfclV3:
    """The suite on `tasks`, which must be of one release. Raises EnvtuneError when they are not."""

    name = SUITE

    def __init__(self, tasks: Sequence[Task]) -> None:
        if not tasks or len({task.release for task in tasks}) != 1:
            raise EnvtuneError("a suite is run on at least one task, all of one BFCL release")
        self.tasks = {task.id: task for task in tasks}
        self.release = tasks[0].release
        self.items = tuple(Item(task.id, task.category, str(task.index), task.content_hash) for task in tasks)

    def identity(self, reply_format: str) -> dict[str, Any]:
        """See `Suite`."""
        tasks = list(self.tasks.values())
        items = {category: n for category in CATEGORIES if (n := sum(task.category == category for task in tasks))}
        return {**identity(PROTOCOLS[reply_format], tasks), "items": items}

    @contextlib.asynccontextmanager
    async def playing(self, target: Target, files: Path) -> AsyncIterator[Play]:
        """See `Suite`."""
        async with target.endpoint() as endpoint:
            with Judge(self.release) as judge:

                async def one(item: Item) -> Played:
                    task = self.tasks[item.id]
                    try:
                        conversation = await play(endpoint, task, PROTOCOLS[target.reply_format])
                        verdict = await asyncio.to_thread(judge.verdict, task, conversation.trajectory)
                    except EndpointFailure as error:
                        raise NotRun("endpoint", str(error)) from error
                    except JudgeError as error:
                        raise NotRun("judge", str(error)) from error
                    return Played(record_of(task, conversation, verdict), conversation.as_dict())

                yield one

    def figures(self, records: Sequence[Record]) -> dict[str, Any]:
        """{"sound": {"defects_version", "strata": the counts of the tasks that are not known to be defective},
        "irrelevance": stratum -> {"turns", "without_call"}: impossible turns that were reached, and those in which nothing
        was called, which BFCL does not check; "replies": {"ill_formed", "tool_calls", "tool_errors"}}."""
        sound = [record for record in records if is_sound(record.id, self.release)]
        names = ("ill_formed", "tool_calls", "tool_errors")
        return {
            "sound": {"defects_version": load_defects().version, "strata": by_stratum(sound)},
            "irrelevance": _irrelevance(records),
            "replies": {name: sum(int(r.details.get(name, 0)) for r in records) for name in names},
        }

    def missing(self, prepared: Mapping[str, Record], files: Path) -> Sequence[str]:
        """See `Suite`; there are no prerequisites."""
        return ()


def record_of(task: Task, conversation: Conversation, verdict: Verdict) -> Record:
    """The record of an item that was played and judged."""
    trajectory = conversation.trajectory
    results = [result for reply in trajectory.replies for result in reply.results]
    scores = trajectory.turn_scores
    details: dict[str, Any] = {
        "turn_scores": list(scores),
        "stop_reason": trajectory.stop_reason.value,
        "steps": len(trajectory.replies),
        "tool_calls": len(results),
        "tool_errors": sum(result.error for result in results),
        "ill_formed": sum(reply.kind is ReplyKind.ILL_FORMED for reply in trajectory.replies),
    }
    if trajectory.stop_reason is StopReason.OVER_BUDGET:
        details["over_budget"] = True
    if (called := called_in_vain(task, trajectory)) is not None:
        details["called_in_impossible_turn"] = called
    return Record(
        id=task.id,
        stratum=task.category,
        cluster=str(task.index),
        outcome="passed" if verdict.valid else "failed",
        item_sha256=task.content_hash,
        passed=verdict.valid,
        score=round(sum(scores) / len(scores), 6),
        error_type=verdict.error_type,
        error_message=verdict.error_message,
        seconds=round(conversation.seconds, 3),
        tokens_in=conversation.tokens_in,
        tokens_out=conversation.tokens_out,
        requests=conversation.requests,
        truncated=conversation.truncated,
        details=details,
        notes=verdict.notes,
    )


def called_in_vain(task: Task, trajectory: Trajectory) -> bool | None:
    """Whether a tool was called in the turn that cannot be done for want of a tool or a value; None where the task has no
    such turn or it was not reached. Tasks of the other categories may have turns without ground truth: not those."""
    if task.category not in ("miss_func", "miss_param"):
        return None
    turn = next((number for number, calls in enumerate(task.ground_truth) if not calls), None)
    if turn is None or not trajectory.turns[turn].replies:
        return None
    return any(reply.calls for reply in trajectory.turns[turn].replies)


def _irrelevance(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        called = record.details.get("called_in_impossible_turn")
        if called is not None:
            count = counts.setdefault(record.stratum, {"turns": 0, "without_call": 0})
            count["turns"] += 1
            count["without_call"] += not called
    return counts
