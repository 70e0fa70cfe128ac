"""`envtune defects`: the list of known defects on the terminal, a table for each release.

envtune defects --release current
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Column, Table

from envtune.bfcl import CATEGORIES
from envtune.tasks import Defect, known_defects, load_defects


def defects_tables(releases: Sequence[str]) -> Iterator[Table]:
    """One table a release: a row for each group of variants that share a defect. Raises EnvtuneError on another name."""
    listed = load_defects()
    for release in releases:
        defects = known_defects(release)
        unsound = {defect.task_id for defect in defects if defect.kind.unsound}
        table = Table(
            Column("task", overflow="fold"),
            "class",
            Column("what is wrong", ratio=1),
            title=f"Release {release}: {len(unsound)} of {200 * len(CATEGORIES)} tasks are unsound",
            caption=f"List of known defects, version {listed.version} of {listed.date}. Unsound: "
            + ", ".join(kind.name for kind in listed.classes.values() if kind.unsound),
        )
        groups: dict[tuple[str, str, str], list[Defect]] = {}
        for defect in defects:
            groups.setdefault((_number(defect), defect.kind.name, defect.wrong), []).append(defect)
        for (number, kind, wrong), members in groups.items():
            categories = ", ".join(defect.task_id.removeprefix("multi_turn_").rsplit("_", 1)[0] for defect in members)
            style = None if members[0].kind.unsound else "dim"
            table.add_row(f"{number}: {categories}", kind, wrong, style=style)
        yield table


def _number(defect: Defect) -> str:
    return defect.task_id.rsplit("_", 1)[1]
