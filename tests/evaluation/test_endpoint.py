"""Whose fault a failure is: the endpoint's is tried again, the conversation's ends the item, the user's stops the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

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


SECRET = "sk-a-secret-of-ours"


def ask_one_that_answers(status: int, body: Callable[[web.Request], Any], key: str = SECRET) -> Completion:
    """The completion of an endpoint that gives this answer to every request."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body(request), status=status)

    async def once() -> Completion:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            async with ChatEndpoint(url, "m", {}, api_key=key, tries=1) as endpoint:
                return await endpoint.complete([{"role": "user", "content": "Hi"}], "item")
        finally:
            await runner.cleanup()

    return asyncio.run(once())


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_in_no_message(status: int) -> None:
    with pytest.raises((EnvtuneError, EndpointFailure), match=r"Bearer \[key\]") as caught:
        ask_one_that_answers(status, lambda request: {"error": f"no: {request.headers['Authorization']}"})
    assert SECRET not in str(caught.value)


def test_a_key_from_a_file_works_and_one_of_two_lines_is_refused() -> None:
    said = ask_one_that_answers(
        200, lambda r: {"choices": [{"message": {"content": r.headers["Authorization"]}}]}, f"{SECRET}\n"
    )
    assert said.text == f"Bearer {SECRET}"
    with pytest.raises(EnvtuneError, match="line break"):
        ChatEndpoint("http://127.0.0.1:1/v1", "m", {}, api_key="one\ntwo")


@pytest.mark.parametrize("count", ["12", -1, 1.5, True, None, [1]])
def test_what_is_no_count_of_tokens_is_not_counted(count: Any) -> None:
    body = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": count, "completion_tokens": 3}}
    reply = _read(json.dumps(body).encode())
    assert (reply.tokens_in, reply.tokens_out) == (None, 3)
    assert _read(json.dumps({**body, "usage": "12"}).encode()).tokens_in is None


LLAMA_CPP = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
    }
}


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, LLAMA_CPP), (422, {"error": "longer than the context window"}), (413, {"error": "too large"})],
    ids=["llama.cpp", "422", "413"],
)
def test_a_context_that_is_full_in_other_words(status: int, body: Any) -> None:
    with pytest.raises(ContextFull):
        ask_one_that_answers(status, lambda request: body)


def test_a_parameter_that_the_endpoint_refuses_stops_the_run() -> None:
    with pytest.raises(EnvtuneError, match="refuses the request"):
        ask_one_that_answers(422, lambda request: {"detail": "seed: not permitted"})


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(EnvtuneError, match="give a key instead") as caught:
        ChatEndpoint("http://me:hidden@127.0.0.1:8000/v1", "m", {})
    assert "hidden" not in str(caught.value)
