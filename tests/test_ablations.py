"""The ablations: which runs there are, and that a bad one is told before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envtune.ablations import experiment_runs, run_ablations
from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.files import write_json
from envtune.profile import Profile
from envtune.run_record import write_run_record
from envtune.training.metrics import new_attempt


def test_every_arm_with_every_seed_is_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert run_ablations("cpu", seeds="42,43", dry_run=True) == 0
    said = capsys.readouterr().out
    for arm in ARMS:
        for seed in (42, 43):
            assert f"cpu, arm {arm}, seed {seed}" in said
            folder = "runs/cpu " if (arm, seed) == ("full", 42) else f"runs/cpu.{arm}.seed{seed} "
            assert folder in said
    assert said.count("│ holds") == 2 * len(ARMS)


def test_an_arm_and_a_seed_are_run_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ablations("cpu", arms="single-stage,single-stage", seeds="7 7", dry_run=True) == 0
    assert capsys.readouterr().out.count("All of this holds.") == 1


@pytest.mark.parametrize(
    ("arms", "seeds", "complaint"),
    [
        ("full,half", "1", "unknown arm 'half'"),
        (None, "1,two", "seeds are whole numbers"),
        (None, "", "seeds are whole numbers"),
        (None, "-1", "whole number from 0"),
    ],
)
def test_a_wrong_arm_or_seed_is_refused(arms: str | None, seeds: str, complaint: str) -> None:
    with pytest.raises(EnvtuneError, match=complaint):
        run_ablations("cpu", arms=arms, seeds=seeds, dry_run=True)


def test_the_profiles_experiment_says_which_runs_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: cpu\nexperiment: {arms: [single-stage], seeds: [5, 6], evaluate: false}\n")
    assert run_ablations(str(path), dry_run=True) == 0
    said = capsys.readouterr().out
    assert "run 1 of 2: mine, arm single-stage, seed 5" in said and "run 2 of 2: mine, arm single-stage, seed 6" in said
    assert [(run.arm, run.seed) for run in experiment_runs(str(path), "full", "9")] == [("full", 9)]


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Three arms of the profile mini, whose training is replaced; gives the runs in the order in which they are trained."""
    trained: list[str] = []

    def train(profile: Profile, *, share: bool) -> None:
        assert share
        trained.append(profile.run_dir.name)
        if profile.arm == "single-stage":
            make_collapse(profile)
            raise EnvtuneError("single has collapsed at step 3: as made")
        if profile.arm == "binary-reward":
            raise EnvtuneError("the disk is full")
        for stage in profile.curriculum:
            write_json(profile.stage_dir(stage.name) / "done.json", {"steps": 1})

    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path))
    monkeypatch.setattr("envtune.training.train", train)
    monkeypatch.setattr("envtune.training.write_data", lambda profile: None)
    monkeypatch.setattr("envtune.models.prepare_model", lambda profile: None)
    monkeypatch.setattr("envtune.evaluation.run.evaluate", lambda profile: pytest.fail("evaluate: false"))
    monkeypatch.setenv("COLUMNS", "250")
    yield trained


def make_collapse(profile: Profile) -> None:
    """What a run leaves whose stage collapsed."""
    folder = profile.stage_dir("single")
    new_attempt(folder, 0, {"began": "2026-11-01T12:00:00+00:00"})
    decision = {"outcome": "collapsed", "step": 3, "reason": "as made"}
    write_json(folder / "gate.json", {"settings": {}, "decision": decision, "curve": []})
    write_run_record(profile)


def test_a_failed_run_keeps_no_other_from_running(mini: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ablations("mini", arms="binary-reward,full", seeds="1,2") == 1
    assert mini == [f"mini.{arm}.seed{seed}" for seed in (1, 2) for arm in ("binary-reward", "full")]
    said = capsys.readouterr().out
    assert "run 4 of 4: mini, arm full, seed 2; 1 done" in said
    assert said.count("│ the disk is full") == 2 and said.count("│ done") == 2


def test_a_collapse_is_a_result_and_no_failure(mini: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ablations("mini", arms="single-stage,full", seeds="1") == 0
    assert "collapsed: single has collapsed at step 3" in capsys.readouterr().out
