"""Table 2, out of distribution: the paper's rows, and ours below them; then suites that the paper does not have.

As Markdown and as CSV (one line a stratum), from the paper's figures and the copied records. A block is one protocol of
one suite. The same files give the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.spread import Spread
from envtune.tables.collect import read_left_out, read_runs
from envtune.tables.figures import beside
from envtune.tables.markdown import LAST, arm, counted, decoding, grid, last_cells, notes, number, spread, text, unusual
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


def table2(profile: str, records: Path, paper_folder: Path) -> tuple[str, str]:
    """(Markdown, CSV) of Table 2 for one profile, from copied records and the paper's figures (results/paper/).

    Raises EnvtuneError on unsound records.
    """
    paper, runs = paper_table2(paper_folder), read_runs(records)
    ours = {suite.name: blocks([run for run in runs if run.suite == suite.name]) for suite in SUITES}
    return _markdown(profile, paper, ours, read_left_out(records)), _csv(paper, ours)


# ---- Markdown


def _markdown(
    profile: str,
    paper: Sequence[PaperRow2],
    ours: Mapping[str, Sequence[Sequence[Row]]],
    left_out: Mapping[str, str],
) -> str:
    lines = [
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
        *grid(
            ["Model", "Variant", *(_paper_title(*where) for where in TABLE2_COLUMNS.values())],
            [[row.model, row.variant, *(f"{row.accuracy[column]:.2f}" for column in TABLE2_COLUMNS)] for row in paper],
            left=2,
        ),
        "",
        _on_headers(paper),
    ]
    for suite in SUITES:
        if suite == next(one for one in SUITES if not one.in_paper):
            lines += ["", "# Beyond the paper", "", "Suites that the paper's tables do not have, in the same form."]
        for rows in ours[suite.name]:
            lines += ["", *_block(profile, suite, rows)]
        if not ours[suite.name]:
            why = f"Left out: {left_out[suite.name]}" if suite.name in left_out else "Not run."
            lines += ["", f"## Profile {profile}, {suite.title}", "", why]
    return "\n".join(lines) + "\n"


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
    titles = suite.titles or {stratum: stratum for stratum in identity["items"]}
    packages = ", ".join(f"{name} {version}" for name, version in identity["packages"].items())
    options = ", ".join(f"{name} {value}" for name, value in identity["options"].items())
    table = _wide(rows, titles) if suite.titles else _narrow(rows, titles)
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
        "",
        *table,
        *beside(rows, titles),
        *unusual(rows, titles),
    ]


def _user(identity: Mapping[str, Any]) -> list[str]:
    user = identity.get("user")
    if user is None:
        return []
    settings = ", ".join(f"{name} {value}" for name, value in user["decoding"].items())
    return [f"- User simulator: {user['model']}{f' ({settings})' if settings else ''}"]


def _items(identity: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    return ", ".join(f"{n} {titles.get(stratum, stratum).lower()}" for stratum, n in identity["items"].items())


def _wide(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    """A row a checkpoint, a column a stratum."""
    return grid(
        ["Model", "Checkpoint", "Average", *titles.values(), *LAST],
        [
            [
                str(row.identity["model"]),
                row.checkpoint,
                spread(row.average(list(titles))),
                *(counted(row, stratum) for stratum in titles),
                *last_cells(row),
            ]
            for row in rows
        ],
        left=2,
    )


def _narrow(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    """A row a stratum, a column a checkpoint."""
    last = [last_cells(row) for row in rows]
    return grid(
        ["Category", *(row.checkpoint for row in rows)],
        [
            ["Model", *(str(row.identity["model"]) for row in rows)],
            *([title, *(counted(row, stratum) for row in rows)] for stratum, title in titles.items()),
            ["Average", *(spread(row.average(list(titles))) for row in rows)],
            *([name, *(cells[place] for cells in last)] for place, name in enumerate(LAST)),
        ],
        left=1,
    )


# ---- CSV

_COLUMNS = (
    "source", "suite", "protocol", "packages", "items_sha256", "user", "model", "variant", "training_steps", "seeds",
    "commit", "runs", "stratum", "accuracy", "sd", "passed", "items", "not_run", "over_budget", "score",
)  # fmt: skip


def _csv(paper: Sequence[PaperRow2], ours: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for published in paper:
        for column, (suite, stratum) in TABLE2_COLUMNS.items():
            said = {"source": published.source, "suite": suite, "protocol": "as published", "model": published.model}
            said |= {"variant": published.variant, "stratum": stratum}
            writer.writerow(said | {"accuracy": f"{published.accuracy[column]:.2f}"})
    for suite in SUITES:
        for rows in ours[suite.name]:
            for row in rows:
                writer.writerows(_csv_rows(suite, row))
    return stream.getvalue()


def _csv_rows(suite: Suite, row: Row) -> list[dict[str, Any]]:
    identity = row.identity
    strata = list(suite.titles or identity["items"])
    said = {
        "source": "envtune", "suite": suite.name, "protocol": identity["protocol"]["name"],
        "packages": " ".join(f"{name}=={version}" for name, version in identity["packages"].items()),
        "items_sha256": identity["items_sha256"], "user": (identity.get("user") or {}).get("model", ""),
        "model": identity["model"], "variant": row.checkpoint,
        "training_steps": text(row.about.get("training_steps")), "seeds": row.seeds, "commit": " ".join(row.commits),
        "runs": len(row.runs),
    }  # fmt: skip
    lines = [said | _figures("average", row.average(strata), row.score(strata))]
    for stratum in strata:
        counts = {what: row.count(stratum, what) for what in ("passed", "items", "not_run", "over_budget")}
        lines.append(said | _figures(stratum, row.accuracy(stratum), row.score([stratum])) | counts)
    return lines


def _figures(stratum: str, accuracy: Spread, score: Spread) -> dict[str, str]:
    values = {"accuracy": number(accuracy.mean), "sd": number(accuracy.sd), "score": number(score.mean, 4)}
    return {"stratum": stratum, **values}
