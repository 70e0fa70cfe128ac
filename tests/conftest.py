"""What all tests share: `from helpers...` finds tests/helpers, and fixtures for the tasks of both releases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envtune.tasks import Task, load_tasks

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", params=["paper", "current"])
def release(request: pytest.FixtureRequest) -> str:
    """Each of the two BFCL releases in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def tasks(release: str) -> tuple[Task, ...]:
    """The 800 tasks of a release."""
    return load_tasks(release)
