"""Talking to an OpenAI-compatible chat endpoint: one request, with backoff, and a clear idea of whose fault a failure is.

the endpoint's (connection, time-out, 408, 409, 429, 5xx, a body that is no chat completion): tried again with
    growing pauses, then `EndpointFailure`: the item was not run, which says nothing about the model
the conversation's (longer than the model's context, 413): `ContextFull`: the item is failed, as in BFCL
the user's (wrong key, wrong model name, parameter the server refuses): `EnvtuneError`: the run stops

No message quotes the key, also where the endpoint sends it back.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from envtune.environment.prompt import encodable
from envtune.errors import EnvtuneError

AGENT, USER = "agent", "user"  # who is asked: the model under test, or the one that plays the user
# For whoever reads the server's log, and for the scripted endpoint: which item, who is asked, its how manieth reply.
ITEM_HEADER, ROLE_HEADER, STEP_HEADER = "X-Envtune-Item", "X-Envtune-Role", "X-Envtune-Step"
_CONTEXT_WORDS = (
    "context length",
    "context_length",
    "maximum model length",
    "context window",
    "context size",
    "context_size",
)
_SHORTEST_SECRET = 8  # characters: a shorter key ("none", "EMPTY") is a word for servers that want any


class EndpointFailure(Exception):
    """The endpoint gave no completion, also after several tries."""


class ContextFull(Exception):
    """The conversation does not fit into the model's context."""


@dataclass(frozen=True)
class NativeCall:
    """A call as the endpoint parsed it. arguments: the JSON text that the model wrote, which may be none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Completion:
    """One reply. tokens_in, tokens_out: as the endpoint counts them, None when it does not; truncated: the reply was
    cut off at the limit on new tokens; calls: native function calls, when tools were offered."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    truncated: bool
    calls: tuple[NativeCall, ...] = ()


@dataclass
class Usage:
    """What the replies of a conversation cost. tokens_in, tokens_out: sums over the requests, None when the endpoint does
    not count; requests: replies; truncated: those that were cut off."""

    tokens_in: int | None = 0
    tokens_out: int | None = 0
    requests: int = 0
    truncated: int = 0

    def count(self, completion: Completion) -> None:
        """Add what a reply cost."""
        self.tokens_in = _add(self.tokens_in, completion.tokens_in)
        self.tokens_out = _add(self.tokens_out, completion.tokens_out)
        self.requests += 1
        self.truncated += completion.truncated


def check_url(base_url: str) -> str:
    """`base_url` itself. Raises EnvtuneError when it is no address that can be asked."""
    try:
        parts = urlsplit(base_url)
        if "@" in parts.netloc:  # which is not repeated here
            raise EnvtuneError(
                "the endpoint's address has a user's name or password in it; give a key instead of those"
            )
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return base_url
    except ValueError:  # of the port, or of brackets
        pass
    raise EnvtuneError(f"{base_url!r} is no address of an endpoint; it looks like http://HOST:PORT/v1")


def check_key(api_key: str) -> str:
    """The key without space around it, "none" for an empty one. Raises EnvtuneError when it cannot go into a header."""
    key = api_key.strip()
    if not key.isprintable():
        raise EnvtuneError("the endpoint's key holds a line break or a control character; give the key alone")
    return key or "none"


class ChatEndpoint:
    """An async context manager around one endpoint and model.

    decoding: request parameters sent as they are (temperature, top_p, max_tokens, seed, ...).
    timeout_s: of one request; tries: attempts at one request; pause_s: before the second, then doubled up to 60 s.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        decoding: Mapping[str, Any],
        *,
        api_key: str = "none",
        timeout_s: float = 600.0,
        tries: int = 6,
        pause_s: float = 0.5,
    ) -> None:
        self.base_url = check_url(base_url)
        self.model = model
        self._decoding = dict(decoding)
        self._tries = tries
        self._pause_s = pause_s
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._api_key = check_key(api_key)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None  # made by the first request, which knows the event loop

    async def __aenter__(self) -> ChatEndpoint:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        item_id: str,
        *,
        step: int | None = None,
        role: str = AGENT,
        **parameters: Any,
    ) -> Completion:
        """The model's reply to a conversation. Raises EndpointFailure, ContextFull or EnvtuneError, as above.

        item_id, role ("agent" or "user", who is simulated) and step (replies given before in this role) go along as
        headers; parameters: of this request (tools, ...), over those of decoding.
        """
        decoding = {**self._decoding, **parameters}
        headers = {ITEM_HEADER: item_id, ROLE_HEADER: role}
        if step is not None:
            headers[STEP_HEADER] = str(step)
        failed = 0
        while True:
            try:
                return await self._once(messages, headers, decoding)
            except _ContextRefused:
                # Servers refuse a prompt plus max_tokens past the context; without a limit they fill what is left.
                if decoding.pop("max_tokens", None) is None:
                    raise ContextFull from None
            except _Faulty as error:
                failed += 1
                if failed == self._tries:
                    raise EndpointFailure(f"{error} ({failed} tries)") from error
                await asyncio.sleep(min(60.0, self._pause_s * 2 ** (failed - 1)) * random.uniform(0.8, 1.2))

    async def _once(
        self, messages: Sequence[Mapping[str, Any]], headers: Mapping[str, str], decoding: Mapping[str, Any]
    ) -> Completion:
        # Plain aiohttp: the openai client takes 11 ms a request to walk the messages and tools that are sent as they are.
        request = {"model": self.model, "messages": list(messages), **decoding}
        try:
            async with self._connected().post(
                self._url, data=json.dumps(request).encode(), headers=headers
            ) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:  # no connection, time-out, an answer that breaks off
            raise _Faulty(f"{type(error).__name__}: {self._quoted(str(error))}") from error
        said = self._quoted(body.decode("utf-8", "replace"))
        if status == 200:
            try:
                return _read(body)
            except _NoCompletion as error:
                raise _Faulty(f"the answer is no chat completion: {said[:100]!r}") from error
        if status == 413 or (status in (400, 422) and any(words in said.lower() for words in _CONTEXT_WORDS)):
            raise _ContextRefused(said)
        if status in (400, 422):
            raise EnvtuneError(f"{self.base_url} refuses the request: {said}")
        if status in (408, 409, 429) or status >= 500 or 200 < status < 300:
            raise _Faulty(f"status {status}: {said}")
        raise EnvtuneError(
            f"{self.base_url} answers with status {status}: {said}; "
            f"check the address, the key and the model's name ({self.model})"
        )

    def _quoted(self, text: str) -> str:
        """What may be kept of a text from outside: one line, not long, without the key."""
        if len(self._api_key) >= _SHORTEST_SECRET:
            text = text.replace(self._api_key, "[key]")
        return " ".join(text.split())[:300]

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # how many requests run at once is the caller's to say
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"},
                trust_env=True,  # proxies
            )
        return self._session


def _add(total: int | None, tokens: int | None) -> int | None:
    return None if total is None or tokens is None else total + tokens


class _Faulty(Exception):
    """A failure of the endpoint that may go away."""


class _ContextRefused(Exception):
    """The endpoint says that the request is longer than the model's context."""


class _NoCompletion(Exception):
    """The body of an answer is no chat completion."""


def _read(body: bytes) -> Completion:
    """The first choice of a chat completion. Raises _NoCompletion on anything else: a status of 200 promises nothing."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice["message"]
        text = message.get("content")
        calls = tuple(_call(number, call) for number, call in enumerate(message.get("tool_calls") or ()))
        usage = data.get("usage")
        finish = choice.get("finish_reason")
        tokens = _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _NoCompletion from error
    if not (text is None or isinstance(text, str)):
        raise _NoCompletion
    return Completion(encodable(text or ""), *tokens, finish == "length", calls)


def _tokens(usage: Any, name: str) -> int | None:
    """A count of the usage, None where it is no count."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _call(number: int, call: Any) -> NativeCall:
    """One entry of `tool_calls`. Raises what `_read` takes for a faulty answer."""
    name, arguments = call["function"]["name"], call["function"].get("arguments")
    if not isinstance(name, str) or not isinstance(arguments or "", str):
        raise TypeError("a call's name and arguments are strings")
    return NativeCall(str(call.get("id") or f"call_{number}"), encodable(name), encodable(arguments or "{}"))
