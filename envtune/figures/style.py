"""How figures look, in one place, and how they are saved.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which readers with any common colour vision
deficiency tell apart; every series also has a marker and a line style of its own.

Text is saved as outlines (`svg.fonttype: path`): a reader without DejaVu Sans would else get another font, in which labels
that fit here overlap. What is lost, searching in the picture, the page gives back with each figure's description.
"""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from envtune.files import atomic_write

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#6b6b6b"
WIDTH = 7.4  # inches: the width of A4 between its margins, so that 8 points stay 8 points on paper
_CAPTION_CHARACTERS = 138  # a line of the caption
_DPI = 200
_RC = MappingProxyType(
    {
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8.0,
        "axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 8.0,
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.axisbelow": True,
        "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#dddddd", "grid.linewidth": 0.5,
        "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
        "legend.fontsize": 7.5, "legend.frameon": False, "figure.titlesize": 10.5, "figure.titleweight": "bold",
        "figure.facecolor": "white", "savefig.facecolor": "white",
        "svg.fonttype": "path", "svg.hashsalt": "envtune",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one series is told apart."""

    color: str
    marker: str = "o"
    line: str | tuple[float, tuple[float, ...]] = "-"


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Within the block figures are made and saved in this style; afterwards matplotlib's settings are as before."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a matplotlibrc or an earlier import had set
        mpl.rcParams.update(_RC)
        yield


def new_figure(height: float, title: str, caption: str) -> Figure:
    """An empty figure, `height` inches without its caption, with the title on top and the caption, wrapped, below."""
    lines = textwrap.wrap(caption, _CAPTION_CHARACTERS)
    figure = Figure(figsize=(WIDTH, height + 0.14 * len(lines)), layout="constrained")
    figure.suptitle(title, x=0.008, ha="left")
    figure.supxlabel("\n".join(lines), x=0.008, ha="left", fontsize=7, color=GREY, linespacing=1.35)
    return figure


def save(figure: Figure, folder: Path, name: str, caption: str) -> list[Path]:
    """Write `folder`/name.svg and name.png, and give their paths. No date or version is in them: with one release of
    matplotlib the same figure gives the same bytes."""
    _fix_layout(figure)
    title = figure.get_suptitle()
    svg = {"Title": title, "Description": caption, "Date": None, "Creator": None}
    written = []
    for suffix, metadata in (("svg", svg), ("png", {"Title": title, "Software": None})):
        content = io.BytesIO()
        figure.savefig(content, format=suffix, metadata=metadata, dpi=_DPI)
        path = folder / f"{name}.{suffix}"
        with atomic_write(path, "wb") as stream:
            stream.write(content.getvalue())
        written.append(path)
    return written


def _fix_layout(figure: Figure) -> None:
    """Lay the figure out once and round where its parts are: the solver's last digits differ from call to call, and the
    names of clip paths are made from them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(value, 6) for value in axes.get_position().bounds])
    for text in figure.findobj(Text, include_self=False):
        if text.figure is figure and text.axes is None:
            text.set_position([round(value, 6) for value in text.get_position()])
