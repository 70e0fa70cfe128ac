"""An audit of the paper's figures as text: on the terminal, and its findings as a Markdown table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from envtune.tables.audit import Audit
from envtune.tables.markdown import grid

_HEADS = ("Where", "Printed", "Follows", "Why")


def print_audit(told: Audit, console: Console) -> None:
    """The findings as a table, then the notes."""
    number = len(told.findings)
    title = f"{number} printed {'figure does' if number == 1 else 'figures do'} not add up"
    table = Table(*(Column(head, overflow="fold") for head in _HEADS), title=title, show_lines=True)
    for one in told.findings:
        table.add_row(one.where, one.printed, one.follows, one.why)
    console.print(table if told.findings else "Every printed figure adds up.")
    console.print()
    for note in told.notes:
        console.print(f"{note.about}: {note.text}", markup=False)


def findings_markdown(told: Audit) -> str:
    """The findings as in results/paper/README.md."""
    rows = [[one.where, one.printed, one.follows, one.why] for one in told.findings]
    return "\n".join(grid(_HEADS, rows, left=len(_HEADS))) + "\n"
