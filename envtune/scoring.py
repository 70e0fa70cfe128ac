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
from envtune.environment.gold import GoldTurn, gold_turns, missing_results, state_differences, turn_score
from envtune.errors import EnvtuneError
from envtune.files import read_jsonl, refuse_overwriting, write_jsonl
from envtune.tasks import Task, find_task

Turns = Sequence[Sequence[Sequence[str]]]


def score_line(task: Task, turns: Turns) -> dict[str, Any]:
    """{"id", "valid", "turn_scores", "progress"} of one trajectory. `turns`: turns -> steps -> call strings."""
    verdict, scores = _replay(task, turns, run_impossible=True)
    if _calls_in_an_impossible_turn(task, turns):  # BFCL runs them, the training rule does not
        scores = turn_scores(task, turns)
    return {"id": task.id, "valid": verdict["valid"], "turn_scores": scores, "progress": sum(scores) / len(scores)}


def turn_scores(task: Task, turns: Turns) -> list[int]:
    """0 or 1 a turn by the training rule; calls in a turn without ground truth are not executed; a turn that the
    trajectory does not have scores 0. What is on offer is not checked."""
    return _replay(task, turns, run_impossible=False)[1]


def official_verdict(task: Task, turns: Turns) -> dict[str, Any]:
    """{"valid", "error_type", "error_message"} as BFCL's runner and `multi_turn_checker` judge these calls.

    error_type is BFCL's own name of what failed, None when valid.
    """
    return _replay(task, turns, run_impossible=True)[0]


def _replay(task: Task, turns: Turns, run_impossible: bool) -> tuple[dict[str, Any], list[int]]:
    """The verdict and the turns' scores. run_impossible: whether calls in a turn without ground truth are executed."""
    golds = gold_turns(task)
    problem = None
    if len(turns) != len(golds):
        problem = ("force_terminated", f"{len(turns)} turns were played, the ground truth has {len(golds)}")
    api = ApiState(task)
    results: list[str] = []
    scores = [0] * len(golds)
    for index, (steps, gold) in enumerate(zip(turns, golds, strict=False)):
        if gold.results or run_impossible:
            results += [result.text for step in steps for result in api.run(step)]
        scores[index] = turn_score(api, any(steps), results, gold)
        if gold.results and problem is None:  # BFCL stops at the first one
            problem = _problem(index, steps, api, results, gold, bool(scores[index]))
    if problem is None:
        return {"valid": True, "error_type": None, "error_message": None}, scores
    return {"valid": False, "error_type": f"multi_turn:{problem[0]}", "error_message": problem[1]}, scores


def _problem(
    index: int, steps: Sequence[Sequence[str]], api: ApiState, results: Sequence[str], gold: GoldTurn, right: bool
) -> tuple[str, str] | None:
    """What BFCL's checker finds wrong with a turn that has a ground truth, in its order: its name for it, and a message.
    right: whether both checks pass."""
    # no step, or one step that is empty: two empty ones are no empty turn for BFCL
    if not steps or (len(steps) == 1 and not steps[0]):
        return "empty_turn_model_response", f"nothing was called in turn {index}"
    if right:
        return None
    if differing := state_differences(api, gold):
        names = ", ".join(f"{name}.{key}" for name, keys in differing.items() for key in keys)
        return "instance_state_mismatch", f"after turn {index} these differ: {names}"
    missing = missing_results(results, gold)
    return "execution_response_mismatch", f"after turn {index} {len(missing)} results are missing"


def _calls_in_an_impossible_turn(task: Task, turns: Turns) -> bool:
    return any(any(steps) and not calls for steps, calls in zip(turns, task.ground_truth, strict=False))


def score_file(trajectories: Path, release: str, out: Path) -> int:
    """Score every line of `trajectories` into `out`, in the input's order; gives the number of lines.

    Raises EnvtuneError, naming the line, on an unknown id or an ill-formed line; nothing is written then.
    """
    get_release(release)  # a wrong name is no fault of the file's first line
    refuse_overwriting(out, [trajectories])
    scores = [score_line(task, turns) for task, turns in _read(trajectories, release)]
    if not scores:
        raise EnvtuneError(f"{trajectories}: no trajectory in there; nothing to score")
    write_jsonl(out, scores)
    return len(scores)


def _read(path: Path, release: str) -> Iterator[tuple[Task, Turns]]:
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "turns" not in row:
            raise EnvtuneError(f'{where}: each line must be an object with "id" (a string) and "turns"')
        if not is_turns(row["turns"]):
            raise EnvtuneError(
                f'{where}: "turns" must be a list of turns, each a list of steps, each a list of strings'
            )
        try:
            yield find_task(row["id"], release), row["turns"]
        except EnvtuneError as error:
            raise EnvtuneError(f"{where}: {error}") from error


def is_turns(value: Any) -> bool:
    """Whether it is what `turns` must be: turns -> steps -> call strings."""
    if not isinstance(value, list) or not all(isinstance(turn, list) for turn in value):
        return False
    steps = [step for turn in value for step in turn]
    return all(isinstance(step, list) and all(isinstance(call, str) for call in step) for step in steps)
