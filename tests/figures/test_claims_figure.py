"""The figure of the claims: what each panel shows, the band over seeds, and that the same results give the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.made_experiment import ENDS, make_experiment
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

from envtune.claims import write_claims
from envtune.errors import EnvtuneError
from envtune.figures import write_figures
from envtune.figures.claims import claims_figure, read_claims
from envtune.figures.lines import draw_interval, interval_over_seeds
from envtune.figures.style import BLUE, VERMILLION, Look, styled
from envtune.profile import Profile, load_profile


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    return load_profile("mini")


def drawn(profile: Profile) -> tuple[Figure, str]:
    write_claims(profile)
    read = read_claims(profile.results_dir)
    assert read is not None
    with styled():
        figure, caption = claims_figure(*read)
        figure.draw_without_rendering()
    return figure, caption


def panel(figure: Figure, number: int) -> mpl.axes.Axes:
    [axes] = [axes for axes in figure.axes if axes.get_title(loc="left").startswith(f"({number})")]
    return axes


def thick(axes: mpl.axes.Axes, colour: str) -> list[list[float]]:
    return [
        list(line.get_ydata())
        for line in axes.lines
        if line.get_linewidth() == 1.5 and to_hex(line.get_color()).lower() == colour.lower()
    ]


def test_a_panel_has_both_arms_stage_by_stage_and_the_verdict(profile: Profile) -> None:
    make_experiment(profile.run_dir.parent)
    figure, caption = drawn(profile)
    axes = panel(figure, 2)
    assert "progress reward against binary reward\nholds, p = " in axes.get_title(loc="left")
    assert len(thick(axes, BLUE)) == len(thick(axes, VERMILLION)) == 4
    assert thick(axes, BLUE)[-1][-1] == pytest.approx(ENDS["full"], abs=0.05)
    assert thick(axes, VERMILLION)[-1][-1] == pytest.approx(ENDS["binary-reward"], abs=0.05)
    assert sum(line.get_linewidth() == 0.6 for line in axes.lines) == 2 * 4 * 3
    assert [text.get_text() for text in axes.texts] == ["stage1", "stage2", "stage3", "stage4"]
    assert [float(text.xy[0]) for text in axes.texts] == [0, 8, 16, 24]
    assert "inconclusive" in panel(figure, 3).get_title(loc="left")
    assert "(1) 1, 2, 3; (2) 1, 2, 3" in caption and "reproduce/mini.md" in caption


def test_claim_1_is_stage_1_of_the_method_alone(profile: Profile) -> None:
    make_experiment(profile.run_dir.parent)
    axes = panel(drawn(profile)[0], 1)
    [line] = thick(axes, BLUE)
    assert line == pytest.approx([0.2, 1.2], abs=0.1) and not thick(axes, VERMILLION)


def test_the_band_is_the_t_interval_and_is_left_out_of_two_seeds() -> None:
    rows = [{"run": run, "x": x, "value": run + x} for run in (1, 2, 4) for x in (0, 8)]
    told = interval_over_seeds(pd.DataFrame(rows))
    low, high = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1, 2, 4]))
    assert told.loc[0].tolist() == pytest.approx([7 / 3, low, high])
    two = interval_over_seeds(pd.DataFrame(rows[:4]))
    assert two["mean"].tolist() == [1.5, 9.5] and np.isnan(two[["low", "high"]].to_numpy()).all()


def test_a_line_goes_on_into_a_stage_that_was_not_measured_before_its_first_step() -> None:
    steps = {"stage1": (0, 8), "stage2": (4,), "stage3": (0, 4)}
    before, rows = 0, []
    for stage, found in steps.items():
        rows += [
            {"run": run, "stage": stage, "step": step, "x": before + step, "value": 1.0}
            for step in found
            for run in (1, 2, 3)
        ]
        before += found[-1]
    _, axes = plt.subplots()
    draw_interval(axes, pd.DataFrame(rows).sort_values("run", kind="stable"), Look(BLUE, "o"))
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 1.5] == [[0, 8, 12], [12, 16]]
    plt.close()


def test_what_was_not_run_and_runs_that_are_not_compared_are_not_drawn(profile: Profile) -> None:
    make_experiment(profile.run_dir.parent, {"full": 0.8}, seeds=(1, 2, 3, 4))
    make_experiment(profile.run_dir.parent, {"single-stage": 0.2}, seeds=(1, 2, 3))
    figure, _ = drawn(profile)
    assert not panel(figure, 2).lines and "not run" in panel(figure, 2).get_title(loc="left")
    assert sum(line.get_linewidth() == 0.6 for line in panel(figure, 4).lines) == 4 * 3 + 3


def test_the_files_are_written_from_the_results_alone_and_the_same_each_time(profile: Profile) -> None:
    make_experiment(profile.run_dir.parent, seeds=(1, 2))
    write_claims(profile)
    profile.run_dir.parent.rename(profile.run_dir.parent.with_name("elsewhere"))
    paths = [path for path in write_figures(profile) if path.stem == "claims"]
    assert [path.suffix for path in paths] == [".svg", ".png"]
    before = [path.read_bytes() for path in paths]
    write_figures(profile)
    assert [path.read_bytes() for path in paths] == before
    (profile.results_dir / "claims.json").unlink()
    write_figures(profile)
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("broken", ["[]", "{}", json.dumps({"claims": [{"claim": 1}]})])
def test_claims_of_another_shape_are_said(profile: Profile, broken: str) -> None:
    make_experiment(profile.run_dir.parent, {"full": 0.8}, seeds=(1,))
    write_claims(profile)
    (profile.results_dir / "claims.json").write_text(broken)
    with pytest.raises(EnvtuneError, match=r"claims"):
        read_claims(profile.results_dir)
