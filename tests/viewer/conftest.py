"""The sample trajectories, as values and as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.sample_trajectories import samples

from envtune.environment import Trajectory


@pytest.fixture(scope="session")
def trajectories() -> list[Trajectory]:
    return samples()


@pytest.fixture
def stored(trajectories: list[Trajectory], tmp_path: Path) -> Path:
    """The samples as a file, one a line."""
    path = tmp_path / "sampled.jsonl"
    path.write_text("".join(json.dumps(trajectory.as_dict()) + "\n" for trajectory in trajectories))
    return path
