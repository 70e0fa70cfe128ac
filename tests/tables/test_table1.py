"""Table 1: computed from records and the paper's figures, empty where nothing was measured, the same every time."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import RunFolder
from envtune.evaluation.scripted_endpoint import ScriptedEndpoint
from envtune.evaluation.suite import evaluate_suite
from envtune.profile import ROOT, Profile, Tasks
from envtune.tables.collect import copy_records, read_rows
from envtune.tables.paper import paper_table1
from envtune.tables.table1 import table1
from envtune.tables.write import PAPER, write_tables
from envtune.tasks import cut_tools, find_task, load_defects

IDS = [f"multi_turn_{category}_{number}" for category in ("base", "miss_func") for number in (1, 2)]


def measure(run: Path, checkpoint: str, policy: str, **change: Any) -> dict[str, Any]:
    """One evaluated checkpoint in the folder of a run."""
    tasks = [cut_tools(find_task(task_id), change.get("tools", 12)) for task_id in IDS]
    about = {
        "profile": "small", "checkpoint": checkpoint, "model": "Scripted", "training_steps": 3, "seed": 7,
        "notes": ["No claim of skill."], "split": {"name": "a-split", "subset": "heldout", "sha256": "5" * 64},
    }  # fmt: skip
    with ScriptedEndpoint(tasks, policy) as scripted:
        if "broken" in change:
            scripted.fault = lambda task_id: 0 if task_id == change["broken"] else None  # type: ignore[method-assign]
        return evaluate_suite(
            scripted.base_url, scripted.model, tasks, run / checkpoint,
            decoding={"temperature": 0.0, "max_tokens": 256}, about=about, tries=1,
        )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    measure(folder, "start", "silent")
    measure(folder, "stage1", "gold", broken="multi_turn_miss_func_2")
    measure(folder, "stage2", "gold", tools=14)
    return folder


@pytest.fixture
def records(run: Path, tmp_path: Path) -> Path:
    copy_records(run, ["start", "stage1", "stage2", "stage3"], tmp_path / "records")
    return tmp_path / "records"


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["variant"]: row for row in csv.DictReader(io.StringIO(text)) if row["source"] == "envtune"}


def test_cells(records: Path) -> None:
    markdown, text = table1("small", records, PAPER)
    rows = rows_of(text)
    assert list(rows) == ["start", "stage1", "stage2"]
    assert {c: rows["start"][c] for c in CATEGORIES} == {
        "base": "0.00", "miss_func": "0.00", "miss_param": "", "long_context": "",
    }  # fmt: skip
    assert {c: rows["stage1"][c] for c in CATEGORIES} == {
        "base": "100.00", "miss_func": "", "miss_param": "", "long_context": "",
    }  # fmt: skip
    assert (rows["stage1"]["miss_func_passed"], rows["stage1"]["miss_func_not_run"]) == ("1", "1")
    assert rows["start"]["average"] == "", "an average over categories that were not run is no average"
    assert rows["start"]["training_steps"] == "3" and rows["start"]["seed"] == "7" and rows["start"]["runs"] == "1"
    assert "| Scripted | stage1 |  | 100.00 (2/2) |  |  |  | 3 | 7 |" in markdown
    assert "Not run (no answer from the endpoint or the judge): stage1, missing functions: 1 of 2." in markdown


def test_the_sound_tasks_stand_beside_all_of_them(run: Path, records: Path) -> None:
    markdown, text = table1("small", records, PAPER)
    assert "On the sound tasks alone, 4 of 4 (list of known defects, version" in markdown
    # make one of the passed items a known defect: of the records' ids only the list decides
    path = records / "stage2.jsonl.gz"
    with gzip.open(path, "rt") as stream:
        renamed = stream.read().replace('"multi_turn_miss_func_1"', '"multi_turn_miss_func_49"')
    with gzip.open(path, "wt") as stream:
        stream.write(renamed)
    markdown, text = table1("small", records, PAPER)
    assert "On the sound tasks alone, 3 of 4 (" in markdown
    assert "| stage2 |  | 100.00 (2/2) | 100.00 (1/1) |  |  |" in markdown
    row = rows_of(text)["stage2"]
    assert row["defects_version"] == load_defects().version
    assert (row["miss_func_items"], row["miss_func_sound_items"], row["miss_func_sound_passed"]) == ("2", "1", "1")
    assert (row["base_sound"], row["miss_func_sound"], row["miss_param_sound"]) == ("100.00", "100.00", "")
    assert row["average"] == row["average_sound"] == ""


def test_what_was_not_run_is_not_in_the_sound_cells_either(records: Path) -> None:
    _, text = table1("small", records, PAPER)
    assert (rows_of(text)["stage1"]["miss_func_sound"], rows_of(text)["stage1"]["base_sound"]) == ("", "100.00")


def test_without_a_run_the_table_is_written_from_the_copies(records: Path, tmp_path: Path) -> None:
    profile = Profile(
        name="small", release="paper", seed=1, model={"source": "smollm2-warm-start"}, tasks=Tasks(),
        run_dir=tmp_path / "none", results_dir=tmp_path, about="A test.",
    )  # fmt: skip
    before = sorted(path.name for path in records.iterdir())
    markdown, _ = write_tables(profile)
    assert sorted(path.name for path in records.iterdir()) == before
    assert markdown.read_text() == table1("small", records, PAPER)[0]


def test_blocks_are_protocols(records: Path) -> None:
    markdown, _ = table1("small", records, PAPER)
    paper, first, second = markdown.split("\n## ")[1:]
    assert paper.startswith("The paper\n") and "Protocol: as published" in paper and "| watt-tool-8B |" in paper
    for block, checkpoints, cut in ((first, ["start", "stage1"], 12), (second, ["stage2"], 14)):
        assert f"Tool docs: cut to at most {cut} tools" in block
        assert [name for name in ("start", "stage1", "stage2") if f"| Scripted | {name} |" in block] == checkpoints
        assert "**No claim of skill.**" in block and "release paper" in block and "bfcl-eval 2025.6.8" in block
        assert "split a-split (heldout, sha256 `5555555555555555`)" in block and "21 executed steps" in block


def test_all_four_categories_give_an_average() -> None:
    for row in paper_table1(PAPER):
        mean = sum(row.accuracy.values()) / 4
        assert row.average == pytest.approx(mean, abs=0.0051), row.model


def test_the_same_records_give_the_same_bytes(run: Path, records: Path, tmp_path: Path) -> None:
    copy_records(run, ["start", "stage1", "stage2"], tmp_path / "again")
    names = sorted(path.name for path in records.iterdir())
    assert names == sorted(f"{c}.{end}" for c in ("start", "stage1", "stage2") for end in ("json", "jsonl.gz"))
    for name in names:
        assert (records / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert table1("small", records, PAPER) == table1("small", tmp_path / "again", PAPER)


def test_copies_of_an_older_run_go(run: Path, records: Path) -> None:
    copy_records(run, ["start"], records)
    assert sorted(path.name for path in records.iterdir()) == ["start.json", "start.jsonl.gz"]


def test_over_budget_is_told_apart_from_wrong(records: Path) -> None:
    path = records / "start.jsonl.gz"
    with gzip.open(path, "rt") as stream:
        rows = [json.loads(line) for line in stream]
    rows[0] |= {"stop_reason": "over_budget"}
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    markdown, text = table1("small", records, PAPER)
    assert "Over budget (outgrew the model's context; not passed): start, base: 1 of 2." in markdown
    assert rows_of(text)["start"]["base_over_budget"] == "1" and rows_of(text)["start"]["base"] == "0.00"


def test_a_run_that_was_cut_short_leaves_empty_cells(run: Path, records: Path) -> None:
    with gzip.open(records / "stage2.jsonl.gz", "rt") as stream:
        lines = stream.readlines()
    with gzip.open(records / "stage2.jsonl.gz", "wt") as stream:
        stream.writelines(lines[:3])
    _, text = table1("small", records, PAPER)
    assert (rows_of(text)["stage2"]["base"], rows_of(text)["stage2"]["miss_func"]) == ("100.00", "")


def test_records_that_do_not_belong_to_their_summary(records: Path) -> None:
    summary = json.loads((records / "start.json").read_text())
    summary["identity"]["items"] = {"base": 2, "miss_func": 1}
    (records / "start.json").write_text(json.dumps(summary))
    with pytest.raises(EnvtuneError, match="not those it speaks of"):
        read_rows(records)
    (records / "start.json").write_text("{}")
    with pytest.raises(EnvtuneError, match="no summary of an evaluation"):
        read_rows(records)


def test_nothing_measured_yet(tmp_path: Path) -> None:
    markdown, text = table1("small", tmp_path, PAPER)
    assert "Not run yet." in markdown and rows_of(text) == {}
    copy_records(tmp_path, ["start"], tmp_path / "records")
    assert RunFolder(tmp_path / "start").read_summary() is None


@pytest.mark.parametrize(
    "folder", [pytest.param(p.parent, id=p.parent.name) for p in sorted((ROOT / "results").glob("*/table1.md"))]
)
def test_the_committed_table_is_what_its_records_give(folder: Path) -> None:
    markdown, text = table1(folder.name, folder / "records", PAPER)
    assert (folder / "table1.md").read_text() == markdown
    assert (folder / "table1.csv").read_text() == text
