"""All 800 items of BFCL V3 multi-turn: our verdicts are those of bfcl-eval's own `generate` and `evaluate`.

Both ask the same scripted endpoint, by native function calling, with the same replies, of which some go wrong. Of the
release `paper` bfcl-eval runs from the wheel that the kit unpacks.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval

from envtune.bfcl import get_release
from envtune.evaluation.direct import Request, evaluate_request
from envtune.evaluation.records import read_records
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suites import Choice
from envtune.tasks import load_tasks

UPSTREAM = Path(__file__).parents[1] / "helpers" / "upstream_bfcl.py"


@needs_eval
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("release", ["paper", "current"])
def test_verdicts_item_for_item(tmp_path: Path, release: str) -> None:
    tasks = load_tasks(release)
    assert len(tasks) == 800
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps([task.id for task in tasks]))
    with ScriptedEndpoint(tasks, policy="errors", error_share=0.3) as scripted:
        request = Request(
            choices=[Choice("bfcl-v3", release=release, split="full")],
            model=scripted.model,
            base_url=scripted.base_url,
            out=tmp_path / "out",
            reply_format="fc",
        )
        (summary,) = evaluate_request(request)["bfcl-v3"]
        command = [EVAL_PYTHON, str(UPSTREAM), "--base-url", scripted.base_url, "--ids", str(ids), "--threads", "16"]
        if release == "paper":
            command += ["--unpacked", str(get_release(release).folder().parent)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    records = read_records(tmp_path / "out" / "bfcl-v3" / "seed42" / "records.jsonl")
    ours = {record.id: None if record.passed else record.error_type for record in records}
    assert ours == json.loads(done.stdout)["verdicts"]
    outcomes = Counter(record.outcome for record in records)
    assert outcomes["not_run"] == 0 and 500 < outcomes["passed"] < 700
    assert summary["complete"] and sum(counts["passed"] for counts in summary["strata"].values()) == outcomes["passed"]
