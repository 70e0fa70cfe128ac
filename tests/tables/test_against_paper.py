"""Our figures against the paper's: which cell a row reproduces, the verdict, and the block of the tables that says it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_evaluations import item, items, make_run

from envtune.bfcl import CATEGORIES
from envtune.evaluation.records import Record
from envtune.evaluation.upstream.serve import SELF
from envtune.statistics.intervals import Interval, wilson
from envtune.tables.collect import copy_records, read_runs
from envtune.tables.paper import PAPER, paper_table1, paper_table2
from envtune.tables.rows import Row, blocks
from envtune.tables.table1 import table1
from envtune.tables.table2 import table2
from envtune.tables.verdicts import MARGIN, PaperCell, cells_of, paper_cells, paper_model, verdict
from envtune.tasks import load_split

MEMORY = ("memory_kv", "memory_vector", "memory_rec_sum")
STAGES = ["start", *(f"stage{n}" for n in range(1, 5))]
QWEN, WATT = "Qwen/Qwen2.5-7B-Instruct", "watt-ai/watt-tool-8B"


def held_out(category: str, passed: int, of: int = 100, subset: str = "test") -> list[Record]:
    """Records of the split's tasks of a category."""
    found = (one for one in load_split().subsets[subset] if one.rsplit("_", 1)[0] == f"multi_turn_{category}")
    ids = sorted(found)[:of]
    return [
        Record(
            name, category, name.rsplit("_", 1)[1], "passed" if n < passed else "failed", "1" * 64, passed=n < passed
        )
        for n, name in enumerate(ids)
    ]


def make_bfcl(evaluation: Path, checkpoint: str, records: list[Record], seed: int = 42, **change: Any) -> None:
    who = {"release": "paper", "bfcl_eval": {"version": "2025.6.8", "wheel_sha256": "3" * 64}, "tools_cut": []}
    make_run(evaluation, "bfcl-v3", checkpoint, records, seed, **{"model": QWEN, **who, **change})


def make_memory(evaluation: Path, checkpoint: str, passed: tuple[int, int, int] = (5, 60, 35), **change: Any) -> None:
    records = [one for stratum, k in zip(MEMORY, passed, strict=True) for one in items(stratum, k, 155)]
    make_run(evaluation, "bfcl-memory", checkpoint, records, **{"model": WATT, **change})


def rows_in(evaluation: Path, arm: str = "full") -> list[Row]:
    """Rows of what was made; arm: of the run."""
    for path in evaluation.glob("*/*/*/summary.json"):
        summary = json.loads(path.read_text())
        summary["about"]["arm"] = arm
        path.write_text(json.dumps(summary))
    copy_records(evaluation, STAGES, evaluation.parent / "records")
    return [row for rows in blocks(read_runs(evaluation.parent / "records")) for row in rows]


def cells_in(evaluation: Path, arm: str = "full") -> dict[str, PaperCell]:
    (row,) = rows_in(evaluation, arm)
    return {cell.stratum: cell for cell in paper_cells(row, [*paper_table1(PAPER), *paper_table2(PAPER)])}


def lines_of(markdown: str, title: str) -> list[str]:
    """The lines of the one block "Against the paper" whose title ends so."""
    (block,) = [one for one in markdown.split("\n## ") if one.startswith(f"Against the paper, {title}")]
    return block.splitlines()


@given(st.floats(0, 100), st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 50))
def test_the_rule(paper: float, one: float, other: float, margin: float) -> None:
    low, high = sorted((one, other))
    said = verdict(paper, Interval((low + high) / 2, low, high, 0.95, "made"), margin)
    inside = 100 * low <= paper <= 100 * high
    if not inside and min(abs(paper - 100 * low), abs(paper - 100 * high)) > 1e-6:
        assert said == "inconsistent"
    elif inside:
        assert said == ("consistent" if 100 * (high - low) < margin else "inconclusive")


def test_examples_of_the_rule() -> None:
    assert MARGIN == 10
    assert verdict(36.92, wilson(148, 400)) == "consistent"
    assert verdict(30.0, wilson(148, 400)) == "inconsistent"
    assert verdict(36.92, wilson(37, 100)) == "inconclusive", "19 points wide"
    assert verdict(36.92, wilson(37, 100), margin=20) == "consistent"
    assert verdict(0.0, wilson(0, 155)) == "consistent", "an end of the interval is in it"


def test_models_by_their_hub_ids() -> None:
    for hub, name in (
        (QWEN, "Qwen2.5-7B-Instruct"),
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
        ("Team-ACE/ToolACE-2-Llama-3.1-8B", "ToolACE-2-Llama-3.1-8B"),
        (WATT, "watt-tool-8B"),
        ("Salesforce/Llama-xLAM-2-8b-fc-r", "xLAM-2-8b-fc-r"),
    ):
        assert paper_model(hub) == name and name in {row.model for row in paper_table1(PAPER)}
    assert paper_model("Qwen/Qwen3-4B-Instruct-2507") not in {row.model for row in paper_table1(PAPER)}


@pytest.mark.parametrize(("checkpoint", "value"), [("start", 7.0), ("stage4", 36.92), ("stage3", None)])
def test_checkpoints_that_reproduce_a_row(tmp_path: Path, checkpoint: str, value: float | None) -> None:
    make_bfcl(tmp_path / "run", checkpoint, [one for c in CATEGORIES for one in held_out(c, 30)])
    cells = cells_in(tmp_path / "run")
    if value is None:
        assert not cells
    else:
        assert cells["average"].value == value and not any(cell.why_not for cell in cells.values())
        assert list(cells) == ["average", *CATEGORIES]


def test_an_ablation_reproduces_no_row(tmp_path: Path) -> None:
    make_bfcl(tmp_path / "run", "stage4", [one for c in CATEGORIES for one in held_out(c, 30)])
    assert cells_in(tmp_path / "run", arm="binary-reward") == {}


def test_a_part_of_the_tasks_reproduces_nothing(tmp_path: Path) -> None:
    whole = [one for c in CATEGORIES[1:] for one in held_out(c, 30)]
    make_bfcl(tmp_path / "run", "stage4", [*held_out("base", 20, 74, "heldout"), *whole])
    cells = cells_in(tmp_path / "run")
    assert cells["base"].why_not == cells["average"].why_not == "base: 74 of 75 items"
    assert not cells["miss_func"].why_not


def test_the_tasks_that_no_validation_saw_are_enough(tmp_path: Path) -> None:
    """75 of each 100 held out are what a profile is evaluated on; the others steer the end of its stages."""
    make_bfcl(tmp_path / "run", "stage4", [one for c in CATEGORIES for one in held_out(c, 30, 75, "heldout")])
    cells = cells_in(tmp_path / "run")
    assert not cells["base"].why_not and not cells["average"].why_not


@pytest.mark.parametrize(
    ("base", "change", "reason"),
    [
        (held_out("base", 3), {"tools_cut": [12]}, "the tools were cut"),
        (held_out("base", 3), {"release": "current"}, "release current, where the paper's is 2025.6.8"),
        (held_out("base", 3), {"options": {"max_steps": 1}}, "max_steps is set"),
        (held_out("base", 3), {"options": {"language": "zh"}}, "language zh"),
        (held_out("base", 3), {"user": {"model": SELF, "decoding": {}}}, "the model under test played the user"),
        (held_out("base", 3, subset="train"), {}, "base: tasks that the split does not hold out"),
        ([*held_out("base", 3), *held_out("base", 3, 1, "train")], {}, "base: tasks that the split does not hold out"),
    ],
)
def test_other_tasks_or_tools(tmp_path: Path, base: list[Record], change: dict[str, Any], reason: str) -> None:
    make_bfcl(tmp_path / "run", "stage4", base, **change)
    cells = cells_in(tmp_path / "run")
    assert cells["base"].why_not == reason and cells["average"].why_not


def test_table_2_needs_all_items_with_a_verdict(tmp_path: Path) -> None:
    records = [
        *items(MEMORY[0], 5, 154),
        *items(MEMORY[1], 5, 154),
        item(MEMORY[1], 154, None),
        *items(MEMORY[2], 5, 155),
    ]
    make_run(tmp_path / "run", "bfcl-memory", "start", records, model=WATT)
    cells = cells_in(tmp_path / "run")
    assert cells["memory_kv"].why_not == "memory_kv: 154 of 155 items"
    assert cells["memory_vector"].why_not == "memory_vector: 1 items without a verdict"
    assert not cells["memory_rec_sum"].why_not and "154 of 155" in cells["average"].why_not


def test_a_replayed_recording_is_no_score(tmp_path: Path) -> None:
    records = [*items("web_search_base", 5, 100), *items("web_search_no_snippet", 3, 100)]
    make_run(tmp_path / "live" / "run", "bfcl-web-search", "start", records, model=WATT, options={"mode": "live"})
    assert not any(cell.why_not for cell in cells_in(tmp_path / "live" / "run").values())
    make_run(tmp_path / "replay" / "run", "bfcl-web-search", "start", records, model=WATT, options={"mode": "replay"})
    cells = cells_in(tmp_path / "replay" / "run")
    assert {cell.why_not for cell in cells.values()} == {"replayed web tools are no score"}
    told = table2("small", tmp_path / "replay" / "records", PAPER)
    assert "| watt-tool-8B | as released | Average | 4.00 |  |  |  |  | not run |" in told.md
    assert "watt-tool-8B: replayed web tools are no score" in told.md
    rows = [row for row in csv.DictReader(io.StringIO(told.csv)) if row["source"] == "envtune"]
    assert {row["verdict"] for row in rows} == {"not run"} and rows[0]["paper"] == "4.00"


def test_the_block_of_table_2(tmp_path: Path) -> None:
    make_memory(tmp_path / "run", "start")
    rows_in(tmp_path / "run")
    told = table2("small", tmp_path / "records", PAPER)
    block = lines_of(told.md, "BFCL V4 memory, protocol bfcl-memory-1-kit")
    assert "narrower than 10 percentage points" in " ".join(block)
    low, high = (f"{100 * end:.1f}" for end in (wilson(5, 155).low, wilson(5, 155).high))
    who, protocol = "| watt-tool-8B | as released |", "| 155 | 1 | bfcl-memory-1-kit |"
    assert f"{who} KV | 3.23 | 3.23 [{low}, {high}] (5/155) {protocol} consistent |" in block
    (vector,) = [line for line in block if line.startswith(f"{who} Vector")]
    assert vector.startswith(f"{who} Vector | 14.19 | 38.71 [") and vector.endswith(f"{protocol} inconsistent |")
    (summary,) = [line for line in block if line.startswith(f"{who} Recursive summary")]
    assert summary.startswith(f"{who} Recursive summary | 22.58 | 22.58 [") and summary.endswith("inconclusive |")
    (average,) = [line for line in block if line.startswith(f"{who} Average")]
    assert "| 13.33 | 21.51 [" in average and "| 465 | 1 |" in average and average.endswith("inconsistent |")
    assert "| watt-tool-8B | + Environment Tuning | Average | 19.35 |  |  |  |  | not run |" in block
    assert sum("| not run |" in line for line in block) == 7, "one line for each other row of the paper"
    rows = {row["stratum"]: row for row in csv.DictReader(io.StringIO(told.csv)) if row["source"] == "envtune"}
    assert [rows[s]["verdict"] for s in MEMORY] == ["consistent", "inconsistent", "inconclusive"]
    assert (rows["memory_kv"]["paper"], rows["memory_kv"]["margin"]) == ("3.23", "10")
    assert rows["memory_kv"]["low"] == f"{100 * wilson(5, 155).low:.2f}" and rows["memory_kv"]["interval"] == "Wilson"
    wide = table2("small", tmp_path / "records", PAPER, margin=20)
    assert "narrower than 20 percentage points" in wide.md
    assert [line.rsplit("| ", 1)[1] for line in lines_of(wide.md, "BFCL V4 memory") if "Recursive" in line] == [
        "consistent |"
    ]


def test_protocols_never_share_a_table(tmp_path: Path) -> None:
    records = [one for c in CATEGORIES for one in held_out(c, 40)]
    for seed in (1, 2):
        make_bfcl(tmp_path / "run", "stage4", records, seed)
    native = {"name": "bfcl-v3-1-fc", "format": "fc", "description": "Natively.", "user_simulator": False}
    make_bfcl(tmp_path / "run", "start", records, protocol=native)
    rows_in(tmp_path / "run")
    told = table1("small", tmp_path / "records", PAPER)
    one = lines_of(told.md, "in distribution, protocol bfcl-v3-1-kit, release paper")
    other = lines_of(told.md, "in distribution, protocol bfcl-v3-1-fc, release paper")
    tuned, released = "| Qwen2.5-7B-Instruct | + Environment Tuning |", "| Qwen2.5-7B-Instruct | as released |"
    assert f"{released} Average | 7.00 |  |  |  |  | not run |" in one
    assert f"{tuned} Average | 36.92 |  |  |  |  | not run |" in other
    (base,) = [line for line in one if line.startswith(f"{tuned} Base | 50.33 | 40.00")]
    assert "(80/200) | 100 | 2 | bfcl-v3-1-kit |" in base
    (average,) = [line for line in other if line.startswith(f"{released} Average | 7.00 | 40.00 [")]
    assert "| 400 | 1 | bfcl-v3-1-fc | inconsistent |" in average
    row = next(r for r in csv.DictReader(io.StringIO(told.csv)) if (r["source"], r["variant"]) == ("envtune", "start"))
    assert (row["average_paper"], row["average_verdict"], row["margin"]) == ("7.00", "inconsistent", "10")


def test_acebench_is_compared_in_the_order_that_whole_counts_allow() -> None:
    by_name = {row.name: {c.stratum: c.value for c in cells_of(row, "acebench-agent")} for row in paper_table2(PAPER)}
    swapped, kept = by_name["Llama-3.1-8B-Instruct + Environment Tuning"], by_name["watt-tool-8B + Environment Tuning"]
    assert (swapped["agent_multi_turn"], swapped["agent_multi_step"], swapped["average"]) == (3.33, 5.0, 4.17)
    assert (kept["agent_multi_turn"], kept["agent_multi_step"]) == (0.0, 15.0)


def test_it_says_whose_columns_are_exchanged(tmp_path: Path) -> None:
    block = " ".join(lines_of(table2("small", tmp_path, PAPER).md, "ACEBench agent"))
    assert (
        "exchanged here for xLAM-2-8b-fc-r, Llama-3.1-8B-Instruct, Llama-3.1-8B-Instruct + Environment Tuning" in block
    )


def test_each_cell_has_its_interval(tmp_path: Path) -> None:
    make_memory(tmp_path / "run", "stage1", (1, 2, 3), model="Scripted")
    rows_in(tmp_path / "run")
    told = table2("small", tmp_path / "records", PAPER)
    (line,) = [line for line in told.md.splitlines() if line.startswith("| Scripted | stage1 |")]
    for passed in (1, 2, 3):
        interval = wilson(passed, 155)
        shown = f"{100 * passed / 155:.2f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}] ({passed}/155)"
        assert shown in line and shown in told.tex
    assert "- In brackets: 95 % intervals (Wilson" in told.md


def test_two_rows_of_ours_for_one_of_the_papers(tmp_path: Path) -> None:
    """The starting model and a baseline may be the same model: both are told, neither hides the other."""
    for checkpoint, passed in (("start", 7), ("baseline-Qwen-Qwen2.5-7B-Instruct", 40)):
        make_bfcl(tmp_path / "run", checkpoint, [one for c in CATEGORIES for one in held_out(c, passed)])
    copy_records(tmp_path / "run", ["start", "baseline-Qwen-Qwen2.5-7B-Instruct"], tmp_path / "records")
    told = lines_of(table1("small", tmp_path / "records", PAPER).md, "in distribution, protocol bfcl-v3-1-kit")
    for checkpoint, average in (("start", "7.00 ["), ("baseline-Qwen-Qwen2.5-7B-Instruct", "40.00 [")):
        assert any(f"as released ({checkpoint}) | Average | 7.00 | {average}" in line for line in told)


def test_names_are_no_markup(tmp_path: Path) -> None:
    name = "a<img src=x>|[x](http://evil)<!-- end -->"
    make_bfcl(tmp_path / "run", "start", held_out("base", 3), model=name)
    rows_in(tmp_path / "run")
    told = table1("small", tmp_path / "records", PAPER).md
    assert "<img" not in told and "<!--" not in told and "](http" not in told and r"a&lt;img src=x>\|" in told


def test_names_are_no_formulas(tmp_path: Path) -> None:
    name = '=HYPERLINK("http://evil","x")'
    make_bfcl(tmp_path / "run", "start", held_out("base", 3), model=name)
    make_memory(tmp_path / "run", "stage1", model=name)
    rows_in(tmp_path / "run")
    for table in (table1, table2):
        rows = list(csv.DictReader(io.StringIO(table("small", tmp_path / "records", PAPER).csv)))
        assert {row["model"] for row in rows if row["source"] == "envtune"} == {f"'{name}"}
        assert "+ Environment Tuning" in {row["variant"] for row in rows}, "the paper's own rows stay as printed"
