"""The episode as an OpenEnv server (`openenv` 0.10, Hugging Face and Meta PyTorch): reset, step and state.

    pip install ".[openenv]"
    envtune openenv-server --port 8000 --feedback augmented --reward progress

    from openenv import GenericEnvClient                        # or EpisodeClient below, with typed observations
    with GenericEnvClient(base_url="http://127.0.0.1:8000").sync() as env:
        result = env.reset(task_id="multi_turn_base_0")         # or split= and index=, or split= and seed=
        while not result.done:
            result = env.step({"reply": model(result.observation["messages"])})

An observation's `messages` are to be appended to the conversation, after the reply. The reward is 0 until the episode
is over and then the episode's (so rewards sum to it); the last observation's `metadata` has the metrics and the
trajectory. A client whose token budget is used up sends `{"reply": "", "over_budget": true}`.

Each WebSocket session (`/ws`) has an episode of its own; all run in the server's one thread, since BFCL's tools set
mpmath's global precision. Any text is a reply. What is not an action, and an unknown task, split or field, is answered
with an error that says so, and the session goes on. Plain HTTP is for one-shot calls (`/schema`, `/health`, the task
lists): OpenEnv makes a new environment for every HTTP request, so only `/ws` can play.
"""

from __future__ import annotations

import functools
import random
from typing import Annotated, Any, Literal

from envtune.adapters import missing_extra

try:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from openenv.core import EnvClient
    from openenv.core.client_types import StepResult
    from openenv.core.env_server import Action, Environment, Observation, State, create_app
    from openenv.core.env_server.types import EnvironmentMetadata
    from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError
except ModuleNotFoundError as error:
    raise missing_extra("openenv", error) from error

from envtune import __version__
from envtune.environment import Episode, StopReason
from envtune.environment.prompt import Message, encodable
from envtune.errors import EnvtuneError
from envtune.metrics import episode_metrics
from envtune.rewards import REWARDS
from envtune.scoring import official_verdict
from envtune.tasks import SPLITS, Task, find_task, load_tasks

NAME = "envtune"


def _encodable(text: Any) -> Any:
    return encodable(text) if isinstance(text, str) else text


class ReplyAction(Action):
    """The model's reply, whatever it is. over_budget: end the episode instead; the reply is not played."""

    reply: Annotated[StrictStr, BeforeValidator(_encodable)]
    over_budget: bool = False


class EpisodeObservation(Observation):
    """What one reply led to. messages: to append to the conversation ({"role", "content"}; empty when it is over);
    kind: what the reply was; turn_score: 0 or 1 when it ended a turn."""

    messages: list[Message] = Field(default_factory=list)
    kind: str | None = None
    turn_score: int | None = None


class EpisodeState(State):
    """Where the episode is; `turn` counts from 0, turn_scores has the turns that are over."""

    task_id: str | None = None
    task_hash: str | None = None
    category: str | None = None
    release: str | None = None
    turn: int = 0
    turn_scores: list[int] = Field(default_factory=list)
    stop_reason: str | None = None


class _Which(BaseModel):
    """The arguments of reset that say which task is played."""

    model_config = ConfigDict(extra="forbid")

    task_id: StrictStr | None = None
    split: Literal[SPLITS] = "train"
    index: StrictInt | None = Field(None, ge=0)
    seed: StrictInt | None = None


class EpisodeEnvironment(Environment[ReplyAction, EpisodeObservation, EpisodeState]):
    """One session: an Episode at a time. release, reward: see `envtune.tasks` and `envtune.rewards`; the other options
    are those of `envtune.environment.Episode`."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, release: str = "paper", reward: str = "progress", **options: Any) -> None:
        super().__init__()
        if reward not in REWARDS:
            raise EnvtuneError(f"unknown reward {reward!r}; choose one of: {', '.join(REWARDS)}")
        self._release, self._reward, self._options = release, reward, options
        self._episode: Episode | None = None
        self._state = EpisodeState()

    def reset(self, seed: Any = None, episode_id: str | None = None, **which: Any) -> EpisodeObservation:
        """A new episode: of `task_id`; else of the task at `index` of `split`; else of one drawn from `split` by `seed`.

        Raises pydantic's ValidationError on an argument that is wrong or unknown, EnvtuneError on an unknown task.
        """
        task = self._find(_Which(seed=seed, **which))
        self._episode = Episode(task, **self._options)
        self._state = EpisodeState(
            episode_id=episode_id,
            task_id=task.id,
            task_hash=task.content_hash,
            category=task.category,
            release=task.release,
        )
        return EpisodeObservation(messages=self._episode.start())

    def step(self, action: ReplyAction, timeout_s: float | None = None, **_: Any) -> EpisodeObservation:
        """Play the reply. Raises EnvtuneError when no episode is under way."""
        episode = self._episode
        if episode is None:
            raise EnvtuneError("there is no episode: call reset first, in the same session (the WebSocket /ws)")
        if episode.done:
            raise EnvtuneError("the episode is over: call reset for a new one")
        if action.over_budget:
            episode.finish(StopReason.OVER_BUDGET)
            observation = EpisodeObservation(done=True)
        else:
            step = episode.step(action.reply)
            observation = EpisodeObservation(
                messages=list(step.messages), done=step.done, kind=step.kind, turn_score=step.turn_score
            )
            self._state.step_count += 1
        trajectory = episode.trajectory
        self._state.turn = episode.turn
        self._state.turn_scores = trajectory.turn_scores[: episode.turn]
        observation.reward = 0.0
        if episode.done:
            self._state.stop_reason = trajectory.stop_reason
            observation.reward = REWARDS[self._reward](trajectory)
            metrics = episode_metrics(trajectory, official_verdict(episode.task, trajectory.calls))
            observation.metadata = {"metrics": metrics, "trajectory": trajectory.as_dict()}
        return observation

    # Overridden so that the server runs them in its own thread: by default each session has another.

    async def reset_async(self, seed: Any = None, episode_id: str | None = None, **which: Any) -> EpisodeObservation:
        """`reset`."""
        return self.reset(seed, episode_id, **which)

    async def step_async(self, action: ReplyAction, timeout_s: float | None = None, **_: Any) -> EpisodeObservation:
        """`step`."""
        return self.step(action, timeout_s)

    @property
    def state(self) -> EpisodeState:
        """Where the episode is."""
        return self._state

    def close(self) -> None:
        """The end of the session: its episode is dropped."""
        self._episode = None

    def get_metadata(self) -> EnvironmentMetadata:
        """What the server says of itself."""
        about = "BFCL V3 multi-turn tool use, a model's conversation a session"
        return EnvironmentMetadata(name=NAME, description=about, version=__version__)

    # OpenEnv's task lists

    def list_splits(self) -> list[str]:
        """Names of the splits."""
        return list(SPLITS)

    def num_tasks(self, split: str) -> int:
        """Number of tasks in a split."""
        return len(self._tasks(split))

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """The tasks of a split."""
        return [_about(index, task) for index, task in enumerate(self._tasks(split))]

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """One task of a split."""
        tasks = self._tasks(split)
        if not 0 <= index < len(tasks):
            raise IndexError(index)
        return _about(index, tasks[index])

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        """Some tasks of a split, as of a Python list."""
        return self.list_tasks(split)[start:stop]

    def _tasks(self, split: str) -> tuple[Task, ...]:
        return load_tasks(self._release, split)

    def _find(self, which: _Which) -> Task:
        if which.task_id is not None:
            return find_task(which.task_id, self._release)
        tasks = self._tasks(which.split)
        if which.index is None:
            return random.Random(which.seed).choice(tasks)
        if which.index >= len(tasks):
            raise EnvtuneError(f"index {which.index} is past the end of split {which.split!r}, which has {len(tasks)}")
        return tasks[which.index]


def _about(index: int, task: Task) -> dict[str, Any]:
    return {"index": index, "id": task.id, "category": task.category, "task_hash": task.content_hash}


class EpisodeClient(EnvClient[ReplyAction, EpisodeObservation, EpisodeState]):
    """OpenEnv's client with this environment's types."""

    def _step_payload(self, action: ReplyAction) -> dict[str, Any]:
        return action.model_dump()

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[EpisodeObservation]:
        said = {key: payload.get(key) for key in ("done", "reward")}
        observation = EpisodeObservation(**{**payload["observation"], **said})
        return StepResult(observation, observation.reward, observation.done, observation.metadata)

    def _parse_state(self, payload: dict[str, Any]) -> EpisodeState:
        return EpisodeState(**payload)


def make_app(max_sessions: int = 256, **options: Any) -> FastAPI:
    """The server's FastAPI application; `options` as EpisodeEnvironment takes them. Raises EnvtuneError on a wrong one."""
    make = functools.partial(EpisodeEnvironment, **options)
    make().reset(split="train", index=0)  # a wrong option, or data that cannot be fetched, is told now
    app = create_app(
        make, ReplyAction, EpisodeObservation, env_name=NAME, max_concurrent_envs=max_sessions, state_cls=EpisodeState
    )

    @app.exception_handler(EnvtuneError)
    @app.exception_handler(ValidationError)
    async def bad_request(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=400)

    return app


def serve(host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
    """Run the server until it is interrupted; port 0 takes a free one."""
    uvicorn.run(make_app(**options), host=host, port=port)
