"""Does training learn? One run of stage 1 by the profile mini, from nothing, against the committed runs. `make test-learning`

Two things are asked: that the held-out format reward ends above the run's own start, and that the training reward over the
second half of the steps (192 episodes) lies above the bound below which one more run of the committed kind falls with
probability 0.05 (results/mini/figures/curves.csv.gz). The bound must lie above where the committed runs began, or the second
would not tell a run that learns nothing. Some minutes on two cores; the model is pre-trained first (ten more), unless
runs/mini/model has it: its weights are in no repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from envtune.claims import end_against_start, read_validations
from envtune.figures.curves import read_curves
from envtune.gate.training import LEAST_RUNS, prediction_bound
from envtune.profile import ROOT, load_profile

LEVEL = 0.05
COMMITTED = ROOT / "results" / "mini" / "figures" / "curves.csv.gz"
SEED = int(os.environ.get("ENVTUNE_LEARNING_SEED", "1001"))  # none of the committed runs'


@pytest.mark.learning
@pytest.mark.timeout(2400)
def test_stage_1_reaches_what_the_committed_runs_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begins, ends = halves(pd.read_csv(COMMITTED))
    assert SEED not in ends.index, "the reference must be other runs"
    assert len(ends) >= LEAST_RUNS
    bound = prediction_bound(list(ends), LEVEL, lower_is_better=False)
    assert bound > begins.mean(), "the committed runs differ too much to tell learning by them"

    _envtune("setup-model", "--profile", "mini")
    model = Path(load_profile("mini").start_model)
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    shutil.copytree(model, load_profile("mini").start_model)
    for command in (
        ("setup-model", "--profile", "mini"),
        ("data", "--profile", "mini", "--seed", str(SEED)),
        ("train", "--profile", "mini", "--seed", str(SEED), "--stage", "stage1"),
    ):
        _envtune(*command)

    profile = load_profile("mini", seed=SEED)
    change = end_against_start(read_validations(profile), "stage1", "format")
    began, ended = (values[SEED] for values in halves(read_curves(profile)))
    sys.stdout.write(
        f"held-out format reward {change.before:.3f} -> {change.after:.3f}; training reward {began:.3f} in the first quarter, "
        f"{ended:.3f} in the second half; bound {bound:.3f} of {len(ends)} runs ({', '.join(f'{end:.3f}' for end in ends)})\n"
    )
    assert change.after > change.before
    assert ended >= bound


def halves(curves: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Mean training reward in stage 1 of `full`, by seed: of the first quarter of the steps, and of the second half."""
    rows = curves[(curves["arm"] == "full") & (curves["stage"] == "stage1") & (curves["metric"] == "reward")]
    part = rows["step"] / rows.groupby("seed")["step"].transform("max")
    return tuple(rows[chosen].groupby("seed")["value"].mean() for chosen in (part <= 1 / 4, part > 1 / 2))  # type: ignore[return-value]


def _envtune(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "envtune.cli", *arguments], check=True, cwd=ROOT)
