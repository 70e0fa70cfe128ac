"""The in-distribution suite: BFCL V3 multi-turn against any OpenAI-compatible endpoint.

Items are played concurrently, judged one by one as they end, and written down at once, so a run that was stopped goes
on with the items it had not finished. An item that the endpoint or the judge gave no answer for is `not_run`: it is
tried again in a later pass, and by the next call, and never counts as wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from envtune.environment import ReplyKind
from envtune.errors import EnvtuneError
from envtune.evaluation.conversation import Conversation, play
from envtune.evaluation.endpoint import ChatEndpoint, EndpointFailure
from envtune.evaluation.judge import Judge, JudgeError, Verdict
from envtune.evaluation.protocol import KIT_FORMAT, Protocol, identity
from envtune.evaluation.records import OUTCOMES, SCHEMA_VERSION, Record, RunFolder
from envtune.provenance import provenance
from envtune.tasks import Task, is_sound, load_defects

PASSES = 2


def evaluate_suite(
    base_url: str,
    model: str,
    tasks: Sequence[Task],
    out_dir: Path,
    *,
    decoding: Mapping[str, Any],
    about: Mapping[str, Any],
    protocol: Protocol = KIT_FORMAT,
    checkpoint_sha256: str | None = None,
    concurrency: int = 16,
    api_key: str = "none",
    request_timeout_s: float = 600.0,
    tries: int = 6,
    pause_s: float = 0.5,
    console: Console | None = None,
) -> dict[str, Any]:
    """Play and judge `tasks` (of one release) and return the summary that is also written to `out_dir`.

    base_url: with its /v1; model: the name to ask for; decoding: request parameters (temperature, max_tokens, seed,
    ...); about: what else the summary is to say (profile, checkpoint, training steps, ...); checkpoint_sha256: of the
    weights, where known; tries, pause_s: see `ChatEndpoint`; console: None for no progress on the terminal.
    Raises EnvtuneError when `out_dir` holds another run, or when the endpoint refuses what is asked of it.
    """
    tasks = tuple(tasks)
    if not tasks or len({task.release for task in tasks}) != 1:
        raise EnvtuneError("a suite is run on at least one task, all of one BFCL release")
    name = about.get("model", model)
    who = identity(protocol, tasks, name, checkpoint_sha256, decoding)
    with RunFolder(Path(out_dir)).open(who) as folder:
        before = folder.read_summary()
        pending = [task for task in tasks if task.id not in folder.records]
        if before is not None and before["complete"] and not pending:
            return before
        began = time.monotonic()
        spent = before["seconds"] if before else 0.0
        header = {"schema": SCHEMA_VERSION, "complete": False, "identity": who, "about": dict(about)}
        header |= {"provenance": provenance(), "seconds": spent}
        folder.write_summary(header)
        endpoint = ChatEndpoint(
            base_url, model, decoding, api_key=api_key, timeout_s=request_timeout_s, tries=tries, pause_s=pause_s
        )
        with _progress(console, str(about.get("checkpoint", name)), len(tasks), folder) as tick:
            if pending:
                asyncio.run(_run(endpoint, folder, pending, protocol, concurrency, tick))
        folder.tidy([task.id for task in tasks])
        summary = {**header, "seconds": round(spent + time.monotonic() - began, 1)}
        summary |= summarise_records([folder.records[task.id] for task in tasks], tasks[0].release)
        folder.write_summary(summary)
        return summary


def summarise_records(records: Sequence[Record], release: str) -> dict[str, Any]:
    """{"complete", "categories": category -> counts by outcome, "over_budget" (those of the failed whose conversation
    outgrew the model's context), "accuracy" and mean "progress" of those run,
    "sound": {"defects_version", "categories": the same of the tasks that are sound}, "totals"}.

    accuracy in percent and progress are None where nothing was run. Which tasks are sound is what the list of known
    defects says of their ids in this release (`envtune.tasks.is_sound`).
    """
    totals = {
        name: sum(getattr(record, name) or 0 for record in records)
        for name in ("steps", "tool_calls", "tool_errors", "ill_formed", "truncated", "tokens_in", "tokens_out")
    }
    sound = [record for record in records if is_sound(record.id, release)]
    return {
        "complete": all(record.outcome != "not_run" for record in records),
        "categories": _by_category(records),
        "sound": {"defects_version": load_defects().version, "categories": _by_category(sound)},
        "totals": totals,
    }


def _by_category(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    categories = {}
    for category in dict.fromkeys(record.category for record in records):
        of_it = [record for record in records if record.category == category]
        run = [record for record in of_it if record.outcome != "not_run"]
        categories[category] = {
            "items": len(of_it),
            **{outcome: sum(record.outcome == outcome for record in of_it) for outcome in OUTCOMES},
            "over_budget": sum(record.is_over_budget for record in of_it),
            "accuracy": round(100 * sum(bool(r.valid) for r in run) / len(run), 4) if run else None,
            "progress": round(sum(r.progress or 0.0 for r in run) / len(run), 6) if run else None,
        }
    return categories


def record_of(task: Task, conversation: Conversation, verdict: Verdict) -> Record:
    """The record of an item that was played and judged."""
    trajectory = conversation.trajectory
    results = [result for reply in trajectory.replies for result in reply.results]
    scores = trajectory.turn_scores
    return Record(
        id=task.id,
        category=task.category,
        cluster=str(task.index),
        outcome="passed" if verdict.valid else "failed",
        task_hash=task.content_hash,
        valid=verdict.valid,
        error_type=verdict.error_type,
        error_message=verdict.error_message,
        turn_scores=tuple(scores),
        progress=round(sum(scores) / len(scores), 6),
        stop_reason=trajectory.stop_reason.value,
        steps=len(trajectory.replies),
        tool_calls=len(results),
        tool_errors=sum(result.error for result in results),
        ill_formed=sum(reply.kind is ReplyKind.ILL_FORMED for reply in trajectory.replies),
        truncated=conversation.truncated,
        tokens_in=conversation.tokens_in,
        tokens_out=conversation.tokens_out,
        seconds=round(conversation.seconds, 3),
        notes=verdict.notes,
    )


async def _run(
    endpoint: ChatEndpoint,
    folder: RunFolder,
    tasks: list[Task],
    protocol: Protocol,
    concurrency: int,
    tick: Callable[[], None],
) -> None:
    """Run `tasks`, then once more those that could not be run; only the last pass writes down a `not_run`."""
    async with endpoint:
        with Judge(tasks[0].release) as judge:
            for number in range(PASSES):
                pending = [task for task in tasks if task.id not in folder.records]
                await _pass(endpoint, judge, folder, pending, protocol, concurrency, tick, number == PASSES - 1)


async def _pass(
    endpoint: ChatEndpoint,
    judge: Judge,
    folder: RunFolder,
    tasks: list[Task],
    protocol: Protocol,
    concurrency: int,
    tick: Callable[[], None],
    last: bool,
) -> None:
    queue = iter(tasks)

    async def work() -> None:
        for task in queue:
            await _item(endpoint, judge, folder, task, protocol, keep_failure=last)
            tick()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(tasks))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _item(
    endpoint: ChatEndpoint, judge: Judge, folder: RunFolder, task: Task, protocol: Protocol, keep_failure: bool
) -> None:
    """Play, judge and write down one item; one that could not be run is written down only when it is to be kept."""
    try:
        conversation = await play(endpoint, task, protocol)
        verdict = await asyncio.to_thread(judge.verdict, task, conversation.trajectory)
    except (EndpointFailure, JudgeError) as error:
        if keep_failure:
            who = "endpoint" if isinstance(error, EndpointFailure) else "judge"
            folder.add(
                Record(
                    task.id, task.category, str(task.index), "not_run", task.content_hash,
                    error_type=f"not_run:{who}", error_message=str(error)[:300],
                ),
                None,
            )  # fmt: skip
        return
    folder.add(record_of(task, conversation, verdict), conversation.as_dict())


@contextlib.contextmanager
def _progress(console: Console | None, label: str, total: int, folder: RunFolder) -> Iterator[Callable[[], None]]:
    """A bar with the counts by outcome; yields the function to call after each item."""
    if console is None:
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[counts]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        row = bar.add_task(f"evaluate {label}", total=total, completed=len(folder.records), counts="")

        def tick() -> None:
            outcomes = [record.outcome for record in folder.records.values()]
            counts = ", ".join(f"{n} {name}" for name in OUTCOMES if (n := outcomes.count(name)))
            bar.update(row, completed=len(outcomes), counts=counts)

        tick()
        yield tick
