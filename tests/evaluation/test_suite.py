"""The suite end to end over real HTTP, with a scripted policy whose score is known.

1. Gold is valid in every category of both releases.
2. Failing requests change no verdict.
3. An item that the endpoint gave out on is `not_run`, never wrong, and is run by the next call.
4. Killed in the middle and started again: no item is judged twice, none is lost.
5. A folder of another run is refused.
6. The summary counts all items, and the sound ones beside them.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.records import Record, RunFolder, read_records
from envtune.evaluation.reply_formats import FORMATS
from envtune.evaluation.runner import run_suite
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suite import Target
from envtune.tasks import Task, find_task, load_defects, load_tasks

DECODING = {"temperature": 0.0, "max_tokens": 512, "seed": 0}


def sample(release: str, indices: tuple[int, ...]) -> list[Task]:
    return [task for task in load_tasks(release) if task.index in indices]


def run(scripted: ScriptedEndpoint, tasks: list[Task], out: Path, **options: Any) -> dict[str, Any]:
    options = {"decoding": DECODING, "pause_s": 0.002, "reply_format": "kit", **options}
    target = Target(scripted.base_url, scripted.model, "scripted", **options)
    return run_suite(BfclV3(tasks), target, out, about={"checkpoint": "scripted"})


def verdicts(out: Path) -> dict[str, tuple[bool | None, str | None]]:
    return {record.id: (record.passed, record.error_type) for record in read_records(out / "records.jsonl")}


@pytest.mark.parametrize("reply_format", FORMATS)
@pytest.mark.parametrize("policy", ["gold", "stepwise"])
def test_gold_is_100_percent(release: str, policy: str, reply_format: str, tmp_path: Path) -> None:
    tasks = sample(release, (0, 49, 77, 115, 167))
    with ScriptedEndpoint(tasks, policy) as scripted:
        summary = run(scripted, tasks, tmp_path, reply_format=reply_format)
    assert summary["complete"]
    assert {c: v["accuracy"] for c, v in summary["strata"].items()} == dict.fromkeys(
        ("base", "miss_func", "miss_param", "long_context"), 100.0
    )
    raw = [json.loads(line) for line in (tmp_path / "trajectories.jsonl").read_text().splitlines()]
    assert [row["id"] for row in raw] == [task.id for task in tasks] == list(verdicts(tmp_path))
    assert sum(m["role"] == "assistant" for row in raw for m in row["messages"]) == summary["totals"]["requests"]


def test_wrong_items_are_wrong_and_say_why(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2, 3, 4, 5))
    with ScriptedEndpoint(tasks, "errors", error_share=0.4) as scripted:
        run(scripted, tasks, tmp_path)
        wrong = {task.id for task in tasks if scripted.is_wrong(task)}
    assert 0 < len(wrong) < len(tasks)
    for item, (valid, error_type) in verdicts(tmp_path).items():
        assert (valid, error_type) == (
            (False, "multi_turn:empty_turn_model_response") if item in wrong else (True, None)
        )


@pytest.mark.parametrize("reply_format", FORMATS)
@pytest.mark.parametrize(
    ("policy", "field", "stop"),
    [("silent", None, "completed"), ("malformed", "ill_formed", "completed"), ("endless", "tool_errors", "force_quit")],
)
def test_policies_that_fail(policy: str, field: str | None, stop: str, reply_format: str, tmp_path: Path) -> None:
    tasks = sample("current", (3,))
    with ScriptedEndpoint(tasks, policy) as scripted:
        run(scripted, tasks, tmp_path, reply_format=reply_format)
    for record in read_records(tmp_path / "records.jsonl"):
        details = record.details
        assert (record.outcome, details["stop_reason"]) == ("failed", stop)
        assert field is None or details[field] == details["steps"] == record.requests
        if policy == "endless":
            assert details["steps"] == 21 and record.error_type == "multi_turn:force_terminated"


def test_the_impossible_turns_are_counted_apart(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2))
    with ScriptedEndpoint(tasks, "gold") as scripted:
        summary = run(scripted, tasks, tmp_path / "gold")
    assert summary["irrelevance"] == {c: {"turns": 2, "without_call": 2} for c in ("miss_func", "miss_param")}
    with ScriptedEndpoint(tasks, "endless") as scripted:
        run(scripted, tasks, tmp_path / "endless")
    called = [r.details.get("called_in_impossible_turn") for r in read_records(tmp_path / "endless" / "records.jsonl")]
    assert True in called and False not in called


def test_the_summary_counts_the_sound_items_beside_all(tmp_path: Path) -> None:
    tasks = sample("current", (1, 49, 139))
    with ScriptedEndpoint(tasks, "gold") as scripted:
        summary = run(scripted, tasks, tmp_path)
    assert summary["sound"]["defects_version"] == load_defects().version
    assert {c: v["items"] for c, v in summary["strata"].items()} == dict.fromkeys(CATEGORIES, 3)
    # known defects: miss_func_49, and 139 of base and miss_param
    sound = {"base": 2, "miss_func": 2, "miss_param": 2, "long_context": 3}
    assert {c: v["passed"] for c, v in summary["sound"]["strata"].items()} == sound
    assert {c: v["accuracy"] for c, v in summary["sound"]["strata"].items()} == dict.fromkeys(CATEGORIES, 100.0)


def test_failing_requests_change_no_verdict(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2, 3, 4))
    for name, failing in (("calm", 0.0), ("rough", 0.25)):
        with ScriptedEndpoint(tasks, "errors", error_share=0.4, failing=failing) as scripted:
            summary = run(scripted, tasks, tmp_path / name, tries=12)
            assert summary["complete"]
            assert (len(scripted.requests) > summary["totals"]["requests"]) == bool(failing)
    assert verdicts(tmp_path / "calm") == verdicts(tmp_path / "rough")


def test_what_was_not_run_is_not_wrong_and_is_run_next_time(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2))
    with ScriptedEndpoint(tasks) as scripted:
        broken = tasks[0].id
        scripted.fault = lambda task_id: 0 if task_id == broken else None  # type: ignore[method-assign]
        summary = run(scripted, tasks, tmp_path, tries=2)
        assert not summary["complete"]
        assert summary["strata"]["base"] | {"score": 0} == {
            "items": 2, "passed": 1, "failed": 0, "not_run": 1, "over_budget": 0, "accuracy": 100.0, "score": 0,
        }  # fmt: skip
        assert verdicts(tmp_path)[broken] == (None, "not_run:endpoint")
        asked: list[str] = []
        scripted.fault = lambda task_id: asked.append(task_id)  # type: ignore[method-assign, func-returns-value]
        summary = run(scripted, tasks, tmp_path, tries=2)
        assert summary["complete"] and set(asked) == {broken}
        asked.clear()
        assert run(scripted, tasks, tmp_path) == summary and not asked, "what is done is not done again"


def test_a_full_context_fails_the_item(tmp_path: Path) -> None:
    tasks = [find_task("multi_turn_base_1")]
    with ScriptedEndpoint(tasks, context_tokens=100) as scripted:
        run(scripted, tasks, tmp_path)
    (record,) = read_records(tmp_path / "records.jsonl")
    assert (record.outcome, record.error_type) == ("failed", "multi_turn:inference_error")
    assert record.is_over_budget and record.details["stop_reason"] == "over_budget"


_CHILD = """
import json, sys
from pathlib import Path
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.runner import run_suite
from envtune.evaluation.suite import Target
from envtune.tasks import find_task
url, model, out, *ids = sys.argv[1:]
target = Target(url, model, model, "kit", json.loads({decoding!r}), concurrency=4)
run_suite(BfclV3([find_task(i) for i in ids]), target, Path(out), about={{"checkpoint": "scripted"}})
"""


def test_killed_and_resumed(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2, 3, 4, 5))
    out = tmp_path / "out"
    with ScriptedEndpoint(tasks, latency_s=0.05) as scripted:
        code = _CHILD.format(decoding=json.dumps(DECODING))
        command = [
            sys.executable,
            "-c",
            code,
            scripted.base_url,
            scripted.model,
            str(out),
            *(task.id for task in tasks),
        ]
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not (out / "records.jsonl").exists() or len((out / "records.jsonl").read_bytes().splitlines()) < 5:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        whole = (out / "records.jsonl").read_bytes().rpartition(b"\n")[0].splitlines()
        before = {json.loads(line)["id"]: line for line in whole}
        assert 5 <= len(before) < len(tasks)
        with open(out / "records.jsonl", "ab") as stream:  # the half line that a kill can leave
            stream.write(b'{"schema": 1, "id": "multi_turn_ba')
        time.sleep(0.3)
        scripted.requests.clear()
        summary = run(scripted, tasks, out)
        assert set(scripted.requests) == {task.id for task in tasks} - set(before)
    assert summary["complete"]
    after = {json.loads(line)["id"]: line for line in (out / "records.jsonl").read_bytes().splitlines()}
    assert list(after) == [task.id for task in tasks]
    assert {item: after[item] for item in before} == before
    raw = [json.loads(line)["id"] for line in (out / "trajectories.jsonl").read_text().splitlines()]
    assert raw == list(after)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    tasks = sample("paper", (1,))[:1]
    with ScriptedEndpoint(tasks) as scripted:
        run(scripted, tasks, tmp_path)
        with pytest.raises(EnvtuneError, match=r"another run \(not the same: decoding.temperature\)"):
            run(scripted, tasks, tmp_path, decoding=DECODING | {"temperature": 1.0})
        with pytest.raises(EnvtuneError, match=r"items_sha256.*items.base"):
            run(scripted, [*tasks, find_task("multi_turn_base_2")], tmp_path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    second = RunFolder(tmp_path).open({})
    with RunFolder(tmp_path).open({}), pytest.raises(EnvtuneError, match="written by another run"):
        second.__enter__()


def test_records_without_their_summary_are_of_nobody(tmp_path: Path) -> None:
    """A damaged summary, then none: both are refused, naming the folder; neither gives another model these verdicts."""
    tasks = sample("paper", (1,))[:1]
    with ScriptedEndpoint(tasks) as scripted:
        run(scripted, tasks, tmp_path)
        summary = tmp_path / "summary.json"
        for damaged in ("{", '{"schema": 2, "identity": {}}'):
            summary.write_text(damaged)
            with pytest.raises(EnvtuneError, match=f"remove all of {tmp_path}"):
                run(scripted, tasks, tmp_path)
        summary.unlink()
        with pytest.raises(EnvtuneError, match=f"{tmp_path} holds records and no summary"):
            run_suite(BfclV3(tasks), Target(scripted.base_url, "other", "other", "kit", {}), tmp_path, about={})
        assert not summary.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(EnvtuneError, match=f"{place} cannot be written to"), RunFolder(tmp_path / place).open({}):
            pass
    with pytest.raises(EnvtuneError, match="cannot be written to"), RunFolder(Path("/proc/nowhere")).open({}):
        pass


def test_the_time_of_a_run_that_stopped_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = sample("paper", (1,))[:1]
    clock = itertools.count(0, 100)
    monkeypatch.setattr("envtune.evaluation.runner.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with ScriptedEndpoint(tasks) as scripted:
        model, scripted.model = scripted.model, "another"
        target = Target(scripted.base_url, model, "scripted", "kit", DECODING, pause_s=0.002)
        with pytest.raises(EnvtuneError, match="check the address"):
            run_suite(BfclV3(tasks), target, tmp_path, about={})
        stopped = json.loads((tmp_path / "summary.json").read_text())
        scripted.model = model
        summary = run(scripted, tasks, tmp_path)
    assert (stopped["complete"], stopped["seconds"]) == (False, 100)
    assert (summary["complete"], summary["seconds"]) == (True, 200)


def test_a_wrong_model_name_stops_the_run(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2))
    with ScriptedEndpoint(tasks) as scripted:
        scripted.model = "another"
        with pytest.raises(EnvtuneError, match="check the address"):
            run_suite(BfclV3(tasks), Target(scripted.base_url, "mine", "mine", "kit", {}), tmp_path, about={})


GOOD = Record("a", "base", "0", "passed", "00", passed=True)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([GOOD.as_dict(), GOOD.as_dict()], "line 2: a second record of a"),
        ([GOOD.as_dict() | {"schema": 3}], "line 1: not a record of schema version 1 to 2"),
        ([{"schema": 1, "id": "a"}], "line 1: fields are missing"),
        ([{"schema": 2, "id": "a"}], "line 1: fields are missing"),
        ([GOOD.as_dict() | {"outcome": "failed"}], "line 1: outcome 'failed' with passed True"),
        ([GOOD.as_dict() | {"details": []}], "line 1: details must be an object"),
        ([GOOD.as_dict() | {"score": -1}], "line 1: score must be a number"),
        ([GOOD.as_dict() | {"tokens_in": "many"}], "line 1: tokens_in must be a number"),
        ([GOOD.as_dict() | {"outcome": "fine"}], "line 1: unknown outcome"),
        ([GOOD.as_dict() | {"extra": 1}], "line 1: fields are missing or unknown: extra"),
        ([[]], "line 1: not a record"),
    ],
)
def test_unsound_records_are_named(lines: list[Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(EnvtuneError, match=complaint):
        read_records(path)


OLD = {
    "schema": 1, "id": "multi_turn_base_1", "category": "base", "cluster": "1", "outcome": "failed", "task_hash": "ab",
    "valid": False, "error_type": "multi_turn:inference_error", "error_message": "too long", "turn_scores": [1, 0],
    "progress": 0.5, "stop_reason": "over_budget", "steps": 3, "tool_calls": 2, "tool_errors": 1, "ill_formed": 0,
    "truncated": 1, "tokens_in": 100, "tokens_out": 20, "seconds": 1.5, "notes": ["a note"],
}  # fmt: skip


def test_records_of_an_older_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(OLD) + "\n")
    (record,) = read_records(path)
    assert (record.stratum, record.passed, record.item_sha256, record.score) == ("base", False, "ab", 0.5)
    assert record.requests == 3 and record.is_over_budget and record.notes == ("a note",)
    details = {"turn_scores": [1, 0], "stop_reason": "over_budget", "steps": 3, "tool_calls": 2, "tool_errors": 1}
    assert record.details == {**details, "ill_formed": 0, "over_budget": True}
    assert Record.from_dict(json.loads(json.dumps(record.as_dict()))).as_dict() == record.as_dict()
