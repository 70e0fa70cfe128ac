"""The tables as LaTeX: whole tables with the rules of booktabs, and no text that LaTeX would read as a command."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from made_evaluations import items, make_run

from envtune.tables.collect import copy_records
from envtune.tables.latex import latex, plain
from envtune.tables.markdown import Grid, grid
from envtune.tables.paper import PAPER
from envtune.tables.table1 import table1
from envtune.tables.table2 import table2


def unescaped(text: str) -> str:
    """What is left when escapes, known commands and empty groups are gone."""
    text = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\text(less|greater)\{\}|\{\}", "", text)
    return re.sub(r"\\[&%$#_{}]|\$(\\pm|-|\\times|\\tau)\$", "", text)


@given(st.text())
def test_text_is_set_as_it_stands(text: str) -> None:
    said = plain(text)
    assert said.isascii() and "\n" not in said and not said.startswith("[")
    assert not set(unescaped(said)) & set("\\&%$#_{}~^<>")


def test_a_grid() -> None:
    one = Grid("50 % & more", ("Model", "x_1"), (("[a]{b}", "1.0 ± 0.5"), ("c", "")), 1, ("A note.",))
    text = latex("t", [one])
    assert "\\caption{50 \\% \\& more}" in text and "\\label{tab:t-1}" in text
    assert "{}[a]\\{b\\} & 1.0 $\\pm$ 0.5 \\\\" in text and "\\begin{tabular}{lr}" in text and "A note." in text
    places = [text.index(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")]
    assert places == sorted(places)


def test_both_tables_are_whole(tmp_path: Path) -> None:
    strata = [f"live_{n}" for n in range(3)]
    make_run(
        tmp_path / "run", "bfcl-single-turn", "start", [r for s in strata for r in items(s, 1, 2)], model="a_b%{c}"
    )
    make_run(tmp_path / "run", "tau2", "start", items("airline", 1, 4), model="\\input{x}")
    copy_records(tmp_path / "run", ["start"], tmp_path / "records")
    for table, count in ((table1, 2), (table2, 6)):
        text = table("small", tmp_path / "records", PAPER).tex
        assert text.count("\\begin{table}") == text.count("\\end{table}") == text.count("\\bottomrule") == count
        assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
        for spec, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
            rows = [line for line in body.splitlines() if line.endswith(r"\\")]
            assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(spec) - 1 for row in rows)
        labels = re.findall(r"\\label\{(.*?)\}", text)
        assert len(set(labels)) == count
    assert "a\\_b\\%\\{c\\}" in text and "\\textbackslash{}input\\{x\\}" in text and "\\input{" not in text
    assert "qwen" not in text.lower()


def test_a_name_breaks_no_markdown_table() -> None:
    lines = grid(["Model", "n"], [["a|b\n| c |", "1"], ["", ""]], left=1)
    assert lines == ["| Model | n |", "| --- | ---: |", r"| a\|b \| c \| | 1 |", "|  |  |"]
