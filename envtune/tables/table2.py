"""Table 2, out of distribution: the paper's rows, ours below them, and both against each other; then suites that the paper
does not have.

As Markdown, as LaTeX, and as CSV (table2_csv.py), from the paper's figures and the copied records. A block is one protocol of
one suite. The same files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.tables.against import against, lines
from envtune.tables.collect import read_left_out, read_runs
from envtune.tables.figures import beside
from envtune.tables.latex import latex
from envtune.tables.markdown import (
    LAST,
    Grid,
    Rendered,
    arm,
    averaged,
    counted,
    decoding,
    last_cells,
    methods,
    notes,
    plain,
    unusual,
)
from envtune.tables.paper import (
    MULTI_STEP_ITEMS,
    MULTI_TURN_ITEMS,
    TABLE2_COLUMNS,
    TABLE2_PROTOCOL,
    PaperRow2,
    acebench_headers,
    paper_table2,
)
from envtune.tables.rows import Row, blocks
from envtune.tables.table2_csv import table2_csv
from envtune.tables.verdicts import MARGIN

_Shape = tuple[tuple[str, ...], tuple[tuple[str, ...], ...], int]  # of a Grid: head, rows, left


@dataclass(frozen=True)
class Suite:
    """How a suite is shown. titles: stratum -> column, empty for a suite whose strata stand in rows; average: of what the
    average is; in_paper: whether Table 2 has it."""

    name: str
    title: str
    titles: Mapping[str, str]
    in_paper: bool = True


SUITES = (
    Suite(
        "bfcl-web-search",
        "BFCL V4 web search",
        MappingProxyType({"web_search_base": "Base", "web_search_no_snippet": "No snippet"}),
    ),
    Suite(
        "bfcl-memory",
        "BFCL V4 memory",
        MappingProxyType({"memory_kv": "KV", "memory_vector": "Vector", "memory_rec_sum": "Recursive summary"}),
    ),
    Suite(
        "acebench-agent",
        "ACEBench agent",
        MappingProxyType({"agent_multi_turn": "Multi-turn", "agent_multi_step": "Multi-step"}),
    ),
    Suite(
        "tau2",
        "tau2-bench",
        MappingProxyType({"airline": "Airline", "retail": "Retail", "telecom": "Telecom"}),
        in_paper=False,
    ),
    Suite("bfcl-single-turn", "BFCL single-turn and live", MappingProxyType({}), in_paper=False),
)


def table2(profile: str, records: Path, paper_folder: Path, margin: float = MARGIN) -> Rendered:
    """Table 2 for one profile, from copied records and the paper's figures (results/paper/).

    margin: of the verdicts, in percentage points. Raises EnvtuneError on unsound records.
    """
    paper, runs = paper_table2(paper_folder), read_runs(records)
    ours = {suite.name: blocks([run for run in runs if run.suite == suite.name]) for suite in SUITES}
    judged = [
        one
        for suite in SUITES
        if suite.in_paper
        for one in against(paper, suite.name, suite.titles, ours[suite.name], margin, suite.title)
    ]
    grids = [_grid(profile, suite, rows) for suite in SUITES for rows in ours[suite.name]]
    titles = {suite.name: suite.titles for suite in SUITES}
    return Rendered(
        _markdown(profile, paper, ours, judged, read_left_out(records)),
        table2_csv(paper, titles, ours, margin),
        latex("table2", [_paper_grid(paper), *grids, *judged]),
    )


def _paper_grid(paper: Sequence[PaperRow2]) -> Grid:
    head = ("Model", "Variant", *(_paper_title(*where) for where in TABLE2_COLUMNS.values()))
    rows = tuple(
        (row.model, row.variant, *(f"{row.accuracy[column]:.2f}" for column in TABLE2_COLUMNS)) for row in paper
    )
    return Grid("Out of distribution, as published: accuracy in %", head, rows, 2, (_on_headers(paper),))


def _grid(profile: str, suite: Suite, rows: Sequence[Row]) -> Grid:
    """A row a checkpoint and a column a stratum; the other way round for a suite of many strata."""
    identity = rows[0].identity
    titles = _titles(suite, identity)
    title = (
        f"{suite.title}, profile {profile}{arm(rows[0].about)}, protocol {identity['protocol']['name']}: accuracy in %"
    )
    below = (f"{_methods(rows, titles)}.", *rows[0].about.get("notes", ()))
    return Grid(title, *(_wide(rows, titles) if suite.titles else _narrow(rows, titles)), below)


def _titles(suite: Suite, identity: Mapping[str, Any]) -> Mapping[str, str]:
    return suite.titles or {stratum: stratum for stratum in identity["items"]}


def _methods(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    return methods(
        interval
        for row in rows
        for interval in (*(row.interval(stratum) for stratum in titles), row.average_interval(list(titles)))
    )


# ---- Markdown


def _markdown(
    profile: str,
    paper: Sequence[PaperRow2],
    ours: Mapping[str, Sequence[Sequence[Row]]],
    judged: Sequence[Grid],
    left_out: Mapping[str, str],
) -> str:
    told = [
        "# Table 2: out of distribution (accuracy in %)",
        "",
        "Written by `make tables` from `../paper/table2.csv` and `records/`; do not edit. Each block is one protocol of one",
        "suite; rows of different blocks are not comparable. An empty cell was not run (to its end); an average of columns of",
        "which one is empty is empty. `k/n`: items passed of items run; all there are: 100 questions in each column of web",
        f"search, 155 in each of memory, {MULTI_TURN_ITEMS} multi-turn and {MULTI_STEP_ITEMS} multi-step tasks of ACEBench.",
        "",
        "## The paper",
        "",
        f"Protocol: {TABLE2_PROTOCOL}. Source: {paper[0].source}.",
        "",
        *_paper_grid(paper).markdown(),
        "",
        _on_headers(paper),
    ]
    for suite in SUITES:
        if suite == next(one for one in SUITES if not one.in_paper):
            for one in judged:
                told += ["", *lines(one)]
            told += ["", "# Beyond the paper", "", "Suites that the paper's tables do not have, in the same form."]
        for rows in ours[suite.name]:
            told += ["", *_block(profile, suite, rows)]
        if not ours[suite.name]:
            why = f"Left out: {left_out[suite.name]}" if suite.name in left_out else "Not run."
            told += ["", f"## Profile {profile}, {suite.title}", "", why]
    return "\n".join(told) + "\n"


def _paper_title(suite: str, stratum: str) -> str:
    shown = next(one for one in SUITES if one.name == suite)
    name = shown.title.removeprefix("BFCL V4 ")
    return f"{name[0].upper()}{name[1:]}: {shown.titles.get(stratum, 'average')}"


def _on_headers(paper: Sequence[PaperRow2]) -> str:
    """What counts of whole items say of ACEBench's two columns."""
    printed, swapped = acebench_headers(list(paper))
    return (
        f"ACEBench's values stand as printed. With its {MULTI_TURN_ITEMS} multi-turn and {MULTI_STEP_ITEMS} multi-step tasks "
        f"in one language they are whole counts only if the two headers are swapped in the rows of {_names(swapped)}, and only as printed in "
        f"the row of {_names(printed)}; the other rows fit both ways."
    )


def _names(rows: Sequence[PaperRow2]) -> str:
    return ", ".join(row.name for row in rows) or "none"


def _block(profile: str, suite: Suite, rows: Sequence[Row]) -> list[str]:
    identity = rows[0].identity
    titles = _titles(suite, identity)
    packages = ", ".join(f"{name} {version}" for name, version in identity["packages"].items())
    options = ", ".join(f"{name} {value}" for name, value in identity["options"].items())
    return [
        f"## Profile {profile}{arm(rows[0].about)}, {suite.title}, protocol {identity['protocol']['name']}",
        "",
        *notes(rows),
        f"- Protocol: {identity['protocol']['description']}",
        f"- Packages: {packages}",
        *([f"- Options: {options}"] if options else []),
        f"- Items: {_items(identity, titles)}; items' hash `{identity['items_sha256'][:16]}`",
        f"- Decoding: {decoding(rows[0])}",
        *_user(identity),
        "- Average: unweighted mean of the columns"
        if suite.titles
        else "- Average: unweighted mean of the categories run, not BFCL's overall score",
        f"- {_methods(rows, titles)}",
        "",
        *_grid(profile, suite, rows).markdown(),
        *beside(rows, titles),
        *unusual(rows, titles),
    ]


def _user(identity: Mapping[str, Any]) -> list[str]:
    user = identity.get("user")
    if user is None:
        return []
    settings = ", ".join(f"{name} {value}" for name, value in user["decoding"].items())
    return [f"- User simulator: {plain(str(user['model']))}{f' ({settings})' if settings else ''}"]


def _items(identity: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    return ", ".join(f"{n} {titles.get(stratum, stratum).lower()}" for stratum, n in identity["items"].items())


def _wide(rows: Sequence[Row], titles: Mapping[str, str]) -> _Shape:
    """A row a checkpoint, a column a stratum."""
    told = tuple(
        (
            str(row.identity["model"]),
            row.checkpoint,
            averaged(row, list(titles)),
            *(counted(row, stratum) for stratum in titles),
            *last_cells(row),
        )
        for row in rows
    )
    return ("Model", "Checkpoint", "Average", *titles.values(), *LAST), told, 2


def _narrow(rows: Sequence[Row], titles: Mapping[str, str]) -> _Shape:
    """A row a stratum, a column a checkpoint."""
    last = [last_cells(row) for row in rows]
    told = (
        ("Model", *(str(row.identity["model"]) for row in rows)),
        *((title, *(counted(row, stratum) for row in rows)) for stratum, title in titles.items()),
        ("Average", *(averaged(row, list(titles)) for row in rows)),
        *((name, *(cells[place] for cells in last)) for place, name in enumerate(LAST)),
    )
    return ("Category", *(row.checkpoint for row in rows)), told, 1
