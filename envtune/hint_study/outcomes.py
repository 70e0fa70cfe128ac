"""What follows a hint, counted over trajectories: was it given, and did the next step then succeed?

Every call is executed again, which gives the state before it, so the hint that is for a failure is known whether or not
the model was given it. The difference between the two is what the hint is worth to this policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from envtune.environment import ReplyKind, ReplyRecord, Trajectory, parse_reply
from envtune.environment.calls import tool_call
from envtune.environment.executor import ERROR_PREFIX, ApiState
from envtune.environment.hints import REPLY, Given, HintKind, HintSet, Offer, Situation, hint_set, offer_in
from envtune.environment.reply import ToolCall
from envtune.tasks import Task

UNHINTED = ""  # the row of failures that no hint is for


@dataclass
class Outcomes:
    """Counts of failures. times: how many; next_step: after how many the model replied again in the same turn;
    succeeded: how many of these replies called something and nothing in them failed; answered: how many were answers."""

    times: int = 0
    next_step: int = 0
    succeeded: int = 0
    answered: int = 0

    @property
    def share(self) -> float | None:
        """Share of the next steps that succeeded; None without one."""
        return self.succeeded / self.next_step if self.next_step else None

    def note(self, following: bool | None, answered: bool) -> None:
        """Count a failure. following: whether the next step succeeded, None when there was none."""
        self.times += 1
        self.next_step += following is not None
        self.succeeded += following is True
        self.answered += answered


@dataclass
class HintOutcomes:
    """What followed the failures that one hint is for: where it was given, and where it was not. proposed, worked: calls
    that it proposed (`Given.call`), and how many of them did not fail when made at once."""

    id: str
    kind: HintKind | None = None
    given: Outcomes = field(default_factory=Outcomes)
    withheld: Outcomes = field(default_factory=Outcomes)
    proposed: int = 0
    worked: int = 0


@dataclass(frozen=True)
class _Failure:
    """id: of the hint that was given, else of the one that is for it."""

    id: str
    kind: HintKind | None
    given: bool
    worked: bool | None


def hint_outcomes(
    trajectories: Iterable[tuple[Task, Trajectory]], hints: HintSet | None = None
) -> dict[str, HintOutcomes]:
    """Hint id -> what followed its failures, for all hints of the set that one of the trajectories met.

    hints: the set that is asked which hint is for a failure, `full` by default. A hint of another set that was given
    counts under its own id. Failures that none is for are under "".
    """
    hints = hints or hint_set("full")
    rows: dict[str, HintOutcomes] = {}
    for task, trajectory in trajectories:
        for failures, following, answered in _steps(task, trajectory, hints):
            for failure in failures:
                row = rows.setdefault(failure.id, HintOutcomes(failure.id, failure.kind))
                (row.given if failure.given else row.withheld).note(following, answered)
                row.proposed += failure.worked is not None
                row.worked += failure.worked is True
    return rows


def _steps(task: Task, trajectory: Trajectory, hints: HintSet) -> Iterable[tuple[list[_Failure], bool | None, bool]]:
    """For each reply: its failures, whether the next reply of the turn succeeded (None: there is none), and whether that
    was an answer."""
    api = ApiState(task)
    for turn, record in enumerate(trajectory.turns):
        failures = [_failures(task, turn, api, reply, hints) for reply in record.replies]
        for place, found in enumerate(failures):
            if place + 1 == len(failures):
                yield found, None, False
            else:
                reply = record.replies[place + 1]
                yield found, bool(reply.results) and not failures[place + 1], reply.kind is ReplyKind.ANSWER


def _failures(task: Task, turn: int, api: ApiState, reply: ReplyRecord, hints: HintSet) -> list[_Failure]:
    """A reply's failures: the reply itself, or calls of it, silent ones too. Executes its calls on `api`."""
    offer, found = offer_in(task, turn), []
    if reply.kind is ReplyKind.ILL_FORMED:
        situation = Situation(ToolCall(REPLY, {}), reply.error, {}, offer, reply.reply)
        hint = hints.give(situation, error=True)
        id = reply.hint_ids[0] if reply.hint_ids else hint.id if hint else UNHINTED
        return [_Failure(id, hint.kind if hint else None, bool(reply.hints), None)]
    made = parse_reply(reply.reply).calls
    for place, result in enumerate(reply.results):
        call = made[place] if place < len(made) else tool_call(result.call, offer.parameters)  # stored as strings alone
        situation = Situation(call, result.text, api.snapshot(call.name), offer)
        if result.text != f"{ERROR_PREFIX}name '{call.name}' is not defined":  # one that was not on offer did not run
            api.run([result.call])
        hint = hints.give(situation, result.error)
        was_given = place < len(reply.hints) and bool(reply.hints[place])
        if hint is not None or result.error or was_given:
            id = reply.hint_ids[place] if was_given and reply.hint_ids else hint.id if hint else UNHINTED
            worked = follow(api, offer, hint, hints) if hint else None
            found.append(_Failure(id, hint.kind if hint and hint.id == id else None, was_given, worked))
    return found


def follow(api: ApiState, offer: Offer, given: Given, hints: HintSet) -> bool | None:
    """Whether the call that a hint proposes does what it is proposed for, made now on a copy of the state: another tool's
    call must not fail, and the failed call with what the hint asks to change not for the same reason. None where the
    hint proposes no call."""
    if given.call is None:
        return None
    api = api.copy()
    state = api.snapshot(given.call.name)
    result = api.call(given.call)
    if given.call.name == given.tool and result.error:
        return False
    again = hints.give(Situation(given.call, result.text, state, offer), result.error)
    return again is None or again.id != given.id
