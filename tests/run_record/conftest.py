"""A profile whose run is empty, and a git checkout of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envtune.profile import Profile, Tasks
from envtune.provenance import provenance
from envtune.run_record import (
    machine,
)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return Profile(
        name="small", release="paper", seed=7, model={"source": "smollm2-warm-start"},
        tasks=Tasks(max_tools=4, tools_seed=3),
        run_dir=tmp_path / "runs" / "small", results_dir=tmp_path / "results", evaluation={"seed": 5},
        verl={"actor_rollout_ref.rollout.seed": 11},
    )  # fmt: skip


@pytest.fixture(scope="session")
def origin() -> dict[str, Any]:
    return provenance()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: dict[str, Any]) -> None:
    """Asking git at each writing would take most of the tests' time; `checkout` has it asked."""
    monkeypatch.setattr(machine, "provenance", lambda: origin)
    monkeypatch.setattr(machine, "ROOT", tmp_path)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A git checkout that the diff is taken of; gives what changes its one file."""
    root = tmp_path / "checkout"
    root.mkdir()
    file = root / "code.py"
    file.write_text("old\n")
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "m")):
        subprocess.run([*git, *command], cwd=root, check=True)
    monkeypatch.setattr(machine, "ROOT", root)
    return lambda text: file.write_text(text) and None
