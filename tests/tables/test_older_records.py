"""What an older release measured is read by this one: schema 1, where bfcl-v3 was the only suite and had no seeds.

tests/fixtures/evaluation_schema1 is a run's `evaluation` folder as release 0.1.0 left it.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from made_evaluations import items, make_run

from envtune.bfcl import CATEGORIES
from envtune.evaluation.records import Record, RunFolder, read_records
from envtune.files import read_jsonl
from envtune.run_record.evaluations import evaluation_folders, read_evaluations
from envtune.tables.collect import copy_records, read_runs
from envtune.tables.table1 import table1
from envtune.tables.write import PAPER

OLD = Path(__file__).parents[1] / "fixtures" / "evaluation_schema1"


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "evaluation"))


def test_a_table_from_an_older_run(evaluation: Path, tmp_path: Path) -> None:
    copy_records(evaluation, ["start"], tmp_path / "records")
    names = sorted(str(p.relative_to(tmp_path / "records")) for p in (tmp_path / "records").rglob("*.*"))
    assert names == ["bfcl-v3/start.seed42.json", "bfcl-v3/start.seed42.jsonl.gz"]
    (run,) = read_runs(tmp_path / "records")
    before = json.loads((OLD / "start" / "summary.json").read_text())
    assert run.summary["schema"] == 2 and run.about == before["about"] and run.seed == 42
    for category, counts in before["categories"].items():
        cell = run.cells[category]
        assert (cell.items, cell.passed, cell.failed) == (counts["items"], counts["passed"], counts["failed"])
        assert cell.score == pytest.approx(counts["progress"], abs=1e-6)
        assert run.sound[category].items == before["sound"]["categories"][category]["items"]
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(table1("small", tmp_path / "records", PAPER).csv))
        if row["source"] == "envtune"
    ]
    assert row["items_sha256"] == before["identity"]["tasks_sha256"] and row["average"] == "0.00"
    progress = sum(before["categories"][category]["progress"] for category in CATEGORIES) / 4
    assert float(row["progress"]) == pytest.approx(progress, abs=1e-4)
    assert row["base_impossible_turns"] == "", "it did not say"


def test_nothing_of_a_record_is_lost() -> None:
    old = [row for _, row in read_jsonl(OLD / "start" / "records.jsonl")]
    new = read_records(OLD / "start" / "records.jsonl")
    assert len(old) == len(new) == 4
    renamed = {"category": "stratum", "valid": "passed", "task_hash": "item_sha256", "progress": "score"}
    for before, record in zip(old, new, strict=True):
        after = record.as_dict()
        assert Record.from_dict(after) == record, "once upgraded it is a record of today"
        for key, value in before.items():
            if key == "schema":
                continue
            name = renamed.get(key, key)
            found = after[name] if name in after else after["details"][name]
            assert list(found) == value if isinstance(value, list) else found == value, key
        assert record.requests == before["steps"] and not record.is_over_budget


def test_run_json_of_an_older_run(evaluation: Path) -> None:
    (told,) = read_evaluations(evaluation)["start"]["bfcl-v3"]
    assert (told["seed"], told["complete"], told["average"], told["release"]) == (42, True, 0, "paper")
    assert told["score"]["base"] == 0.5 and told["counts"]["items"] == 4


def test_a_newer_measurement_takes_its_place(evaluation: Path) -> None:
    assert RunFolder(evaluation / "start").read_summary() is not None
    make_run(evaluation, "tau2", "start", items("airline", 1, 1))
    folders = [(one.suite, one.seed) for one in evaluation_folders(evaluation)]
    assert folders == [("bfcl-v3", 42), ("tau2", 42)], "another suite's does not"
    make_run(evaluation, "bfcl-v3", "start", items("base", 1, 1), seed=7)
    assert [(one.suite, one.seed) for one in evaluation_folders(evaluation)] == [("bfcl-v3", 7), ("tau2", 42)]
