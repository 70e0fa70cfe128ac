"""Does training learn? One run of stage 1 by the profile mini, from nothing, against the committed runs. `make test-learning`

The reference is the distribution of the ends of the committed seeds (results/mini/claims.json): the run's held-out format reward must lie above
the bound below which one more run of the same kind falls with probability 0.01, and above its own start. Some minutes on two
cores; the model is pre-trained first (ten more), unless runs/mini/model has it: its weights are in no repository.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envtune.claims import end_against_start, read_validations
from envtune.gate.training import LEAST_RUNS, prediction_bound
from envtune.profile import ROOT, load_profile

LEVEL = 0.01
SEED = int(os.environ.get("ENVTUNE_LEARNING_SEED", "1001"))  # none of the committed runs'


@pytest.mark.learning
@pytest.mark.timeout(2400)
def test_stage_1_reaches_what_the_committed_runs_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = json.loads((ROOT / "results" / "mini" / "claims.json").read_text(encoding="utf-8"))
    reference = next(row for row in committed["claims"] if row["measure"] == "format")
    assert str(SEED) not in reference["seeds"], "the reference must be other runs"
    ends = [after for _, after in reference["seeds"].values()]
    assert len(ends) >= LEAST_RUNS

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

    change = end_against_start(read_validations(load_profile("mini", seed=SEED)), "stage1", "format")
    bound = prediction_bound(ends, LEVEL, lower_is_better=False)
    said = f"format reward {change.before:.3f} -> {change.after:.3f}; bound {bound:.3f} of {len(ends)} runs"
    assert change.after > change.before, said
    assert change.after >= bound, said


def _envtune(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "envtune.cli", *arguments], check=True, cwd=ROOT)
