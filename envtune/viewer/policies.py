"""Who replies in `envtune play`: the ground truth, a person at the keyboard, or a model behind an endpoint.

A policy is a function: the conversation so far -> the next reply's text, or why there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from envtune.environment import StopReason
from envtune.environment.gold_policy import gold_replies
from envtune.environment.prompt import Message
from envtune.errors import EnvtuneError
from envtune.tasks import Task
from envtune.viewer.text import visible

if TYPE_CHECKING:
    from envtune.evaluation.endpoint import ChatEndpoint

Policy = Callable[[Sequence[Message]], "str | StopReason"]
_TRIES = 3


def gold_policy(task: Task) -> Policy:
    """Plays the ground truth."""
    replies = gold_replies(task)
    return lambda messages: next(replies, StopReason.ABORTED)


@contextlib.contextmanager
def endpoint_policy(
    base_url: str, model: str | None, task: Task, api_key: str, decoding: dict[str, Any]
) -> Iterator[Policy]:
    """A model behind an OpenAI-compatible endpoint (`base_url` with its /v1). Without a name: the only model there.

    The policy gives OVER_BUDGET when the conversation does not fit into the model's context, and raises EnvtuneError
    when the endpoint gives no reply.
    """
    if not base_url.startswith(("http://", "https://")):
        raise EnvtuneError(
            f"unknown policy {visible(base_url)!r}; choose gold, human, or an endpoint's http(s)://.../v1"
        )
    try:
        from envtune.evaluation.endpoint import ChatEndpoint, ContextFull, EndpointFailure
    except ModuleNotFoundError as error:
        raise EnvtuneError(f"a policy behind an endpoint needs the package {error.name}; install it") from error

    with asyncio.Runner() as runner:
        model = model or runner.run(_only_model(base_url, api_key))
        endpoint: ChatEndpoint = ChatEndpoint(base_url, model, decoding, api_key=api_key, tries=_TRIES)

        def policy(messages: Sequence[Message]) -> str | StopReason:
            try:
                return runner.run(endpoint.complete(messages, task.id)).text
            except ContextFull:
                return StopReason.OVER_BUDGET
            except EndpointFailure as error:
                raise EnvtuneError(f"{base_url} gives no reply: {visible(str(error))}") from error

        async def close() -> None:
            await endpoint.__aexit__(None, None, None)

        try:
            yield policy
        finally:
            runner.run(close())


async def _only_model(base_url: str, api_key: str) -> str:
    import aiohttp

    from envtune.evaluation.endpoint import check_url

    url = f"{check_url(base_url).rstrip('/')}/models"
    how: dict[str, Any] = {"headers": {"Authorization": f"Bearer {api_key}"}, "trust_env": True}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20), **how) as session,
            session.get(url) as answer,
        ):
            answer.raise_for_status()
            names = [str(model["id"]) for model in json.loads(await answer.read())["data"]]
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError) as error:
        reason = visible(" ".join(str(error).split())[:200])
        raise EnvtuneError(
            f"{base_url} does not list its models ({reason}); check the address: does it end in /v1?"
        ) from error
    if len(names) != 1:
        raise EnvtuneError(
            f"{base_url} has {len(names)} models ({visible(', '.join(names)[:200])}); name one with --model"
        )
    return names[0]
