"""One episode as a verl agent loop: verl's engine samples the replies, `Episode` answers them, ids are only appended.

Registered by configuration (`actor_rollout_ref.rollout.agent.agent_loop_config_path` names a YAML file with the entry
`{name: envtune, _target_: envtune.training.agent_loop.EnvtuneAgentLoop}`); rows of the data choose it by `agent_name`.
One coroutine an episode; the environment runs inline, since a step of it takes milliseconds.

What holds of every output (tests/training/test_agent_loop.py):
  tokens    A reply is kept as sampled, with mask 1 and the engine's log-probabilities. Everything between two replies
            has mask 0 and log-probability 0. The response ends with a reply, never with the environment's words.
  budgets   All turns together stay within `data.max_response_length` and the engine's context. Each call asks for no
            more tokens than are left, nor than `max_reply_tokens`.
  cut       A reply that its cap cut is given to the environment as it stands, like any other (most are ill-formed then,
            and count so); where tokens are left the template closes it and the episode goes on.
  the end   An answer of the environment that leaves no room for a reply is not appended: the episode is over budget.
            What it did not reach scores 0.
  seeds     With `seeded`, what a reply is sampled with follows from the run's seed, the step, the prompt's place in it,
            and the places of the episode in its group and of the reply in the episode: a run that was killed and goes on samples what it
            would have sampled. Validation is seeded alike.
  errors    A bad rollout is data, not a crash. Bad replies and failing tools are the environment's business and never
            raise. If the environment itself raises, or the engine gives a request up, that is not the model's doing:
            the episode is `aborted`, its mask is all 0 (nothing is learnt from it), and `aborted` is counted.
            An engine that raises, and data that do not fit the code, go on to verl, which fails the whole group.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from envtune.environment import Episode, StopReason, Trajectory
from envtune.errors import EnvtuneError
from envtune.metrics import episode_metrics
from envtune.scoring import official_verdict
from envtune.tasks import Task
from envtune.training.dataset import EpisodeSpec
from envtune.training.tokens import ChatTokens

logger = logging.getLogger(__name__)


@dataclass
class _Rollout:
    """What is sampled so far, and what it took. Ids, mask and log-probabilities are those of the whole response."""

    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    log_probs: list[float] | None = field(default_factory=list)
    truncated: int = 0
    preempted: int = -1  # verl's "not known"
    versions: list[int] = field(default_factory=list)  # of the weights, in trainer steps
    replies: int = 0
    sampled: int = 0
    generate_s: float = 0.0
    environment_s: float = 0.0
    tokenise_s: float = 0.0

    def add_reply(self, output: Any) -> None:
        """Append a reply (verl's TokenOutput) as sampled."""
        ids, log_probs = list(output.token_ids), output.log_probs
        self.replies += 1
        self.sampled += len(ids)
        self.ids += ids
        self.mask += [1] * len(ids)
        if not ids:
            pass  # a request given up before its first token says nothing about log-probabilities
        elif log_probs is None or self.log_probs is None:
            self.log_probs = None
        elif len(log_probs) != len(ids):
            raise RuntimeError(f"the engine gave {len(log_probs)} log-probabilities for {len(ids)} tokens")
        else:
            self.log_probs += log_probs
        if output.num_preempted is not None:
            self.preempted = max(self.preempted, 0) + output.num_preempted
        versions = (output.extra_fields.get(key) for key in ("min_global_steps", "max_global_steps"))
        self.versions += [int(version) for version in versions if version is not None]

    def timed(self, part: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and add its seconds to `part`, also when it raises."""
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)

    def add_context(self, ids: list[int]) -> None:
        """Append ids that the model did not sample."""
        self.ids += ids
        self.mask += [0] * len(ids)
        if self.log_probs is not None:
            self.log_probs += [0.0] * len(ids)


class EnvtuneAgentLoop(AgentLoopBase):
    """Plays the episode that a row's `environment` describes. verl makes one instance an episode.

    max_reply_tokens: cap on one reply's tokens (beside what is left of the response); seeded: see above. Both from the
    YAML entry.
    """

    def __init__(self, *args: Any, max_reply_tokens: int | None = None, seeded: bool = False, **kwargs: Any) -> None:
        # verl's base class makes its own token builder, which is not used here, and warns of it in every episode
        logging.getLogger("verl.utils.tokenizer.continuous_token_wiring").setLevel(logging.ERROR)
        super().__init__(*args, **kwargs)
        if max_reply_tokens is not None and max_reply_tokens < 1:
            raise EnvtuneError(f"max_reply_tokens must be at least 1, not {max_reply_tokens}")
        self.max_reply_tokens = max_reply_tokens
        self.seeded = seeded
        self.chat = ChatTokens(self.tokenizer, self.apply_chat_template_kwargs)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Play one episode. `row`: the data row's columns, and verl's own (`global_steps`).

        Raises EnvtuneError when the row does not fit this code or the prompt does not fit its budget.
        """
        spec = EpisodeSpec.from_json(row["environment"])
        episode = spec.episode()
        rollout = _Rollout()
        started = time.perf_counter()
        prompt_ids = self._prompt(spec, episode, row)
        rollout.tokenise_s += time.perf_counter() - started
        # verl's id of a prompt is random in validation; in training it follows from step and place, and tells apart the
        # same task drawn twice
        prompt = spec.task_id if spec.split == "validation" else row.get("uid")
        place = (self.rollout_config.seed, row.get("global_steps"), spec.split, prompt, row.get("session_id"))
        await self._play(episode, prompt_ids, rollout, sampling_params, place if self.seeded else None)
        return self._output(spec, episode, prompt_ids, rollout, row)

    def _prompt(self, spec: EpisodeSpec, episode: Episode, row: Mapping[str, Any]) -> list[int]:
        messages = episode.start()
        if [dict(message) for message in row["raw_prompt"]] != messages:
            raise EnvtuneError(f"{spec.task_id}: the data were written by another version; run `envtune data` again")
        ids = self.chat.opening(messages)
        limit = self.rollout_config.prompt_length
        if len(ids) > limit or self._room(ids, _Rollout()) < 1:
            raise EnvtuneError(
                f"{spec.task_id}: the prompt has {len(ids)} tokens, more than data.max_prompt_length ({limit}) or the "
                "engine's context allow; raise them or leave the task out"
            )
        return ids

    def _room(self, prompt_ids: list[int], rollout: _Rollout) -> int:
        """Tokens that the response may still grow by."""
        room = self.rollout_config.response_length - len(rollout.ids)
        context = self.rollout_config.get("max_model_len")
        return room if context is None else min(room, context - len(prompt_ids) - len(rollout.ids))

    async def _play(
        self,
        episode: Episode,
        prompt_ids: list[int],
        rollout: _Rollout,
        sampling_params: Mapping[str, Any],
        place: tuple[Any, ...] | None,
    ) -> None:
        """Replies and answers until the episode is over. This is the one place where errors are classified.

        place: what the seeds follow from; None: the engine's own randomness.
        """
        request_id = uuid4().hex
        while not episode.done:
            cap = self._room(prompt_ids, rollout)
            if self.max_reply_tokens is not None:
                cap = min(cap, self.max_reply_tokens)
            started = time.perf_counter()
            output = await self.server_manager.generate(
                request_id=request_id,
                prompt_ids=prompt_ids + rollout.ids,
                sampling_params={**sampling_params, "max_tokens": cap, **_seed(place, rollout.replies)},
            )
            rollout.generate_s += time.perf_counter() - started
            reply_ids = list(output.token_ids)
            rollout.add_reply(output)
            if output.stop_reason == "aborted" or not reply_ids:
                episode.finish(StopReason.ABORTED)
                break
            rollout.truncated += len(reply_ids) >= cap and not self.chat.is_closed(reply_ids)
            text = rollout.timed("tokenise_s", self.chat.text, reply_ids)
            try:
                step = rollout.timed("environment_s", episode.step, text)
            except Exception:  # the boundary: whatever the environment raises ends this episode only
                logger.exception("the environment failed in task %s; the episode is aborted", episode.task.id)
                episode.finish(StopReason.ABORTED)
                break
            if not step.done:
                context = rollout.timed("tokenise_s", self.chat.following, reply_ids, step.messages)
                if len(context) < self._room(prompt_ids, rollout):
                    rollout.add_context(context)
                else:
                    episode.finish(StopReason.OVER_BUDGET)

    def _output(
        self, spec: EpisodeSpec, episode: Episode, prompt_ids: list[int], rollout: _Rollout, row: Mapping[str, Any]
    ) -> AgentLoopOutput:
        trajectory = episode.trajectory
        if trajectory.stop_reason is StopReason.ABORTED:
            rollout.mask = [0] * len(rollout.mask)
            if not rollout.ids:  # verl puts the reward on the last token of the response, so there must be one
                rollout.add_context([self.chat.end_id])
        started = time.perf_counter()
        info = episode_info(episode.task, trajectory, rollout.truncated)
        scored_s = time.perf_counter() - started
        if spec.split == "validation":  # verl's dump of validation writes it; ASCII, since a reply may hold anything
            info["trajectory"] = json.dumps(trajectory.as_dict())
        versions = rollout.versions or [int(row.get("global_steps", 0))]
        return AgentLoopOutput(
            prompt_ids=prompt_ids,
            response_ids=rollout.ids,
            response_mask=rollout.mask,
            response_logprobs=rollout.log_probs,
            reward_score=float(info[spec.reward]),
            num_turns=2 * len(trajectory.replies),  # chat messages but the system's: each reply has one before it
            metrics=AgentLoopMetrics(
                generate_sequences=rollout.generate_s,
                tool_calls=rollout.environment_s,
                compute_score=scored_s,
                num_preempted=rollout.preempted,
            ),
            extra_fields={
                "reward_extra_info": info,
                "min_global_steps": min(versions),
                "max_global_steps": max(versions),
                "turn_scores": [float(score) for score in trajectory.turn_scores],
                "tool_rewards": [],
                "sampled_tokens": rollout.sampled,
                "seconds": {
                    "generation": rollout.generate_s,
                    "environment": rollout.environment_s,
                    "tokenisation": rollout.tokenise_s,
                    "reward": scored_s,
                },
            },
        )


def _seed(place: tuple[Any, ...] | None, reply: int) -> dict[str, int]:
    """The sampling parameter for a reply's seed; none without a place."""
    if place is None:
        return {}
    return {"seed": int.from_bytes(hashlib.sha256(repr((*place, reply)).encode()).digest()[:4], "big")}


def episode_info(task: Task, trajectory: Trajectory, truncated: int) -> dict[str, Any]:
    """What a trajectory came to, as numbers that verl can average (and strings, which it only dumps).

    acc: BFCL's verdict on the executed calls, 0 or 1 (verl makes `acc` the headline of validation). progress, binary,
    format: the three rewards, whichever is trained on. Counts: turns (of the task), turns_played, replies, tool_calls,
    tool_errors, truncated_replies. format_rate: share of replies that were well-formed. over_budget, aborted: 0 or 1.
    """
    verdict = official_verdict(task, trajectory.calls)
    metrics = episode_metrics(trajectory, verdict)
    return {
        "acc": metrics.pop("official"),
        **metrics,
        "turns": float(len(trajectory.turns)),
        "turns_played": float(sum(bool(turn.replies) for turn in trajectory.turns)),
        "truncated_replies": float(truncated),
        "aborted": float(trajectory.stop_reason is StopReason.ABORTED),
        "stop_reason": trajectory.stop_reason.value,
        "error_type": verdict["error_type"] or "",
        "task_id": task.id,
    }
