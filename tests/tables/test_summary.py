"""The terminal summary: it says what is there and what is not, of a run that has hardly begun as of one half done."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from envtune.evaluation.scripted_endpoint import ScriptedEndpoint
from envtune.evaluation.suite import evaluate_suite
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
    assert said(profile).count("not yet") == 1 + 1 + 4 + 5 + 1
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
    task = find_task("multi_turn_base_1")
    with ScriptedEndpoint([task], "malformed") as scripted:
        evaluate_suite(
            scripted.base_url, scripted.model, [task], profile.run_dir / "evaluation" / "stage1",
            decoding={}, about={"checkpoint": "stage1", "notes": []},
        )  # fmt: skip
    write_tables(profile)
    text = said(profile)
    assert "done, 2 steps" in text and "1 min 15 s" in text and "begun" in text and "metrics" in text
    assert "0.00 (0/1)" in text and "4 of 4" in text
    assert (profile.results_dir / "records" / "stage1.jsonl.gz").is_file()
    assert "| scripted | stage1 |" in (profile.results_dir / "table1.md").read_text()
