"""What the adapters report of an episode, beside its reward."""

from __future__ import annotations

from envtune.environment import ReplyKind, StopReason, Trajectory
from envtune.rewards import REWARDS
from envtune.scoring import official_verdict
from envtune.tasks import Task


def episode_metrics(task: Task, trajectory: Trajectory) -> dict[str, float]:
    """The three rewards under their names, and

    official: 1 when BFCL's own checker passes these calls, else 0 (they are executed once more);
    format_rate: share of the replies that are well-formed, 0 without a reply; replies: their number;
    tool_errors: number of calls that failed, in whatever way; over_budget: 1 when a budget ended the episode, else 0.
    """
    replies = trajectory.replies
    well_formed = sum(reply.kind is not ReplyKind.ILL_FORMED for reply in replies)
    return {
        **{name: reward(trajectory) for name, reward in REWARDS.items()},
        "official": float(official_verdict(task, trajectory.calls)["valid"]),
        "format_rate": well_formed / len(replies) if replies else 0.0,
        "replies": float(len(replies)),
        "tool_errors": float(sum(result.error for reply in replies for result in reply.results)),
        "over_budget": float(trajectory.stop_reason is StopReason.OVER_BUDGET),
    }
