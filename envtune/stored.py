"""Reading stored trajectories: whatever this kit writes, and what `envtune score` takes.

One JSON value a line (.gz or not), told apart by its keys:
  {"task_id", "turns", ...}              a Trajectory
  {"id", "messages", "trajectory"}       trajectories.jsonl of bfcl-v3; records.jsonl beside it gives the verdicts
  {..., "trajectory": "<JSON>"}          verl's dump of a validation step
  {"id", "turns"}                        call strings alone; the release must be said
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from envtune.environment import CallResult, ReplyKind, ReplyRecord, StopReason, Trajectory, TurnEnd, TurnRecord
from envtune.environment.executor import ApiState
from envtune.environment.gold import gold_turns
from envtune.errors import EnvtuneError
from envtune.files import read_jsonl
from envtune.scoring import is_turns, turn_scores
from envtune.tasks import Task, find_task

if TYPE_CHECKING:
    from envtune.evaluation.records import Record

Calls = list[list[list[str]]]


@dataclass(frozen=True)
class Stored:
    """One line of a file.

    kind: "trajectory", "evaluation", "validation" or "calls"; calls: what the official checker is to judge (turns ->
    steps -> call strings); record: evaluation's record of the item, where there is one.
    """

    kind: str
    line: int
    task: Task
    trajectory: Trajectory
    calls: Calls
    record: Record | None = None


def read_stored(path: Path, release: str | None = None) -> Iterator[Stored]:
    """Every trajectory of a file, in order. `release`: of lines that do not say it themselves.

    Raises EnvtuneError, naming file and line, on anything else.
    """
    records = _records_beside(path)
    for number, row in read_jsonl(path):
        try:
            yield _stored(row, number, release, records)
        except _Wrong as problem:
            raise EnvtuneError(f"{path}, line {number}: {problem}") from None
        except EnvtuneError as error:
            raise EnvtuneError(f"{path}, line {number}: {error}") from error


class _Wrong(Exception):
    """Carries the sentence that says what is wrong with a line."""


def _records_beside(path: Path) -> dict[str, Record]:
    """records.jsonl of the run that wrote this trajectories.jsonl; nothing for any other file."""
    if path.name not in ("trajectories.jsonl", "trajectories.jsonl.gz"):
        return {}
    beside = path.with_name(path.name.replace("trajectories", "records"))
    if not beside.exists():
        return {}
    from envtune.evaluation.records import read_records  # its package needs the endpoint's client, which others do not

    return {record.id: record for record in read_records(beside)}


def _stored(row: Any, line: int, release: str | None, records: Mapping[str, Record]) -> Stored:
    if not isinstance(row, dict):
        raise _Wrong("each line must be a JSON object")
    inner = row.get("trajectory")
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            raise _Wrong('"trajectory" is not valid JSON') from None
        task, trajectory = _trajectory(inner)
        return Stored("validation", line, task, trajectory, trajectory.calls)
    if inner is not None:
        task, trajectory = _trajectory(inner)
        return Stored("evaluation", line, task, trajectory, trajectory.calls, records.get(task.id))
    if "task_id" in row and "turns" in row:
        task, trajectory = _trajectory(row)
        return Stored("trajectory", line, task, trajectory, trajectory.calls)
    if "id" in row and "turns" in row:
        return _calls(row, line, release)
    if "id" in row and "exchanges" in row:
        raise _Wrong(
            "a conversation of another suite than bfcl-v3, which this cannot read; records.jsonl has its verdict"
        )
    if "input" in row and "output" in row:
        raise _Wrong("a dump of training, which has no trajectory; verl's validation dumps have one")
    raise _Wrong('neither a trajectory nor {"id", "turns"}; see `envtune view --help` for what can be shown')


def _trajectory(data: Any) -> tuple[Task, Trajectory]:
    try:
        trajectory = Trajectory.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _Wrong(f"not a trajectory ({type(error).__name__}: {error})") from None
    if problem := _problem(trajectory):
        raise _Wrong(f"not a trajectory ({problem})")
    task = find_task(trajectory.task_id, trajectory.release)
    if len(trajectory.turns) != len(task.ground_truth):
        raise _Wrong(f"{task.id} has {len(task.ground_truth)} turns, the trajectory {len(trajectory.turns)}")
    return task, trajectory


def _problem(trajectory: Trajectory) -> str:
    """What `Trajectory.from_dict` takes as it comes and a reader relies on."""
    names = ("task_id", "task_hash", "category", "release", "feedback", "rules")
    if type(trajectory.max_result_characters) not in (int, NoneType):
        return '"max_result_characters" must be a number or null'
    texts = [getattr(trajectory, name) for name in names]
    for reply in trajectory.replies:
        texts += [reply.reply, reply.error, *reply.calls, *reply.hints, *reply.hint_ids]
        texts += [text for result in reply.results for text in (result.call, result.text)]
        lengths = {len(reply.calls), len(reply.results), len(reply.hints)}
        if reply.results and len(lengths) > 1:
            return "calls, results and hints are not of one length"
        if reply.hint_ids and len(reply.hint_ids) != len(reply.hints):
            return "hints and hint_ids are not of one length"
    if not all(isinstance(text, str) for text in texts):
        return "something is no string that must be one"
    flags = [flag for reply in trajectory.replies for result in reply.results for flag in (result.raised, result.error)]
    if not all(isinstance(flag, bool) for flag in flags):
        return '"raised" and "error" of a result must be true or false'
    if not all(type(score) is int and score in (0, 1) for score in trajectory.turn_scores):
        return "a turn's score must be 0 or 1"
    return ""


def _calls(row: Mapping[str, Any], line: int, release: str | None) -> Stored:
    """Call strings, executed as `envtune score` does: not in a turn that cannot be done."""
    if release is None:
        raise _Wrong('lines {"id", "turns"} do not say their BFCL release; add --release paper or --release current')
    turns = row["turns"]
    if not isinstance(row["id"], str) or not is_turns(turns):
        raise _Wrong('"id" must be a string, "turns" a list of turns, each a list of steps, each a list of strings')
    task = find_task(row["id"], release)
    api, records = ApiState(task), []
    for index, (gold, score) in enumerate(zip(gold_turns(task), turn_scores(task, turns), strict=True)):
        if index >= len(turns):
            records.append(TurnRecord((), 0, TurnEnd.NOT_REACHED))
            continue
        replies = tuple(_step(api, step, bool(gold.results)) for step in turns[index])
        records.append(TurnRecord(replies, score, TurnEnd.ANSWER))
    stop = StopReason.COMPLETED if len(turns) >= len(records) else StopReason.FORCE_QUIT
    trajectory = Trajectory(
        task.id, task.content_hash, task.category, release, "none", "training", tuple(records), stop
    )
    return Stored("calls", line, task, trajectory, turns)


def _step(api: ApiState, calls: list[str], possible: bool) -> ReplyRecord:
    results: tuple[CallResult, ...] = tuple(api.run(calls)) if possible else ()
    return ReplyRecord("", ReplyKind.TOOL_CALL, tuple(calls), results, ("",) * len(results))
