"""What a run was given, what it ran with, what was evaluated; and that no secret gets into its record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from made_runs import at, finish, make_attempt, record_of

from envtune.environment.hints import hint_set
from envtune.files import write_json
from envtune.profile import Profile
from envtune.run_record import (
    hardware,
    machine,
    read_run_record,
    write_run_record,
    write_snapshot,
)


def test_inputs(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hint_set("full").digest
    record = record_of(profile)
    assert record["hints"]["stage2"] == {"set": "full", "digest": digest}
    assert record["seeds"]["data_order"] == 7 and record["seeds"]["rollout"] == 11, "the profile's key is over its seed"
    assert (record["seeds"]["warm_start"], record["seeds"]["replies"]) == (None, None)
    assert record["bfcl"] == {
        "release": "paper", "version": "2025.6.8",
        "wheel_sha256": "f93fee3a66d33f8ea09e5174b4ba72aa80732b31506be1043da8ffb23c299cc3",
    }  # fmt: skip
    rows = {"rows": 3, "rows_sha256": "r", "feedback": "none", "hints_digest": "h", "max_tools": 9, "tools_seed": 2}
    manifest = {"max_prompt_length": 512, "chat_template_sha256": "t", "split": {"name": "n", "sha256": "x"}}
    write_json(profile.data_dir / "manifest.json", {**manifest, "files": {"stage2": rows, "validation": rows}})
    write_json(profile.run_dir / "model" / "envtune_model.json", {"warm_start": {"settings": {"seed": 13}}})
    stage = profile.stage_dir("stage1")
    make_attempt(stage, 1, 0, {}, began=at(0))
    (stage / "config.yaml").write_text("data: {seed: 21}\nactor_rollout_ref: {rollout: {seed: 11}}\n")
    write_json(stage / "agent_loop.yaml", [{"name": "envtune", "seeded": True}])
    changed = {"stage1": {"data.seed": 22}, "stage3": {"data.seed": 23}}
    record = record_of(dataclasses.replace(profile, agent={"seeded": True}, stages=changed))
    assert record["seeds"]["data_order"] == {"stage1": 21, "stage2": 7, "stage3": 23, "stage4": 7}, (
        "as it was begun with"
    )
    wanted = {"run": 7, "rollout": 11, "replies": 11, "tools": 2, "warm_start": 13, "evaluation": 5}
    assert {key: record["seeds"][key] for key in wanted} == wanted
    assert record["split"] == {"name": "n", "sha256": "x", "counts": {"stage2": 3, "validation": 3}}
    assert (record["prompt"]["max_prompt_length"], record["prompt"]["chat_template_sha256"]) == (512, "t")
    assert record["prompt"]["max_tools"] == 9 and record["prompt"]["rows_sha256"]["stage2"] == "r"
    assert record["hints"]["stage2"] == {"set": "none", "digest": "h"}
    finish(profile.stage_dir("stage2"))
    assert record_of(profile)["hints"]["stage2"] == {"set": "none", "digest": "d1"}, "what made it is over its data"
    before = record["prompt"]["template_sha256"]
    machine.prompt_sha256.cache_clear()
    monkeypatch.setattr("envtune.environment.prompt._GO_ON", "Other words.")
    assert machine.prompt_sha256() != before
    machine.prompt_sha256.cache_clear()


def test_what_ran_is_what_the_last_attempt_kept(
    profile: Profile, origin: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVTUNE_IMAGE", "registry/envtune@sha256:1234")
    record = record_of(profile)
    assert (record["as_of"], record["image"]) == ("written", "registry/envtune@sha256:1234")
    assert record["packages"]["rich"] == metadata.version("rich") and len(record["packages"]) > 50
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    stage = profile.stage_dir("stage1")
    make_attempt(stage, 1, 0, {}, began=at(0), provenance=origin)
    assert record_of(profile)["as_of"] == "written", "this process runs the same code and packages"
    write_json(stage / "attempts" / "001" / "attempt.json", {"start_step": 0, "provenance": {**origin, "packages": {}}})
    assert record_of(profile)["as_of"] == "stage1/attempts/001", "it has not the same packages"
    other = {**origin, "commit": "0" * 40, "dirty": True}
    folder = make_attempt(stage, 2, 0, {}, began=at(1), provenance=other)
    record = record_of(profile)
    assert record["as_of"] == "stage1/attempts/002"
    assert (record["code"]["commit"], record["code"]["diff"]) == ("0" * 40, None)
    assert record["packages"] == other["packages"] and record["image"] is record["prompt"]["template_sha256"] is None
    kept = json.loads(write_snapshot(folder).read_text())
    write_json(folder / "snapshot.json", {**kept, "packages": {"one": "1"}})
    record = record_of(profile)
    assert (record["packages"], record["as_of"]) == ({"one": "1"}, "stage1/attempts/002")
    assert record["stages"][0]["attempts"][1]["commit"] == "0" * 40


def test_the_diff_is_in_the_record_or_beside_it(profile: Profile, checkout: Callable[[str], None]) -> None:
    beside = profile.run_dir / "run.diff"
    assert record_of(profile)["code"]["diff"] == ""
    checkout("new\n")
    code = record_of(profile)["code"]
    assert "-old\n+new\n" in code["diff"] and code["diff_file"] is None and not beside.exists()
    assert code["diff_sha256"] == hashlib.sha256(code["diff"].encode()).hexdigest()
    checkout("x" * 1_000_000 + "\n")
    path = write_run_record(profile)
    code = read_run_record(path)["code"]
    assert code["diff"] is None and code["diff_file"] == beside.name and path.stat().st_size < 100_000
    assert code["diff_sha256"] == hashlib.sha256(beside.read_bytes()).hexdigest()
    checkout("new\n")
    assert record_of(profile)["code"]["diff_file"] is None and not beside.exists()


def test_no_value_of_the_environment_gets_in(
    profile: Profile, origin: dict[str, Any], checkout: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "swordfish-1")
    monkeypatch.setenv("INNOCENT", "swordfish-2")
    profile = dataclasses.replace(profile, environment={"HF_TOKEN": "swordfish-3"})
    checkout("key = 'swordfish-1'\n# swordfish-3\n")
    end = {"ended": at(1), "outcome": "failed", "message": "refused swordfish-3 at https://me:swordfish-4@host/"}
    folder = make_attempt(profile.stage_dir("stage1"), 1, 0, {}, began=at(0), provenance=origin, end=end)
    record = record_of(profile)
    assert "key = '***'" in record["code"]["diff"], "the rest of it is kept"
    assert record["stages"][0]["attempts"][0]["message"] == "refused *** at https://***@host/"
    assert "swordfish" not in json.dumps(record)
    kept = write_snapshot(folder, {**os.environ, **profile.environment}).read_text()
    assert "swordfish" not in kept and "***" in kept


def test_evaluations(profile: Profile) -> None:
    def counts(passed: int, failed: int) -> dict[str, Any]:
        of_it = {"items": passed + failed, "passed": passed, "failed": failed, "not_run": 0, "over_budget": 1}
        return {**of_it, "accuracy": 100 * passed / (passed + failed), "score": 0.25}

    def write(where: str, **said: Any) -> None:
        write_json(profile.run_dir / "evaluation" / where / "summary.json", {**summary, **said})

    identity = {"protocol": {"name": "p"}, "decoding": {"seed": 1}, "items": {}, "model": "m", "checkpoint_sha256": "w"}
    summary = {"schema": 2, "complete": True, "identity": identity, "about": {"training_steps": 4}, "seconds": 9.5}
    strata = {"base": counts(1, 3), "miss_func": counts(1, 1), "miss_param": counts(0, 1), "long_context": counts(3, 1)}
    part = {"base": counts(1, 1), "miss_func": counts(1, 1)}
    upstream = {**identity, "packages": {"bfcl-eval": "1"}, "options": {"a": 1}, "user": {"model": "u"}}
    write("stage1/tau2/seed9", strata=part, identity=upstream)
    write("stage1/tau2/seed10", strata=part, complete=False)
    write("stage1/bfcl-v3/seed1", strata=strata)
    write("start/bfcl-v3/seed1", complete=False)
    write("other-m/bfcl-v3/seed1", strata=part)
    (profile.run_dir / "evaluation" / "stage1" / "tau2" / "runs.json").write_text("{}")
    told = record_of(profile)["evaluation"]
    assert list(told) == ["start", "other-m", "stage1"] and list(told["stage1"]) == ["bfcl-v3", "tau2"]
    (other,) = told["other-m"]["bfcl-v3"]
    assert other["accuracy"]["base"] == 50 and other["average"] is None
    (start,) = told["start"]["bfcl-v3"]
    assert start["complete"] is False and start["counts"] is start["accuracy"] is start["average"] is None
    (one,) = told["stage1"]["bfcl-v3"]
    assert one["accuracy"] == {"base": 25, "miss_func": 50, "miss_param": 0, "long_context": 75}
    assert one["average"] == 37.5 and one["score"] == dict.fromkeys(strata, 0.25)
    assert one["counts"] == {"items": 11, "passed": 5, "failed": 6, "not_run": 0, "over_budget": 4}
    assert (one["protocol"], one["decoding"], one["training_steps"]) == ({"name": "p"}, {"seed": 1}, 4)
    assert one["complete"] is True and one["seconds"] == 9.5 and one["user"] is None
    first, second = told["stage1"]["tau2"]
    assert (first["seed"], second["seed"]) == (9, 10), "by number"
    assert first["average"] == 50, "of another suite the strata that there are"
    assert second["average"] is None, "it is not complete"
    assert (first["packages"], first["options"], first["user"]) == ({"bfcl-eval": "1"}, {"a": 1}, {"model": "u"})


def test_hardware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'H100, 81559, 10, 550.54, Disabled, 9.0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ((host, what),) = hardware().items()
    assert host and 0 < what["cores"] <= os.cpu_count() and what["memory_bytes"] > 2**28
    assert what["gpus"] == [{"name": "H100", "memory_bytes": 81559 * 2**20, "driver": "550.54"}]


def test_neither_torch_nor_verl_is_imported() -> None:
    heavy = "{'torch', 'verl', 'transformers', 'omegaconf', 'ray'}"
    code = f"import sys, envtune.run_record; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
