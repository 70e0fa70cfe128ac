"""Whose fault a failure is: the endpoint's is tried again, the conversation's ends the item, the user's stops the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from envtune.environment import Episode
from envtune.errors import EnvtuneError
from envtune.evaluation.endpoint import ChatEndpoint, Completion, ContextFull, EndpointFailure, _read
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.tasks import find_task

TASK = find_task("multi_turn_base_0")


def ask(
    scripted: ScriptedEndpoint, *, model: str = "scripted", tries: int = 3, item: str = TASK.id, max_tokens: int = 100
) -> Completion:
    async def once() -> Completion:
        endpoint = ChatEndpoint(
            scripted.base_url, model, {"max_tokens": max_tokens, "temperature": 0}, tries=tries, pause_s=0.001
        )
        async with endpoint:
            return await endpoint.complete(Episode(TASK).start(), item)

    return asyncio.run(once())


def test_a_reply_with_its_tokens() -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        reply = ask(scripted)
    assert "<tool_call>" in reply.text and reply.tokens_in and reply.tokens_out and not reply.truncated


@pytest.mark.parametrize("kind", range(4), ids=["500", "429", "no completion", "connection closed"])
def test_failures_of_the_endpoint_are_tried_again(kind: int) -> None:
    def third_time_works(task_id: str) -> int | None:
        scripted.requests.append(task_id)
        return kind if len(scripted.requests) < 3 else None

    with ScriptedEndpoint([TASK]) as scripted:
        scripted.fault = third_time_works  # type: ignore[method-assign]
        assert "<tool_call>" in ask(scripted).text
        assert len(scripted.requests) == 3
        scripted.fault = lambda task_id: kind  # type: ignore[method-assign]
        with pytest.raises(EndpointFailure, match=r"\(3 tries\)"):
            ask(scripted)


def test_nobody_there() -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        pass
    with pytest.raises(EndpointFailure, match="ClientConnectorError"):
        ask(scripted)


@pytest.mark.parametrize(
    "wrong",
    [lambda s: ask(s, model="other"), lambda s: ask(s, item="other")],
    ids=["model", "item"],
)
def test_the_users_mistakes_are_not_tried_again(wrong: Callable[[ScriptedEndpoint], Completion]) -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        with pytest.raises(EnvtuneError, match="status 404"):
            wrong(scripted)
        assert scripted.requests == []


def test_room_for_less_than_max_tokens_is_used() -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        needed = ask(scripted).tokens_in
        assert needed is not None
        scripted.context_tokens = needed + 10
        assert "<tool_call>" in ask(scripted, max_tokens=1000).text
        scripted.context_tokens = needed - 1
        with pytest.raises(ContextFull):
            ask(scripted, max_tokens=1000)


def test_a_lone_surrogate_in_a_reply_is_replaced() -> None:
    """It could not be sent back with the next request, and one reply would end the whole run."""
    assert _read(rb'{"choices": [{"message": {"content": "a\ud800b"}}]}').text == "a?b"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/v1", "localhost:8000/v1", "http:///v1", "ftp://host/v1", "http://[::1/v1"]
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(EnvtuneError, match="no address of an endpoint"):
        ChatEndpoint(url, "m", {})
