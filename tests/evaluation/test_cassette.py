"""The recorded web tools: keys, the file, what a model sees of them, and a run recorded and replayed."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval
from helpers.replay_endpoint import ReplayEndpoint
from hypothesis import given
from hypothesis import strategies as st

from envtune.evaluation.upstream import cassette
from envtune.evaluation.upstream.cassette import Cassette, SearchUnavailable, Tally, WebSearchAPI, WebTools

SECRET = "k3y0fTheSearchService"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
ARGUMENTS = st.dictionaries(st.text(), VALUES, max_size=4)
HITS = {"organic_results": [{"title": "T", "link": "http://a", "snippet": "S"}, {"title": "U", "link": "http://b"}]}


class Network:
    """Tools that count how often they are asked."""

    def __init__(self, problem: str | None = None) -> None:
        self.asked: list[Any] = []
        self.problem = problem

    def search(self, keywords: Any, region: Any) -> dict[str, Any]:
        self.asked.append((keywords, region))
        if self.problem:
            raise SearchUnavailable(self.problem)
        return json.loads(json.dumps(HITS))

    def fetch(self, url: Any, mode: Any) -> dict[str, Any]:
        self.asked.append((url, mode))
        return {"content": f"{mode} of {url} with {SECRET}"}


@given(ARGUMENTS, st.randoms())
def test_the_key_of_a_call_does_not_depend_on_the_order_of_its_arguments(given: dict[str, Any], random: Any) -> None:
    names = list(given)
    random.shuffle(names)
    again = json.loads(json.dumps({name: given[name] for name in names}))
    assert cassette.canonical("tool", again) == cassette.canonical("tool", given)
    assert cassette.canonical("tool", given) != cassette.canonical("loot", given)


@given(ARGUMENTS, ARGUMENTS)
def test_calls_with_different_arguments_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (cassette.canonical("tool", one) == cassette.canonical("tool", other)) == same


@given(VALUES, st.text(alphabet="abc123", min_size=1, max_size=3))
def test_a_scrubbed_value_has_no_secret_in_it(value: Any, secret: str) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from texts(item)

    assert not any(secret in text for text in texts(cassette.scrub([value, f"x{secret}y", {secret: secret}], secret)))


@pytest.mark.parametrize("text", ["/search?q=a&api_key=abc&kl=b", "('/?api_key=abc')", "http://h/?api_key=abc"])
def test_a_key_in_a_url_is_hidden_even_where_it_is_not_ours(text: str) -> None:
    assert cassette.scrub(text, None) == text.replace("abc", "***")


def test_the_file_survives_half_a_line_and_holds_one_entry_a_call(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tape.jsonl"
    kept = Cassette(path)
    assert kept.put("t", {"a": 1, "b": [2]}, {"x": "\ud800é"}) == kept.put("t", {"b": [2], "a": 1}, {"x": "other"})
    with path.open("ab") as stream:
        stream.write(b'{"tool": "t", "arguments": {"a": 9}, "resu')
    again = Cassette(path)
    assert len(again) == 1 and again.get(cassette.canonical("t", {"a": 9})) is None
    again.put("t", {"a": 2}, {"error": "none"})
    assert path.read_bytes().count(b"\n") == 3
    last = Cassette(path)
    assert len(last) == 2 and last.get(cassette.canonical("t", {"a": 1, "b": [2]})) == {"x": "\ud800é"}
    entry = json.loads(path.read_text().splitlines()[-1])
    assert list(entry) == ["tool", "arguments", "result", "recorded"] and len(entry["recorded"]) == 10


def test_many_threads_and_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tape.jsonl"
    writers = Cassette(path), Cassette(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writers[n % 2].put("t", {"n": n // 4}, {"text": "y" * 5000}), range(400)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) <= 200 and {line["arguments"]["n"] for line in lines} == set(range(100))
    assert len(Cassette(path)) == 100


def test_one_search_serves_both_strata_and_a_hit_needs_no_snippet(tmp_path: Path) -> None:
    network = Network()
    tools = WebTools(Cassette(tmp_path / "tape"), network)
    tally, other = Tally(), Tally()
    shown = WebSearchAPI(tools, tally, True).search_engine_query("q")
    assert shown == [{"title": "T", "href": "http://a", "body": "S"}, {"title": "U", "href": "http://b", "body": ""}]
    plain = WebSearchAPI(tools, other, False).search_engine_query(region="wt-wt", max_results=10, keywords="q")
    assert plain == [{"title": "T", "href": "http://a"}, {"title": "U", "href": "http://b"}]
    assert network.asked == [("q", "wt-wt")]
    assert (tally.hits, tally.misses, other.hits, other.misses) == (0, 1, 1, 0)
    assert len(WebSearchAPI(tools, other, False).search_engine_query("q", 1)) == 1


def test_replay_never_asks_the_network_and_counts_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    recorded = WebTools(Cassette(path), Network(), SECRET)
    page = WebSearchAPI(recorded, Tally(), True).fetch_url_content("http://a", "markdown")
    assert page == {"content": "markdown of http://a with ***"}
    tools, tally = WebTools(Cassette(path), None), Tally()
    web = WebSearchAPI(tools, tally, True)
    assert web.fetch_url_content(mode="markdown", url="http://a") == page
    assert web.fetch_url_content("http://a") == web.search_engine_query("new") == dict(cassette.MISS)
    with pytest.raises(ValueError, match="Invalid URL: ftp://a"):
        web.fetch_url_content("ftp://a")
    assert (tally.hits, tally.misses, tally.unavailable) == (1, 2, None)


def test_a_search_that_gets_no_answer_is_not_stored_and_ends_the_waiting(tmp_path: Path) -> None:
    network, tally = Network(problem=f"status 429 at ?api_key={SECRET}"), Tally()
    web = WebSearchAPI(WebTools(Cassette(tmp_path / "tape"), network, SECRET), tally, True)
    assert web.search_engine_query("q") == web.search_engine_query("r") == dict(cassette.GAVE_OUT)
    assert len(network.asked) == 1 and not (tmp_path / "tape").exists()
    assert tally.unavailable == "status 429 at ?api_key=***"


class SearchService(BaseHTTPRequestHandler):
    """A search service and pages. The first search is told to come again."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        asked = parse_qs(urlsplit(self.path).query)
        key, query = asked.get("api_key", [""])[0], asked.get("q", [""])[0]
        if not self.path.startswith("/search"):
            self.reply(404 if "gone" in self.path else 200, "<h1>Page</h1><p>The answer.</p>")
        elif len(self.requests) == 1 or query == "down":
            self.reply(429, json.dumps({"error": f"too many for {key}"}))
        elif query == "nothing":
            self.reply(200, json.dumps({"error": "no results"}))
        else:
            hits = [{**HITS["organic_results"][0], "link": f"http://a/?api_key={key}"}, HITS["organic_results"][1]]
            self.reply(200, json.dumps({"organic_results": hits}))

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


# Records two strata against local addresses, then replays them without; in the evaluation environment.
SCRIPT = """
import json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from envtune.evaluation.upstream import bfcl, cassette
from envtune.evaluation.upstream.serve import Job, Unavailable
root, service, tape, asked = sys.argv[1:]
out = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
secret = os.environ.pop(cassette.KEY_VARIABLE)
said = {"refused": []}
for options in ({"mode": "live"}, {"mode": "record", "cassette": tape}, {"mode": "replay", "cassette": tape + "no"},
                {"mode": "replay"}, {"mode": "other"}, {"mode": "replay", "strata": ["memory_kv"]}):
    try:
        bfcl.make({"suite": "bfcl-web-search", **options})
    except Unavailable as problem:
        said["refused"].append(str(problem))
bfcl._prepare(with_encoder=False)
import serpapi
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils as executor
serpapi.GoogleSearch.BACKEND = service
def play(benchmark, start):
    results, numbers = {}, iter(range(start, start + 100))
    def one(item):
        number = next(numbers)
        job = Job(number, item, "m", f"{root}/item/{number}/v1", None, None, 0, Path(tape).parent)
        try:
            result = benchmark.run(job)
            results[item] = [result.passed, result.error_type, result.details]
        except cassette.SearchUnavailable as problem:
            results[item] = str(problem)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, json.loads(asked)))
    return results
live = cassette.LiveTools(secret, tries=3, pause=0)
strata = bfcl.SUITES["bfcl-web-search"]
recorder = bfcl.Bfcl(strata, cassette.WebTools(cassette.Cassette(Path(tape)), live, secret), {})
said["record"] = play(recorder, 0)
serpapi.GoogleSearch.BACKEND = "http://127.0.0.1:9"
replay = bfcl.make({"suite": "bfcl-web-search", "mode": "replay", "cassette": tape})
said["versions"] = replay.versions()
said["items"] = [[item.id, item.cluster] for item in replay.items()]
said["replay"] = play(replay, 1000)
said["left"] = [name for name in vars(executor) if name.startswith("envtune")]
out.write(json.dumps(said)); out.close()
"""


def policy(service: str, special: Mapping[str, str]) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
    """Two pages and two searches, one of them with a wrong argument, then all that was heard. special: question -> what
    alone is searched for."""

    def decide(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        if told:
            return {"content": "\n".join(told)}
        question = body["messages"][-1]["content"]
        wanted: list[tuple[str, dict[str, Any]]] = [
            ("search_engine_query", {"keywords": f"about {question}", "max_results": 5}),
            ("fetch_url_content", {"url": f"{service}/page", "mode": "truncate"}),
            ("fetch_url_content", {"url": f"{service}/gone"}),
            ("search_engine_query", {"words": "none"}),
        ]
        if question in special:
            wanted = [("search_engine_query", {"keywords": special[question]})]
        return {"tool_calls": [_call(f"c{n}", name, arguments) for n, (name, arguments) in enumerate(wanted)]}

    return decide


def _call(identity: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


@needs_eval
def test_a_run_is_recorded_and_replayed_without_the_network(tmp_path: Path) -> None:
    data = next((Path(EVAL_PYTHON).parent.parent / "lib").glob("python*/site-packages/bfcl_eval/data"))
    questions = [json.loads(line) for line in (data / "BFCL_v4_web_search.json").read_text().splitlines()]
    text = {entry["id"]: entry["question"][0][-1]["content"] for entry in questions}
    special = {text["web_search_2"]: "down", text["web_search_3"]: "nothing"}
    SearchService.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), SearchService)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    service = f"http://127.0.0.1:{server.server_address[1]}"
    tape = tmp_path / "tape.jsonl"
    items = ["web_search_base_0", "web_search_no_snippet_0", "web_search_base_1", "web_search_base_2"]
    items += ["web_search_base_3", "web_search_no_snippet_3"]
    environment = {**os.environ, cassette.KEY_VARIABLE: SECRET, "ENVTUNE_CACHE": str(tmp_path / "cache")}
    with ReplayEndpoint(policy(service, special)) as endpoint:
        command = [EVAL_PYTHON, "-c", SCRIPT, endpoint.root, service, str(tape), json.dumps(items)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        heard = "\n".join(endpoint.replies)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)

    assert [text.split(";")[0][:40] for text in said["refused"]] == [
        "Mode live searches the web through SerpA",
        "Mode record searches the web through Ser",
        f"There is no cassette {tape}no; record on"[:40],
        "Mode replay needs a cassette",
        "The web tools have no mode 'other'",
        "bfcl-web-search has no stratum 'memory_k",
    ]
    assert len(said["items"]) == 200 and dict(said["items"])["web_search_no_snippet_7"] == "7"
    assert said["versions"]["web"].startswith("replay sha256:") and said["left"] == []

    counts = {item: result[2]["cassette"] for item, result in said["record"].items() if isinstance(result, list)}
    assert set(counts) == set(items) - {"web_search_base_2"}
    assert all(count["hits"] + count["misses"] == (1 if "_3" in item else 3) for item, count in counts.items())
    assert said["record"]["web_search_base_2"] == (
        'the search service gave no answer (status 429: {"error": "too many for ***"})'
    )
    assert said["replay"].pop("web_search_base_2")[2]["cassette"] == {"hits": 0, "misses": 1}
    for item, (passed, error_type, details) in said["replay"].items():
        assert details["cassette"] == {"hits": 1 if "_3" in item else 3, "misses": 0}
        assert [passed, error_type] == said["record"][item][:2]
        assert details["answer_characters"] == said["record"][item][2]["answer_characters"]
    assert sum("q=down" in path for path in SearchService.requests) == 3
    assert sum("q=nothing" in path for path in SearchService.requests) in (1, 2)  # both strata may ask at once

    lines = [json.loads(line) for line in tape.read_text().splitlines()]
    assert len(lines) == 2 + 2 + 1 and {line["tool"] for line in lines} == {"search_engine_query", "fetch_url_content"}
    searches = [line["result"].get("organic_results") for line in lines if line["tool"] == "search_engine_query"]
    assert [bool(found) for found in searches].count(True) == 2 and all(
        "snippet" in hits[0] for hits in searches if hits
    )
    for text in (tape.read_text(), heard, done.stderr, done.stdout):
        assert SECRET not in text
    assert "The answer." in heard and "404 Client Error" in heard
    assert "WebSearchAPI.search_engine_query() got an unexpected keyword argument 'words'" in heard
