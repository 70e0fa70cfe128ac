"""A trajectory: everything that happened in one episode, frozen. Rewards and scores are functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from envtune.environment.executor import CallResult
from envtune.environment.reply import ReplyKind


class TurnEnd(StrEnum):
    """How a user's turn ended."""

    ANSWER = "answer"
    """The model answered."""
    STEP_LIMIT = "step_limit"
    """Forced: as many replies as one turn may have, and none of them an answer."""
    IMPOSSIBLE_CALL = "impossible_call"
    """Forced: a call in a turn that cannot be done with what is on offer (training rules)."""
    ILL_FORMED = "ill_formed"
    """A reply with nothing to execute; under BFCL's rules it ends the turn."""
    NOT_REACHED = "not_reached"
    """The episode stopped in this turn or before it."""


class StopReason(StrEnum):
    """Why an episode is over."""

    COMPLETED = "completed"
    """Every turn was played."""
    OVER_BUDGET = "over_budget"
    """The tokens that an episode may have were used up."""
    FORCE_QUIT = "force_quit"
    """BFCL's rules: too many steps in one turn end the whole entry."""
    ABORTED = "aborted"
    """Stopped from outside (an infrastructure error, a deadline): not the model's doing."""


@dataclass(frozen=True)
class ReplyRecord:
    """One reply of the model. calls: as strings, also when they were not executed; results: one a call executed;
    hints: one a result, "" where there was none, or at most one for an ill-formed reply; hint_ids: their ids, () in
    what was stored before there were any; error: what was wrong with an ill-formed reply."""

    reply: str
    kind: ReplyKind
    calls: tuple[str, ...] = ()
    results: tuple[CallResult, ...] = ()
    hints: tuple[str, ...] = ()
    hint_ids: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class TurnRecord:
    """One user turn: the replies to it, its score (0 or 1, training rule) and how it ended."""

    replies: tuple[ReplyRecord, ...]
    score: int
    end: TurnEnd

    @property
    def calls(self) -> list[list[str]]:
        """Steps -> call strings, of the replies that called something."""
        return [list(reply.calls) for reply in self.replies if reply.calls]


@dataclass(frozen=True)
class Trajectory:
    """One episode. `turns` has one entry for each turn of the task, also when not all were reached. feedback, rules,
    max_result_characters: as `Episode` was given them."""

    task_id: str
    task_hash: str
    category: str
    release: str
    feedback: str
    rules: str
    turns: tuple[TurnRecord, ...]
    stop_reason: StopReason
    max_result_characters: int | None = None

    @property
    def replies(self) -> tuple[ReplyRecord, ...]:
        """All replies, in order."""
        return tuple(reply for turn in self.turns for reply in turn.replies)

    @property
    def turn_scores(self) -> list[int]:
        """0 or 1 a turn, by the training rule."""
        return [turn.score for turn in self.turns]

    @property
    def calls(self) -> list[list[list[str]]]:
        """Turns -> steps -> call strings: what `envtune score` and BFCL's checker take. Under BFCL's rules a force
        quit leaves out the turns from then on, as upstream does."""
        played = list(self.turns)
        if self.stop_reason is StopReason.FORCE_QUIT:
            while played and played[-1].end is TurnEnd.NOT_REACHED:
                played.pop()
        return [turn.calls for turn in played]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Trajectory:
        """The inverse of `as_dict` (also after a round trip through JSON)."""
        turns = tuple(
            TurnRecord(tuple(_reply(reply) for reply in turn["replies"]), turn["score"], TurnEnd(turn["end"]))
            for turn in data["turns"]
        )
        return Trajectory(**{**data, "turns": turns, "stop_reason": StopReason(data["stop_reason"])})


def _reply(data: Mapping[str, Any]) -> ReplyRecord:
    return ReplyRecord(
        reply=data["reply"],
        kind=ReplyKind(data["kind"]),
        calls=tuple(data["calls"]),
        results=tuple(CallResult(**result) for result in data["results"]),
        hints=tuple(data["hints"]),
        hint_ids=tuple(data.get("hint_ids", ())),
        error=data["error"],
    )
