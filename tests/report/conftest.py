"""A profile without a run, and one with everything that a report shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_reports import CONFIG, make_all, profile_in

from envtune.profile import Profile


@pytest.fixture
def empty(tmp_path: Path) -> Profile:
    """Nothing has run."""
    return profile_in(tmp_path)


@pytest.fixture
def begun(empty: Profile) -> Profile:
    """A first stage has begun, so that its settings are known without composing them."""
    folder = empty.stage_dir(empty.curriculum[0].name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return empty


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    """A run of four stages, evaluated at three checkpoints, with tables and figures; not to be changed."""
    profile = profile_in(tmp_path_factory.mktemp("whole"))
    make_all(profile)
    yield profile
