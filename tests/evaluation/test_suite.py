"""The suite end to end over real HTTP, with a scripted policy whose score is known.

1. Gold is valid in every category of both releases.
2. Failing requests change no verdict.
3. An item that the endpoint gave out on is `not_run`, never wrong, and is run by the next call.
4. Killed in the middle and started again: no item is judged twice, none is lost.
5. A folder of another run is refused.
6. The summary counts all items, and the sound ones beside them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record, RunFolder, read_records
from envtune.evaluation.scripted_endpoint import ScriptedEndpoint
from envtune.evaluation.suite import evaluate_suite
from envtune.tasks import Task, find_task, load_defects, load_tasks

DECODING = {"temperature": 0.0, "max_tokens": 512, "seed": 0}


def sample(release: str, indices: tuple[int, ...]) -> list[Task]:
    return [task for task in load_tasks(release) if task.index in indices]


def run(scripted: ScriptedEndpoint, tasks: list[Task], out: Path, **options: Any) -> dict[str, Any]:
    about = {"checkpoint": "scripted"}
    options = {"decoding": DECODING, "pause_s": 0.002, **options}
    return evaluate_suite(scripted.base_url, scripted.model, tasks, out, about=about, **options)


def verdicts(out: Path) -> dict[str, tuple[bool | None, str | None]]:
    return {record.id: (record.valid, record.error_type) for record in read_records(out / "records.jsonl")}


@pytest.mark.parametrize("policy", ["gold", "stepwise"])
def test_gold_is_100_percent(release: str, policy: str, tmp_path: Path) -> None:
    tasks = sample(release, (0, 49, 77, 115, 167))
    with ScriptedEndpoint(tasks, policy) as scripted:
        summary = run(scripted, tasks, tmp_path)
    assert summary["complete"]
    assert {c: v["accuracy"] for c, v in summary["categories"].items()} == dict.fromkeys(
        ("base", "miss_func", "miss_param", "long_context"), 100.0
    )
    raw = [json.loads(line) for line in (tmp_path / "trajectories.jsonl").read_text().splitlines()]
    assert [row["id"] for row in raw] == [task.id for task in tasks] == list(verdicts(tmp_path))
    assert sum(m["role"] == "assistant" for row in raw for m in row["messages"]) == summary["totals"]["steps"]


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


@pytest.mark.parametrize(
    ("policy", "field", "stop"),
    [("silent", None, "completed"), ("malformed", "ill_formed", "completed"), ("endless", "tool_errors", "force_quit")],
)
def test_policies_that_fail(policy: str, field: str | None, stop: str, tmp_path: Path) -> None:
    tasks = sample("current", (3,))
    with ScriptedEndpoint(tasks, policy) as scripted:
        run(scripted, tasks, tmp_path)
    for record in read_records(tmp_path / "records.jsonl"):
        assert (record.outcome, record.stop_reason) == ("failed", stop)
        assert field is None or getattr(record, field) == record.steps
        if policy == "endless":
            assert record.steps == 21 and record.error_type == "multi_turn:force_terminated"


def test_the_summary_counts_the_sound_items_beside_all(tmp_path: Path) -> None:
    tasks = sample("current", (1, 49, 139))
    with ScriptedEndpoint(tasks, "gold") as scripted:
        summary = run(scripted, tasks, tmp_path)
    assert summary["sound"]["defects_version"] == load_defects().version
    assert {c: v["items"] for c, v in summary["categories"].items()} == dict.fromkeys(CATEGORIES, 3)
    # known defects: miss_func_49, and 139 of base and miss_param
    sound = {"base": 2, "miss_func": 2, "miss_param": 2, "long_context": 3}
    assert {c: v["passed"] for c, v in summary["sound"]["categories"].items()} == sound
    assert {c: v["accuracy"] for c, v in summary["sound"]["categories"].items()} == dict.fromkeys(CATEGORIES, 100.0)


def test_failing_requests_change_no_verdict(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2, 3, 4))
    for name, failing in (("calm", 0.0), ("rough", 0.25)):
        with ScriptedEndpoint(tasks, "errors", error_share=0.4, failing=failing) as scripted:
            summary = run(scripted, tasks, tmp_path / name, tries=12)
            assert summary["complete"]
            assert (len(scripted.requests) > summary["totals"]["steps"]) == bool(failing)
    assert verdicts(tmp_path / "calm") == verdicts(tmp_path / "rough")


def test_what_was_not_run_is_not_wrong_and_is_run_next_time(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2))
    with ScriptedEndpoint(tasks) as scripted:
        broken = tasks[0].id
        scripted.fault = lambda task_id: 0 if task_id == broken else None  # type: ignore[method-assign]
        summary = run(scripted, tasks, tmp_path, tries=2)
        assert not summary["complete"]
        assert summary["categories"]["base"] | {"progress": 0} == {
            "items": 2, "passed": 1, "failed": 0, "not_run": 1, "over_budget": 0, "accuracy": 100.0, "progress": 0,
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
    assert (record.outcome, record.error_type, record.stop_reason) == (
        "failed",
        "multi_turn:inference_error",
        "over_budget",
    )


_CHILD = """
import json, sys
from pathlib import Path
from envtune.evaluation.suite import evaluate_suite
from envtune.tasks import find_task
url, model, out, *ids = sys.argv[1:]
evaluate_suite(url, model, [find_task(i) for i in ids], Path(out), decoding=json.loads({decoding!r}),
               about={{"checkpoint": "scripted"}}, concurrency=4)
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
        with pytest.raises(EnvtuneError, match=r"items.base.*tasks_sha256"):
            run(scripted, [*tasks, find_task("multi_turn_base_2")], tmp_path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    second = RunFolder(tmp_path).open({})
    with RunFolder(tmp_path).open({}), pytest.raises(EnvtuneError, match="written by another run"):
        second.__enter__()


def test_a_wrong_model_name_stops_the_run(tmp_path: Path) -> None:
    tasks = sample("paper", (1, 2))
    with ScriptedEndpoint(tasks) as scripted:
        scripted.model = "another"
        with pytest.raises(EnvtuneError, match="check the address"):
            evaluate_suite(scripted.base_url, "mine", tasks, tmp_path, decoding={}, about={})


GOOD = Record("a", "base", "0", "passed", "00", valid=True)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([GOOD.as_dict(), GOOD.as_dict()], "line 2: a second record of a"),
        ([GOOD.as_dict() | {"schema": 2}], "line 1: not a record of schema version 1"),
        ([{"schema": 1, "id": "a"}], "line 1: fields are missing"),
        ([GOOD.as_dict() | {"outcome": "failed"}], "line 1: outcome 'failed' with valid True"),
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
