"""The episode as an environment of the `verifiers` library (0.4; its v1 API: taskset, env, harness).

    pip install ".[verifiers]"
    vf-eval envtune -m MODEL --client.base-url http://127.0.0.1:8000/v1 --no-push \\
        --env.taskset.split validation --env.taskset.task.feedback augmented --env.agent.max-output-tokens 24576
    vf-validate envtune --runtime.type subprocess          # the ground truth of every task, without a model

    from envtune import load_environment                   # or verifiers.v1.load_environment(config)
    env = load_environment(split="train", feedback="augmented", reward="progress")

taskset  which tasks: `split`, `release`. A row has the system prompt, the first request, id, category, task_hash.
task     how one is played and scored: `feedback`, `rules`, `reward`, ...; the reward, and metrics of weight zero.
env      plays: one Episode a rollout, alive as long as its conversation; the model's replies come from the harness.
harness  the model's side: one chat completion a reply, in this process (verifiers' own `null` harness does the same
         with a process a reply, and can be used in its place).

Budgets are the library's (`--env.agent.max-turns`, `max-output-tokens`, ...; also the server's context length): the
episode ends `over_budget` and scores what it has. An infrastructure error (the endpoint, a deadline) is never a score:
the rollout is recorded as failed, without a reward. The trajectory is kept in `trace.info["trajectory"]`, from which
`vf-replay` scores again. Replies must come with their tags: serve the model without a reasoning parser.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from typing import Any, Literal

from envtune.adapters import missing_extra

try:
    import verifiers.v1 as vf
    from openai import APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient
    from verifiers.v1.harnesses.utils.compaction import is_context_overflow
except ModuleNotFoundError as error:
    raise missing_extra("verifiers", error) from error

from envtune.environment import Episode, StopReason, Trajectory
from envtune.environment.gold_policy import play_gold
from envtune.metrics import episode_metrics
from envtune.rewards import REWARDS, progress_reward
from envtune.scoring import official_verdict
from envtune.tasks import Task, find_task, load_tasks

ID = "envtune"


class BfclTaskConfig(vf.TaskConfig):
    """How a task is played (see `envtune.environment.Episode`) and which reward counts (`envtune.rewards`)."""

    feedback: str = "none"  # the name of a hint set
    rules: Literal["training", "bfcl"] = "training"
    max_steps_per_turn: int = 5
    max_result_characters: int | None = None
    reward: Literal["progress", "binary", "format"] = "progress"


class BfclTasksetConfig(vf.TasksetConfig):
    """Which tasks (see `envtune.tasks.load_tasks`)."""

    id: vf.ID = ID
    split: Literal["train", "all", "base", "stage1", "validation", "heldout", "test"] = "train"
    release: Literal["paper", "current"] = "paper"
    task: BfclTaskConfig = BfclTaskConfig()


class BfclTaskData(vf.TaskData):
    """A row. `id` is BFCL's; the task itself is found by it."""

    release: str
    category: str
    task_hash: str


class BfclTask(vf.Task[BfclTaskData, vf.State, BfclTaskConfig]):
    """One task, and what its rollouts score."""

    @property
    def key(self) -> str:
        """The hash of the task's content, as in every record of envtune."""
        return self.data.task_hash

    @property
    def source(self) -> Task:
        """envtune's own task."""
        return find_task(self.data.id, self.data.release)

    def episode(self) -> Episode:
        """A new episode, started."""
        config = self.config
        episode = Episode(
            self.source,
            feedback=config.feedback,
            max_steps_per_turn=config.max_steps_per_turn,
            rules=config.rules,
            max_result_characters=config.max_result_characters,
        )
        episode.start()
        return episode

    def trajectory(self, trace: vf.Trace) -> Trajectory:
        """What was played; nothing, when no agent ran. Raises where the rollout was stopped from outside: such an
        episode has no score."""
        stored = trace.info.get("trajectory")
        trajectory = Trajectory.from_dict(stored) if stored else self.episode().trajectory
        if trace.is_timeout or (stored and trajectory.stop_reason is StopReason.ABORTED):
            raise RuntimeError(f"the rollout was stopped from outside ({trace.stop_condition}); it has no score")
        return trajectory

    @vf.reward
    async def score_episode(self, trace: vf.Trace) -> dict[str, float]:
        """The reward that was asked for, under its name."""
        return {self.config.reward: REWARDS[self.config.reward](self.trajectory(trace))}

    @vf.metric
    async def measure_episode(self, trace: vf.Trace) -> dict[str, float]:
        """See `envtune.metrics`."""
        trajectory = self.trajectory(trace)
        return episode_metrics(trajectory, official_verdict(self.source, trajectory.calls))

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Whether the ground truth scores 1 in every turn."""
        episode = self.episode()
        play_gold(episode)
        return progress_reward(episode.trajectory) == 1.0


class BfclTaskset(vf.Taskset[BfclTask, BfclTasksetConfig]):
    """The tasks of one split of one release, in BFCL's order."""

    def load(self) -> Iterator[BfclTask]:
        """The rows."""
        for task in load_tasks(self.config.release, self.config.split):
            system, request = Episode(task).start()
            data = BfclTaskData(
                id=task.id,
                name=task.id,
                system_prompt=system["content"],
                prompt=request["content"],
                release=task.release,
                category=task.category,
                task_hash=task.content_hash,
            )
            yield BfclTask(data, self.config.task)


class BfclHarness(vf.Harness[vf.HarnessConfig]):
    """A chat without tools, in this process: every reply is one request to the rollout's endpoint."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Ask for the next reply; the library records it. A conversation that no longer fits ends without one."""
        system, prompt = self.resolve_prompt(data)
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _as_chat(prompt or [])
        opening = [{"role": "system", "content": system}] if system else []
        http = DefaultAsyncHttpxClient(verify=_tls(), timeout=None)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, http_client=http) as client:
            try:
                # not client.chat.completions: checking the whole conversation takes it 15 ms a reply
                body = {"model": ctx.model, "messages": [*opening, *said]}
                await client.post("/chat/completions", cast_to=object, body=body)
            except APIStatusError as error:
                if not is_context_overflow(error):
                    raise
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class BfclEnvConfig(vf.SingleAgentEnvConfig):
    """One seat, `agent`: the chat harness, beside the environment on this machine (nothing here runs model text)."""

    taskset: BfclTasksetConfig = BfclTasksetConfig()
    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class BfclEnv(vf.SingleAgentEnv, vf.Env[BfclEnvConfig]):
    """Plays a task: the episode is the user of the model's conversation."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        """One rollout. The Episode lives in this call alone; its trajectory is left in the trace."""
        episode = task.episode()
        async with agents.agent.interaction(task) as interaction:
            trace = interaction.trace
            segment = await interaction.turn()
            while not segment.terminated:
                step = episode.step(_text(segment.messages[-1]))
                if step.done:
                    break
                segment = await interaction.turn(list(step.messages))
            if not episode.done:
                stopped_from_outside = bool(trace.errors) or trace.is_timeout
                episode.finish(StopReason.ABORTED if stopped_from_outside else StopReason.OVER_BUDGET)
            trajectory = episode.trajectory
            trace.info["trajectory"] = trajectory.as_dict()
            trace.stop(str(trajectory.stop_reason))  # where the library has not stopped it already, by a limit


def load_environment(
    split: str = "train", release: str = "paper", *, env: dict[str, Any] | None = None, **task: Any
) -> vf.Env:
    """The environment with these settings; `task` takes the fields of BfclTaskConfig, `env` those of BfclEnvConfig."""
    taskset = {"id": ID, "split": split, "release": release, "task": task}
    return vf.load_environment(vf.resolve_env_config({**(env or {}), "taskset": taskset}))


@functools.cache
def _tls() -> ssl.SSLContext:
    """Takes 60 ms to make, and a client of its own would make one for every reply."""
    return ssl.create_default_context()


def _text(message: vf.AssistantMessage) -> str:
    """The reply as it was sent (`Segment.last_reply` would strip it)."""
    return message.content if isinstance(message.content, str) else ""


def _as_chat(messages: vf.Messages) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content or ""} for message in messages]
