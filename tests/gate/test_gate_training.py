"""`envtune regress --training`: a run against reference runs, and adding to them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sides import EDITS, edit, mutate, refused, regress
from scipy import stats

from envtune.files import write_json, write_jsonl
from envtune.gate.training import prediction_bound
from envtune.run_record import SCHEMA_VERSION, read_run_record

TOKENS = {"prompt": None, "response": None, "sampled": None}
METRICS = [
    {"stage": "stage1", "name": "accuracy", "at": "end"},
    {"stage": "stage1", "name": "format_rate", "at": 2},
    {"stage": "stage1", "name": "accuracy", "reach": 0.2},
]


def made_run(folder: Path, seed: int, accuracy: float, status: str = "finished", **change: Any) -> Path:
    """A run of one stage of three steps, as `envtune record` writes it; change: of its `run`."""
    nothing = dict.fromkeys(
        ("aim", "data", "reward", "feedback", "planned_steps", "seconds", "seconds_spent", "gpu_hours")
    )
    validation = {"step": 3, "accuracy": accuracy, "sources": {}}
    stage = {
        **nothing, "name": "stage1", "status": status, "steps": 3, "attempts": [], "tokens": TOKENS, "core_hours": None,
        "rollout_idle_share": None, "time_split": None, "gate": None, "start": {"model": "m", "sha256": "s"},
        "model_sha256": "x",
        "metrics": {"validation": {"first": None, "last": validation, "best": validation}, "format_rate": 0.9},
    }  # fmt: skip
    told = {
        "name": f"small.{seed}",
        "profile": "small",
        "arm": "full",
        "seed": seed,
        "status": status,
        "ended": "2026-11-01",
    }
    record = {
        "schema": SCHEMA_VERSION, "written": "2026-11-02", "run": {**told, **change}, "as_of": None,
        "code": {"commit": "c0ffee", "dirty": False}, "image": None, "python": None, "packages": {},
        "hardware": {"host": {"cores": 2}}, "bfcl": {"version": "1"}, "split": {"sha256": "2"}, "prompt": None, "hints": {},
        "seeds": {}, "stages": [stage], "evaluation": {},
        "totals": {**dict.fromkeys(("steps", "seconds", "seconds_spent", "gpu_hours", "core_hours")), "tokens": TOKENS},
    }  # fmt: skip
    write_json(folder / "run.json", record)
    read_run_record(folder / "run.json")
    curve = [(1, accuracy / 4), (2, accuracy / 2), (3, accuracy)]
    steps = [
        {"step": step, "data": {"val-core/a/acc/mean@1": value, "episode/format_rate": 0.8 + 0.1 * value}}
        for step, value in curve
    ]
    write_jsonl(folder / "stage1" / "metrics.jsonl", steps)
    return folder


def add(run: Path, reference: Path) -> Any:
    return regress("--training", run, "--reference", reference, "--add-reference")


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """Five runs whose accuracy is 0.30 to 0.34."""
    path = tmp_path / "results" / "reference" / "small.json"
    for seed in range(5):
        done = add(made_run(tmp_path / f"run{seed}", seed, 0.30 + seed / 100), path)
        assert done.exit_code == 0, done.output
    assert "5 reference runs" in done.stdout
    return path


def test_reference_runs_carry_their_origin(reference: Path) -> None:
    told = json.loads(reference.read_text())
    assert [metric["name"] for metric in told["metrics"]] == ["accuracy", "format_rate"]
    assert told["runs"][1] == {
        "run": "small.1", "seed": 1, "commit": "c0ffee", "date": "2026-11-01", "machine": {"host": {"cores": 2}},
        "values": {"stage1 accuracy at end": 0.31, "stage1 format_rate at end": 0.9},
    }  # fmt: skip


def test_a_run_within_the_bound_and_one_below(reference: Path, tmp_path: Path) -> None:
    values = [0.30, 0.31, 0.32, 0.33, 0.34]
    bound = 0.32 - stats.t.ppf(1 - 0.05 / 2, 4) * math.sqrt(0.001 / 4) * math.sqrt(1.2)  # two metrics
    assert prediction_bound(values, 0.025, lower_is_better=False) == pytest.approx(bound)
    report, summary = tmp_path / "report.json", tmp_path / "summary.md"
    for accuracy, code in ((bound + 0.001, 0), (bound - 0.001, 1), (0.9, 0)):
        run = made_run(tmp_path / "new", 9, accuracy)
        done = regress("--training", run, "--reference", reference, "--json", report, "--summary", summary)
        assert done.exit_code == code, done.output
        told = json.loads(report.read_text())
        assert told["kind"] == "training" and told["regressed"] is (code == 1) and len(told["references"]) == 5
        assert told["metrics"][0]["bound"] == pytest.approx(bound) and told["metrics"][0]["value"] == accuracy
    assert summary.read_text().count("| stage1 accuracy at end |") == 3


def test_steps_and_steps_to_a_value(reference: Path, tmp_path: Path) -> None:
    runs = {path.name: path for path in sorted(tmp_path.glob("run?"))}
    reference.unlink()
    assert add(runs["run0"], reference).exit_code == 0
    edit(reference, lambda data: data.update(metrics=METRICS, runs=[]))
    for run in runs.values():
        assert add(run, reference).exit_code == 0
    told = json.loads(reference.read_text())["runs"][0]["values"]
    assert told["stage1 format_rate at step 2"] == pytest.approx(0.8 + 0.1 * 0.15)
    assert told["stage1 steps to accuracy 0.2"] == 3
    assert regress("--training", runs["run2"], "--reference", reference).exit_code == 0
    done = regress("--training", made_run(tmp_path / "new", 9, 0.19), "--reference", reference)
    assert done.exit_code == 1 and "stage1 steps to accuracy 0.2 is never reached" in done.stdout
    refused(add(tmp_path / "new", reference), "steps to accuracy 0.2")


def test_a_collapsed_run_has_regressed(reference: Path, tmp_path: Path) -> None:
    run = made_run(tmp_path / "new", 9, 0.32, status="collapsed")
    done = regress("--training", run, "--reference", reference)
    assert done.exit_code == 1 and "collapsed" in done.stdout
    refused(add(run, reference), "collapsed")


def test_what_cannot_be_judged(reference: Path, tmp_path: Path) -> None:
    run = made_run(tmp_path / "new", 9, 0.32)
    asked = ("--training", run, "--reference", reference)
    refused(regress("--training", run), "--reference")
    refused(regress("--training", tmp_path / "nowhere", "--reference", reference), "nowhere")
    made_run(run, 9, 0.32, arm="single-stage")
    refused(regress(*asked), "not the same: arm")
    refused(add(run, reference), "not the same: arm")
    made_run(run, 9, 0.32, status="running")
    refused(regress(*asked), "running")
    made_run(run, 9, 0.32)
    edit(run / "run.json", lambda data: data["stages"][0]["metrics"]["validation"].update(last=None))
    refused(regress(*asked), "stage1 accuracy at end")
    refused(add(made_run(run, 3, 0.33), reference), "small.3", "already")
    edit(reference, lambda data: data.update(runs=data["runs"][:2]))
    refused(regress(*asked), "too few reference runs (2", "--add-reference")
    (run / "stage1" / "metrics.jsonl").unlink()
    edit(reference, lambda data: data.update(metrics=METRICS[1:2], runs=[]))
    refused(add(run, reference), "metrics.jsonl", "no such file")


def test_a_gate_that_nothing_could_fail_says_so(tmp_path: Path) -> None:
    """References of 0.30, 0.35 and 0.40 at so strict a level put the bound below zero."""
    path, report, summary = tmp_path / "reference.json", tmp_path / "report.json", tmp_path / "summary.md"
    runs = [made_run(tmp_path / f"run{seed}", seed, 0.30 + seed / 20) for seed in range(3)]
    listed = [{"stage": "stage1", "name": "accuracy", "at": step} for step in (1, 2, 3)]
    asked = ("--reference", path, "--level", "0.005")
    assert add(runs[0], path).exit_code == 0
    setting = json.loads(path.read_text())["setting"]

    def refer(metrics: list[dict[str, Any]]) -> None:
        write_json(path, {"schema": 1, "setting": setting, "metrics": metrics, "runs": []})
        for run in runs:
            assert add(run, path).exit_code == 0

    refer(listed)
    worst = made_run(tmp_path / "new", 9, 0.0)
    said = refused(regress("--training", worst, *asked, "--summary", summary), str(path))
    assert "no value of any metric could fail" in said and "add reference runs" in said
    assert "no value of any metric could fail" in summary.read_text()
    refer([*listed, {"stage": "stage1", "name": "format_rate", "at": 3}])
    done = regress("--training", runs[0], *asked, "--json", report)
    assert done.exit_code == 0 and "Of 3 of them no value could fail" in done.stdout
    assert done.stdout.count("no value of this metric could fail") == 3
    told = json.loads(report.read_text())
    assert [metric["could_regress"] for metric in told["metrics"]] == [False, False, False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: [],
        lambda data: data.update(schema=2),
        lambda data: data.update(more=1),
        lambda data: data.update(metrics=[]),
        lambda data: data.update(metrics=[*METRICS, METRICS[0]]),
        lambda data: data.update(metrics=[{"stage": "stage1", "name": "luck", "at": "end"}]),
        lambda data: data.update(metrics=[{"stage": "stage1", "name": "kl", "at": "start"}]),
        lambda data: data.update(metrics=[{"stage": "stage1", "name": "kl", "reach": "x"}]),
        lambda data: data["runs"][0].pop("seed") and None,
        lambda data: data["runs"][0]["values"].update({"stage1 accuracy at end": "0.3"}),
        lambda data: data["runs"][0]["values"].update({"stage1 accuracy at end": float("nan")}),
        lambda data: data["runs"][0].update(values={}),
    ],
)
def test_an_edited_reference_file(reference: Path, tmp_path: Path, change: Any) -> None:
    edit(reference, change)
    run = tmp_path / "run0"
    before = reference.read_bytes()
    refused(regress("--training", run, "--reference", reference), str(reference))
    refused(add(run, reference), str(reference))
    assert reference.read_bytes() == before


@settings(max_examples=15, deadline=None)
@given(which=st.sampled_from(["run.json", "small.json", "metrics.jsonl"]), edits=EDITS)
def test_mutated_files(tmp_path_factory: pytest.TempPathFactory, which: str, edits: Any) -> None:
    """0, 1 or 2, whatever stands in the files."""
    folder = tmp_path_factory.mktemp("mutated")
    file, run = folder / "small.json", made_run(folder / "run", 9, 0.3)
    origin = {"seed": 1, "commit": "c", "date": "d", "machine": None}
    values = {"stage1 accuracy at end": 0.3, "stage1 format_rate at step 2": 0.8, "stage1 steps to accuracy 0.2": 3.0}
    runs = [{"run": str(number), **origin, "values": values} for number in range(3)]
    setting = {"profile": "small", "arm": "full", "bfcl_version": "1", "split_sha256": "2", "start_sha256": "s"}
    write_json(file, {"schema": 1, "setting": setting, "metrics": METRICS, "runs": runs})
    asked = ("--training", run, "--reference", file)
    assert regress(*asked).exit_code == 0
    if which == "metrics.jsonl":
        path = run / "stage1" / which
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        mutate(rows, edits)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        edit(file if which == "small.json" else run / which, lambda data: mutate(data, edits))
    for done in (regress(*asked), add(run, file)):
        assert done.exit_code in (0, 1, 2)
        if done.exit_code == 2:
            refused(done)


def test_the_bound_is_crossed_as_often_as_it_says() -> None:
    """Of normal values the next one lies beyond the bound with probability `level`: 1500 draws, 3 standard errors."""
    generator = random.Random(0)
    for runs in (3, 8):
        draws = [[generator.gauss(1, 2) for _ in range(runs + 1)] for _ in range(1500)]
        beyond = sum(values[-1] < prediction_bound(values[:-1], 0.05, lower_is_better=False) for values in draws)
        assert abs(beyond / 1500 - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 1500)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8), level=st.floats(0.001, 0.49))
def test_both_sides_mirror(values: list[float], level: float) -> None:
    below = prediction_bound(values, level, lower_is_better=False)
    above = prediction_bound([-value for value in values], level, lower_is_better=True)
    assert above == pytest.approx(-below, rel=1e-9, abs=1e-6)
    assert below <= sum(values) / len(values) + 1e-6
