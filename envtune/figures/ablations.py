"""The paper's ablation figures: the points read off what it published, and the runs of ours that there are.

Each panel is validation accuracy over the optimizer steps of one stage, as in the paper: base in stage 2, the harder
categories in stage 3; the ablation of the curriculum is the mean over categories in its single stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from envtune.errors import EnvtuneError
from envtune.figures.lines import draw, how
from envtune.figures.style import BLUE, VERMILLION, Look, new_figure
from envtune.profile import Profile

READ_OFF = 0.01  # how good the points are that were read off the published curves by eye (results/paper/README.md)
_COLUMNS = ("figure", "panel", "arm", "stage", "step", "validation_accuracy_read_off", "source")
_TITLES = MappingProxyType(
    {
        "augmentation": "Ablation of the augmented environment",
        "reward": "Ablation of the progress reward",
        "curriculum": "Ablation of the curriculum",
    }
)
_CATEGORIES = MappingProxyType(
    {
        "Base": "accuracy/base",
        "Missing Functions": "accuracy/miss_func",
        "Missing Parameters": "accuracy/miss_param",
        "Long Context": "accuracy/long_context",
        "Average": "accuracy",
    }
)
_METHOD, _ABLATED = Look(BLUE, "o", "-"), Look(VERMILLION, "s", (0, (5, 1.5)))


@dataclass(frozen=True)
class _Arm:
    """An arm as the paper calls it, as `envtune.curriculum.ARMS` does, and how it is drawn."""

    paper: str
    ours: str
    look: Look


_ARMS: Mapping[str, tuple[_Arm, ...]] = MappingProxyType(
    {
        "augmentation": (
            _Arm("with augmentation", "full", _METHOD),
            _Arm("without augmentation", "no-augmentation", _ABLATED),
        ),
        "reward": (_Arm("progress", "full", _METHOD), _Arm("binary", "binary-reward", _ABLATED)),
        "curriculum": (_Arm("single stage", "single-stage", _ABLATED),),
    }
)
FIGURES = tuple(_ARMS)


def paper_points(path: Path) -> pd.DataFrame:
    """The points of results/paper/figures.csv, with its columns. Raises EnvtuneError when it cannot be read."""
    try:
        points = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); restore it from the repository") from error
    if missing := [column for column in _COLUMNS if column not in points]:
        raise EnvtuneError(f"{path} lacks the column {missing[0]}; restore it from the repository")
    return points


def ablation_figure(name: str, points: pd.DataFrame, curves: pd.DataFrame, profile: Profile) -> tuple[Figure, str]:
    """One of `FIGURES` and its caption. points: of `paper_points`; curves: of `envtune.figures.curves.read_curves`."""
    points = points[points["figure"] == name]
    panels = list(dict.fromkeys(points["panel"]))
    shown = [_ours(curves, arm, panels, points) for arm in _ARMS[name]]
    caption = _caption(name, points, shown, profile)
    title = _TITLES[name] + ("" if any(len(one) for one in shown) else ": the paper's points alone, no run of ours")
    columns = min(len(panels), 2)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    figure = new_figure(0.75 + 2.0 * len(rows), title, caption)
    named = figure.subplot_mosaic([["legend"] * columns, *rows], height_ratios=[0.16, *(1 for _ in rows)])
    for panel in panels:
        _draw_panel(named[panel], name, panel, points[points["panel"] == panel], shown)
    named["legend"].axis("off")
    entries = _legend([named[panel] for panel in panels])
    legend = named["legend"].legend(
        entries.values(), entries.keys(), loc="center left", ncols=2, borderaxespad=0, borderpad=0
    )
    legend.set_in_layout(False)  # constrained layout would take room from the panels for the wider of the two
    return figure, caption


def _ours(curves: pd.DataFrame, arm: _Arm, panels: Sequence[str], points: pd.DataFrame) -> pd.DataFrame:
    """What our runs of this arm reported of the panels' categories in the panels' stages, with a column `panel`."""
    parts = []
    for panel in panels:
        metric, stage = _CATEGORIES[panel], _stage(points[points["panel"] == panel])
        chosen = curves[(curves["arm"] == arm.ours) & (curves["metric"] == metric) & (curves["stage"] == stage)]
        parts.append(chosen.assign(panel=panel, x=chosen["step"]))
    return pd.concat(parts)


def _stage(points: pd.DataFrame) -> str:
    """The stage of a panel, by our name: the figure of the curriculum has the single stage alone."""
    return "single" if points["figure"].iloc[0] == "curriculum" else f"stage{points['stage'].iloc[0]}"


def _draw_panel(axes: Axes, name: str, panel: str, points: pd.DataFrame, shown: Sequence[pd.DataFrame]) -> None:
    for arm, ours in zip(_ARMS[name], shown, strict=True):
        published = points[points["arm"] == arm.paper]
        axes.errorbar(
            published["step"], published["validation_accuracy_read_off"], yerr=READ_OFF, label=f"paper: {arm.paper} "
            f"(read off, ±{READ_OFF})", color=arm.look.color, marker=arm.look.marker,
            markerfacecolor="white", markersize=5, linestyle=(0, (1, 2)), linewidth=0.9, elinewidth=0.9, capsize=2, zorder=4,
        )  # fmt: skip
        of_panel = ours[ours["panel"] == panel]
        if len(of_panel):
            seeds = of_panel["seed"].nunique()
            draw(axes, of_panel, arm.look, f"ours: {arm.ours}, {seeds} seed{'s' if seeds > 1 else ''}")
    stage = _stage(points)
    axes.set_title(f"{panel}, {stage.replace('stage', 'stage ') if stage != 'single' else 'single stage'}")
    axes.set_xlabel("optimizer step of the stage")
    axes.set_ylabel("validation accuracy (share)")
    axes.margins(x=0.04)
    top = 1.12 * axes.dataLim.y1
    axes.set_ylim(-0.03 * top, top)  # a mark at zero is whole


def _legend(panels: Sequence[Axes]) -> dict[str, Artist]:
    """Label -> handle over all panels, the paper's first."""
    pairs = [pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    return {label: handle for handle, label in sorted(pairs, key=lambda pair: not str(pair[1]).startswith("paper"))}


def _caption(name: str, points: pd.DataFrame, shown: Sequence[pd.DataFrame], profile: Profile) -> str:
    said = [
        f"Hollow: single points read off by eye from the paper's curves ({points['source'].iloc[0]}), good to about {READ_OFF}; "
        "the dotted line only joins them."
    ]
    missing = [arm.ours for arm, ours in zip(_ARMS[name], shown, strict=True) if not len(ours)]
    if len(missing) < len(shown):
        seeds = max(ours["seed"].nunique() for ours in shown)
        tasks = profile.tasks.ids("validation")
        number = "the whole validation set" if tasks is None else f"{len(tasks)} validation tasks"
        said.append(
            f"Filled: our runs with profile {profile.name}, {number}; not the paper's, whose ids are not published. {how(seeds)}"
        )
    if missing:
        said.append(f"No run of ours yet: {', '.join(missing)} (profile {profile.name}).")
    return " ".join(said)
