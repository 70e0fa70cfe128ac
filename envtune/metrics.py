"""What is reported of an episode beside its reward, by the agent loop in training and by the adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envtune.environment import ReplyKind, StopReason, Trajectory
from envtune.rewards import REWARDS


def episode_metrics(trajectory: Trajectory, verdict: Mapping[str, Any]) -> dict[str, float]:
    """The three rewards under their names, and

    official: 1 when BFCL's own checker passes the calls, else 0 (`verdict`: of `envtune.scoring.official_verdict`);
    format_rate: share of the replies that are well-formed, 0 without a reply; replies, tool_calls: their numbers;
    tool_errors: calls that failed, in whatever way; hints: hints that were given; over_budget: 1 when a budget ended the episode, else 0.
    """
    replies = trajectory.replies
    results = [result for reply in replies for result in reply.results]
    well_formed = sum(reply.kind is not ReplyKind.ILL_FORMED for reply in replies)
    return {
        **{name: float(reward(trajectory)) for name, reward in REWARDS.items()},
        "official": float(verdict["valid"]),
        "format_rate": well_formed / len(replies) if replies else 0.0,
        "replies": float(len(replies)),
        "tool_calls": float(len(results)),
        "tool_errors": float(sum(result.error for result in results)),
        "hints": float(sum(bool(hint) for reply in replies for hint in reply.hints)),
        "over_budget": float(trajectory.stop_reason is StopReason.OVER_BUDGET),
    }
