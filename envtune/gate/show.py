"""What the gate found, for people on the terminal, for a pull request as GitHub's Markdown, for programs as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from envtune.errors import EnvtuneError
from envtune.tables.markdown import grid

SCHEMA_VERSION = 1
SHOWN = 20  # lost items that are listed; the JSON has all
_RESERVED = "\\`*_{}[]<>#|~"


@dataclass(frozen=True)
class Shown:
    """A report before it is laid out. kind: records | paper | training | speed; sentence: the decision; head, rows: a table
    whose first column is words; marked: numbers of the rows that are regressions; above, below: lines; items: what is
    listed under `items_title`; value: everything as JSON values."""

    kind: str
    regressed: bool
    sentence: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    items_title: str = ""
    items: Sequence[str] = ()
    value: Mapping[str, Any] = field(default_factory=dict)


def print_shown(shown: Shown, console: Console) -> None:
    """To the terminal."""
    for line in shown.above:
        console.print(Text(plain(line)), soft_wrap=True)
    table = Table()
    for number, name in enumerate(shown.head):
        words = number in (0, len(shown.head) - 1)
        table.add_column(Text(name), justify="left" if words else "right", overflow="fold")
    for number, row in enumerate(shown.rows):
        table.add_row(*(Text(plain(cell), style="red" if number in shown.marked else "") for cell in row))
    console.print(table)
    for line in shown.below:
        console.print(Text(plain(line)), soft_wrap=True)
    if shown.items:
        console.print(Text(plain(f"{shown.items_title}:")), soft_wrap=True)
        for item in _first(shown):
            console.print(Text(plain(f"  {item}")), soft_wrap=True)
    style = "bold red" if shown.regressed else "bold green"
    console.print(Text(plain(shown.sentence), style=style), soft_wrap=True)


def markdown(shown: Shown) -> str:
    """The same as GitHub-flavoured Markdown, with an empty line at its end."""
    lines = [f"### Regression gate: {shown.kind}", "", f"**{_cell(shown.sentence)}**", ""]
    lines += [*grid(list(shown.head), shown.rows, left=1, escape=_cell), ""]
    lines += [f"- {_cell(line)}" for line in (*shown.below, *shown.above)]
    if shown.items:
        lines += ["", f"<details><summary>{_cell(shown.items_title)}</summary>", ""]
        lines += [f"- {_cell(item)}" for item in _first(shown)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n\n"


def as_json(shown: Shown) -> dict[str, Any]:
    """All of it as JSON values: {"schema", "kind", "regressed", "sentence", and the report's own}; shares in 0..1."""
    head = {"schema": SCHEMA_VERSION, "kind": shown.kind, "regressed": shown.regressed, "sentence": shown.sentence}
    value: dict[str, Any] = _jsonable({**head, **shown.value})
    return value


def refusal(sentence: str) -> str:
    """That nothing was compared, and why, as Markdown."""
    return f"### Regression gate: nothing compared\n\n**{_cell(sentence)}**\n\n"


def append(path: Path, text: str) -> None:
    """Add to the end of a file, as GitHub asks of $GITHUB_STEP_SUMMARY. Raises EnvtuneError where that cannot be."""
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise EnvtuneError(f"{path} cannot be written ({error.strerror}); name another file with --summary") from error


def plain(text: str) -> str:
    """One line without control characters: names come out of files."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _first(shown: Shown) -> list[str]:
    more = len(shown.items) - SHOWN
    return [*shown.items[:SHOWN], *([f"and {more} more; --json FILE has all"] if more > 0 else [])]


def _cell(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in _RESERVED else letter for letter in plain(text))


def _jsonable(value: Any) -> Any:
    """Paths as text, NumPy's numbers as Python's, tuples as lists; what is not finite is null."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(inner) for inner in value]
    if hasattr(value, "item"):
        return _jsonable(value.item())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
