"""One item of the suite played to its end: an episode under BFCL's rules against a chat endpoint.

In the kit's format the episode writes every message. In native function calling it only executes and counts, and
function_calling.py writes the messages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from envtune.environment import Episode, StopReason, Trajectory
from envtune.evaluation.bfcl_v3 import function_calling as fc
from envtune.evaluation.bfcl_v3.protocol import Protocol
from envtune.evaluation.endpoint import ChatEndpoint, ContextFull, Usage
from envtune.tasks import Task


@dataclass(kw_only=True)
class Conversation(Usage):
    """What was said, and what it cost.

    messages: all of them, in order, the replies with the role "assistant"; seconds: wall time.
    """

    trajectory: Trajectory
    messages: list[dict[str, Any]] = field(default_factory=list)
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
    conversation = Conversation(trajectory=episode.trajectory)
    try:
        await (_native if protocol.format == "fc" else _kit)(endpoint, episode, conversation)
    except ContextFull:
        episode.finish(StopReason.OVER_BUDGET)
    conversation.trajectory = episode.trajectory
    conversation.seconds = time.monotonic() - began
    return conversation


async def _kit(endpoint: ChatEndpoint, episode: Episode, conversation: Conversation) -> None:
    messages = conversation.messages
    messages += episode.start()
    while not episode.done:
        reply = await endpoint.complete(messages, episode.task.id, step=conversation.requests)
        conversation.count(reply)
        messages.append({"role": "assistant", "content": reply.text})
        messages += episode.step(reply.text).messages


async def _native(endpoint: ChatEndpoint, episode: Episode, conversation: Conversation) -> None:
    messages, task = conversation.messages, episode.task
    episode.start()
    messages += fc.request(task, 0)
    tools = fc.native_tools(task, 0)
    while not episode.done:
        turn = episode.turn
        reply = await endpoint.complete(messages, task.id, step=conversation.requests, tools=tools)
        conversation.count(reply)
        text, parsed = fc.read(reply)
        messages.append(fc.said(reply, parsed))
        step = episode.step(text, parsed)
        messages += fc.results(reply, step) if step.results else []
        if episode.turn > turn and not episode.done:
            messages += fc.request(task, episode.turn)
            tools = fc.native_tools(task, episode.turn)
