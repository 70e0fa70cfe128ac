"""Rewards: pure functions of a trajectory (paper, section 3.3). BFCL's official score is not one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from envtune.environment.reply import ReplyKind
from envtune.environment.trajectory import Trajectory


def format_reward(trajectory: Trajectory) -> float:
    """Stage 1's reward, in [0, 2]: I_tool * (R_format + R_tool).

    R_format: share of replies that are well-formed. R_tool: share of executed calls that ran without an execution
    error (an {"error": ...} that a tool returns is not one). I_tool: 1 when at least one call was made, else 0.
    """
    replies = trajectory.replies
    if not any(reply.calls for reply in replies):
        return 0.0
    results = [result for reply in replies for result in reply.results]
    well_formed = sum(reply.kind is not ReplyKind.ILL_FORMED for reply in replies) / len(replies)
    ran = sum(not result.raised for result in results) / len(results) if results else 0.0
    return well_formed + ran


def progress_reward(trajectory: Trajectory) -> float:
    """Stages 2 to 4, in [0, 1]: the mean of the turns' scores; turns that were not reached count as 0."""
    scores = trajectory.turn_scores
    return sum(scores) / len(scores)


def binary_reward(trajectory: Trajectory) -> float:
    """The ablation: 1 when every turn scores 1, else 0."""
    return float(all(trajectory.turn_scores))


REWARDS: Mapping[str, Callable[[Trajectory], float]] = MappingProxyType(
    {"format": format_reward, "progress": progress_reward, "binary": binary_reward}
)
