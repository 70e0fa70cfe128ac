"""Scoring stored trajectories: BFCL's official verdict, and the training rule's score of each turn.

    envtune score --release paper TRAJECTORIES.jsonl[.gz] --out SCORES.jsonl

Input lines: {"id": ..., "turns": turns -> steps -> call strings}. The official verdict is that of BFCL's
`multi_turn_checker` (and of its runner, for a wrong number of turns) on exactly these calls; they are executed here
without `eval`. The turn scores follow the training rule and may differ: see `envtune.environment.gold.turn_score`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from envtune.bfcl import get_release
from envtune.environment.executor import ApiState
from envtune.environment.gold import gold_turns, missing_results, state_differences, turn_score
from envtune.errors import EnvtuneError
from envtune.files import read_jsonl, write_jsonl
from envtune.tasks import Task, find_task

Turns = Sequence[Sequence[Sequence[str]]]


def score_line(task: Task, turns: Turns) -> dict[str, Any]:
    """{"id", "valid", "turn_scores", "progress"} of one trajectory. `turns`: turns -> steps -> call strings."""
    scores = turn_scores(task, turns)
    return {
        "id": task.id,
        "valid": official_verdict(task, turns)["valid"],
        "turn_scores": scores,
        "progress": sum(scores) / len(scores),
    }


def turn_scores(task: Task, turns: Turns) -> list[int]:
    """0 or 1 a turn by the training rule; calls in a turn without ground truth are not executed; a turn that the
    trajectory does not have scores 0. What is on offer is not checked."""
    api = ApiState(task)
    results: list[str] = []
    scores = []
    for index, gold in enumerate(gold_turns(task)):
        if index >= len(turns):
            scores.append(0)
            continue
        calls = [call for step in turns[index] for call in step]
        if gold.results:
            results += [result.text for result in api.run(calls)]
        scores.append(turn_score(api, bool(calls), results, gold))
    return scores


def official_verdict(task: Task, turns: Turns) -> dict[str, Any]:
    """{"valid", "error_type", "error_message"} as BFCL's runner and `multi_turn_checker` judge these calls.

    error_type is BFCL's own name of what failed, None when valid.
    """
    golds = gold_turns(task)
    if len(turns) != len(golds):
        return _invalid("force_terminated", f"{len(turns)} turns were played, the ground truth has {len(golds)}")
    api = ApiState(task)
    results: list[str] = []
    for index, (steps, gold) in enumerate(zip(turns, golds, strict=True)):
        for step in steps:
            results += [result.text for result in api.run(step)]
        if not gold.results:
            continue
        if _is_empty(steps):
            return _invalid("empty_turn_model_response", f"nothing was called in turn {index}")
        if differing := state_differences(api, gold):
            names = ", ".join(f"{name}.{key}" for name, keys in differing.items() for key in keys)
            return _invalid("instance_state_mismatch", f"after turn {index} these differ: {names}")
        if missing := missing_results(results, gold):
            return _invalid("execution_response_mismatch", f"after turn {index} {len(missing)} results are missing")
    return {"valid": True, "error_type": None, "error_message": None}


def _invalid(error_type: str, message: str) -> dict[str, Any]:
    return {"valid": False, "error_type": f"multi_turn:{error_type}", "error_message": message}


def _is_empty(steps: Sequence[Sequence[str]]) -> bool:
    """BFCL's idea of a turn without a call: no step, or one step that is empty (two empty ones are not)."""
    return not steps or (len(steps) == 1 and not steps[0])


def score_file(trajectories: Path, release: str, out: Path) -> int:
    """Score every line of `trajectories` into `out`, in the input's order; gives the number of lines.

    Raises EnvtuneError, naming the line, on an unknown id or an ill-formed line; nothing is written then.
    """
    get_release(release)  # a wrong name is no fault of the file's first line
    scores = [score_line(task, turns) for task, turns in _read(trajectories, release)]
    write_jsonl(out, scores)
    return len(scores)


def _read(path: Path, release: str) -> Iterator[tuple[Task, Turns]]:
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "turns" not in row:
            raise EnvtuneError(f'{where}: each line must be an object with "id" (a string) and "turns"')
        if not _is_turns(row["turns"]):
            raise EnvtuneError(
                f'{where}: "turns" must be a list of turns, each a list of steps, each a list of strings'
            )
        try:
            yield find_task(row["id"], release), row["turns"]
        except EnvtuneError as error:
            raise EnvtuneError(f"{where}: {error}") from error


def _is_turns(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(turn, list) for turn in value):
        return False
    steps = [step for turn in value for step in turn]
    return all(isinstance(step, list) and all(isinstance(call, str) for call in step) for step in steps)
