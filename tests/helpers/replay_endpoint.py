"""An endpoint that remembers: the same request always gets the same reply, so two evaluators can be given the same ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class ReplayEndpoint:
    """A context manager. `decide(path, body)` gives the message ({"content", "tool_calls"}) for a request that was not
    met before, where `path` is what the client asked for ("/item/7/v1/chat/completions").

    replies: canonical request -> message; unknown: requests met while `frozen`, which are answered with a 500.
    """

    def __init__(self, decide: Callable[[str, Mapping[str, Any]], dict[str, Any]]) -> None:
        self.decide = decide
        self.replies: dict[str, dict[str, Any]] = {}
        self.unknown: list[Any] = []
        self.frozen = False
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.endpoint = self
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.base_url = f"{self.root}/v1"

    def __enter__(self) -> ReplayEndpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The message for a request, None when there is none."""
        key = canonical(body)
        with self.lock:
            if key not in self.replies:
                if self.frozen:
                    self.unknown.append(body)
                    return None
                self.replies[key] = {"role": "assistant", "content": None, **self.decide(path, body)}
            return self.replies[key]


def canonical(body: Mapping[str, Any]) -> str:
    """What a reply may depend on, without what differs between clients: null fields, ids of calls, order of keys."""
    messages = []
    for message in body["messages"]:
        kept = {key: value for key, value in message.items() if key in ("role", "content") and value is not None}
        if message.get("tool_calls"):
            kept["calls"] = [
                [call["function"]["name"], call["function"]["arguments"]] for call in message["tool_calls"]
            ]
        messages.append(kept)
    return json.dumps([messages, body.get("tools")], sort_keys=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    endpoint: ReplayEndpoint

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no concern of a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = self.server.endpoint.answer(self.path, body)
        if message is None:
            self._send(500, {"error": {"message": "no reply was recorded for this request"}})
            return
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "replay", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send(200, {**head, "choices": [choice], "usage": usage})

    def _send(self, status: int, value: Mapping[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
