"""The file itself: what is refused, older schemas, the record on the terminal and the command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import COLLAPSE, GPUS, at, make_attempt, make_resumed_stage, record_of, step_of, touch_at
from rich.console import Console
from typer.testing import CliRunner

from envtune.errors import EnvtuneError
from envtune.files import write_json
from envtune.profile import Profile
from envtune.run_record import (
    format_run_record,
    read_run_record,
    write_run_record,
)


def test_a_file_that_is_broken_is_named(profile: Profile) -> None:
    stage = profile.stage_dir("stage1")
    folder = make_attempt(stage, 1, 0, {1: step_of(1)}, began=at(0))
    for path, text in (
        (folder / "end.json", '{"ended": "20'), (folder / "verl.jsonl", "no JSON\n"), (stage / "config.yaml", "a: [1"),
        (stage / "done.json", "[]"), (folder / "attempt.json", "{}"),
    ):  # fmt: skip
        whole = path.read_text() if path.exists() else None
        path.write_text(text)
        with pytest.raises(EnvtuneError, match="mend") as raised:
            write_run_record(profile)
        assert str(stage) in str(raised.value) and "\n" not in str(raised.value)
        path.unlink() if whole is None else path.write_text(whole)
    record_of(profile)


def test_a_record_is_written_when_it_says_something_new(profile: Profile) -> None:
    path = write_run_record(profile)
    touch_at(path, 0)
    before = path.stat().st_mtime_ns
    write_run_record(profile)
    assert path.stat().st_mtime_ns == before, "a finished run that is started again changes nothing"
    make_attempt(profile.stage_dir("stage1"), 1, 0, {}, began=at(0), layout=GPUS)
    write_run_record(profile)
    assert path.stat().st_mtime_ns > before
    path.write_text(path.read_text()[:100])
    assert record_of(profile)["run"]["status"] == "running"


def refused(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EnvtuneError) as raised:
        read_run_record(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_what_is_no_record_is_refused(profile: Profile, tmp_path: Path) -> None:
    make_resumed_stage(profile, GPUS)
    path = write_run_record(profile)
    text = path.read_text(encoding="utf-8")
    record = json.loads(text)
    with pytest.raises(EnvtuneError, match="no such record"):
        read_run_record(tmp_path / "none.json")
    for cut in (0, 1, len(text) // 2, len(text) - 2):
        refused(path, text[:cut])
    assert "schema version 99" in refused(path, json.dumps({**record, "schema": 99}))
    for version in (None, "1", -1, True, 1.0):
        assert "names no schema version" in refused(path, json.dumps({**record, "schema": version}))
    for key in record.keys() - {"schema"}:
        assert f"{key} is missing" in refused(path, json.dumps({k: v for k, v in record.items() if k != key}))
    for key in record["stages"][0]:
        stages = [{k: v for k, v in record["stages"][0].items() if k != key}]
        assert f"stages[0].{key} is missing" in refused(path, json.dumps({**record, "stages": stages}))
    assert "unknown status" in refused(path, json.dumps({**record, "run": {**record["run"], "status": "well"}}))
    assert "wrong kind" in refused(path, json.dumps({**record, "packages": []}))


def old_record(attempts: int) -> dict[str, Any]:
    """Schema version 0."""
    done = {
        "stage": "stage1", "feedback": {"hints": "none", "digest": "4f53cda18c2b"}, "steps": 20, "attempts": attempts,
        "seconds_last_attempt": 230.6, "model_sha256": "5ecf",
        "settings": {"config": "5f45", "data": "afd0", "agent": "bc2c", "start": {"model": "/m", "sha256": "3d0e"}},
        "provenance": {"commit": "ca77", "dirty": False, "python": "3.11.7", "packages": {"verl": "0.9.1"}},
    }  # fmt: skip
    run = {"name": "cpu", "profile": "cpu", "seed": 42}
    return {"schema": 0, "written": at(0), "run": run, "stages": [done]}


def test_an_older_schema_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, old_record(attempts=1))
    record = read_run_record(path)
    assert record["schema"] == 2 and record["run"]["arm"] == "full" and record["run"]["status"] == "finished"
    (stage,) = record["stages"]
    assert (stage["steps"], stage["seconds_spent"], stage["seconds"], stage["gpu_hours"]) == (20, 230.6, None, None)
    assert record["code"]["commit"] == "ca77" and record["packages"] == {"verl": "0.9.1"}
    assert record["totals"]["steps"] == 20 and record["totals"]["seconds"] is None
    assert "stage1" in printed(record)
    write_json(path, old_record(attempts=2))
    assert read_run_record(path)["stages"][0]["seconds_spent"] is None
    broken = old_record(1)
    del broken["stages"][0]["settings"]
    assert "KeyError('settings')" in refused(path, json.dumps(broken))


def printed(record: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=240)
    format_run_record(record, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_on_the_terminal(profile: Profile) -> None:
    stage = make_resumed_stage(profile, GPUS)
    write_json(stage / "gate.json", {**COLLAPSE, "decision": {**COLLAPSE["decision"], "step": 4}})
    text = printed(record_of(profile))
    assert "10.67" in text and "GPU-hours" in text and "1 h 20 min" in text and "11 min 0 s" in text
    assert "10,008" in text and "collapsed at step 4: KL [red]7.1" in text and "35%" in text
    shares = [line for line in text.splitlines() if " % " in line]
    for share in ("15.2", "15.8", "16.4", "17.0", "17.6", "18.2"):
        assert sum(share in line for line in shares) == 1
    assert "not begun" in text and "0 of 4" in text


def test_the_command_writes_and_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from envtune.cli import record as command

    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path))
    done = CliRunner(env={"COLUMNS": "200"}).invoke(
        command.app, ["record", "--profile", "cpu", "--arm", "single-stage"]
    )
    assert done.exit_code == 0, done.output
    path = tmp_path / "cpu.single-stage.seed42" / "run.json"
    assert [stage["name"] for stage in read_run_record(path)["stages"]] == ["single"]
    assert "single" in done.output and "run.json" in done.output


def test_a_summary_of_another_shape_is_no_reason_to_stop(profile: Profile) -> None:
    folder = profile.run_dir / "evaluation" / "other-model" / "bfcl-v3" / "seed1"
    write_json(folder / "summary.json", {"complete": True, "strata": {"base": {"passed": 1}}})
    (told,) = record_of(profile)["evaluation"]["other-model"]["bfcl-v3"]
    assert (told["counts"]["passed"], told["counts"]["failed"], told["accuracy"], told["average"]) == (
        1,
        None,
        {"base": None},
        None,
    )


def evaluated(profile: Profile) -> dict[str, Any]:
    write_json(profile.run_dir / "evaluation" / "start" / "tau2" / "seed1" / "summary.json", {"schema": 2})
    record: dict[str, Any] = json.loads(write_run_record(profile).read_text())
    return record


def test_version_1_knew_one_run_of_one_suite(profile: Profile) -> None:
    record = evaluated(profile)
    told = {
        "complete": True, "model": "m", "checkpoint_sha256": "w", "training_steps": 3, "items": {"base": 2},
        "counts": {"items": 2, "passed": 1, "failed": 1, "not_run": 0, "over_budget": 0}, "accuracy": {"base": 50},
        "average": None, "progress": {"base": 0.75}, "protocol": {"name": "kit-format-1"},
        "decoding": {"temperature": 0.0, "seed": 42}, "seconds": 9.5, "commit": "c",
    }  # fmt: skip
    path = profile.run_dir / "run.json"
    write_json(path, {**record, "schema": 1, "evaluation": {"start": told, "stage1": {**told, "decoding": None}}})
    read = read_run_record(path)
    assert read["schema"] == 2
    (one,) = read["evaluation"]["start"]["bfcl-v3"]
    kept = {key: value for key, value in told.items() if key != "progress"}
    unknown = dict.fromkeys(("release", "packages", "options", "user"))
    assert one == {**kept, **unknown, "score": {"base": 0.75}, "seed": 42}
    assert read["evaluation"]["stage1"]["bfcl-v3"][0]["seed"] is None
    assert "Run small" in printed(read)


def test_an_evaluation_that_is_ill_formed_is_refused(profile: Profile) -> None:
    record, path = evaluated(profile), profile.run_dir / "run.json"
    (run,) = record["evaluation"]["start"]["tau2"]
    for key in run:
        cut = {name: value for name, value in run.items() if name != key}
        message = refused(path, json.dumps({**record, "evaluation": {"start": {"tau2": [cut]}}}))
        assert f"evaluation.start.tau2[0].{key}" in message
    for evaluation, why in (
        ({"start": []}, "evaluation.start is no object"),
        ({"start": {"tau2": {}}}, "evaluation.start.tau2 is of the wrong kind"),
        ({"start": {"tau2": [{**run, "complete": 1}]}}, "complete must be true or false"),
        ({"start": {"tau2": [{**run, "seed": True}]}}, "seed is of the wrong kind"),
    ):
        assert why in refused(path, json.dumps({**record, "evaluation": evaluation}))
