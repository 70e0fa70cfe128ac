"""Where the benchmarks of other packages reach the model: an OpenAI-compatible server of ours, one address an item.

    benchmark's own client -> http://127.0.0.1:PORT/item/7/v1 -> ChatEndpoint -> the endpoint under test

So that whatever is the same for all of them is done once, whatever client they use: retries with backoff, decoding, the
reply format, tokens, the raw conversation, and the difference between an endpoint that gave out (the item was not run)
and a conversation that outgrew the model's context (it failed). After either the item's requests are refused at once.
/user/7/v1 is the same for the model that plays the user, which keeps the benchmark's own decoding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

from envtune.errors import EnvtuneError
from envtune.evaluation.endpoint import (
    AGENT,
    USER,
    ChatEndpoint,
    Completion,
    ContextFull,
    EndpointFailure,
    NativeCall,
    Usage,
)
from envtune.evaluation.reply_formats import from_kit, text_of, to_kit, without_thinking

_OF_A_USER = ("temperature", "top_p", "max_tokens", "stop")
_LARGEST = 256 << 20  # bytes of one request: long conversations with whole web pages in them


@dataclass(kw_only=True)
class Talk(Usage):
    """One item's conversations, while it is played and after.

    base_url, user_base_url: where its requests go; the usage is that of the model under test; user_requests: replies of
    the one that plays the user; over_budget: a request was longer than the context; failure: why the endpoint gave none; fatal: what the user has to mend.
    exchanges: all requests and replies in order. Of a request that continues the last one in the same role only the
    messages from number `from` on are kept.
    """

    item: str
    base_url: str
    user_base_url: str
    over_budget: bool = False
    failure: str | None = None
    fatal: EnvtuneError | None = None
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    user_requests: int = 0
    _last: dict[str, list[Any]] = field(default_factory=dict)
    _raw: dict[str, str] = field(default_factory=dict)
    _tools: Any = None

    def said(self, message: Mapping[str, Any]) -> str | None:
        """The model's own text of a message that the benchmark sends back."""
        calls = message.get("tool_calls")
        return self._raw.get(calls[0]["id"] if calls else text_of(message))

    def remember(self, raw: str, content: str, calls: Sequence[NativeCall]) -> None:
        """Keep the model's own text of a reply."""
        self._raw[calls[0].id if calls else content] = raw

    def note(self, role: str, messages: list[Any], tools: Any, completion: Completion) -> None:
        """Add an exchange to the record."""
        before = self._last.get(role, [])
        same = 0
        while same < min(len(before), len(messages)) and before[same] == messages[same]:
            same += 1
        entry: dict[str, Any] = {"role": role, "from": same, "messages": messages[same:], "reply": completion.text}
        if completion.calls:
            entry["tool_calls"] = [[call.name, call.arguments] for call in completion.calls]
        if tools and tools != self._tools and role == AGENT:
            entry["tools"] = self._tools = tools
        self._last[role] = messages
        self.exchanges.append(entry)


class Gateway:
    """An async context manager: the server. user: the endpoint of the model that plays users, None without one;
    user_decoding: what its requests must have whatever the benchmark asks for; reply_format: "kit" or "fc"."""

    def __init__(
        self,
        agent: ChatEndpoint,
        reply_format: str,
        user: ChatEndpoint | None = None,
        user_decoding: Mapping[str, Any] | None = None,
    ) -> None:
        self._agent, self._user = agent, user
        self._format = reply_format
        self._user_decoding = dict(user_decoding or {})
        self._talks: dict[int, Talk] = {}
        self._count = 0
        self._url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Gateway:
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_post("/{role:item|user}/{number:\\d+}/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def open(self, item: str) -> tuple[int, Talk]:
        """A number and addresses of its own for one playing of an item. `close` it."""
        self._count += 1
        number = self._count
        talk = Talk(
            item=item,
            base_url=f"{self._url}/item/{number}/v1",
            user_base_url=f"{self._url}/user/{number}/v1",
        )
        self._talks[number] = talk
        return number, talk

    def close(self, number: int) -> None:
        """Answer no more requests of this playing."""
        self._talks.pop(number, None)

    async def _answer(self, request: web.Request) -> web.Response:
        talk = self._talks.get(int(request.match_info["number"]))
        if talk is None or talk.failure is not None or talk.fatal is not None:
            return _refusal(503, "envtune_not_run", "this item is over")
        if talk.over_budget:
            return _context_full()
        role = AGENT if request.match_info["role"] == "item" else USER
        try:
            body = await request.json()
            messages, tools = list(body["messages"]), body.get("tools") or []
        except (ValueError, LookupError, TypeError):
            return _refusal(400, "invalid_request", "no request for a chat completion")
        try:
            completion, content, calls = await self._complete(talk, role, body, messages, tools)
        except ContextFull:
            if role == AGENT:
                talk.over_budget = True
                return _context_full()
            talk.failure = "the conversation outgrew the context of the model that plays the user"
        except EndpointFailure as error:
            talk.failure = str(error)
        except EnvtuneError as error:
            talk.fatal = error
        else:
            return web.json_response(_completion(body, completion, content, calls))
        return _refusal(503, "envtune_not_run", talk.failure or str(talk.fatal))

    async def _complete(
        self, talk: Talk, role: str, body: Mapping[str, Any], messages: list[Any], tools: list[Any]
    ) -> tuple[Completion, str, tuple[NativeCall, ...]]:
        """(what the model said, what the benchmark is to read of it: content and calls)."""
        asked = self._agent if role == AGENT else self._user
        if asked is None:
            raise EnvtuneError("this suite needs a model that plays the user: --user-base-url and --user-model")
        parameters: dict[str, Any] = {}
        if role == USER:
            parameters = {key: body[key] for key in _OF_A_USER if body.get(key) is not None} | self._user_decoding
        sent = messages
        if tools and self._format == "kit":
            sent = to_kit(messages, tools, talk.said if role == AGENT else lambda message: None)
        elif tools:
            parameters["tools"] = tools
            if body.get("tool_choice") is not None:
                parameters["tool_choice"] = body["tool_choice"]
        step = talk.requests if role == AGENT else talk.user_requests
        completion = await asked.complete(sent, talk.item, step=step, role=role, **parameters)
        if role == AGENT:
            talk.count(completion)
        else:
            talk.user_requests += 1
        content, calls = self._read(completion, f"{role}-{step}", bool(tools))
        if role == AGENT:
            talk.remember(completion.text, content, calls)
        talk.note(role, sent, tools, completion)
        return completion, content, calls

    def _read(self, completion: Completion, name: str, tools: bool) -> tuple[str, tuple[NativeCall, ...]]:
        """What the benchmark is given of a reply. Ids of calls are ours: an endpoint's need not be unique.
        tools: whether any were on offer; without, a benchmark has a format of its own, and all of the text is content."""
        if self._format == "kit":
            content, parsed = from_kit(completion.text)
            if parsed and not tools:
                content, parsed = without_thinking(completion.text), ()
            listed = [(call.name, json.dumps(dict(call.arguments), ensure_ascii=False)) for call in parsed]
        else:
            content = without_thinking(completion.text)
            listed = [(call.name, call.arguments) for call in completion.calls]
        return content, tuple(NativeCall(f"call-{name}-{n}", *pair) for n, pair in enumerate(listed))


def _completion(
    body: Mapping[str, Any], completion: Completion, content: str, calls: Sequence[NativeCall]
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None}
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    finish = "tool_calls" if calls else "length" if completion.truncated else "stop"
    tokens = completion.tokens_in or 0, completion.tokens_out or 0
    return {
        "id": "envtune",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": str(body.get("model", "")),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


def _refusal(status: int, code: str, message: str) -> web.Response:
    """An error in OpenAI's shape, which clients are told not to try again."""
    error = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    return web.json_response(error, status=status, headers={"x-should-retry": "false"})


def _context_full() -> web.Response:
    return _refusal(400, "context_length_exceeded", "the conversation is longer than the model's context length")
