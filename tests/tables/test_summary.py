"""The terminal summary: it says what is there and what is not, of a run that has hardly begun as of one half done."""

from __future__ import annotations

import io
import json
from pathlib import Path

from made_evaluations import items, make_run
from rich.console import Console

from envtune.bfcl import CATEGORIES
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.records import RunFolder
from envtune.evaluation.runner import run_suite
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suite import Target
from envtune.files import write_json
from envtune.profile import Profile, Tasks
from envtune.run_record import write_run_record
from envtune.tables import summarise, write_tables
from envtune.tasks import find_task


def said(profile: Profile) -> str:
    console = Console(file=io.StringIO(), width=200)
    summarise(profile, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_summary(tmp_path: Path) -> None:
    profile = Profile(
        name="small", release="paper", seed=1, model={"source": "smollm2-warm-start"}, tasks=Tasks(),
        run_dir=tmp_path / "runs" / "small", results_dir=tmp_path / "results" / "small", about="A test.",
    )  # fmt: skip
    assert said(profile).count("not yet") == 1 + 1 + 4 + 5 + 2
    stage = profile.stage_dir("stage1")
    stage.mkdir(parents=True)
    (stage / "metrics.jsonl").touch()
    (stage / "done.json").write_text(json.dumps({"steps": 2}))
    attempt = stage / "attempts" / "001"
    attempt.mkdir(parents=True)
    layout = {"nodes": 1, "gpus_per_node": 8, "device": "cuda"}
    began = {"start_step": 0, "began": "2026-11-01T10:00:00+00:00", "layout": layout}
    (attempt / "attempt.json").write_text(json.dumps(began))
    (attempt / "end.json").write_text(json.dumps({"ended": "2026-11-01T10:01:15+00:00", "outcome": "finished"}))
    write_run_record(profile)
    profile.stage_dir("stage2").mkdir()
    tasks = [find_task(f"multi_turn_{category}_1") for category in CATEGORIES]
    evaluation = profile.run_dir / "evaluation"
    with ScriptedEndpoint(tasks, "malformed") as scripted:
        for seed in (1, 2):
            target = Target(scripted.base_url, scripted.model, "Scripted", "kit", {"seed": seed})
            folder = evaluation / "stage1" / "bfcl-v3" / f"seed{seed}"
            run_suite(BfclV3(tasks), target, folder, about={"checkpoint": "stage1", "seed": seed, "notes": []})
    make_run(evaluation, "tau2", "start", [*items("airline", 1, 4), *items("retail", 3, 4)])
    write_json(evaluation / "left_out.json", {"bfcl-memory": "there is no .venv-eval"})
    write_tables(profile)
    text = said(profile)
    assert "done, 2 steps" in text and "1 min 15 s" in text and "begun" in text and "metrics" in text
    lines = [line for line in text.splitlines() if "bfcl-v3" in line]
    assert "evaluation of stage1: bfcl-v3" in lines[0] and "done, 2 runs" in lines[0]
    assert " 1 2 " in lines[1] and " 0.00 " in lines[1] and "base 0/2, miss_func 0/2" in lines[1]
    summary = RunFolder(evaluation / "stage1" / "bfcl-v3" / "seed1").read_summary()
    assert summary is not None and summary["totals"]["requests"] > 0
    assert f"{2 * summary['replies']['ill_formed']} of {2 * summary['totals']['requests']}" in lines[1]
    (tau2,) = [line for line in text.splitlines() if "airline" in line]
    assert " 50.00 " in tau2 and "airline 1/4, retail 3/4" in tau2
    assert "left out" in text and "there is no .venv-eval" in text
    assert text.count("not yet") == 1 + 1 + 2 + 3 + 0, "model, data, stages, checkpoints, tables"
    assert (profile.results_dir / "records" / "bfcl-v3" / "stage1.seed1.jsonl.gz").is_file()
    assert "| Scripted | stage1 |" in (profile.results_dir / "table1.md").read_text()
    assert "| Scripted | start |" in (profile.results_dir / "table2.md").read_text()
