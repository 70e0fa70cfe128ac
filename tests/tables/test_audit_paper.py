"""`envtune audit-paper`: it finds what does not add up in the paper's figures, and nothing else."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from envtune.cli import app
from envtune.errors import EnvtuneError
from envtune.tables.audit import Audit, audit
from envtune.tables.audit.text import findings_markdown
from envtune.tables.paper import PAPER, TABLE2_COLUMNS, count_of, is_count, paper_table1

EXPECTED = [
    ("gain", "watt-tool-8B + Environment Tuning", "+18.50", "+18.60"),
    ("average", "xLAM-2-8b-fc-r", "1.65", "1.67"),
    ("average", "Llama-3.1-8B-Instruct", "1.65", "1.67"),
    ("headers", "xLAM-2-8b-fc-r", "0.00 and 3.33", "multi-turn 1/30, multi-step 0/20"),
    ("headers", "Llama-3.1-8B-Instruct", "0.00 and 3.33", "multi-turn 1/30, multi-step 0/20"),
    ("headers", "Llama-3.1-8B-Instruct + Environment Tuning", "5.00 and 3.33", "multi-turn 1/30, multi-step 1/20"),
    ("headers", "ToolACE-2-Llama-3.1-8B", "10.00 and 6.67", "multi-turn 2/30, multi-step 2/20"),
    ("headers", "watt-tool-8B", "5.00 and 0.00", "multi-turn 0/30, multi-step 1/20"),
    ("headers", "watt-tool-8B + Environment Tuning", "0.00 and 15.00", "multi-turn 0/30, multi-step 3/20"),
]
FLAGGED = {row for _, row, _, _ in EXPECTED}
FIRST = ("average", "base", "miss_func", "miss_param", "long_context")


def rows_of(name: str) -> list[dict[str, str]]:
    with open(PAPER / name, newline="") as stream:
        return list(csv.DictReader(stream))


TABLES = {"table1.csv": (rows_of("table1.csv"), FIRST), "table2.csv": (rows_of("table2.csv"), tuple(TABLE2_COLUMNS))}


def audited(folder: Path, name: str, number: int, **change: str) -> Audit:
    """The audit of a copy in which one row of one file has other values."""
    folder.mkdir(exist_ok=True)
    for path in PAPER.glob("*.csv"):
        shutil.copyfile(path, folder / path.name)
    rows = rows_of(name)
    rows[number] |= change
    with open(folder / name, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return audit(folder)


def said(told: Audit) -> list[tuple[str, str, str, str]]:
    return [(one.kind, one.row, one.printed, one.follows) for one in told.findings]


def test_the_committed_figures_give_these_findings_and_no_other() -> None:
    told = audit(PAPER)
    assert said(told) == EXPECTED
    notes = " ".join(note.text for note in told.notes)
    assert "All 24 cells are counts of 155 items, not of 20, 30, 40, 50, 60, 100, 150, 160, 200." in notes
    assert "19.35 is right by the counts (90/465)" in notes
    assert (
        "Rows that fit both orders of the headers: BitAgent-8B, ToolACE-2-Llama-3.1-8B + Environment Tuning." in notes
    )
    assert "10 of the 11 counts that are not 0 are even (by chance 0.6%)" in notes
    assert "5 of 5 points of the method's curve agree" in notes


def test_the_numbers_that_fit_each_cell() -> None:
    cells = {(cell.table, cell.row, cell.column): cell for cell in audit(PAPER).cells}
    assert len(cells) == 15 * 4 + 8 * 7
    qwen = cells[1, "Qwen2.5-7B-Instruct", "base"]
    assert (qwen.printed, qwen.count, qwen.fits[:3]) == ("9.33", "28/300", (3, 6, 9))
    assert cells[1, "watt-tool-8B", "base"].count == "917/2000"
    memory = cells[2, "watt-tool-8B + Environment Tuning", "memory_vector"]
    assert (memory.fits, memory.count) == ((155,), "42/155")
    assert 100 in cells[2, "BitAgent-8B", "web_search_base"].fits
    turn, step = (cells[2, "ToolACE-2-Llama-3.1-8B", f"acebench_multi_{kind}"] for kind in ("turn", "step"))
    assert 30 in step.fits and 20 not in step.fits and turn.count == step.count == "", "the order is a finding"


def test_the_readme_has_what_the_command_finds() -> None:
    told, page = audit(PAPER), (PAPER / "README.md").read_text(encoding="utf-8")
    assert findings_markdown(told) in page
    for one in told.findings:
        assert one.where in page and one.why in page


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_figure_is_found(data: st.DataObject, tmp_path: Path) -> None:
    """0.02 or more, since an average at half a hundredth may be rounded both ways."""
    name = data.draw(st.sampled_from(sorted(TABLES)))
    rows, columns = TABLES[name]
    number = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(columns))
    before = round(100 * float(rows[number][column]))
    after = data.draw(st.integers(0, 10_000).filter(lambda value: abs(value - before) >= 2))
    told = audited(tmp_path / "paper", name, number, **{column: f"{after / 100:.2f}"})
    row = rows[number]
    who = row["model"] if row["variant"] == "as released" else f"{row['model']} {row['variant']}"
    assert said(told) != EXPECTED
    if who not in FLAGGED:
        assert who in {one.row for one in told.findings}


@pytest.mark.parametrize(
    ("name", "number", "change", "kind"),
    [
        ("gains.csv", 0, {"gain": "+18.70"}, "gain"),
        ("gains.csv", 0, {"model": "xLAM-2-8b-fc-r"}, "gain"),
        ("table1.csv", 0, {"average": "57.02"}, "average"),
        ("table1.csv", 0, {"runs_inferred": "3"}, "runs"),
        ("table1.csv", 5, {"base": "77.86", "average": "70.50"}, "grain"),
        ("table2.csv", 0, {"memory_kv": "7.00", "memory_avg": "13.30"}, "grain"),
        ("table2.csv", 1, {"web_search_base": "7.10", "web_search_avg": "4.55"}, "grain"),
        ("table2.csv", 1, {"acebench_multi_turn": "7.00", "acebench_agent_avg": "3.50"}, "headers"),
        ("figures.csv", 0, {"validation_accuracy_read_off": "0.19"}, "curve"),
    ],
)
def test_each_kind_of_finding(tmp_path: Path, name: str, number: int, change: dict[str, str], kind: str) -> None:
    told = audited(tmp_path / "paper", name, number, **change)
    (new,) = [one for one in told.findings if (one.kind, one.row, one.printed, one.follows) not in EXPECTED]
    assert new.kind == kind and new.why


def test_what_is_mended_is_no_finding_any_more(tmp_path: Path) -> None:
    told = audited(tmp_path / "paper", "gains.csv", 0, gain="+18.60")
    assert said(told) == EXPECTED[1:]
    told = audited(tmp_path / "paper", "table2.csv", 0, acebench_agent_avg="1.67")
    assert said(told) == [one for one in EXPECTED if one[:2] != ("average", "xLAM-2-8b-fc-r")]
    # with the one row that stands against the swap turned round, the swap is all there is to say
    told = audited(tmp_path / "paper", "table2.csv", 7, acebench_multi_turn="15.00", acebench_multi_step="0.00")
    (last,) = [one for one in told.findings if one.row == "watt-tool-8B + Environment Tuning" and one.table == 2]
    assert "are swapped" in last.why


def test_reading_off_by_eye_is_no_finding(tmp_path: Path) -> None:
    assert said(audited(tmp_path / "paper", "figures.csv", 0, validation_accuracy_read_off="0.18")) == EXPECTED


@given(passed=st.integers(0, 465), items=st.sampled_from([20, 30, 100, 155, 160, 300, 465]))
def test_a_count_is_found_in_its_percentage(passed: int, items: int) -> None:
    passed = min(passed, items)
    assert count_of(round(100 * passed / items, 2), items) == passed
    assert is_count(round(100 * passed / items, 2), items)


def test_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["audit-paper", "--json", str(tmp_path / "audit.json")], env={"COLUMNS": "200"})
    assert done.exit_code == 0 and "9 printed figures do not add up" in done.stdout
    for words in ("+18.50", "+18.60", "1.65", "90/465", "swapped"):
        assert words in done.stdout
    told = json.loads((tmp_path / "audit.json").read_text())
    assert len(told["findings"]) == len(EXPECTED) and told["schema"] == 1 and len(told["cells"]) == 116
    (tmp_path / "table1.csv").write_text("model,variant,average\nm,as released,nan\n")
    done = CliRunner().invoke(app, ["audit-paper", "--folder", str(tmp_path)])
    assert done.exit_code == 1 and "table1.csv cannot be read" in done.stderr and "Traceback" not in done.output


@pytest.mark.parametrize("value", ["nan", "-1", "101", "inf", "", "x"])
def test_what_is_no_percentage_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(EnvtuneError, match=r"table1\.csv cannot be read"):
        audited(tmp_path / "paper", "table1.csv", 0, base=value)
    (tmp_path / "paper" / "table1.csv").write_text("model,variant\n")
    with pytest.raises(EnvtuneError, match="it has no row"):
        paper_table1(tmp_path / "paper")


def test_it_needs_no_statistics() -> None:
    """The audit, and the commands that only list, start fast and without the extra that intervals need."""
    code = (
        "import sys, envtune.tables.audit.text, envtune.tables.defects, envtune.tables.write\n"
        "print(sorted({'pandas', 'scipy', 'statsmodels', 'jinja2', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
