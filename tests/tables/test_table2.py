"""Table 2 and what is beyond the paper: each suite's blocks, their notes, what was left out, and the paper's rows."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from made_evaluations import DESCRIPTION, item, items, make_run

from envtune.errors import EnvtuneError
from envtune.evaluation.suites import BFCL_V3
from envtune.evaluation.suites import SUITES as OF_EVALUATION
from envtune.files import write_json
from envtune.profile import ROOT
from envtune.tables.collect import copy_records, read_left_out
from envtune.tables.paper import TABLE2_COLUMNS, acebench_headers, is_count, paper_table2
from envtune.tables.table2 import SUITES, table2
from envtune.tables.write import PAPER

MEMORY = ("memory_kv", "memory_vector", "memory_rec_sum")
CHECKPOINTS = ["start", "stage1", "stage2"]


def tables(evaluation: Path) -> tuple[str, str]:
    copy_records(evaluation, CHECKPOINTS, evaluation.parent / "records")
    return shown("small", evaluation.parent / "records")


def shown(profile: str, records: Path) -> tuple[str, str]:
    """Markdown without its intervals, and CSV."""
    told = table2(profile, records, PAPER)
    return re.sub(r" \[[-0-9.]+, [0-9.]+\]", "", told.md), told.csv


def block_of(markdown: str, title: str) -> str:
    """The one block of a suite."""
    (block,) = [one for one in markdown.split("\n## Profile small, ") if one.startswith(title)]
    return block


def rows_of(text: str, suite: str) -> dict[tuple[str, str], dict[str, str]]:
    listed = csv.DictReader(io.StringIO(text))
    return {(r["variant"], r["stratum"]): r for r in listed if (r["source"], r["suite"]) == ("envtune", suite)}


def test_every_suite_but_the_first_has_its_place() -> None:
    assert sorted(suite.name for suite in SUITES) == sorted(set(OF_EVALUATION) - {BFCL_V3})
    assert {suite for suite, _ in TABLE2_COLUMNS.values()} == {suite.name for suite in SUITES if suite.in_paper}
    of_paper = {suite.name: suite for suite in SUITES}
    for suite, stratum in TABLE2_COLUMNS.values():
        assert stratum == "average" or stratum in of_paper[suite].titles


def test_cells(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    make_run(run, "bfcl-memory", "start", [*items(MEMORY[0], 1, 4), *items(MEMORY[1], 2, 4), *items(MEMORY[2], 0, 1)])
    cut = [*items(MEMORY[0], 4, 4), *items(MEMORY[1], 3, 4), item(MEMORY[2], 0, None)]
    make_run(run, "bfcl-memory", "stage1", cut)
    markdown, text = tables(run)
    block = block_of(markdown, "BFCL V4 memory")
    assert block.startswith("BFCL V4 memory, protocol bfcl-memory-1-kit\n") and "**No claim.**" in block
    assert f"- Protocol: {DESCRIPTION}" in block and "- Packages: upstream 1.2.3" in block
    assert "- Decoding: temperature 0.5\n" in block, "the seed is a column"
    last = "3 | 42 | 1 | `c0ffeec0ffee` |"
    assert f"| Scripted | start | 25.00 | 25.00 (1/4) | 50.00 (2/4) | 0.00 (0/1) | {last}" in block
    assert f"| Scripted | stage1 |  | 100.00 (4/4) | 75.00 (3/4) |  | {last}" in block
    assert "Not run (no answer from the endpoint, or no verdict): stage1, recursive summary: 1 of 1." in block
    rows = rows_of(text, "bfcl-memory")
    assert rows["start", "average"]["accuracy"] == "25.00" and rows["stage1", "average"]["accuracy"] == ""
    one = rows["stage1", "memory_vector"]
    assert (one["accuracy"], one["passed"], one["items"], one["packages"]) == ("75.00", "3", "4", "upstream==1.2.3")


def test_a_part_of_a_suite_has_no_average(tmp_path: Path) -> None:
    make_run(tmp_path / "evaluation", "acebench-agent", "start", items("agent_multi_step", 1, 2))
    markdown, text = tables(tmp_path / "evaluation")
    assert "| Scripted | start |  |  | 50.00 (1/2) |" in block_of(markdown, "ACEBench agent")
    assert rows_of(text, "acebench-agent")["start", "average"]["accuracy"] == ""


def test_several_seeds_and_several_protocols(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    for seed, passed in ((1, 1), (2, 3)):
        make_run(run, "tau2", "start", items("airline", passed, 4), seed)
    make_run(run, "tau2", "stage1", items("airline", 4, 4), packages={"upstream": "1.2.4"})
    markdown, text = tables(run)
    blocks = markdown.split("# Beyond the paper")[1].split("\n## Profile small, tau2-bench")[1:]
    assert len(blocks) == 2, "another version of the package is another block"
    assert "| Scripted | start |  | 50.00 ± 35.36 (4/8) |  |  | 3 | 1 2 | 2 |" in blocks[0]
    assert "upstream 1.2.4" in blocks[1] and "| stage1 |" in blocks[1] and "| start |" not in blocks[1]
    assert rows_of(text, "tau2")["start", "airline"]["sd"] == "35.36"


def test_notes_below_a_block(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    told = [
        item("web_search_base", n, n == 0, answer_characters=size, dump=size > 2000, cassette={"hits": n, "misses": 1})
        for n, size in enumerate((100, 3000, 200))
    ]
    told[1].details["over_budget"] = True  # type: ignore[index]
    protocol = {"name": "bfcl-web-search-1-replay-kit", "description": "d. A regression fixture, not a score"}
    make_run(run, "bfcl-web-search", "start", told, protocol=protocol, options={"cassette_sha256": "ab"})
    user = {"model": "a-user", "decoding": {"temperature": 0.1}}
    # the floor: an item that passes without any action
    turns = [
        item("agent_multi_turn", 0, True, 1.0, known_defects=["no class is compared"]),
        *items("agent_multi_turn", 2, 4)[1:],
    ]
    make_run(run, "acebench-agent", "start", turns, user=user)
    markdown, text = tables(run)
    web = block_of(markdown, "BFCL V4 web search")
    assert "start: median 200 characters, 1 of more than 2,000." in web
    assert "Calls of web tools that the recording could answer. start: 3 of 6, 3 missed." in web
    assert "not a score" in web and "- Options: cassette_sha256 ab" in web
    assert "Over budget (outgrew the model's context; not passed): start, base: 1 of 3." in web
    ace = block_of(markdown, "ACEBench agent")
    assert "- User simulator: a-user (temperature 0.1)" in ace and "50.00 (2/4)" in ace
    assert "Without the items that are known to be defective. start: multi-turn 1/3." in ace
    assert rows_of(text, "acebench-agent")["start", "agent_multi_turn"]["user"] == "a-user"
    assert "recording" not in ace and "defective" not in web
    make_run(run, "bfcl-single-turn", "start", [item("simple", 0, True, answer_characters=5)])
    assert "last message" not in block_of(tables(run)[0], "BFCL single-turn"), "its checker reads calls"


def test_single_turn_has_a_row_a_category(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    strata = [f"kind_{n}" for n in range(13)]
    for checkpoint, passed in (("start", 0), ("stage1", 1)):
        make_run(run, "bfcl-single-turn", checkpoint, [r for s in strata for r in items(s, passed, 2)])
    markdown, text = tables(run)
    block = block_of(markdown, "BFCL single-turn")
    assert "| Category | start | stage1 |" in block and "| kind_12 | 0.00 (0/2) | 50.00 (1/2) |" in block
    assert "| Average | 0.00 | 50.00 |" in block and "| Seeds | 42 | 42 |" in block
    assert len(rows_of(text, "bfcl-single-turn")) == 2 * 14


def test_what_was_left_out_says_why(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    make_run(run, "bfcl-memory", "start", items(MEMORY[0], 0, 1))
    write_json(run / "left_out.json", {"tau2": "there is no model that plays the user"})
    markdown, _ = tables(run)
    assert "Left out: there is no model that plays the user" in block_of(markdown, "tau2-bench")
    assert block_of(markdown, "BFCL V4 web search").strip().endswith("Not run.")
    (run / "left_out.json").unlink()
    copy_records(run, CHECKPOINTS, tmp_path / "records")
    assert read_left_out(tmp_path / "records") == {} and "Left out" not in tables(run)[0]
    (tmp_path / "records" / "left_out.json").write_text("[]")
    with pytest.raises(EnvtuneError, match=r"left_out\.json cannot be read"):
        read_left_out(tmp_path / "records")


def test_a_table_never_mixes_weights(tmp_path: Path) -> None:
    run = tmp_path / "evaluation"
    old, new = "2026-11-01T10:00:00+00:00", "2026-11-02T10:00:00+00:00"
    make_run(run, "tau2", "start", items("airline", 1, 1), 1, weights="old", time=old)
    make_run(run, "bfcl-memory", "start", items(MEMORY[0], 1, 1), 1, weights="old", time=old)
    make_run(run, "bfcl-memory", "start", items(MEMORY[0], 0, 1), 2, weights="new", time=new)
    make_run(run, "bfcl-memory", "stage1", items(MEMORY[0], 0, 1), 2, weights="old", time=old)
    make_run(run, "bfcl-memory", "other-model", items(MEMORY[0], 0, 1), 2)
    copy_records(run, CHECKPOINTS, tmp_path / "records")
    kept = sorted(str(path.relative_to(tmp_path / "records")) for path in (tmp_path / "records").rglob("*.json"))
    assert kept == ["bfcl-memory/stage1.seed2.json", "bfcl-memory/start.seed2.json"]


def test_the_paper_s_rows(tmp_path: Path) -> None:
    markdown, text = shown("small", tmp_path)
    printed = [row for row in csv.DictReader(io.StringIO(text)) if row["source"] != "envtune"]
    with open(PAPER / "table2.csv", newline="") as stream:
        wanted = list(csv.DictReader(stream))
    assert len(printed) == 10 * len(wanted) == 80
    for number, row in enumerate(wanted):
        of_it = printed[10 * number : 10 * number + 10]
        assert [one["accuracy"] for one in of_it] == [row[column] for column in TABLE2_COLUMNS]
        assert f"| {row['model']} | {row['variant']} | {' | '.join(row[c] for c in TABLE2_COLUMNS)} |" in markdown
    assert "Web search: average | Web search: Base" in markdown and "Memory: KV" in markdown


def test_whole_counts_tell_acebench_s_headers_apart() -> None:
    printed, swapped = acebench_headers(paper_table2(PAPER))
    assert [row.name for row in printed] == ["watt-tool-8B + Environment Tuning"]
    assert [row.name for row in swapped] == [
        "xLAM-2-8b-fc-r", "Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct + Environment Tuning",
        "ToolACE-2-Llama-3.1-8B", "watt-tool-8B",
    ]  # fmt: skip
    assert is_count(3.33, 30) and not is_count(3.33, 20) and is_count(5, 20) and not is_count(5, 30)
    for row in paper_table2(PAPER):
        assert all(is_count(row.accuracy[f"memory_{kind}"], 155) for kind in ("kv", "vector", "rec_sum")), row.name
        assert all(is_count(row.accuracy[f"web_search_{kind}"], 100) for kind in ("base", "no_snippet")), row.name


def test_it_says_so_when_the_paper_s_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "table2.csv").write_text("model,variant\nm,v\n")
    with pytest.raises(EnvtuneError, match=r"table2\.csv cannot be read"):
        paper_table2(tmp_path)


@pytest.mark.parametrize(
    "folder", [pytest.param(p.parent, id=p.parent.name) for p in sorted((ROOT / "results").glob("*/table2.md"))]
)
def test_the_committed_table_2_is_what_its_records_give(folder: Path) -> None:
    for suffix, text in table2(folder.name, folder / "records", PAPER)._asdict().items():
        assert (folder / f"table2.{suffix}").read_text() == text


def test_the_summary_s_figures_are_json(tmp_path: Path) -> None:
    """What the notes are made of survives being written and read."""
    folder = make_run(tmp_path, "bfcl-web-search", "start", [item("web_search_base", 0, True, answer_characters=7)])
    assert json.loads((folder / "summary.json").read_text())["answers"] == {"median_characters": 7, "dumps": 0}
