"""The ablations: which runs there are, and that a bad one is told before anything is run."""

from __future__ import annotations

import pytest

from envtune.ablations import run_ablations
from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError


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
