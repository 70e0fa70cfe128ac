"""The figure of the claims: of each the held-out measure over optimizer steps, on both sides, with the verdict.

It is drawn from what `envtune claims` wrote into the results: claims.json and curves.csv.gz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from envtune.errors import EnvtuneError
from envtune.figures.lines import INTERVAL, LEAST_SEEDS, draw_interval
from envtune.figures.style import BLUE, GREEN, GREY, PURPLE, VERMILLION, Look, new_figure
from envtune.run_record.reading import read_object

CLAIMS = "claims"  # what the figure is called
_FILE, _VALIDATIONS = "claims.json", "curves.csv.gz"
_LOOKS = MappingProxyType(
    {
        "full": Look(BLUE, "o", "-"),
        "binary-reward": Look(VERMILLION, "s", (0, (5, 1.5))),
        "no-augmentation": Look(GREEN, "^", (0, (5, 1.5, 1, 1.5))),
        "single-stage": Look(PURPLE, "D", (0, (1.5, 1))),
    }
)
_UNITS = MappingProxyType({"format": "format reward (0 to 2)", "progress": "progress (0 to 1)"})
_PANEL = 2.2  # inches


def read_claims(folder: Path) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """claims.json, and the validations in curves.csv.gz with a task's values averaged: columns run, arm, seed, stage, step,
    overall_step and the measures. None where the results have no claims. Raises EnvtuneError on a file that cannot be read."""
    claims = read_object(folder / _FILE)
    if claims is None or not (folder / _VALIDATIONS).is_file():
        return None
    try:
        rows = pd.read_csv(folder / _VALIDATIONS).drop(columns=["task", "done"])
        keys = ["run", "arm", "seed", "stage", "step", "overall_step"]
        table = rows.groupby(keys, sort=False, as_index=False).mean()
        _check(claims, table)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise EnvtuneError(
            f"the claims in {folder} cannot be read ({error!r}); `envtune claims` writes them anew"
        ) from error
    return claims, table


def _check(claims: Mapping[str, Any], table: pd.DataFrame) -> None:
    """Raises KeyError or TypeError where something is missing that the figure shows."""
    for name in ("profile", "registration"):
        claims["origin"][name]
    for claim in claims["claims"]:
        for name in ("claim", "what", "verdict", "counts", "stage", "other"):
            claim[name]
        table[claim["measure"]]


def claims_figure(claims: Mapping[str, Any], validations: pd.DataFrame) -> tuple[Figure, str]:
    """A panel a claim, and the caption; claims, validations: of `read_claims`."""
    counted = [claim for claim in claims["claims"] if claim["counts"]]
    rows = [counted[start : start + 2] for start in range(0, len(counted), 2)]
    names = [[str(claim["claim"]) for claim in row] for row in rows]
    names = [row if len(row) == 2 else [*row, "."] for row in names]
    caption = _caption(counted, claims["origin"])
    figure = new_figure(
        0.55 + _PANEL * len(rows), f"The claims on held-out tasks: profile {claims['origin']['profile']}", caption
    )
    panels = figure.subplot_mosaic([["legend", "legend"], *names], height_ratios=[0.12, *(1 for _ in rows)])
    for claim in counted:
        _draw(panels[str(claim["claim"])], claim, validations)
    panels["legend"].axis("off")
    entries = {
        label: handle
        for claim in counted
        for handle, label in zip(*panels[str(claim["claim"])].get_legend_handles_labels(), strict=True)
    }
    legend = panels["legend"].legend(
        entries.values(), entries.keys(), loc="center left", ncols=4, borderaxespad=0, borderpad=0, handlelength=3
    )
    legend.set_in_layout(False)
    return figure, caption


def _draw(axes: Axes, claim: Mapping[str, Any], validations: pd.DataFrame) -> None:
    p = f", p = {claim['p']:.2g}" if "p" in claim else ""
    axes.set_title(f"({claim['claim']}) {claim['what']}\n{claim['verdict']}{p}")
    seeds = _seeds(claim)
    chosen = validations[validations["seed"].isin(seeds)]
    if claim["stage"] is not None:
        chosen = chosen[chosen["stage"] == claim["stage"]]
    if not len(chosen) or not seeds:
        axes.axis("off")
        axes.text(0, 0.9, "no finished runs to compare", transform=axes.transAxes, va="top", color=GREY)
        return
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(_UNITS.get(claim["measure"], claim["measure"]))
    for arm in ("full", claim["other"]):
        if arm is not None:
            of_arm = chosen[chosen["arm"] == arm]
            draw_interval(
                axes, of_arm.assign(x=of_arm["overall_step"], value=of_arm[claim["measure"]]), _LOOKS[arm], f"arm {arm}"
            )
    axes.margins(x=0.04)
    low, high = axes.dataLim.y0, axes.dataLim.y1
    height = (high - low) or 1.0
    axes.set_ylim(low - 0.08 * height, high + 0.2 * height)  # room above for the stages' names
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    _mark_stages(axes, chosen[chosen["arm"] == "full"])


def _mark_stages(axes: Axes, rows: pd.DataFrame) -> None:
    """A line where each stage of `full` begins, and its name; where seeds differ, at their median."""
    starts = (rows["overall_step"] - rows["step"]).groupby(rows["stage"]).median()
    for stage, start in starts.items():
        axes.axvline(start, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.5)
        axes.annotate(
            str(stage), (start, 1), xycoords=("data", "axes fraction"), xytext=(2, -1), textcoords="offset points", va="top",
            fontsize=6.5, color=GREY, zorder=5,
        )  # fmt: skip


def _seeds(claim: Mapping[str, Any]) -> list[int]:
    """The seeds that the claim's numbers are of."""
    return sorted(int(seed) for seed in claim.get("seeds", {}))


def _caption(claims: Sequence[Mapping[str, Any]], origin: Mapping[str, Any]) -> str:
    registered = f" The rule was fixed before the runs ({origin['registration']})." if origin["registration"] else ""
    seeds = [f"({claim['claim']}) {', '.join(map(str, _seeds(claim)))}" for claim in claims if _seeds(claim)]
    return (
        "Mean over the held-out tasks. Thin: one seed; thick, with marks: the mean over seeds; band: its "
        f"{100 * INTERVAL:g} % t interval over seeds, from {LEAST_SEEDS} seeds on. Dashed vertical lines: a stage of the arm full begins; "
        "a line begins anew where a stage was validated before its first step. "
        "Drawn are the runs that are compared. "
        f"Seeds: {'; '.join(seeds) or 'none'}.{registered}"
    )
