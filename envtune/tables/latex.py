"""A table's grids as LaTeX, for a paper: one `table` a grid, with the rules of the package booktabs.

Include with \\input; the preamble needs \\usepackage{booktabs}, and \\usepackage{graphicx} for tables wider than the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from envtune.tables.markdown import Grid

# what the tables' words have outside ASCII, as any LaTeX engine sets it
_SYMBOLS = MappingProxyType({"±": r"$\pm$", "−": "$-$", "–": "--", "—": "---", "×": r"$\times$", "τ": r"$\tau$"})
_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "`": "",
        "\n": " ", "\r": " ",
    }
)  # fmt: skip


def latex(name: str, grids: Sequence[Grid]) -> str:
    """A LaTeX file. name: of the table, for labels and the first line."""
    lines = [
        f"% Written by `make tables` ({name}); do not edit. Needs \\usepackage{{booktabs,graphicx}}.",
        *(line for number, grid in enumerate(grids, start=1) for line in ("", *_table(grid, f"tab:{name}-{number}"))),
    ]
    return "\n".join(lines) + "\n"


def _table(grid: Grid, label: str) -> list[str]:
    import pandas as pd  # here, as it takes its time and other commands read this package too

    frame = pd.DataFrame([[plain(cell) for cell in row] for row in grid.rows], columns=[plain(h) for h in grid.head])
    columns = "l" * grid.left + "r" * (len(grid.head) - grid.left)
    tabular = frame.to_latex(index=False, escape=False, column_format=columns).rstrip("\n")
    return [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{plain(grid.title)}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        tabular + "}",
        *(rf"\par\smallskip\raggedright\footnotesize {plain(line)}" for line in grid.below),
        r"\end{table}",
    ]


def plain(text: str) -> str:
    """Text that LaTeX sets as it stands. What no engine is sure to have is written as its code point."""
    escaped = text.translate(_SPECIAL)
    for symbol, command in _SYMBOLS.items():
        escaped = escaped.replace(symbol, command)
    ascii_only = "".join(c if c.isascii() and c.isprintable() else f"[U+{ord(c):04X}]" for c in escaped)
    # after a line's end a bracket would be an argument of \\
    return f"{{}}{ascii_only}" if ascii_only.startswith("[") else ascii_only
