"""Recorded results of BFCL's two web tools, so that a run can be repeated without the network.

A cassette is a JSON Lines file, one line a call: {"tool", "arguments", "result", "recorded"}. A call is known by its
tool and its arguments with the defaults filled in. A search is stored as the search engine gave it, so that one
recording serves both strata (with and without snippets). Lines are only ever added, each with one write, so several
processes may record into one file; a line that a crash cut short is skipped. The key of the search service is in none.
"""

from __future__ import annotations

import copy
import datetime
import errno
import fcntl
import importlib
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

KEY_VARIABLE = "SERPAPI_API_KEY"
MISS = MappingProxyType({"error": "Nothing is known about this request; it cannot be answered."})
NO_RESULTS = MappingProxyType({"error": "The search engine found nothing for this query."})
GAVE_OUT = MappingProxyType({"error": "The search engine cannot be reached."})

_UPSTREAM = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code.web_search"
_HIDDEN = "***"
_KEY_IN_URL = re.compile(r"(api_key=)[^&\s'\"<>\\]+")
_ANSWERED = frozenset({200, 400})  # 400: the query itself is wrong (empty, unknown region), which is the model's matter
_NO_USE_TO_RETRY = frozenset({401, 403})
_SEARCH_SECONDS = 60.0


class SearchUnavailable(Exception):
    """The search service does not answer, for a reason that is not the model's."""


@dataclass
class Tally:
    """Of one item. hits, misses: calls found and not found in the cassette; unavailable: why one could not be answered,
    for a reason that is not the model's."""

    hits: int = 0
    misses: int = 0
    unavailable: str | None = None


class Tools(Protocol):
    """The tools themselves, on the network."""

    def search(self, keywords: Any, region: Any) -> dict[str, Any]:
        """{"organic_results": [...]} as the service gives them, or {"error"}. Raises SearchUnavailable."""
        ...

    def fetch(self, url: Any, mode: Any) -> dict[str, Any]:
        """{"content"} or {"error"}."""
        ...


def canonical(tool: str, arguments: Mapping[str, Any]) -> str:
    """What a call is known by: the same text for the same tool and arguments, whatever their order."""
    return json.dumps([tool, dict(arguments)], sort_keys=True, separators=(",", ":"))


def scrub(value: Any, secret: str | None) -> Any:
    """A JSON value without the secret, and without what stands for a key in any URL."""
    if isinstance(value, str):
        clean = value.replace(secret, _HIDDEN) if secret else value
        return _KEY_IN_URL.sub(rf"\g<1>{_HIDDEN}", clean)
    if isinstance(value, Mapping):
        return {scrub(key, secret): scrub(item, secret) for key, item in value.items()}
    return [scrub(item, secret) for item in value] if isinstance(value, (list, tuple)) else value


class Cassette:
    """The file. Safe for threads; `path` need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._results: dict[str, Any] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                self._results.setdefault(canonical(entry["tool"], entry["arguments"]), entry["result"])
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a crash

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: str) -> Any:
        """A copy of the result, or None: no tool gives null."""
        with self._lock:
            return copy.deepcopy(self._results.get(key))

    def put(self, tool: str, arguments: Mapping[str, Any], result: Any) -> Any:
        """Store a result unless there is one, and give the stored one."""
        key = canonical(tool, arguments)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        line = json.dumps({"tool": tool, "arguments": dict(arguments), "result": result, "recorded": today})
        with self._lock:
            if key not in self._results:
                self._append(line.encode() + b"\n")
                self._results[key] = copy.deepcopy(result)
            return copy.deepcopy(self._results[key])

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # closing lets go of it
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # after half a line
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class WebTools:
    """How the tools are answered: "live" by the network, "record" by the cassette and else by the network, which is
    stored, "replay" by the cassette alone."""

    def __init__(self, cassette: Cassette | None, live: Tools | None, secret: str | None = None) -> None:
        self._cassette, self._live, self._secret = cassette, live, secret

    def search(self, keywords: Any, max_results: Any, region: Any, tally: Tally) -> dict[str, Any]:
        """{"organic_results": [...]}, all of them, or {"error"}."""
        arguments = {"keywords": keywords, "max_results": max_results, "region": region}
        return self._answer("search_engine_query", arguments, tally)

    def fetch(self, url: Any, mode: Any, tally: Tally) -> dict[str, Any]:
        """{"content"} or {"error"}."""
        return self._answer("fetch_url_content", {"url": url, "mode": mode}, tally)

    def _answer(self, tool: str, arguments: dict[str, Any], tally: Tally) -> Any:
        if self._cassette is not None:
            known = self._cassette.get(canonical(tool, arguments))
            if known is not None:
                tally.hits += 1
                return known
            tally.misses += 1
        if self._live is None:
            return dict(MISS)
        if tally.unavailable:  # no verdict will come of this item; no use in waiting again
            return dict(GAVE_OUT)
        try:
            if tool == "fetch_url_content":
                found = self._live.fetch(arguments["url"], arguments["mode"])
            else:
                found = self._live.search(arguments["keywords"], arguments["region"])
        except SearchUnavailable as problem:
            tally.unavailable = scrub(str(problem), self._secret)
            return dict(GAVE_OUT)
        found = scrub(found, self._secret)
        if self._cassette is None:
            return found
        try:
            return self._cassette.put(tool, arguments, found)
        except OSError as error:  # upstream would tell the model, as an error of its call
            tally.unavailable = f"the cassette cannot be written ({error.strerror})"
            return dict(GAVE_OUT)


class WebSearchAPI:
    """One item's web tools. Class and parameters are named as upstream's, as Python puts those names into the texts of
    errors, which a model reads."""

    def __init__(self, tools: WebTools, tally: Tally, show_snippet: bool) -> None:
        self._tools, self._tally, self._show_snippet = tools, tally, show_snippet

    def search_engine_query(self, keywords: Any, max_results: Any = 10, region: Any = "wt-wt") -> Any:
        """[{"title", "href", "body"}, ...], without "body" where snippets are not shown; or {"error"}."""
        found = self._tools.search(keywords, max_results, region, self._tally)
        if "organic_results" not in found:
            return found
        hits = []
        for hit in found["organic_results"][:max_results]:
            shown = {"title": hit.get("title", ""), "href": hit.get("link", "")}
            hits.append({**shown, "body": hit.get("snippet", "")} if self._show_snippet else shown)
        return hits

    def fetch_url_content(self, url: Any, mode: Any = "raw") -> Any:
        """{"content"} or {"error"}. Raises ValueError for what is no web address, without asking anyone, as upstream."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"Invalid URL: {url}")
        return self._tools.fetch(url, mode, self._tally)


class LiveTools:
    """The network. Pages are fetched by upstream's own tool. Its search never stops trying and takes every failure of
    the service for the model's, so the same query is sent here, a few times at most.

    tries: of one search; pause: seconds before the second one, doubled each time.
    """

    def __init__(self, secret: str, tries: int = 4, pause: float = 2.0) -> None:
        self._secret, self._tries, self._pause = secret, tries, pause
        self._upstream = importlib.import_module(_UPSTREAM).WebSearchAPI()
        self._client = importlib.import_module("serpapi").GoogleSearch

    def search(self, keywords: Any, region: Any) -> dict[str, Any]:
        """As `Tools.search`."""
        problem = ""
        for attempt in range(self._tries):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            query = {"engine": "duckduckgo", "q": keywords, "kl": region, "api_key": self._secret, "output": "json"}
            request = self._client(query)
            request.timeout = _SEARCH_SECONDS
            try:
                response = request.get_response()
                if response.status_code in _ANSWERED:
                    found = response.json()
                    hits = found.get("organic_results")
                    return dict(NO_RESULTS) if hits is None else {"organic_results": hits}
                problem = f"status {response.status_code}: {response.text[:200]}"
                if response.status_code in _NO_USE_TO_RETRY:
                    break
            except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: the answer is no JSON
                problem = f"{type(error).__name__}: {error}"
        raise SearchUnavailable(scrub(f"the search service gave no answer ({problem})", self._secret))

    def fetch(self, url: Any, mode: Any) -> dict[str, Any]:
        """As `Tools.fetch`."""
        return self._upstream.fetch_url_content(url=url, mode=mode)
