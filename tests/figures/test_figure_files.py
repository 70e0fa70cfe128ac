"""The figures that are written: what they show, and that the same data give the same bytes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from helpers.made_curves import make_run_folder
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from envtune.errors import EnvtuneError
from envtune.figures import read_curves, write_figures
from envtune.figures.ablations import FIGURES, ablation_figure, paper_points
from envtune.figures.curves import COLUMNS
from envtune.figures.style import styled
from envtune.figures.training import training_figure
from envtune.figures.write import PAPER, with_copied
from envtune.profile import Profile, load_profile

LENGTHS = {"stage1": 7, "stage2": 8, "stage3": 9, "stage4": 8}


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    return load_profile("gpu")


@pytest.fixture
def runs(profile: Profile) -> Profile:
    folder = profile.run_dir.parent
    make_run_folder(folder, "gpu", "full", 42, LENGTHS)
    make_run_folder(folder, "gpu.full.seed43", "full", 43, {**LENGTHS, "stage2": 12})
    make_run_folder(folder, "gpu.single-stage.seed42", "single-stage", 42, {"single": 20})
    return profile


def words(figure: Figure) -> str:
    """All text of a figure."""
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_visible())


def ablation(name: str, profile: Profile) -> str:
    with styled():
        return words(ablation_figure(name, paper_points(PAPER), read_curves(profile), profile)[0])


@pytest.mark.parametrize("name", FIGURES)
def test_without_a_run_the_title_says_that_only_the_paper_is_shown(name: str, profile: Profile) -> None:
    said = ablation(name, profile)
    assert "the paper's points alone, no run of ours" in said
    assert "read off, ±0.01" in said
    assert "ours:" not in said


def test_ours_stand_over_the_papers_points(runs: Profile) -> None:
    said = ablation("augmentation", runs)
    assert "alone" not in said
    assert "ours: full, 2 seeds" in said and "paper: with augmentation (read off" in said
    assert "ours: no-augmentation" not in said and "No run of ours yet: no-augmentation (profile gpu)" in said.replace(
        "\n", " "
    )
    assert "ours: single-stage, 1 seed" in ablation("curriculum", runs)


def test_each_point_of_the_paper_is_drawn_where_it_was_read(profile: Profile) -> None:
    points = paper_points(PAPER)
    for name in FIGURES:
        with styled():
            figure, _ = ablation_figure(name, points, read_curves(profile), profile)
        drawn = {
            (round(float(x), 6), round(float(y), 6))
            for line in figure.findobj(mpl.lines.Line2D)
            if line.get_marker() in ("o", "s") and line.axes.get_title(loc="left")
            for x, y in zip(*line.get_data(), strict=True)
        }
        chosen = points[points["figure"] == name]
        assert drawn == set(zip(chosen["step"].astype(float), chosen["validation_accuracy_read_off"], strict=True))


def test_the_stages_stand_one_after_another(runs: Profile) -> None:
    with styled():
        made = training_figure(read_curves(runs), runs)
    assert made is not None
    figure, caption = made
    assert "Seeds 42, 43" in caption
    accuracy = figure.axes[0]
    begins = [
        line.get_xdata()[0]
        for line in accuracy.lines
        if line.get_label().startswith("_") and len(set(line.get_xdata())) == 1
    ]
    assert begins == [7.5, 7 + 12.5, 7 + 12 + 9.5]  # of each stage the longest run
    assert [text.get_text() for text in accuracy.texts] == list(LENGTHS)
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == [
        "Base", "Missing functions", "Missing parameters", "Long context",
    ]  # fmt: skip
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 10 and all(titles) and all(axes.get_ylabel() for axes in figure.axes)


def test_series_differ_in_more_than_their_colour(runs: Profile) -> None:
    with styled():
        figure, _ = training_figure(read_curves(runs), runs) or pytest.fail("no figure")
    lines = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert len({to_hex(line.get_color()) for line in lines}) == 4
    assert len({str(line._dash_pattern) for line in lines}) == 4


def test_what_was_not_reported_is_said(profile: Profile) -> None:
    folder = make_run_folder(profile.run_dir.parent, "gpu", "full", 42, {"stage1": 3}) / "stage1" / "metrics.jsonl"
    folder.write_text('{"step": 1, "data": {"critic/score/mean": 0.5, "actor/grad_norm": null}}\n')
    with styled():
        made = training_figure(read_curves(profile), profile)
    assert made is not None and words(made[0]).count("not reported") == 9


def test_no_figure_of_training_without_training(runs: Profile) -> None:
    other = load_profile("gpu", arm="binary-reward")
    assert training_figure(read_curves(runs).iloc[:0], runs) is None
    assert training_figure(read_curves(runs), other) is None


def test_the_same_data_give_the_same_bytes(runs: Profile) -> None:
    paths = write_figures(runs)
    assert [path.name for path in paths] == [
        f"{name}.{suffix}"
        for name in (*(f"ablation_{one}" for one in FIGURES), "training")
        for suffix in ("svg", "png")
    ]
    assert all(path.parent == runs.results_dir / "figures" for path in paths)
    before = {path: path.read_bytes() for path in paths}
    curves = read_curves(runs)
    runs.run_dir.parent.rename(runs.run_dir.parent.with_name("elsewhere"))  # now from the copy in results/
    mpl.rcParams["lines.linewidth"] = 9.0  # what else a process may have set does not matter, and is left alone
    try:
        assert {path: path.read_bytes() for path in write_figures(runs)} == before
        assert mpl.rcParams["lines.linewidth"] == 9.0
    finally:
        mpl.rcdefaults()
    copy = runs.results_dir / "figures" / "curves.csv.gz"
    pd.testing.assert_frame_equal(pd.read_csv(copy), curves, check_exact=True)
    copy.write_bytes(b"none")
    with pytest.raises(EnvtuneError, match="cannot be read"):
        write_figures(runs)
    for path, content in before.items():
        if path.suffix == ".svg":
            root = ET.fromstring(content)
            assert root.find("{http://www.w3.org/2000/svg}title").text
            assert b"<dc:date>" not in content and b"<text" not in content and b"<script" not in content
            assert b"http" not in content.split(b"</metadata>")[1]  # nothing is fetched
        else:
            assert content.startswith(b"\x89PNG")


def test_curves_of_a_run_that_is_gone_do_not_stay(profile: Profile) -> None:
    old = profile.results_dir / "figures" / "training.svg"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    assert old not in write_figures(profile) and not old.exists()


def test_runs_of_another_machine_stay(runs: Profile, tmp_path: Path) -> None:
    copy = tmp_path / "curves.csv"
    read_curves(runs).to_csv(copy, index=False)
    folder = runs.run_dir.parent
    for gone in ("gpu", "gpu.single-stage.seed42"):
        (folder / gone).rename(folder / f"gone.{gone}")
    make_run_folder(folder, "gpu.full.seed43", "full", 43, {"stage1": 3})  # begun anew here
    make_run_folder(folder, "gpu.no-augmentation.seed42", "no-augmentation", 42, LENGTHS)
    curves = with_copied(read_curves(runs), copy)
    assert list(dict.fromkeys(curves["run"])) == [
        "gpu", "gpu.full.seed43", "gpu.no-augmentation.seed42", "gpu.single-stage.seed42",
    ]  # fmt: skip
    last = curves.groupby("run")["overall_step"].max()
    assert last["gpu"] == sum(LENGTHS.values())
    assert list(curves.columns) == list(COLUMNS)
