"""The scripted endpoint's server: an event loop in a thread of its own, or alone in a process (`__main__.py`).

    with ScriptedEndpoint(tasks, policy="gold") as endpoint:
        run_suite(suite, Target(endpoint.base_url, endpoint.model, ...), ...)

A request says by its headers which item it is of, in which role (agent, or a simulated user), and how many requests of
that role were answered before; the last is read from the conversation when it is missing. What is said is decided by a
policy (`policies.py`), how it is written down by the request (`speech.py`).

Faults, on top of any policy: the share `failing` of the requests is answered with a 500, a 429, a body that is no
completion, or a closed connection. Which requests those are depends on the item, on the number of its requests so far
and on `failing_seed`, not on the order in which items are played. A reply comes latency_s + completion tokens x
latency_per_token_s after its request. `context_tokens` refuses longer conversations as vLLM does.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from aiohttp import web

from envtune.evaluation.endpoint import AGENT, ITEM_HEADER, ROLE_HEADER, STEP_HEADER, USER
from envtune.evaluation.scripted.policies import POLICIES, Request, Script, step_script, task_script
from envtune.evaluation.scripted.speech import Spoken, Step, Way, prompt_tokens, spoken
from envtune.tasks import Task

CONTEXT_CODE = "context_length_exceeded"
_BACKLOG = 1024
_LEAVE_S = 0.25  # for requests under way when the server ends


class ScriptedEndpoint:
    """A context manager. `requests`: the item of each request that came in; `base_url` ends in /v1.

    tasks: of one release of BFCL V3; scripts: item -> {"agent": [step, ...], "user": [step, ...]} for items of other
    suites, as their worker gives them (`Benchmark.scripts` in upstream/serve.py); policy: a key of POLICIES;
    error_share: of the items, for the policy "errors"; port: 0 for any free one.
    """

    model = "scripted"

    def __init__(
        self,
        tasks: Iterable[Task] = (),
        policy: str = "gold",
        *,
        scripts: Mapping[str, Mapping[str, Any]] | None = None,
        error_share: float = 0.0,
        failing: float = 0.0,
        failing_seed: int = 0,
        latency_s: float = 0.0,
        latency_per_token_s: float = 0.0,
        context_tokens: int | None = None,
        port: int = 0,
    ) -> None:
        self.policy = POLICIES[policy]
        self.error_share = error_share
        self.failing = failing
        self.failing_seed = failing_seed
        self.latency_s = latency_s
        self.latency_per_token_s = latency_per_token_s
        self.context_tokens = context_tokens
        self.requests: list[str] = []
        self._scripts = {(task.id, AGENT): self._planned(task.id, task_script(task)) for task in tasks}
        for item, said in (scripts or {}).items():
            self._scripts[item, AGENT] = self._planned(item, step_script(said.get(AGENT) or ()))
            self._scripts[item, USER] = step_script(said.get(USER) or ())
        self._met: Counter[str] = Counter()
        self._replies = itertools.count()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> ScriptedEndpoint:
        up = threading.Event()

        async def live() -> None:
            stopped = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
            await self.serve(stopped, up.set)

        self._thread = threading.Thread(target=asyncio.run, args=(live(),), daemon=True)
        self._thread.start()
        up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    async def serve(self, stopped: asyncio.Event, ready: Callable[[], None]) -> None:
        """Answer requests until `stopped` is set; `ready` is called once the first would be answered."""
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=_LEAVE_S)
        await runner.setup()
        await web.SockSite(runner, self._socket, backlog=_BACKLOG).start()
        ready()
        await stopped.wait()
        await runner.cleanup()

    def is_wrong(self, item: Task | str) -> bool:
        """Whether the policy `errors` fails this item: decided by its id alone."""
        return _share(item if isinstance(item, str) else item.id) < self.error_share

    def fault(self, item: str) -> int | None:
        """Count a request; the number of the fault that it is to meet (see `_fail`), or None for an answer."""
        self.requests.append(item)
        self._met[item] += 1
        key = f"{self.failing_seed} {item} {self._met[item]}"
        return int(4 * _share(f"kind {key}")) if _share(key) < self.failing else None

    def replies(self, item: str, way: Way = Way.NATIVE) -> list[Spoken]:
        """What the agent says in an item from beginning to end, under a policy that follows a script."""
        return [spoken(step, way) for step in self._scripts[item, AGENT].steps]

    def latency(self, said: Spoken) -> float:
        """Seconds from a request to this reply."""
        return self.latency_s + said.tokens * self.latency_per_token_s

    def _planned(self, item: str, script: Script) -> Script:
        return self.policy.plan(script, self.is_wrong(item))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = asyncio.get_running_loop().time()
        if request.method == "GET" and request.path == "/v1/models":
            return _json(200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        raw = await request.content.read()
        if request.method != "POST" or request.path != "/v1/chat/completions":
            return _refusal(404, "no such path")
        try:
            body = json.loads(raw)
            asked = Request.of(request.headers.get(ITEM_HEADER, ""), body)
            model, number = body["model"], int(request.headers.get(STEP_HEADER, -1))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return _refusal(400, f"no request for a chat completion: {error!r}")
        role = request.headers.get(ROLE_HEADER, AGENT)
        script = self._scripts.get((asked.item, role))
        if model != self.model or script is None:
            return _refusal(404, f"no such model, item or role: {model!r}, {asked.item!r}, {role!r}")
        fault = self.fault(asked.item)
        if fault is not None:
            return _fail(fault, request)
        tokens = prompt_tokens(asked.messages)
        room = body.get("max_tokens") or body.get("max_completion_tokens") or 1
        if self.context_tokens is not None and tokens + room > self.context_tokens:
            return _refusal(400, f"This model's maximum context length is {self.context_tokens} tokens.", CONTEXT_CODE)
        said = spoken(self._next(script, role, number, asked), asked.way, asked.first_tool)
        await asyncio.sleep(began + self.latency(said) - asyncio.get_running_loop().time())
        return _json(200, self._completion(said, tokens))

    def _next(self, script: Script, role: str, number: int, request: Request) -> Step:
        if role == AGENT and self.policy.answer is not None:
            return self.policy.answer(request)
        return script.after(request.messages) if number < 0 else script.at(number)

    def _completion(self, said: Spoken, prompt: int) -> dict[str, Any]:
        number = next(self._replies)
        finish = "tool_calls" if said.calls else "stop"
        usage = {"prompt_tokens": prompt, "completion_tokens": said.tokens, "total_tokens": prompt + said.tokens}
        return {
            "id": f"scripted-{number}",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "message": said.message(number), "finish_reason": finish}],
            "usage": usage,
        }


def _fail(number: int, request: web.BaseRequest) -> web.Response:
    """One of four faults."""
    kind = number % 4
    if kind == 0:
        return _refusal(500, "scripted failure", "server_error")
    if kind == 1:
        return _refusal(429, "scripted rate limit", "rate_limit_exceeded")
    if kind == 2:
        return _json(200, {"object": "chat.completion", "choices": []})
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(status: int, message: str, code: str = "invalid_request") -> web.Response:
    return _json(status, {"error": {"message": message, "type": "invalid_request_error", "code": code}})


def _json(status: int, value: Mapping[str, Any]) -> web.Response:
    body = json.dumps(value).encode()
    return web.Response(status=status, body=body, content_type="application/json")


def _share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
