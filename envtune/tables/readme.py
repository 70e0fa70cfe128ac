"""The README's tables: a short form of what is committed in results/, between two comments of the README.

    <!-- table1: cpu -->
    ...
    <!-- end -->

`envtune tables` rewrites what stands between them when it writes the tables that are committed; a test fails when they
differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from envtune.errors import EnvtuneError
from envtune.files import atomic_write
from envtune.run_record.evaluations import BFCL_V3
from envtune.tables.collect import Run, read_runs
from envtune.tables.markdown import arm, averaged, counted, grid, last_cells, methods, notes
from envtune.tables.rows import Row, blocks
from envtune.tables.table1 import TITLES
from envtune.tables.table2 import SUITES

_PART = re.compile(r"<!-- (?P<table>table[12]): (?P<profile>[a-z0-9.-]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
_BEGIN = re.compile(r"<!-- table[12]:")


def readme_text(table: str, profile: str, results: Path) -> str:
    """What the README says of one table ("table1" or "table2") of a profile, from results/<profile>/records/."""
    runs = read_runs(results / profile / "records")
    if table == "table1":
        told = [line for one in _blocks(runs, BFCL_V3) for line in _block("In distribution", one, TITLES)]
        return "\n".join(told or ["In distribution: not run."]) + "\n"
    told, missing = [], []
    for suite in SUITES:
        found = _blocks(runs, suite.name)
        if not found:
            missing.append(suite.title)
        for rows in found:
            titles = suite.titles or {stratum: stratum for stratum in rows[0].identity["items"]}
            told += _block(suite.title, rows, titles, wide=bool(suite.titles))
    told += [f"Not run: {', '.join(missing)}."] if missing else []
    return "\n".join(told) + "\n"


def updated(text: str, results: Path) -> str:
    """A README with its tables as results/ gives them. Raises EnvtuneError where a table's end is not marked."""
    parts = list(_PART.finditer(text))
    if len(parts) != len(_BEGIN.findall(text)) or any(_BEGIN.search(part["text"]) for part in parts):
        raise EnvtuneError("README.md: a table has no end; close each `<!-- table1: PROFILE -->` with `<!-- end -->`")
    return _PART.sub(lambda part: _filled(part, results), text)


def _filled(part: re.Match[str], results: Path) -> str:
    table, profile = part["table"], part["profile"]
    return f"<!-- {table}: {profile} -->\n{readme_text(table, profile, results)}<!-- end -->"


def update_readme(readme: Path, results: Path) -> bool:
    """Rewrite the tables of this README, if there is one; gives whether it changed."""
    if not readme.is_file():
        return False
    before = readme.read_text(encoding="utf-8")
    after = updated(before, results)
    if after != before:
        with atomic_write(readme) as stream:
            stream.write(after)
    return after != before


def _blocks(runs: Sequence[Run], suite: str) -> list[list[Row]]:
    return blocks([run for run in runs if run.suite == suite])


def _block(title: str, rows: Sequence[Row], titles: Mapping[str, str], wide: bool = True) -> Iterator[str]:
    """A line on the protocol and a table, with an empty line after it. Suites of many strata: their average alone."""
    identity, strata = rows[0].identity, list(titles)
    shown = strata if wide else []
    release = f", release {identity['release']}" if "release" in identity else ""
    cut = identity.get("tools_cut")
    tools = f", at most {max(cut)} tools a task" if cut else ""
    intervals = [*(row.interval(s) for row in rows for s in shown), *(row.average_interval(strata) for row in rows)]
    yield f"{title}{arm(rows[0].about)}, protocol {identity['protocol']['name']}{release}{tools}; accuracy in %, passed/run."
    yield f"{methods(intervals)}."
    yield from (line for line in notes(rows) if line)
    yield ""
    yield from grid(
        ["Model", "Checkpoint", "Average", *(titles[stratum] for stratum in shown), "Runs", "Commit"],
        [
            [
                str(row.identity["model"]),
                row.checkpoint,
                averaged(row, strata),
                *(counted(row, stratum) for stratum in shown),
                *last_cells(row)[2:],
            ]
            for row in rows
        ],
        left=2,
    )
    yield ""
