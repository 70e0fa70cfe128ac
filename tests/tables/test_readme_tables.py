"""The README's tables are those of results/."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_evaluations import items, make_run

from envtune.errors import EnvtuneError
from envtune.profile import ROOT
from envtune.tables.collect import copy_records
from envtune.tables.readme import readme_text, update_readme, updated

README = ROOT / "README.md"
RESULTS = ROOT / "results"


def test_the_readme_has_what_the_records_give() -> None:
    text = README.read_text(encoding="utf-8")
    assert "<!-- table1: cpu -->" in text and "<!-- table2: cpu -->" in text
    assert updated(text, RESULTS) == text, "run `envtune tables --profile cpu`"
    section = text.split("\n## Results\n")[1].split("\n## ")[0]
    assert len(section.splitlines()) <= 60


def test_it_is_rewritten_between_the_marks_alone(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "tau2", "start", [r for s in ("airline", "retail", "telecom") for r in items(s, 1, 4)])
    make_run(tmp_path / "run", "bfcl-single-turn", "start", [r for s in ("a", "b") for r in items(s, 1, 2)])
    copy_records(tmp_path / "run", ["start"], tmp_path / "results" / "small" / "records")
    readme = tmp_path / "README.md"
    assert not update_readme(readme, tmp_path / "results") and not readme.exists()
    readme.write_text(
        "before\n<!-- table1: small -->\nold\n<!-- end -->\nbetween\n<!-- table2: small -->\n<!-- end -->\nafter\n"
    )
    assert update_readme(readme, tmp_path / "results")
    text = readme.read_text()
    assert text.startswith("before\n<!-- table1: small -->\nIn distribution: not run.\n<!-- end -->\nbetween\n")
    assert text.endswith("<!-- end -->\nafter\n") and "old" not in text
    assert "tau2-bench, protocol tau2-1-kit; accuracy in %, passed/run.\n" in text
    assert "| Scripted | start | 25.00 [" in text and "(1/4) |" in text and "`c0ffeec0ffee`" in text
    assert "| Model | Checkpoint | Average | Runs | Commit |" in text, "of many categories the average alone"
    assert "Not run: BFCL V4 web search, BFCL V4 memory, ACEBench agent.\n" in text
    assert not update_readme(readme, tmp_path / "results"), "the same again"


def test_a_table_that_differs_is_seen(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "cpu", tmp_path / "cpu")
    text = README.read_text(encoding="utf-8")
    assert updated(text, tmp_path) == text
    assert updated(text.replace("(0/1)", "(1/1)"), tmp_path) == text
    shutil.rmtree(tmp_path / "cpu" / "records")
    assert "In distribution: not run." in updated(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table1: cpu -->\nno end\n",
        "<!-- table1: cpu -->\n<!-- table2: cpu -->\n<!-- end -->\n",
        "<!-- table1: CPU! -->\n<!-- end -->\n",
    ],
)
def test_a_mark_without_an_end(text: str) -> None:
    with pytest.raises(EnvtuneError, match="a table has no end"):
        updated(text, RESULTS)


def test_no_results_at_all(tmp_path: Path) -> None:
    assert readme_text("table1", "none", tmp_path) == "In distribution: not run.\n"
    assert readme_text("table2", "none", tmp_path).startswith("Not run: BFCL V4 web search")
