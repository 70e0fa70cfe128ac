"""What stands below a block of Table 2 and is no accuracy of all items: a suite's own figures, from its summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envtune.evaluation.upstream.serve import DUMP_CHARACTERS
from envtune.tables.rows import Row

_SEARCHED = ("bfcl-memory", "bfcl-web-search")  # suites whose checker looks for the answer in the last message


def beside(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    """A paragraph for each kind of figure that one of the rows has, each after an empty line.

    titles: stratum -> what it is called. Figures of several runs are sums, medians the range of the runs' medians.
    """
    paragraphs = (
        (
            "The checker searches the whole last message, so that a long one can pass by holding everything it was told",
            [_answers(row) for row in rows],
        ),
        ("Calls of web tools that the recording could answer", [_cassette(row) for row in rows]),
        ("Without the items that are known to be defective", [_sound(row, titles) for row in rows]),
    )
    lines = []
    for head, said in paragraphs:
        if any(said):
            told = (f"{row.checkpoint}: {one}" for row, one in zip(rows, said, strict=True) if one)
            lines += ["", f"{head}. {'; '.join(told)}."]
    return lines


def _of(row: Row, name: str) -> list[Mapping[str, Any]]:
    """This figure of each run that has it."""
    return [run.summary[name] for run in row.runs if run.summary.get(name)]


def _answers(row: Row) -> str:
    said = _of(row, "answers")
    if not said or row.runs[0].suite not in _SEARCHED:
        return ""
    medians = sorted({one["median_characters"] for one in said})
    between = " to ".join(f"{value:g}" for value in ([*medians[:1], *medians[-1:]] if len(medians) > 1 else medians))
    return f"median {between} characters, {sum(one['dumps'] for one in said)} of more than {DUMP_CHARACTERS:,}"


def _cassette(row: Row) -> str:
    said = _of(row, "cassette")
    if not said:
        return ""
    hits, misses = (sum(one[name] for one in said) for name in ("hits", "misses"))
    return f"{hits} of {hits + misses}, {misses} missed"


def _sound(row: Row, titles: Mapping[str, str]) -> str:
    said = _of(row, "without_known_defects")
    counts = {title: [one[stratum] for one in said if stratum in one] for stratum, title in titles.items()}
    return ", ".join(
        f"{title.lower()} {sum(one['passed'] for one in of_it)}/{sum(one['passed'] + one['failed'] for one in of_it)}"
        for title, of_it in counts.items()
        if of_it
    )
