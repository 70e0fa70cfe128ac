"""A benchmark of another package as a suite: prerequisites, resume, whose fault a failure is, both reply formats."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import toy_worker

from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record, read_records
from envtune.evaluation.reply_formats import FORMATS
from envtune.evaluation.runner import run_suite
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suite import Target
from envtune.evaluation.upstream.client import UnavailableSuite, Worker
from envtune.evaluation.upstream.suite import Benchmark, UpstreamSuite

BENCHMARK = Benchmark("toy", "toy", ("kept", "alone"), "toy-1", "A toy")
SCRIPTS = toy_worker.Toy().scripts()


def worker(log: Path, **options: Any) -> Worker:
    return Worker([sys.executable, toy_worker.__file__], options, log)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[UpstreamSuite]:
    running = worker(tmp_path / "toy.log")
    yield UpstreamSuite(BENCHMARK, running, {}, running.items)
    running.close()


def run(suite: UpstreamSuite, scripted: ScriptedEndpoint, out: Path, **options: Any) -> dict[str, Any]:
    options = {"tries": 3, "pause_s": 0.002, "reply_format": "fc", "decoding": {"max_tokens": 50}, **options}
    target = Target(scripted.base_url, scripted.model, "scripted", **options)
    return run_suite(suite, target, out, about={})


def records(out: Path) -> dict[str, Record]:
    return {record.id: record for record in read_records(out / "records.jsonl")}


def scripts(**changed: str) -> dict[str, Any]:
    """The gold scripts, with another last word for some items."""
    return {k: {"agent": [v["agent"][0], {"text": changed.get(k, k)}]} for k, v in SCRIPTS.items()}


@pytest.mark.parametrize("reply_format", FORMATS)
def test_items_are_played_in_order_and_judged(toy: UpstreamSuite, reply_format: str, tmp_path: Path) -> None:
    with ScriptedEndpoint([], scripts=scripts(two="no idea")) as scripted:
        summary = run(toy, scripted, tmp_path / "out", reply_format=reply_format)
        assert scripted.requests.index("second") > scripted.requests.index("first")
        assert min(scripted.requests.index(i) for i in ("one", "two", "three")) > scripted.requests.index("second")
    assert summary["complete"] and summary["average"] == pytest.approx((200 / 3 + 100) / 2, abs=0.001)
    kept = summary["strata"]["kept"]
    assert (kept["items"], kept["passed"], kept["failed"], kept["score"]) == (3, 2, 1, 0.75)
    assert summary["answers"] == {"median_characters": 4.5, "dumps": 0}
    found = records(tmp_path / "out")
    assert list(found) == ["one", "two", "three", "four"], "prerequisites are not scored"
    assert found["two"].error_type == "toy:wrong" and found["two"].requests == 2 and found["two"].tokens_out
    prepared = read_records(tmp_path / "out" / "prerequisites.jsonl")
    assert [record.id for record in prepared] == ["first", "second"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "trajectories.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row["id"] == "four"]
    assert [exchange["role"] for exchange in row["exchanges"]] == ["agent", "agent"]
    first, second = row["exchanges"]
    sent = first["messages"]
    assert sent[-1] == {"role": "user", "content": "Item four"}
    assert second["from"] == len(sent), "what was said before is not kept twice"
    assert ("<tool_call>" in sent[0]["content"]) == (reply_format == "kit") and "A toy." in sent[0]["content"]


@pytest.mark.parametrize("reply_format", FORMATS)
def test_reasoning_is_not_judged(toy: UpstreamSuite, reply_format: str, tmp_path: Path) -> None:
    """The word only thought of does not count, and the one behind the reasoning does."""
    said = {"one": "<think>one</think>no idea", "two": "<think>well</think>two", "three": "one more</think>three"}
    with ScriptedEndpoint([], scripts=scripts(**said, four="four<think>never closed")) as scripted:
        run(toy, scripted, tmp_path / "out", reply_format=reply_format)
    verdicts = {name: record.passed for name, record in records(tmp_path / "out").items()}
    if reply_format == "fc":
        assert verdicts == {"one": False, "two": True, "three": True, "four": True}
    else:
        assert verdicts["one"] is False


def test_a_failed_prerequisite_is_no_wrong_answer(toy: UpstreamSuite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ScriptedEndpoint([], scripts=SCRIPTS) as scripted:
        scripted.fault = lambda item: 0 if item == "second" else None  # type: ignore[method-assign]
        summary = run(toy, scripted, out)
        assert not summary["complete"] and summary["average"] is None
        assert {r.id: (r.outcome, r.error_type) for r in records(out).values()} == {
            **dict.fromkeys(("one", "two", "three"), ("not_run", "not_run:prerequisite")),
            "four": ("passed", None),
        }
        assert {record.cluster for record in records(out).values() if record.outcome == "not_run"} == {"a"}
        asked: list[str] = []
        scripted.fault = lambda item: asked.append(item)  # type: ignore[method-assign, func-returns-value]
        summary = run(toy, scripted, out)
    assert summary["complete"] and set(asked) == {"second", "one", "two", "three"}, "first and four were done"


def test_lost_files_are_prepared_again(toy: UpstreamSuite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ScriptedEndpoint([], scripts=SCRIPTS) as scripted:
        scripted.fault = lambda item: 0 if item == "two" else None  # type: ignore[method-assign]
        run(toy, scripted, out)
        shutil.rmtree(out / "files")
        asked: list[str] = []
        scripted.fault = lambda item: asked.append(item)  # type: ignore[method-assign, func-returns-value]
        assert run(toy, scripted, out)["complete"]
    assert set(asked) == {"first", "second", "two"}


def test_a_full_context_fails_the_item(toy: UpstreamSuite, tmp_path: Path) -> None:
    with ScriptedEndpoint([], scripts=SCRIPTS, context_tokens=3) as scripted:
        summary = run(toy, scripted, tmp_path / "out")
    assert summary["complete"] and summary["strata"]["alone"]["over_budget"] == 1
    four = records(tmp_path / "out")["four"]
    assert (four.outcome, four.error_type, four.is_over_budget) == ("failed", "toy:inference_error", True)


def test_no_verdict_is_not_a_wrong_answer(toy: UpstreamSuite, tmp_path: Path) -> None:
    with ScriptedEndpoint([], scripts=scripts(four="raise")) as scripted:
        summary = run(toy, scripted, tmp_path / "out")
    four = records(tmp_path / "out")["four"]
    assert not summary["complete"] and (four.outcome, four.error_type) == ("not_run", "not_run:suite")
    assert "as it was told" in str(four.error_message)


def test_a_process_that_ends_leaves_nothing_waiting(toy: UpstreamSuite, tmp_path: Path) -> None:
    with ScriptedEndpoint([], scripts=scripts(three="crash")) as scripted:
        summary = run(toy, scripted, tmp_path / "out", concurrency=1)
    assert not summary["complete"]
    three = records(tmp_path / "out")["three"]
    assert three.outcome == "not_run" and "process" in str(three.error_message)


def test_a_process_that_was_killed_is_started_anew(toy: UpstreamSuite, tmp_path: Path) -> None:
    """Before a run, and in the middle of an item."""
    running = toy._worker
    with ScriptedEndpoint([], scripts=SCRIPTS) as scripted:
        os.kill(running._process._popen.pid, signal.SIGKILL)
        running._process._popen.wait()
        assert run(toy, scripted, tmp_path / "dead")["complete"]

        def kill_once(item: str) -> None:
            if item == "four" and not killed:
                killed.append(running._process._popen.pid)
                os.kill(killed[0], signal.SIGKILL)

        killed: list[int] = []
        scripted.fault = kill_once  # type: ignore[method-assign, assignment]
        summary = run(toy, scripted, tmp_path / "killed")
    assert killed and summary["complete"] and summary["average"] == 100.0


def test_a_process_that_always_ends_is_started_anew_a_few_times_only(tmp_path: Path) -> None:
    running = worker(tmp_path / "toy.log")
    suite = UpstreamSuite(BENCHMARK, running, {}, running.items)
    with ScriptedEndpoint([], scripts=scripts(three="crash")) as scripted, pytest.MonkeyPatch.context() as patch:
        patch.setattr("envtune.evaluation.upstream.client.RESTARTS", 1)
        summary = run(suite, scripted, tmp_path / "out", concurrency=1)
        assert not summary["complete"] and scripted.requests.count("three") == 4, "two requests in each of two lives"
        assert summary["strata"]["alone"]["passed"] == 1, "what comes after is run in the second life"
    running.close()


def test_a_worker_is_told_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("ENVTUNE_API_KEY", "ENVTUNE_USER_API_KEY", "OPENAI_API_KEY", "SERPAPI_API_KEY")
    for name in names:
        monkeypatch.setenv(name, "secret")
    known = {}
    for mode in (None, "replay", "live", "record"):
        running = worker(tmp_path / "toy.log", mode=mode)
        environment = Path(f"/proc/{running._process._popen.pid}/environ").read_text().split("\0")
        known[mode] = [name for name in names if f"{name}=secret" in environment]
        running.close()
    assert known == {None: [], "replay": [], "live": ["SERPAPI_API_KEY"], "record": ["SERPAPI_API_KEY"]}


def test_failing_requests_change_no_verdict(tmp_path: Path) -> None:
    verdicts: list[Mapping[str, Any]] = []
    for failing in (0.0, 0.25):
        running = worker(tmp_path / "toy.log")
        out = tmp_path / str(failing)
        with ScriptedEndpoint([], scripts=scripts(two="?"), failing=failing) as scripted:
            assert run(UpstreamSuite(BENCHMARK, running, {}, running.items), scripted, out, tries=20)["complete"]
        running.close()
        verdicts.append({record.id: record.passed for record in records(out).values()})
    assert verdicts[0] == verdicts[1] == {"one": True, "two": False, "three": True, "four": True}


def test_the_users_mistakes_stop_the_run(toy: UpstreamSuite, tmp_path: Path) -> None:
    with ScriptedEndpoint([], scripts=SCRIPTS) as scripted:
        scripted.model = "another"
        target = Target(scripted.base_url, "mine", "mine", "fc", {})
        with pytest.raises(EnvtuneError, match="check the address"):
            run_suite(toy, target, tmp_path / "out", about={})


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnavailableSuite, match="in another room"):
        worker(tmp_path / "log", unavailable=True)
    with pytest.raises(UnavailableSuite, match="ValueError: the toy is broken"):
        worker(tmp_path / "log", broken=True)
    with pytest.raises(UnavailableSuite, match=r"ended before it was ready.*log"):
        Worker([sys.executable, "-c", "raise SystemExit(1)"], {}, tmp_path / "log")
