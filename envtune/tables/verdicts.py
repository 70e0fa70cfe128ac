"""Our figures against the paper's: which cell of the paper a row of ours reproduces, and whether the two agree.

The rule is that of an interval against a margin set beforehand, as in equivalence testing: a figure is called consistent
only if the paper's value lies in our interval and the interval is narrower than the margin. That two figures do not differ
significantly is no reproduction, since a few items agree with anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from envtune.bfcl import CATEGORIES
from envtune.curriculum import CURRICULUM
from envtune.evaluation.checkpoints import BASELINE
from envtune.evaluation.upstream.serve import SELF
from envtune.run_record.evaluations import BFCL_V3
from envtune.tables.paper import (
    AS_RELEASED,
    STRATUM_ITEMS,
    TABLE2_COLUMNS,
    TUNED,
    PaperRow,
    PaperRow2,
    acebench_headers,
)
from envtune.tables.rows import Row
from envtune.tasks import load_split

if TYPE_CHECKING:
    from envtune.statistics.intervals import Interval

MARGIN = 10.0  # percentage points: the width from which an interval says too little to call a figure consistent
CONSISTENT, INCONSISTENT, INCONCLUSIVE, NOT_RUN = "consistent", "inconsistent", "inconclusive", "not run"
AVERAGE = "average"
_START, _LAST = "start", CURRICULUM[-1].name
# hub id -> the paper's name, where the last part of the id is another
_NAMES: Mapping[str, str] = MappingProxyType(
    {"Salesforce/Llama-xLAM-2-8b-fc-r": "xLAM-2-8b-fc-r", "Team-ACE/ToolACE-2-8B": "ToolACE-2-Llama-3.1-8B"}
)
_SWAP: Mapping[str, str] = MappingProxyType(
    {"acebench_multi_turn": "acebench_multi_step", "acebench_multi_step": "acebench_multi_turn"}
)
_FLOATING = 1e-9


def verdict(paper: float, interval: Interval, margin: float = MARGIN) -> str:
    """consistent | inconsistent | inconclusive.

    paper: in percent; interval: of our figure, in shares; margin: in percentage points. Consistent: the paper's value lies
    in the interval and the interval is narrower than the margin; inconsistent: it lies outside; inconclusive: it lies
    inside, but so would too much else.
    """
    if not 100 * interval.low - _FLOATING <= paper <= 100 * interval.high + _FLOATING:
        return INCONSISTENT
    return CONSISTENT if 100 * (interval.high - interval.low) < margin else INCONCLUSIVE


@dataclass(frozen=True)
class PaperCell:
    """A cell of the paper. table: 1 or 2; suite, stratum: what it was measured on, the stratum "average" for the suite's
    average; value: in percent; why_not: why a row of ours that is of this model and variant does not reproduce it, empty
    where it does."""

    table: int
    model: str
    variant: str
    suite: str
    stratum: str
    value: float
    why_not: str = ""


def paper_model(model: str) -> str:
    """What the paper calls a model: the last part of its hub id, unless it has another name there."""
    return _NAMES.get(model) or model.rsplit("/", 1)[-1]


def paper_variant(row: Row) -> str | None:
    """ "as released" for the starting model and for baselines, "+ Environment Tuning" for the last stage of the whole
    method, else None."""
    if row.checkpoint == _START or row.checkpoint.startswith(BASELINE):
        return AS_RELEASED
    return TUNED if row.checkpoint == _LAST and row.about.get("arm", "full") == "full" else None


def paper_cells(row: Row, paper: Sequence[PaperRow | PaperRow2]) -> list[PaperCell]:
    """The cells of the paper that belong to our row's model, variant and suite, each with the reason where our row does not
    reproduce it; empty where the paper has no such row.

    A cell of Table 1 is reproduced by a run of all tasks of the category that nothing in training saw, with all their tools:
    75, or 100 with those that a profile's training validates on (the paper's own 100 are not published); one of Table 2 by a
    run of all items of the stratum, web search on the live web. An average needs all its columns.
    """
    model, variant, suite = paper_model(str(row.identity["model"])), paper_variant(row), row.runs[0].suite
    for published in paper:
        if (published.model, published.variant) == (model, variant):
            cells = cells_of(published, suite)
            if cells:
                return [_judged(cell, row, [one.stratum for one in cells]) for cell in cells]
    return []


def cells_of(published: PaperRow | PaperRow2, suite: str | None = None) -> list[PaperCell]:
    """The cells of a row of the paper, in the order of its columns; of one suite, if it is named.

    ACEBench's two values are swapped where whole counts allow no other order (`acebench_headers`).
    """
    who = published.model, published.variant
    if isinstance(published, PaperRow):
        values = {AVERAGE: published.average, **{c: published.accuracy[c] for c in CATEGORIES}}
        cells = [PaperCell(1, *who, BFCL_V3, stratum, value) for stratum, value in values.items()]
    else:
        swap = _SWAP if acebench_headers([published])[1] else {}
        cells = [
            PaperCell(2, *who, *where, published.accuracy[swap.get(column, column)])
            for column, where in TABLE2_COLUMNS.items()
        ]
    return [cell for cell in cells if suite in (None, cell.suite)]


def _judged(cell: PaperCell, row: Row, strata: Sequence[str]) -> PaperCell:
    needed = [one for one in strata if one != AVERAGE] if cell.stratum == AVERAGE else [cell.stratum]
    reasons = dict.fromkeys(reason for stratum in needed if (reason := _why_not(row, stratum)))
    who = cell.table, cell.model, cell.variant, cell.suite, cell.stratum, cell.value
    return PaperCell(*who, why_not="; ".join(reasons))


def _why_not(row: Row, stratum: str) -> str:
    """Why the row's runs of a stratum are not what the paper measured; empty where they are."""
    suite, identity = row.runs[0].suite, row.identity
    if other := _other_setting(suite, identity):
        return other
    needed = STRATUM_ITEMS.get(stratum, 0)
    items = min(cell.items for cell in row.cells(stratum))
    if suite == BFCL_V3:
        if identity.get("tools_cut"):
            return "the tools were cut"
        wanted, held_out = (_of_split(subset, stratum) for subset in ("heldout", "test"))
        ids = [{record.id for record in run.records if record.stratum == stratum} for run in row.runs]
        items, needed = min(len(of_run & wanted) for of_run in ids), len(wanted)
        if any(of_run - held_out for of_run in ids):
            return f"{stratum}: tasks that the split does not hold out"
    if items < needed:
        return f"{stratum}: {items} of {needed} items"
    if missing := row.count(stratum, "not_run"):
        return f"{stratum}: {missing} items without a verdict"
    if _is_replayed(row):
        return "replayed web tools are no score"
    return ""


def _other_setting(suite: str, identity: Mapping[str, Any]) -> str:
    """What was set otherwise than for the paper's figures, in words; empty where nothing was. The paper does not say which
    language ACEBench was run in, nor which model played the user: English is taken for it, and any model but the one
    under test."""
    options = identity.get("options") or {}
    if suite == BFCL_V3 and identity.get("release") != "paper":
        return f"release {identity.get('release')}, where the paper's is 2025.6.8"
    if limits := [name for name in ("max_steps", "max_dialog_turns") if options.get(name) is not None]:
        return f"{limits[0]} is set"
    if options.get("language", "en") != "en":
        return f"language {options['language']}"
    if (identity.get("user") or {}).get("model") == SELF:
        return "the model under test played the user"
    return ""


def _of_split(subset: str, category: str) -> set[str]:
    return {task for task in load_split().subsets[subset] if task.startswith(f"multi_turn_{category}_")}


def _is_replayed(row: Row) -> bool:
    identity = row.identity
    options = identity.get("options") or {}
    return options.get("mode") == "replay" or "cassette_sha256" in options
