"""The worker for bfcl-eval, through its line protocol: items, memories that build on each other, hostile calls."""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval
from helpers.replay_endpoint import ReplayEndpoint

pytestmark = needs_eval

CHAIN = [f"memory_rec_sum_prereq_{32 + n}-notetaker-{n}" for n in range(5)]
QUESTION = "memory_rec_sum_130-notetaker-0"
Decide = Callable[[Mapping[str, Any]], dict[str, Any]]


class Client:
    """A worker with kv and rec_sum memory, and whoever waits for its answers."""

    def __init__(self, number: int) -> None:
        command = [EVAL_PYTHON, "-m", "envtune.evaluation.upstream.bfcl"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.number = number
        self.answers: dict[int, dict[str, Any]] = {}
        self.news = threading.Condition()
        self.say({"op": "open", "options": {"suite": "bfcl-memory", "strata": ["memory_kv", "memory_rec_sum"]}})

    def say(self, said: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ready(self) -> None:
        self.opened = self.read()
        self.say({"op": "scripts"})
        self.scripts = self.read()["scripts"]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            with self.news:
                self.answers[said["job"]] = said
                self.news.notify_all()

    def run(self, item: str, root: str, folder: Path) -> dict[str, Any]:
        """The answer for one item played at `root`/item/<number>/v1."""
        with self.news:
            self.number += 1
            number = self.number
            job = {"number": number, "item": item, "model": "m", "base_url": f"{root}/item/{number}/v1", "seed": 1}
            job |= {"user_model": None, "user_base_url": None, "folder": str(folder)}
            self.say({"op": "run", "job": job})
            assert self.news.wait_for(lambda: number in self.answers, timeout=60)
            return self.answers[number]

    def run_all(self, items: Sequence[str], root: str, folder: Path) -> dict[str, dict[str, Any]]:
        """Results of items, one after the other."""
        return {item: self.run(item, root, folder)["result"] for item in items}


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[Client, Client]]:
    """Two workers, started at the same time because upstream takes long to import."""
    pair = Client(0), Client(1000)
    for client in pair:
        client.ready()
    yield pair
    for client in pair:
        client.process.kill()
        client.process.wait()


@pytest.fixture
def client(clients: tuple[Client, Client]) -> Client:
    return clients[1]


class Refusing(BaseHTTPRequestHandler):
    """Answers with the status that is the first part of the path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"error": {"message": "too long", "code": "context_length_exceeded"}}).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def endpoint(decide: Decide) -> Iterator[ReplayEndpoint]:
    with ReplayEndpoint(lambda path, body: decide(body)) as opened:
        yield opened


def calls(*named: tuple[str, Any]) -> dict[str, Any]:
    made = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for number, (name, arguments) in enumerate(named)
    ]
    return {"tool_calls": made}


def note(body: Mapping[str, Any]) -> dict[str, Any]:
    """Add the first words of what the user says to memory; then be done."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"content": "Noted."}
    return calls(("memory_append", {"text": f"[{last['content'][:30]}]"}))


def memory_shown(body: Mapping[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def snapshot(folder: Path, name: str = "notetaker_final") -> str:
    file = folder / "agentic/memory/rec_sum/memory_snapshot" / f"{name}.json"
    return str(json.loads(file.read_text())["memory"])


def test_items(client: Client) -> None:
    items = client.opened["items"]
    assert client.opened["versions"]["bfcl-eval"] == "2026.3.23"
    counts = collections.Counter((item["stratum"], item["scored"]) for item in items)
    assert set(counts.values()) == {155, 37} and {stratum for stratum, _ in counts} == {"memory_kv", "memory_rec_sum"}
    by_id = {item["id"]: item for item in items}
    assert len(by_id) == len({item["sha256"] for item in items}) == 2 * (155 + 37)
    assert by_id[CHAIN[3]]["after"] == CHAIN[:3] and by_id[QUESTION]["after"] == CHAIN
    assert by_id[QUESTION]["cluster"] == by_id[CHAIN[0]]["cluster"] == "rec_sum:notetaker"
    seen: set[str] = set()
    for item in items:
        assert seen.issuperset(item["after"])
        seen.add(item["id"])


def test_gold_passes_and_silence_fails(client: Client, tmp_path: Path) -> None:
    questions = [item["id"] for item in client.opened["items"] if item["cluster"] == "kv:notetaker" and item["scored"]]
    chain = [item["id"] for item in client.opened["items"] if item["cluster"] == "kv:notetaker" and not item["scored"]]
    assert (len(chain), len(questions)) == (5, 25)
    current = ""
    with endpoint(lambda body: {"content": client.scripts[current]["agent"][0]["text"]}) as gold:
        for item in [*chain, *questions]:
            current = item
            result = client.run(item, gold.root, tmp_path)["result"]
            assert result["passed"] and result["error_type"] is None, item
    text = client.scripts[questions[-1]]["agent"][0]["text"]
    assert result["details"] == {
        "steps": 1,
        "tool_calls": 0,
        "answer_characters": len(text),
        "last_message_words": len(text.split()),
        "dump": False,
    }
    with endpoint(lambda body: {"content": ""}) as silent, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda item: client.run(item, silent.root, tmp_path)["result"], questions))
    assert {(result["passed"], result["error_type"]) for result in results} == {(False, "agentic:no_last_message")}
    with endpoint(lambda body: {"content": "x" * 2001}) as long:
        result = client.run(questions[0], long.root, tmp_path)["result"]
    assert result["error_type"] == "agentic:answer_not_found" and result["details"]["dump"]


def test_prerequisites_build_on_each_other_and_survive_a_kill(clients: tuple[Client, Client], tmp_path: Path) -> None:
    first, second = clients
    shown: list[str] = []

    def decide(body: Mapping[str, Any]) -> dict[str, Any]:
        shown.append(memory_shown(body))
        return note(body)

    with endpoint(decide) as opened:
        first.run_all(CHAIN[:1], opened.root, tmp_path)
        after_one = snapshot(tmp_path)
        first.run_all(CHAIN[1:2], opened.root, tmp_path)  # flushed, but suppose that it was never recorded
        after_two = snapshot(tmp_path)
        first.process.kill()
        first.process.wait()
        assert after_one and after_two.startswith(after_one) and after_two != after_one
        opened.replies.clear()
        shown.clear()
        second.run_all(CHAIN[1:2], opened.root, tmp_path)
        assert after_one in shown[0] and after_two not in shown[0]
        assert snapshot(tmp_path) == after_two == snapshot(tmp_path, f"prereq_checkpoints/{CHAIN[1]}")
        second.run_all(CHAIN[2:], opened.root, tmp_path)
        final = snapshot(tmp_path)
        assert final.startswith(after_two)
        wrong = tmp_path / "agentic/memory/rec_sum/memory_snapshot/notetaker_final.json"
        wrong.write_text(json.dumps({"memory": "of another time"}))
        opened.decide = lambda path, body: (shown.append(memory_shown(body)), {"content": "?"})[1]
        second.run(QUESTION, opened.root, tmp_path)
        assert final in shown[-1]


def test_a_memory_that_ought_to_be_there_is_never_taken_for_empty(client: Client, tmp_path: Path) -> None:
    with endpoint(note) as opened:
        assert "FileNotFoundError" in client.run(QUESTION, opened.root, tmp_path)["error"]
        client.run_all(CHAIN[:1], opened.root, tmp_path)
        assert "FileNotFoundError" in client.run(CHAIN[2], opened.root, tmp_path)["error"]
        (tmp_path / f"agentic/memory/rec_sum/memory_snapshot/prereq_checkpoints/{CHAIN[0]}.json").write_text("{")
        assert "JSONDecodeError" in client.run(CHAIN[1], opened.root, tmp_path)["error"]


def test_a_conversation_too_long_for_the_model_leaves_the_memory_as_it_was(
    client: Client, refusing: str, tmp_path: Path
) -> None:
    with endpoint(note) as opened:
        client.run_all(CHAIN[:1], opened.root, tmp_path)
        before = snapshot(tmp_path)
        failed = client.run(CHAIN[1], f"{refusing}/400", tmp_path)["result"]
        assert (failed["passed"], failed["error_type"]) == (False, "agentic:inference_error")
        assert failed["details"]["inference_error"] == "BadRequestError" and "too long" in failed["error_message"]
        assert snapshot(tmp_path) == before
        assert "InternalServerError" in client.run(CHAIN[2], f"{refusing}/503", tmp_path)["error"]
        assert "FileNotFoundError" in client.run(CHAIN[3], opened.root, tmp_path)["error"]
        client.run_all(CHAIN[2:], opened.root, tmp_path)
        assert snapshot(tmp_path).startswith(before)
        client.run_all(CHAIN[1:2], opened.root, tmp_path)  # it is played again, and this time it ends well
        assert snapshot(tmp_path, f"prereq_checkpoints/{CHAIN[1]}").startswith(before)
        failed = client.run(QUESTION, f"{refusing}/400", tmp_path)["result"]
        assert failed["error_type"] == "agentic:inference_error" and failed["details"]["steps"] == 0


def test_hostile_calls_do_nothing(client: Client, tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = f"__import__('os').system('touch {target}')"
    hostile = [
        (code, {}),
        ("inspect.os.system", {"command": f"touch {target}"}),
        ("json.codecs.builtins.exec", {"source": f"open({str(target)!r}, 'w')"}),
        ("exec", {"source": code}),
        ("open", {"file": str(target), "mode": "w"}),
        ("memory_retrieve.__func__", {"self": 1}),
        ("_flush_memory_to_local_file", {}),
        ("globals", {}),
        ("memory_append", {f"text={code},x": "a"}),
        ("memory_append", {"text": "a", f"text=open({str(target)!r},'w')": 1}),
        ("memory_append", '{"text": NaN}'),
        ("lambda", {}),
    ]
    honest = [
        ("forget_it", {"x": 1}),
        ("memory.memory_append", {"text": "b"}),
        ("memory_append", {"words": "b"}),
        ("memory_append", {"text": 'it\'s \\ (a) "memory" {of} \n{code}\u2028'}),
        ("memory_replace", {"old_text": "memory", "new_text": code}),
    ]
    heard: list[str] = []

    def decide(body: Mapping[str, Any]) -> dict[str, Any]:
        told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        if not told:
            return calls(*hostile, *honest)
        heard[:] = told
        return {"content": "done"}

    with endpoint(decide) as opened:
        assert client.run(CHAIN[0], opened.root, tmp_path)["result"]["passed"]
    assert not target.exists()
    assert len(heard) == len(hostile) + len(honest)
    assert all(text.startswith("Error during execution: name '") for text in heard[: len(hostile)]), heard
    assert heard[len(hostile) :] == [
        "Error during execution: name 'forget_it' is not defined",
        "Error during execution: name 'memory' is not defined",
        "Error during execution: MemoryAPI_rec_sum.memory_append() got an unexpected keyword argument 'words'",
        '{"status": "Memory appended."}',
        '{"status": "Memory updated."}',
    ]
    assert snapshot(tmp_path) == f'it\'s \\ (a) "{code}" {{of}} \n{{code}}\u2028'
