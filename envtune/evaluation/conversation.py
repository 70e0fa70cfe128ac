"""One item of the suite played to its end: an episode under BFCL's rules against a chat endpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from envtune.environment import Episode, StopReason, Trajectory
from envtune.evaluation.endpoint import ChatEndpoint, ContextFull
from envtune.evaluation.protocol import Protocol
from envtune.tasks import Task


@dataclass
class Conversation:
    """What was said, and what it cost.

    messages: all of them, in order, the replies with the role "assistant"; tokens_in, tokens_out: sums over the
    requests, None when the endpoint does not count; truncated: replies that were cut off; seconds: wall time.
    """

    trajectory: Trajectory
    messages: list[dict[str, str]] = field(default_factory=list)
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    truncated: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The line of trajectories.jsonl: enough to judge the item again without a model."""
        return {
            "id": self.trajectory.task_id,
            "messages": self.messages,
            "trajectory": self.trajectory.as_dict(),
        }


async def play(endpoint: ChatEndpoint, task: Task, protocol: Protocol) -> Conversation:
    """Play `task`. Raises EndpointFailure when the endpoint gives out on the way: the item was then not run."""
    began = time.monotonic()
    episode = Episode(task, protocol.feedback, protocol.max_steps_per_turn, protocol.rules)
    conversation = Conversation(episode.trajectory, episode.start())
    while not episode.done:
        try:
            reply = await endpoint.complete(conversation.messages, task.id)
        except ContextFull:
            episode.finish(StopReason.OVER_BUDGET)
            break
        conversation.tokens_in = _add(conversation.tokens_in, reply.tokens_in)
        conversation.tokens_out = _add(conversation.tokens_out, reply.tokens_out)
        conversation.truncated += reply.truncated
        conversation.messages.append({"role": "assistant", "content": reply.text})
        conversation.messages += episode.step(reply.text).messages
    conversation.trajectory = episode.trajectory
    conversation.seconds = time.monotonic() - began
    return conversation


def _add(total: int | None, tokens: int | None) -> int | None:
    return None if total is None or tokens is None else total + tokens
