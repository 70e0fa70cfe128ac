"""The training curves of one arm: its stages one after another, over all seeds that there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from envtune.curriculum import ARMS
from envtune.figures.lines import draw, how
from envtune.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    Look,
    new_figure,
)  # fmt: skip
from envtune.profile import Profile

_CATEGORIES = MappingProxyType(
    {
        "accuracy/base": ("Base", Look(BLUE, "o", "-")),
        "accuracy/miss_func": ("Missing functions", Look(VERMILLION, "s", (0, (5, 1.5)))),
        "accuracy/miss_param": ("Missing parameters", Look(GREEN, "^", (0, (5, 1.5, 1, 1.5)))),
        "accuracy/long_context": ("Long context", Look(PURPLE, "D", (0, (1.5, 1)))),
    }
)
_OTHER = Look(BLACK, "x", "-")
# metric -> title and unit
_PANELS = MappingProxyType(
    {
        "reward": ("Reward (0 to 2 in stage 1, then 0 to 1)", "mean"),
        "grad_norm": ("Gradient norm, before clipping", "norm"),
        "kl": ("KL to the stage's start", "nats a token"),
        "format_rate": ("Format rate: well-formed replies", "share of replies"),
        "tool_error_rate": ("Tool-error rate: failed calls", "share of calls"),
        "hint_rate": ("Hint rate", "hints a reply"),
        "response_length": ("Response length of an episode", "tokens"),
        "idle_share": ("Rollout time spent waiting", "share of rollout"),
    }
)
# parts of `envtune.training.time_split`, of which small ones go together
_PARTS = MappingProxyType(
    {
        "generation": ("generation", BLUE, ("generation",)),
        "environment": ("environment, tokens, reward", SKY, ("environment", "tokenisation", "reward")),
        "waiting": ("waiting for the longest episode", YELLOW, ("waiting",)),
        "log_probs": ("log-probabilities", GREEN, ("log_probs",)),
        "update": ("update", VERMILLION, ("update",)),
        "validation": ("validation", PURPLE, ("validation",)),
        "other": ("weights, checkpoint, other", "#b3b3b3", ("weights", "checkpoint", "other")),
    }
)
_WIDE = 50  # a metric of positive values whose highest is so many times its lowest gets a logarithmic axis


def training_figure(curves: pd.DataFrame, profile: Profile) -> tuple[Figure, str] | None:
    """The training curves of the profile's arm and their caption; None where no run of it has reported a step.

    curves: of `envtune.figures.curves.read_curves`.
    """
    curves = curves[curves["arm"] == profile.arm]
    if curves.empty:
        return None
    offsets, end = _offsets(curves)
    curves = curves.assign(
        x=[offsets[stage] + max(step, 0.5) for stage, step in zip(curves["stage"], curves["step"], strict=True)]
    )
    caption = _caption(curves, profile)
    figure = new_figure(9.4, f"Training curves: profile {profile.name}, arm {profile.arm}", caption)
    names = [["accuracy", "accuracy"], *np.array(list(_PANELS)).reshape(-1, 2).tolist(), ["seconds", "seconds"]]
    panels = figure.subplot_mosaic(names, height_ratios=[1.25, 1, 1, 1, 1, 1.25])
    _draw_accuracy(panels["accuracy"], curves)
    for metric, (title, unit) in _PANELS.items():
        _draw_metric(panels[metric], curves[curves["metric"] == metric], title, unit)
    _draw_seconds(panels["seconds"], curves)
    for name, axes in panels.items():
        _mark_stages(axes, offsets, end, full_names=name in ("accuracy", "seconds"))
    for name in ("response_length", "idle_share", "seconds"):
        panels[name].set_xlabel("optimizer step, stages one after another")
    figure.align_ylabels(list(panels.values()))
    return figure, caption


def _offsets(curves: pd.DataFrame) -> tuple[dict[str, int], int]:
    """Where each stage that was begun starts on the common axis, and where the last one ends: a stage takes as many steps
    as the longest of the runs had in it."""
    longest = curves.groupby("stage")["step"].max()
    offsets, end = {}, 0
    for stage in ARMS[str(curves["arm"].iloc[0])].stages:
        if stage.name in longest:
            offsets[stage.name] = end
            end += int(longest[stage.name])
    return offsets, end


def _mark_stages(axes: Axes, offsets: Mapping[str, int], end: int, full_names: bool) -> None:
    """A line where a stage begins, between two steps, and its name above. Narrow panels have the number alone."""
    for name, start in offsets.items():
        if start:
            axes.axvline(start + 0.5, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.5)
        text = name if full_names else name.removeprefix("stage")
        axes.annotate(
            text, (start + 0.5, 1), xycoords=("data", "axes fraction"), xytext=(2, -1), textcoords="offset points",
            va="top", fontsize=6.5, color=GREY, zorder=5,
        )  # fmt: skip
    axes.set_xlim(0.5 - 0.01 * end, end + 0.5 + 0.01 * end)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8 if full_names else 5, min_n_ticks=1))


def _draw_accuracy(axes: Axes, curves: pd.DataFrame) -> None:
    axes.set_title("Validation accuracy")
    axes.set_ylabel("share of tasks passed")
    metrics = [name for name in dict.fromkeys(curves["metric"]) if name.startswith("accuracy/")]
    known = [name for name in _CATEGORIES if name in metrics]
    for metric in known + [name for name in metrics if name not in _CATEGORIES]:
        label, look = _CATEGORIES.get(metric, (metric.removeprefix("accuracy/"), _OTHER))
        draw(axes, curves[curves["metric"] == metric], look, label)
    if metrics:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=4,
            borderaxespad=0.1,
            handlelength=2.2,
            columnspacing=1.0,
            fontsize=7,
        )
        _room_for_names(axes)
    else:
        _say_none(axes)


def _draw_metric(axes: Axes, curves: pd.DataFrame, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(unit)
    values = curves["value"].dropna()
    if values.empty:
        _say_none(axes)
        return
    draw(axes, curves, Look(BLUE))
    if values.min() > 0 and values.max() > _WIDE * values.min():
        axes.set_yscale("log")
        axes.set_ylabel(f"{unit} (log)")
    else:
        _room_for_names(axes)


def _draw_seconds(axes: Axes, curves: pd.DataFrame) -> None:
    """Stacked seconds of each step, the mean over the runs that had it."""
    axes.set_title("Where a step's time goes")
    axes.set_ylabel("seconds a step")
    seconds = curves[curves["metric"].str.startswith("seconds/")]
    if seconds.empty:
        _say_none(axes)
        return
    trained = seconds[seconds["step"] > 0]
    table = trained.pivot_table(index="x", columns="metric", values="value", aggfunc="mean")
    table = table.reindex(np.arange(1, int(table.index.max()) + 1))
    edges = np.arange(0.5, len(table) + 1)
    below = np.zeros(len(table))
    for label, color, parts in _PARTS.values():
        columns = [f"seconds/{part}" for part in parts if f"seconds/{part}" in table]
        if columns:
            above = below + table[columns].sum(axis=1, min_count=1).to_numpy()
            axes.stairs(above, edges, baseline=below, fill=True, color=color, label=label, linewidth=0)
            below = above
    axes.set_ylim(0, 1.2 * float(np.nanmax(below)) or 1)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.36), ncols=3, borderaxespad=0, columnspacing=1.5)


def _room_for_names(axes: Axes) -> None:
    """Above the values room for the stages' names, below them for a mark."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    height = (high - low) or abs(high) or 1.0
    axes.set_ylim(low - 0.08 * height, high + 0.2 * height)


def _say_none(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not reported", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yticks([])


def _caption(curves: pd.DataFrame, profile: Profile) -> str:
    runs = curves.drop_duplicates("run").sort_values("seed")
    seeds = ", ".join(str(seed) for seed in runs["seed"])
    return (
        f"{'Seeds' if len(runs) > 1 else 'Seed'} {seeds}. A dashed vertical line is where a stage begins; a stage takes as many steps as the "
        f"longest run had in it; a validation before its first step stands on the line. {how(len(runs))} Seconds are not smoothed"
        f"{', and of several seeds they are the mean of those that had the step' if len(runs) > 1 else ''}."
    )
