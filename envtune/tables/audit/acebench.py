"""The audit of ACEBench's two columns: which order of the headers whole counts allow, row by row.

The benchmark has 30 multi-turn and 20 multi-step tasks, in English and in Chinese alike; with both languages pooled 60
and 40. A row whose two values are whole counts in one order alone tells the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from envtune.tables.audit.findings import Finding, Note
from envtune.tables.paper import (
    MULTI_STEP_ITEMS,
    MULTI_TURN_ITEMS,
    PaperRow2,
    acebench_headers,
    count_of,
    is_count,
)

_TURN, _STEP = "acebench_multi_turn", "acebench_multi_step"
_COLUMN = "acebench_multi_turn and acebench_multi_step"


def acebench_findings(rows: Sequence[PaperRow2]) -> list[Finding]:
    """A finding for each row whose counts need the headers swapped, for each that no order explains, and, where rows tell
    different orders, for each that stands against the larger number of rows."""
    printed, swapped = acebench_headers(list(rows))
    findings = [_swapped(row) for row in swapped]
    if swapped:
        findings += [_against(row, len(swapped)) for row in printed]
    return findings + [_neither(row) for row in rows if not _fits(row, False) and not _fits(row, True)]


def _fits(row: PaperRow2, swapped: bool, languages: int = 1) -> bool:
    turn, step = (row.accuracy[_STEP], row.accuracy[_TURN]) if swapped else (row.accuracy[_TURN], row.accuracy[_STEP])
    return is_count(turn, MULTI_TURN_ITEMS * languages) and is_count(step, MULTI_STEP_ITEMS * languages)


def _said(row: PaperRow2) -> str:
    return f"{row.accuracy[_TURN]:.2f} and {row.accuracy[_STEP]:.2f}"


def _swapped(row: PaperRow2) -> Finding:
    turn, step = count_of(row.accuracy[_STEP], MULTI_TURN_ITEMS), count_of(row.accuracy[_TURN], MULTI_STEP_ITEMS)
    odd = [
        f"{row.accuracy[column]:.2f} is no count of {items}"
        for column, items in ((_TURN, MULTI_TURN_ITEMS), (_STEP, MULTI_STEP_ITEMS))
        if not is_count(row.accuracy[column], items)
    ]
    follows = f"multi-turn {turn}/{MULTI_TURN_ITEMS}, multi-step {step}/{MULTI_STEP_ITEMS}"
    return Finding(
        "headers", 2, row.name, _COLUMN, _said(row), follows, f"{'; '.join(odd)}: the two headers are swapped"
    )


def _against(row: PaperRow2, others: int) -> Finding:
    turn, step = count_of(row.accuracy[_TURN], MULTI_TURN_ITEMS), count_of(row.accuracy[_STEP], MULTI_STEP_ITEMS)
    follows = f"multi-turn {turn}/{MULTI_TURN_ITEMS}, multi-step {step}/{MULTI_STEP_ITEMS}"
    why = f"whole counts only as printed, while {others} rows need the headers swapped: no one order fits all rows"
    return Finding("headers", 2, row.name, _COLUMN, _said(row), follows, why)


def _neither(row: PaperRow2) -> Finding:
    why = f"no counts of {MULTI_TURN_ITEMS} and {MULTI_STEP_ITEMS} tasks, in neither order of the headers"
    return Finding("headers", 2, row.name, _COLUMN, _said(row), "", why)


def acebench_notes(rows: Sequence[PaperRow2]) -> list[Note]:
    """Rows that fit both orders, and what pooling English and Chinese tasks would explain."""
    both = [row.name for row in rows if _fits(row, False) and _fits(row, True)]
    notes = [Note("Table 2, ACEBench", f"Rows that fit both orders of the headers: {', '.join(both) or 'none'}.")]
    pooled = [order for order in (False, True) if all(_fits(row, order, languages=2) for row in rows)]
    turns, steps = 2 * MULTI_TURN_ITEMS, 2 * MULTI_STEP_ITEMS
    if pooled == [True]:
        counts = [count_of(row.accuracy[c], n) or 0 for row in rows for c, n in ((_TURN, steps), (_STEP, turns))]
        found = [count for count in counts if count]
        even = sum(count % 2 == 0 for count in found)
        chance = sum(comb(len(found), k) for k in range(even, len(found) + 1)) / 2 ** len(found)
        text = (
            f"English and Chinese tasks pooled ({turns} multi-turn, {steps} multi-step) with the headers swapped in every "
            f"row fit all cells; but then {even} of the {len(found)} counts that are not 0 are even (by chance {chance:.1%})."
        )
    elif pooled:
        text = f"English and Chinese tasks pooled ({turns} multi-turn, {steps} multi-step) fit all cells as printed."
    else:
        text = (
            f"English and Chinese tasks pooled ({turns} multi-turn, {steps} multi-step) fit all cells in neither order."
        )
    notes.append(Note("Table 2, ACEBench", text))
    notes.append(Note("Table 2, ACEBench", "The numbers cannot tell which of the two languages was run."))
    return notes
