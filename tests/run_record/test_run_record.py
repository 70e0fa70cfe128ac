"""Stages of hand-made runs: every number is worked out here again from what was put into the files."""

from __future__ import annotations

import json
import math

import pytest
from made_runs import (
    COLLAPSE,
    CPU,
    GPUS,
    HOST,
    PARTS,
    at,
    finish,
    make_attempt,
    make_resumed_stage,
    record_of,
    step_of,
    touch_at,
)

from envtune.profile import Profile
from envtune.run_record import (
    end_killed_attempts,
)


def test_a_stage_that_was_killed_once(profile: Profile) -> None:
    stage = make_resumed_stage(profile, GPUS)
    gate = {"settings": {}, "decision": {"outcome": "converged", "step": 4, "reason": "flat"}, "curve": []}
    finish(stage, gate=gate)
    (stage / "config.yaml").write_text("trainer: {total_training_steps: 80}\ndata: {seed: 21}\n", encoding="utf-8")
    record = record_of(profile)
    told = record["stages"][0]
    counted = [step_of(n) for n in (1, 2, 3, 4)]
    assert (told["status"], told["steps"], told["planned_steps"]) == ("finished", 4, 80)
    assert [one["number"] for one in told["attempts"]] == [1, 2]
    first, second = told["attempts"]
    assert (first["outcome"], first["ended"], first["estimated"], first["seconds"]) == ("killed", at(50), True, 3000)
    assert (first["last_step"], first["steps_repeated"], second["steps_repeated"]) == (3, 1, 0)
    assert (second["outcome"], second["ended"], second["estimated"], second["seconds"]) == (
        "finished",
        at(90),
        False,
        1800,
    )
    assert told["seconds"] == pytest.approx(sum(n * 10 * 6 + 15 for n in (1, 2, 3, 4)))
    assert told["seconds_spent"] == (50 + 30) * 60
    assert told["gpu_hours"] == pytest.approx(80 / 60 * 8) and told["core_hours"] is None
    assert told["tokens"] == {"prompt": 1000 + 2000 + 9999 + 4000, "response": 10_004, "sampled": 10_008}
    waiting, rollout = (sum(values) for values in zip(*[(n * 10 + 2, n * 30 + 3) for n in (1, 2, 3, 4)], strict=True))
    assert told["rollout_idle_share"] == pytest.approx(waiting / rollout)
    assert told["time_split"] == {f"{part}_s": sum(one[f"split/{part}_s"] for one in counted) for part in PARTS}
    assert sum(told["time_split"].values()) == pytest.approx(told["seconds"])
    metrics = dict(told["metrics"])
    validation = metrics.pop("validation")
    assert [validation[which]["step"] for which in ("first", "last", "best")] == [1, 4, 4]
    assert validation["best"]["accuracy"] == pytest.approx((0.4 + 0.2) / 2)
    assert validation["first"]["sources"] == {"bfcl_base": 0.1, "bfcl_miss": 0.05}
    assert metrics == {"reward": 2, "grad_norm": 1, "kl": 0.5, "response_length": 104, "format_rate": 0.5}
    assert (
        told["gate"] == gate and told["start"] == {"model": "/models/m", "sha256": "s"} and told["model_sha256"] == "m"
    )
    assert record["run"] == {
        "name": "small", "profile": "small", "arm": "full", "seed": 7,
        "status": "running", "began": at(0), "ended": None,
    }  # fmt: skip
    assert record["totals"]["gpu_hours"] == told["gpu_hours"] and record["totals"]["tokens"] == told["tokens"]
    assert (record["totals"]["steps"], record["totals"]["seconds_spent"]) == (4, 4800)
    assert record["hardware"] == HOST
    again = record_of(profile)
    assert {**again, "written": ""} == {**record, "written": ""}, "it can be assembled at any time"


def test_without_a_gpu_hours_are_of_cores(profile: Profile) -> None:
    make_resumed_stage(profile, CPU)
    record = record_of(profile)
    told = record["stages"][0]
    assert told["gpu_hours"] is None and told["core_hours"] == pytest.approx(80 / 60 * 6)
    assert (record["totals"]["gpu_hours"], record["totals"]["core_hours"]) == (None, told["core_hours"])
    # the other node's cores are not known
    stage = profile.stage_dir("stage2")
    end = {"ended": at(10), "outcome": "finished"}
    make_attempt(stage, 1, 0, {1: step_of(1)}, began=at(0), layout={**CPU, "nodes": 2}, hardware=HOST, end=end)
    record = record_of(profile)
    assert record["stages"][1]["core_hours"] is None and record["totals"]["core_hours"] is None
    assert record["totals"]["seconds_spent"] == 4800 + 600


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        (None, "running"),
        ("finished", "running"),
        ("failed", "failed"),
        ("stalled", "failed"),
        ("interrupted", "failed"),
    ],
)
def test_the_status_of_a_stage_that_is_not_done(profile: Profile, outcome: str | None, wanted: str) -> None:
    assert record_of(profile)["run"]["status"] == "not begun"
    stage = profile.stage_dir("stage1")
    end = {"ended": at(20), "outcome": outcome, "returncode": 1, "message": "why"} if outcome else None
    folder = make_attempt(stage, 1, 0, {1: step_of(1)}, began=at(0), layout=GPUS, end=end)
    touch_at(folder / "verl.jsonl", 5)
    touch_at(stage / "log.txt", 12)
    record = record_of(profile)
    (attempt,) = record["stages"][0]["attempts"]
    assert record["run"]["status"] == record["stages"][0]["status"] == wanted
    assert [stage["status"] for stage in record["stages"][1:]] == ["not begun"] * 3
    assert attempt["outcome"] == outcome and attempt["estimated"] is (outcome is None)
    assert attempt["ended"] == at(20 if outcome else 12), "the log's last line is later than the last step"
    assert (attempt["returncode"], attempt["message"]) == ((1, "why") if outcome else (None, ""))


def test_all_stages_finished(profile: Profile) -> None:
    for stage in profile.curriculum:
        finish(profile.stage_dir(stage.name))
    assert record_of(profile)["run"]["status"] == "finished"


def test_an_estimate_is_kept_before_the_next_attempt_writes_to_the_log(profile: Profile) -> None:
    stage = profile.stage_dir("stage1")
    folder = make_attempt(stage, 1, 0, {}, began=at(0), layout=GPUS)
    touch_at(stage / "log.txt", 25)
    end_killed_attempts(stage)
    assert record_of(profile)["stages"][0]["status"] == "failed"
    make_attempt(stage, 2, 0, {1: step_of(1)}, began=at(30), layout=GPUS)
    touch_at(stage / "log.txt", 40)
    first, second = record_of(profile)["stages"][0]["attempts"]
    assert (first["ended"], first["estimated"], first["outcome"]) == (at(25), True, "killed")
    assert (second["ended"], second["outcome"]) == (at(40), None)
    assert first["message"] == "the process that watched it was killed"
    (folder / "end.json").unlink()  # without that, the log's time says nothing of the first attempt
    first, _ = record_of(profile)["stages"][0]["attempts"]
    assert (first["ended"], first["seconds"]) == (at(0), 0)
    for path in folder.iterdir():
        touch_at(path, 99)  # a copy of the run has later times
    assert record_of(profile)["stages"][0]["attempts"][0]["seconds"] == 0
    finish(stage)  # killed after verl's last step: the next start found nothing left to train
    assert record_of(profile)["stages"][0]["attempts"][1]["outcome"] == "killed"


def test_a_collapse_and_a_stage_that_went_on_after_one(profile: Profile) -> None:
    stage = profile.stage_dir("stage1")
    end = {"ended": at(9), "outcome": "finished"}
    make_attempt(stage, 1, 0, {1: step_of(1), 2: step_of(2)}, began=at(0), layout=GPUS, end=end)
    gate = {**COLLAPSE, "curve": [{"step": 1, "kl": math.inf}], "last_good_checkpoint": "/c/global_step_1"}
    (stage / "gate.json").write_text(json.dumps(gate))
    touch_at(stage / "gate.json", 10)
    record = record_of(profile)
    told = record["stages"][0]
    assert record["run"]["status"] == told["status"] == "collapsed"
    assert told["gate"] == {**gate, "curve": [{"step": 1, "kl": None}]}
    make_attempt(stage, 2, 1, {2: step_of(2), 3: step_of(3)}, began=at(20), layout=GPUS)
    assert record_of(profile)["run"]["status"] == "running"


def test_a_run_of_before_there_were_these_files(profile: Profile) -> None:
    """What it did not say is null: never zero, never worked out from something else."""
    stage = profile.stage_dir("stage1")
    old = {
        key: value for key, value in step_of(1).items() if not key.startswith(("split/", "tokens/", "episode/", "roll"))
    }
    make_attempt(stage, 1, 0, {1: old})
    finish(stage, steps=1, attempts=1, seconds_last_attempt=75.5)
    told = record_of(profile)["stages"][0]
    assert (told["seconds"], told["seconds_spent"]) == (pytest.approx(75), 75.5)
    nulls = ("gpu_hours", "core_hours", "rollout_idle_share", "time_split", "gate")
    assert {told[key] for key in nulls} == {None} == set(told["tokens"].values()) | {told["metrics"]["format_rate"]}
    (attempt,) = told["attempts"]
    assert {attempt[key] for key in ("began", "ended", "outcome", "layout", "commit", "gpus")} == {None}
    # with a second attempt the time of the first is not known, and so not the sum
    make_attempt(stage, 2, 1, {2: step_of(2)})
    finish(stage, steps=2, attempts=2, seconds_last_attempt=75.5)
    told = record_of(profile)["stages"][0]
    assert [one["seconds"] for one in told["attempts"]] == [None, 75.5] and told["seconds_spent"] is None
    # of two steps one has no tokens: a part of the sum would be a wrong sum
    assert told["tokens"]["prompt"] is None and told["time_split"]["update_s"] is None


def test_nan_is_null(profile: Profile) -> None:
    stage = profile.stage_dir("stage1")
    bad = {"tokens/prompt": math.nan, "actor/grad_norm": math.inf, "val-core/bfcl_base/acc/mean@1": math.nan}
    make_attempt(stage, 1, 0, {1: step_of(1), 2: step_of(2, **bad)}, began=at(0), layout=GPUS)
    told = record_of(profile)["stages"][0]
    assert told["tokens"]["prompt"] is None and told["tokens"]["response"] == 3002
    assert told["metrics"]["grad_norm"] is None and told["metrics"]["validation"]["last"]["step"] == 1
