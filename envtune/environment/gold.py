"""BFCL's two checks of a turn, on API objects that are our own.

They are the state check and the response check of BFCL's `multi_turn_checker`: public attributes must be equal, and
the ground truth's results must all be among the model's results so far, each used once, in any order.
"""

from __future__ import annotations

import functools
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envtune.environment.executor import ApiState, CallResult
from envtune.tasks import Task


@dataclass(frozen=True)
class GoldTurn:
    """What the ground truth gives in one turn: its results' texts, and the public state after it."""

    results: tuple[CallResult, ...]
    state: Mapping[str, Mapping[str, Any]]

    @functools.cached_property
    def attributes(self) -> tuple[tuple[str, tuple[str, ...], list[Any]], ...]:
        """The state as (class name, names of its attributes, their values)."""
        return tuple((name, tuple(state), [*state.values()]) for name, state in self.state.items())

    @functools.cached_property
    def wanted(self) -> Mapping[str, int]:
        """Result text -> how many times it must be among the model's."""
        return Counter(result.text for result in self.results)


@functools.lru_cache(maxsize=2048)
def gold_turns(task: Task) -> tuple[GoldTurn, ...]:
    """The ground truth executed, turn by turn; worked out once for a task in a process. Read-only."""
    api = ApiState(task, owner="ground_truth")
    turns = []
    state: Mapping[str, Mapping[str, Any]] = {}
    for calls in task.ground_truth:
        results = tuple(api.run(calls))
        state = _snapshot(api, state)
        turns.append(GoldTurn(results, state))
    return tuple(turns)


def _snapshot(api: ApiState, last: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The public state as it is now; shares with the last snapshot what has not changed since."""
    return {
        name: last[name] if last.get(name) == state else pickle.loads(pickle.dumps(state))
        for name, state in api.public_state().items()
    }


def state_differences(api: ApiState, gold: GoldTurn) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Class -> attribute -> (the model's value, the ground truth's), for the public attributes that differ."""
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name, attributes, values in gold.attributes:
        actual = api.attributes(name)
        if _equal([*map(actual.get, attributes)], values):
            continue
        for attribute, wanted in zip(attributes, values, strict=True):
            got = actual.get(attribute)
            if not _equal(got, wanted):
                found.setdefault(name, {})[attribute] = (got, wanted)
    return found


def missing_results(results_so_far: Sequence[str], gold: GoldTurn) -> list[str]:
    """The ground truth's result texts of this turn that are not among the model's results so far, as a multiset."""
    return [text for text, times in gold.wanted.items() for _ in range(times - results_so_far.count(text))]


def turn_score(api: ApiState, called: bool, results_so_far: Sequence[str], gold: GoldTurn) -> int:
    """The training rule's score of a turn, 0 or 1 (the r_t of the paper's progress reward).

    With ground-truth calls: 1 when both checks pass at the end of the turn. Without: 1 when the model called nothing.
    The paper's rule does not ask for a call in the turn itself: a request that earlier calls have already fulfilled
    scores 1 (12 turns of the 2,968 could), where BFCL's checker and the authors' released code fail an empty turn.
    """
    if not gold.results:
        return int(not called)
    if missing_results(results_so_far, gold):
        return 0
    return int(not state_differences(api, gold))


def _equal(a: Any, b: Any) -> bool:
    """Equality that a model cannot crash: a file system that contains itself is equal to nothing."""
    try:
        return bool(a == b)
    except RecursionError:
        return False
