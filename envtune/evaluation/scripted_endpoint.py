"""A scripted OpenAI-compatible endpoint on 127.0.0.1, for tests and demonstrations: real HTTP, no model.

    with ScriptedEndpoint(tasks, policy="gold") as endpoint:
        evaluate_suite(endpoint.base_url, endpoint.model, tasks, ...)

Policies
  gold       plays the ground truth, all calls of a turn in one reply
  stepwise   plays the ground truth, one call a reply
  errors     gold, but for the share `error_share` of the tasks (`is_wrong` says which) leaves out the last turn's calls
  silent     answers every request without calling
  malformed  replies with text that is not in the format
  endless    calls a tool for ever and never answers
Faults, on top of any policy: the share `failing` of the requests is answered with a 500, a 429, a closed connection
or a body that is no completion, in turn; `latency_s` before each reply; `context_tokens` (words, roughly) refuses
longer conversations as vLLM does.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any

from envtune.environment import ReplyKind, ToolCall, parse_reply, render_reply
from envtune.environment.gold_policy import gold_calls
from envtune.evaluation.endpoint import ITEM_HEADER
from envtune.tasks import Task

Policy = Callable[["ScriptedEndpoint", Task, int, int], str]


class ScriptedEndpoint:
    """A context manager. `requests` counts what came in, by task id; `base_url` ends in /v1."""

    model = "scripted"

    def __init__(
        self,
        tasks: Iterable[Task],
        policy: str = "gold",
        *,
        error_share: float = 0.0,
        failing: float = 0.0,
        latency_s: float = 0.0,
        context_tokens: int | None = None,
    ) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.policy = _POLICIES[policy]
        self.error_share = error_share
        self.failing = failing
        self.latency_s = latency_s
        self.context_tokens = context_tokens
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.endpoint = self
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ScriptedEndpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def is_wrong(self, task: Task) -> bool:
        """Whether the policy `errors` fails this task: decided by the task's id alone."""
        return _share(task.id) < self.error_share

    def fault(self, task_id: str) -> int | None:
        """Count a request; the number of the fault that it is to meet, or None for an answer."""
        with self._lock:
            self.requests.append(task_id)
            number = len(self.requests)
        return number if _share(f"request {number}") < self.failing else None

    def reply(self, task_id: str, messages: Sequence[Mapping[str, str]]) -> str:
        """What the policy says next in this conversation; the place in it is read from the replies so far."""
        turn, made = 0, 0
        for message in messages:
            if message["role"] != "assistant":
                continue
            reply = parse_reply(message["content"])
            if reply.kind is ReplyKind.TOOL_CALL:
                made += len(reply.calls)
            else:
                turn, made = turn + 1, 0
        return self.policy(self, self.tasks[task_id], turn, made)


def _gold(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    left = gold_calls(task)[turn][made:]
    return render_reply("Call what is needed.", calls=left) if left else _silent(endpoint, task, turn, made)


def _stepwise(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    left = gold_calls(task)[turn][made : made + 1]
    return render_reply("Call the next.", calls=left) if left else _silent(endpoint, task, turn, made)


def _errors(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    last = max(number for number, calls in enumerate(task.ground_truth) if calls)
    if turn == last and endpoint.is_wrong(task):
        return _silent(endpoint, task, turn, made)
    return _gold(endpoint, task, turn, made)


def _silent(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    return render_reply("Nothing is left to call.", answer="Done.")


def _malformed(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    return "Sure! <tool_call>[{]</tool_call>"


def _endless(endpoint: ScriptedEndpoint, task: Task, turn: int, made: int) -> str:
    return render_reply("Once more.", calls=[ToolCall("no_such_tool", {})])


_POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "gold": _gold,
        "stepwise": _stepwise,
        "errors": _errors,
        "silent": _silent,
        "malformed": _malformed,
        "endless": _endless,
    }
)


def _share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    endpoint: ScriptedEndpoint

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """/v1/models, as a client asks to see whether the server is up."""
        self._send(200, {"object": "list", "data": [{"id": ScriptedEndpoint.model, "object": "model"}]})

    def do_POST(self) -> None:
        """/v1/chat/completions."""
        endpoint = self.server.endpoint
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        task_id = self.headers.get(ITEM_HEADER, "")
        if self.path != "/v1/chat/completions" or request["model"] != endpoint.model or task_id not in endpoint.tasks:
            return self._refuse(404, "no such path, model or item")
        fault = endpoint.fault(task_id)
        if fault is not None:
            return self._fail(fault)
        time.sleep(endpoint.latency_s)
        words = sum(len(message["content"].split()) for message in request["messages"])
        if endpoint.context_tokens is not None and words + request.get("max_tokens", 1) > endpoint.context_tokens:
            return self._refuse(400, f"This model's maximum context length is {endpoint.context_tokens} tokens.")
        text = endpoint.reply(task_id, request["messages"])
        usage = {"prompt_tokens": words, "completion_tokens": len(text.split())}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._send(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _fail(self, number: int) -> None:
        kind = number % 4
        if kind == 0:
            self._send(500, {"error": {"message": "scripted failure"}})
        elif kind == 1:
            self._send(429, {"error": {"message": "scripted rate limit"}})
        elif kind == 2:
            self._send(200, {"object": "chat.completion", "choices": []})
        else:
            self.close_connection = True
            self.connection.close()

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "code": status}})

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """No log: tests read `requests`."""
