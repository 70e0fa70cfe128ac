"""Table 1: computed from records and the paper's figures, empty where nothing was measured, the same every time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.records import read_records, summarise_records
from envtune.evaluation.runner import run_suite
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.session import run_folder
from envtune.evaluation.suite import Target
from envtune.files import sha256_json, write_json
from envtune.profile import ROOT, Profile, Tasks
from envtune.tables.collect import copy_records, read_runs
from envtune.tables.paper import paper_table1
from envtune.tables.table1 import table1
from envtune.tables.write import PAPER, write_tables
from envtune.tasks import cut_tools, find_task, load_defects

IDS = [f"multi_turn_{category}_{number}" for category in ("base", "miss_func") for number in (1, 2)]
NAMES = ["start", "stage1", "stage2", "stage3"]


def shown(profile: str, records: Path, paper: Path) -> tuple[str, str]:
    """Markdown without its intervals, and CSV."""
    told = table1(profile, records, paper)
    return re.sub(r" \[[-0-9.]+, [0-9.]+\]", "", told.md), told.csv


def measure(run: Path, checkpoint: str, policy: str, seed: int = 7, **change: Any) -> dict[str, Any]:
    """One run on one checkpoint in the folder of a run. change: tools a task, an item that cannot be run, the format."""
    tasks = [cut_tools(find_task(task_id), change.get("tools", 12)) for task_id in IDS]
    about = {
        "profile": "small", "checkpoint": checkpoint, "model": "Scripted", "training_steps": 3, "seed": seed,
        "notes": ["No claim of skill."], "split": {"name": "a-split", "subset": "heldout", "sha256": "5" * 64},
    }  # fmt: skip
    with ScriptedEndpoint(tasks, policy, error_share=0.5) as scripted:
        if "broken" in change:
            scripted.fault = lambda task_id: 0 if task_id == change["broken"] else None  # type: ignore[method-assign]
        decoding = {"temperature": 0.0, "max_tokens": 256, "seed": seed}
        reply_format = change.get("reply_format", "kit")
        target = Target(scripted.base_url, scripted.model, "Scripted", reply_format, decoding, tries=1)
        return run_suite(BfclV3(tasks), target, run_folder(run / checkpoint, "bfcl-v3", seed), about=about)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    measure(folder, "start", "silent")
    measure(folder, "stage1", "gold", broken="multi_turn_miss_func_2")
    measure(folder, "stage2", "gold", tools=14)
    return folder


@pytest.fixture
def records(run: Path, tmp_path: Path) -> Path:
    copy_records(run, NAMES, tmp_path / "records")
    return tmp_path / "records"


def copied(records: Path, checkpoint: str, suffix: str = "json") -> Path:
    return records / "bfcl-v3" / f"{checkpoint}.seed7.{suffix}"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["variant"]: row for row in csv.DictReader(io.StringIO(text)) if row["source"] == "envtune"}


def test_cells(records: Path) -> None:
    markdown, text = shown("small", records, PAPER)
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
    assert rows["start"]["training_steps"] == "3" and rows["start"]["seeds"] == "7" and rows["start"]["runs"] == "1"
    assert "| Scripted | stage1 |  | 100.00 (2/2) |  |  |  |  | 3 | 7 | 1 |" in markdown
    assert "Not run (no answer from the endpoint, or no verdict): stage1, missing functions: 1 of 2." in markdown


def test_progress_is_the_mean_score_of_the_turns(run: Path, records: Path) -> None:
    markdown, text = shown("small", records, PAPER)
    scores = [record.score for record in read_records(run_folder(run / "start", "bfcl-v3", 7) / "records.jsonl")]
    wanted = statistics.fmean(score for score in scores if score is not None)
    assert len(scores) == 4 and 0 < wanted < 1, "silence is right where nothing can be done"
    rows = rows_of(text)
    assert rows["start"]["progress"] == f"{wanted:.4f}" and rows["start"]["base_progress"] == "0.0000"
    assert f"| Scripted | start |  | 0.00 (0/2) | 0.00 (0/2) |  |  | {wanted:.3f} | 3 |" in markdown
    assert (rows["stage1"]["progress"], rows["stage1"]["miss_func_progress"]) == ("", ""), "one item was not run"


def test_turns_that_cannot_be_done(records: Path) -> None:
    markdown, text = shown("small", records, PAPER)
    block = markdown.split("Turns that cannot be done, answered without a call")[1]
    assert "| Checkpoint | Missing functions |" in block and "| start | 2/2 |" in block
    assert rows_of(text)["start"]["miss_func_impossible_turns"] == "2"
    summary = json.loads(copied(records, "start").read_text())
    summary["irrelevance"] = {
        "miss_func": {"turns": 2, "without_call": 1},
        "miss_param": {"turns": 3, "without_call": 0},
    }
    copied(records, "start").write_text(json.dumps(summary))
    markdown, text = shown("small", records, PAPER)
    assert "| start | 1/2 | 0/3 |" in markdown.split("Turns that cannot be done")[1]
    row = rows_of(text)["start"]
    assert (row["miss_func_impossible_without_call"], row["base_impossible_turns"]) == ("1", "")


def test_several_seeds_are_one_row(tmp_path: Path) -> None:
    for seed, policy in ((9, "errors"), (10, "gold"), (11, "silent")):
        measure(tmp_path / "run", "start", policy, seed)
    copy_records(tmp_path / "run", ["start"], tmp_path / "records")
    markdown, text = shown("small", tmp_path / "records", PAPER)
    shares = []
    for run in read_runs(tmp_path / "records"):
        passed = run.cells["base"].passed
        shares.append(100 * passed / 2)
    assert [run.seed for run in read_runs(tmp_path / "records")] == [9, 10, 11], "by number, not by letter"
    assert shares[1:] == [100, 0]
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["source"] == "envtune"]
    mean, sd = f"{statistics.fmean(shares):.2f}", f"{statistics.stdev(shares):.2f}"
    assert (row["base"], row["base_sd"], row["runs"], row["seeds"]) == (mean, sd, "3", "9 10 11")
    assert (row["base_items"], row["base_passed"]) == ("6", str(int(sum(shares) / 50)))
    assert f"| {mean} ± {sd} ({row['base_passed']}/6) |" in markdown and "| 3 | 9 10 11 | 3 |" in markdown
    assert markdown.count("| Scripted |") == 1

    # one item of one run has no verdict: the mean over runs is no mean of all that was to be run
    shutil.rmtree(tmp_path / "run" / "start" / "bfcl-v3" / "seed10")
    measure(tmp_path / "run", "start", "gold", 10, broken="multi_turn_base_2")
    copy_records(tmp_path / "run", ["start"], tmp_path / "records")
    row = rows_of(shown("small", tmp_path / "records", PAPER)[1])["start"]
    assert (row["base"], row["base_sd"], row["base_not_run"]) == ("", "", "1") and row["miss_func"] != ""


def test_formats_never_share_a_block(tmp_path: Path) -> None:
    measure(tmp_path / "run", "start", "gold")
    measure(tmp_path / "run", "stage1", "gold", reply_format="fc")
    copy_records(tmp_path / "run", NAMES, tmp_path / "records")
    first, second = shown("small", tmp_path / "records", PAPER)[0].split("\n## Profile small, protocol ")[1:]
    assert first.startswith("kit-format-1,") and "| start |" in first and "| stage1 |" not in first
    assert second.startswith("native-fc-1,") and "| stage1 |" in second and "| start |" not in second


def rewrite(records: Path, checkpoint: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change a copy's records, and its summary with them, as if the run had come out so."""
    path, said = copied(records, checkpoint, "jsonl.gz"), copied(records, checkpoint)
    with gzip.open(path, "rt") as stream:
        rows = [json.loads(line) for line in stream]
    change(rows)
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    listed, summary = read_records(path), json.loads(said.read_text())
    summary |= summarise_records(listed)
    summary["identity"]["items_sha256"] = sha256_json([[one.id, one.item_sha256] for one in listed])
    said.write_text(json.dumps(summary))


def test_the_sound_tasks_stand_beside_all_of_them(run: Path, records: Path) -> None:
    markdown, text = shown("small", records, PAPER)
    assert "On the sound tasks alone, 4 of 4 (list of known defects, version" in markdown

    # make one of the passed items a known defect: of the records' ids only the list decides
    def rename(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["id"] = row["id"].replace("multi_turn_miss_func_1", "multi_turn_miss_func_49")

    rewrite(records, "stage2", rename)
    markdown, text = shown("small", records, PAPER)
    assert "On the sound tasks alone, 3 of 4 (" in markdown
    assert "| stage2 |  | 100.00 (2/2) | 100.00 (1/1) |  |  |" in markdown
    row = rows_of(text)["stage2"]
    assert row["defects_version"] == load_defects().version
    assert (row["miss_func_items"], row["miss_func_sound_items"], row["miss_func_sound_passed"]) == ("2", "1", "1")
    assert (row["base_sound"], row["miss_func_sound"], row["miss_param_sound"]) == ("100.00", "100.00", "")
    assert row["average"] == row["average_sound"] == ""


def test_what_was_not_run_is_not_in_the_sound_cells_either(records: Path) -> None:
    _, text = shown("small", records, PAPER)
    assert (rows_of(text)["stage1"]["miss_func_sound"], rows_of(text)["stage1"]["base_sound"]) == ("", "100.00")


def test_without_a_run_the_tables_are_written_from_the_copies(records: Path, tmp_path: Path) -> None:
    profile = Profile(
        name="small", release="paper", seed=1, model={"source": "smollm2-warm-start"}, tasks=Tasks(),
        run_dir=tmp_path / "none", results_dir=tmp_path, about="A test.",
    )  # fmt: skip
    before = files(records)
    written = write_tables(profile)
    assert [path.name for path in written] == [f"table{n}.{suffix}" for n in (1, 2) for suffix in ("md", "csv", "tex")]
    assert files(records) == before
    assert written[0].read_text() == table1("small", records, PAPER).md


def test_blocks_are_protocols(records: Path) -> None:
    markdown, _ = shown("small", records, PAPER)
    paper, first, second, against = markdown.split("\n## ")[1:]
    assert against.startswith("Against the paper, in distribution\n") and "| Scripted |" not in against
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
    names = files(records)
    wanted = [f"bfcl-v3/{c}.seed7.{end}" for c in ("start", "stage1", "stage2") for end in ("json", "jsonl.gz")]
    assert names == sorted(wanted)
    for name in names:
        assert (records / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert table1("small", records, PAPER) == table1("small", tmp_path / "again", PAPER)


def test_copies_of_an_older_run_go(run: Path, records: Path) -> None:
    (records / "start.json").write_text("{}")  # where a release that knew one suite had them
    (records / "gone-suite").mkdir()
    (records / "gone-suite" / "start.seed1.json").write_text("{}")
    copy_records(run, ["start"], records)
    assert files(records) == ["bfcl-v3/start.seed7.json", "bfcl-v3/start.seed7.jsonl.gz"]
    assert not (records / "gone-suite").exists()


def test_over_budget_is_told_apart_from_wrong(records: Path) -> None:
    rewrite(records, "start", lambda rows: rows[0]["details"].update(over_budget=True))
    markdown, text = shown("small", records, PAPER)
    assert "Over budget (outgrew the model's context; not passed): start, base: 1 of 2." in markdown
    assert rows_of(text)["start"]["base_over_budget"] == "1" and rows_of(text)["start"]["base"] == "0.00"


def test_a_run_that_was_cut_short_leaves_empty_cells(run: Path, records: Path) -> None:
    rewrite(records, "stage2", lambda rows: [row.update(outcome="not_run", passed=None) for row in rows[3:]])
    _, text = shown("small", records, PAPER)
    assert (rows_of(text)["stage2"]["base"], rows_of(text)["stage2"]["miss_func"]) == ("100.00", "")


def test_records_that_do_not_belong_to_their_summary(records: Path) -> None:
    """As `envtune regress` reads them: a table is no better than its records."""
    before = copied(records, "start").read_text()
    summary = json.loads(before)
    summary["identity"]["items"] = {"base": 2, "miss_func": 1}
    copied(records, "start").write_text(json.dumps(summary))
    with pytest.raises(EnvtuneError, match=r"start\.seed\d+\.json"):
        read_runs(records)
    copied(records, "start").write_text(before)
    read_runs(records)
    path = copied(records, "start", "jsonl.gz")
    with gzip.open(path, "rt") as stream:
        rows = [json.loads(line) | {"outcome": "passed", "passed": True} for line in stream]
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    with pytest.raises(EnvtuneError, match="contradict"):
        read_runs(records)
    for text in ("{}", "[]", '{"schema": 2}', '{"schema": 1, "categories": {}}', '{"schema": 3}', "{"):
        copied(records, "start").write_text(text)
        with pytest.raises(EnvtuneError, match=r"start\.seed\d+\.json"):
            read_runs(records)


def test_nothing_measured_yet(tmp_path: Path) -> None:
    markdown, text = shown("small", tmp_path, PAPER)
    assert "Not run yet." in markdown and rows_of(text) == {}
    copy_records(tmp_path, ["start"], tmp_path / "records")
    assert not (tmp_path / "records").exists()
    write_json(tmp_path / "start" / "bfcl-v3" / "seed1" / "summary.json", {"schema": 2, "complete": False,
        "identity": {"checkpoint_sha256": None}, "provenance": {"time": "2026"}, "about": {}, "seconds": 0.0})  # fmt: skip
    copy_records(tmp_path, ["start"], tmp_path / "records")
    assert not (tmp_path / "records").exists(), "a run that has begun and not ended has no counts"


@pytest.mark.parametrize(
    "folder", [pytest.param(p.parent, id=p.parent.name) for p in sorted((ROOT / "results").glob("*/table1.md"))]
)
def test_the_committed_table_is_what_its_records_give(folder: Path) -> None:
    for suffix, text in table1(folder.name, folder / "records", PAPER)._asdict().items():
        assert (folder / f"table1.{suffix}").read_text() == text
