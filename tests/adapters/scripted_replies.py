"""Replies without a model: what an Episode makes of a list of them, mixtures of good and bad ones, and an
OpenAI-compatible endpoint on 127.0.0.1 that says them (real HTTP)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from envtune.environment import Episode, StopReason, ToolCall, Trajectory, render_reply
from envtune.environment.gold_policy import gold_replies
from envtune.tasks import Task, find_task

ANSWER = render_reply("t", answer="Done.")
ODD = (
    ANSWER,
    "ls()",
    "<think>t</think><tool_call>[{]</tool_call>",
    render_reply("t", calls=[ToolCall("ls", {})]),
    render_reply("t", calls=[ToolCall("no_such_tool", {"x": "\U0001f600"}), ToolCall("cd", {"folder": "nowhere"})]),
    render_reply("t", calls=[ToolCall("__import__('os').system", {"command": "exit"})]),
)


def played(task: Task, replies: Sequence[str], **options: Any) -> tuple[Trajectory, list[dict[str, str]]]:
    """What an Episode makes of these replies, over budget after the last: the trajectory and the conversation."""
    episode = Episode(task, **options)
    conversation = episode.start()
    for reply in replies:
        if not episode.done:
            conversation += [{"role": "assistant", "content": reply}, *episode.step(reply).messages]
    episode.finish(StopReason.OVER_BUDGET)
    return episode.trajectory, conversation


def drawn(examples: int) -> settings:
    """This many examples, not shrunk: each takes real rollouts over HTTP."""
    return settings(
        max_examples=examples, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )


@st.composite
def mixtures(draw: st.DrawFn, task_id: str) -> list[str]:
    """The ground truth's replies, some left out, repeated or replaced, with odd ones in between and after them."""
    odd = st.sampled_from(ODD) | st.text(max_size=30)
    replies: list[str] = []
    for reply in gold_replies(find_task(task_id)):
        kept = st.sampled_from([[reply]] * 4 + [[], [reply, reply]])
        replies += draw(kept | odd.map(lambda text: [text]) | odd.map(lambda text, reply=reply: [text, reply]))
    return replies + draw(st.lists(odd, max_size=6))


def plain(trajectory: Trajectory | Mapping[str, Any]) -> Any:
    """A trajectory as JSON values, to compare."""
    return json.loads(json.dumps(trajectory.as_dict() if isinstance(trajectory, Trajectory) else trajectory))


Opening = tuple[str, str]


def opening(task: Task) -> Opening:
    """What a conversation over this task begins with: system prompt, first request."""
    system, request = Episode(task).start()
    return system["content"], request["content"]


class RepliesEndpoint:
    """A context manager. A conversation is known by its opening; the reply is the one after as many as it holds; past
    the last one the request is refused as vLLM refuses a conversation that is too long.

    status: answer every request with this HTTP status instead. requests: how many came in.
    """

    def __init__(self, replies: Mapping[Opening, Sequence[str]], status: int = 200) -> None:
        self.replies = dict(replies)
        self.status = status
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.endpoint = self  # type: ignore[attr-defined]
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> RepliesEndpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, dict[str, Any]]:
        """Status and body of a request's answer."""
        self.requests += 1
        if self.status != 200:
            return self.status, {"error": {"message": "scripted failure", "type": "server_error"}}
        replies = self.replies[messages[0]["content"], messages[1]["content"]]
        said = sum(message["role"] == "assistant" for message in messages)
        if said >= len(replies):
            text = "This model's maximum context length is 7 tokens."
            return 400, {"error": {"message": text, "type": "invalid_request_error", "code": 400}}
        choice = {"index": 0, "message": {"role": "assistant", "content": replies[said]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted"}
        return 200, {**body, "choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """/v1/chat/completions."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = self.server.endpoint.answer(request["messages"])  # type: ignore[attr-defined]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """No log."""
