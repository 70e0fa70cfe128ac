"""Lines over the steps of one or several runs: raw values, the smoothed curve, and the band over seeds."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from envtune.figures.style import Look

SPAN = 10  # steps, of the exponentially weighted mean
INTERVAL = 0.95
LEAST_SEEDS = 3  # for an interval over them: from two it is too wide to say anything
_FEW = 5  # points of a stage up to which each is marked


def how(seeds: int) -> str:
    """How the lines are drawn, in sentences for a caption. seeds: how many there are of an arm at the most."""
    of_one = (
        f"Thick: exponentially weighted mean (span {SPAN} steps, so about {SPAN // 2} behind; begun anew in each stage); thin: "
        "the values themselves."
    )
    of_several = (
        " Of several seeds thick is the mean of their smoothed curves as far as all that ran the stage went, and the band is "
        "from the lowest of them to the highest."
    )
    return of_one + (of_several if seeds > 1 else "")


def smoothed(values: pd.Series) -> pd.Series:
    """The exponentially weighted mean of one run's values in one stage, in order of the steps; NaN where the value is."""
    return values.ewm(span=SPAN).mean().where(values.notna())


def over_seeds(curves: pd.DataFrame) -> pd.DataFrame:
    """Columns mean, low, high by `x`, of smoothed curves of one stage, a run a column of values: only where all of them
    have a value. curves: columns run, x, value."""
    wide = curves.pivot(index="x", columns="run", values="value").sort_index().apply(smoothed)
    return pd.DataFrame(
        {
            "mean": wide.mean(axis=1, skipna=False),
            "low": wide.min(axis=1, skipna=False),
            "high": wide.max(axis=1, skipna=False),
        }
    )


def draw(axes: Axes, curves: pd.DataFrame, look: Look, label: str | None = None) -> None:
    """Draw one metric of one or several runs, each stage a line of its own. curves: columns run, stage, x, value.
    label: for the legend."""
    for _, stage in curves.groupby("stage", sort=False):
        few = stage["x"].nunique() <= _FEW
        for _, run in stage.groupby("run", sort=False):
            run = run.sort_values("x")
            axes.plot(run["x"], run["value"], color=look.color, alpha=0.3, linewidth=0.6, zorder=2)
        both = over_seeds(stage)
        style = {"marker": look.marker, "markersize": 4} if few else {}
        axes.plot(
            both.index,
            both["mean"],
            color=look.color,
            linestyle=look.line,
            linewidth=1.5,
            label=label,
            zorder=3,
            **style,
        )
        if stage["run"].nunique() > 1:
            axes.fill_between(
                both.index, both["low"], both["high"], color=look.color, alpha=0.18, linewidth=0, zorder=1
            )
        label = None  # one entry in the legend for all stages


def interval_over_seeds(curves: pd.DataFrame) -> pd.DataFrame:
    """Columns mean, low, high by `x`: the mean over runs, and its t interval, NaN with fewer than `LEAST_SEEDS` runs.
    curves: of one line, columns run, x, value; only where all of the runs have a value."""
    wide = curves.pivot(index="x", columns="run", values="value").sort_index().dropna()
    runs = wide.shape[1]
    half = stats.t.ppf((1 + INTERVAL) / 2, runs - 1) * wide.sem(axis=1) if runs >= LEAST_SEEDS else float("nan")
    mean = wide.mean(axis=1)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})


def draw_interval(axes: Axes, curves: pd.DataFrame, look: Look, label: str | None = None) -> None:
    """Draw one measure of an arm as it is: runs thin, their mean thick, its interval as a band. A stage that was measured before
    its first step begins a line, another goes on with the line of the stage before it.

    curves: columns run, step (of the stage), x, value, in order; label: for the legend."""
    number = curves["step"].eq(0).groupby(curves["run"]).cumsum()
    for _, line in curves.groupby(number):
        for _, run in line.groupby("run", sort=False):
            axes.plot(run["x"], run["value"], color=look.color, alpha=0.35, linewidth=0.6, zorder=2)
        both = interval_over_seeds(line)
        axes.plot(
            both.index, both["mean"], color=look.color, linestyle=look.line, marker=look.marker, markersize=3.5, linewidth=1.5,
            label=label, zorder=3,
        )  # fmt: skip
        axes.fill_between(both.index, both["low"], both["high"], color=look.color, alpha=0.15, linewidth=0, zorder=1)
        label = None  # one entry in the legend for all lines
