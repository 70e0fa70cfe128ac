"""Rewards, by hand-made trajectories with the values worked out beside them."""

from __future__ import annotations

import pytest

from envtune.environment import CallResult, ReplyKind, ReplyRecord, StopReason, Trajectory, TurnEnd, TurnRecord
from envtune.rewards import REWARDS, binary_reward, format_reward, progress_reward

FINE = CallResult("ls()", "{}", raised=False, error=False)
TOOL_ERROR = CallResult("cd(folder='x')", '{"error": "no"}', raised=False, error=True)
RAISED = CallResult("cd()", "Error during execution: x", raised=True, error=True)
ANSWER = ReplyRecord("r", ReplyKind.ANSWER)
ILL_FORMED = ReplyRecord("r", ReplyKind.ILL_FORMED, error="e")


def called(*results: CallResult, executed: bool = True) -> ReplyRecord:
    calls = tuple(result.call for result in results)
    return ReplyRecord("r", ReplyKind.TOOL_CALL, calls, results if executed else ())


def trajectory(*turns: tuple[int, list[ReplyRecord]]) -> Trajectory:
    records = tuple(TurnRecord(tuple(replies), score, TurnEnd.ANSWER) for score, replies in turns)
    return Trajectory("t", "h", "base", "paper", "standard", "training", records, StopReason.COMPLETED)


@pytest.mark.parametrize(
    ("replies", "reward"),
    [
        ([ANSWER], 0.0),  # no call was made: I_tool is 0
        ([ILL_FORMED], 0.0),
        ([], 0.0),
        ([called(FINE), ANSWER], 2.0),
        ([called(FINE), ILL_FORMED], 0.5 + 1),
        ([called(FINE, RAISED), ANSWER], 1 + 0.5),
        ([called(TOOL_ERROR), ANSWER], 2.0),  # the tool ran and reported a failure: no execution error
        ([called(RAISED), ILL_FORMED, ILL_FORMED, ANSWER], 0.5 + 0),
        ([called(FINE, executed=False)], 1 + 0),  # made in an impossible turn, so not executed
    ],
)
def test_format_reward(replies: list[ReplyRecord], reward: float) -> None:
    assert format_reward(trajectory((0, replies))) == reward


@pytest.mark.parametrize(("scores", "progress", "binary"), [([1, 1], 1, 1), ([1, 0, 0, 0], 0.25, 0), ([0], 0, 0)])
def test_progress_and_binary(scores: list[int], progress: float, binary: float) -> None:
    played = trajectory(*((score, [ANSWER]) for score in scores))
    assert (progress_reward(played), binary_reward(played)) == (progress, binary)


def test_rewards_by_name() -> None:
    assert list(REWARDS) == ["format", "progress", "binary"]
