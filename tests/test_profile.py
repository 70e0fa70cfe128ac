"""A profile's hint set: which stages it is for, how it is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envtune.curriculum import CURRICULUM
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile


def profile(folder: Path, **entries: Any) -> Profile:
    path = folder / "mine.yaml"
    content = {"name": "mine", "release": "paper", "seed": 1, "model": {"source": "hf", "path": "m"}, **entries}
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return load_profile(str(path))


@pytest.mark.parametrize(
    ("entries", "augmented"),
    [
        ({}, "full"), ({"hints": "authors"}, "authors"), ({"hints": "none"}, "none"), ({"hints": "augmented"}, "full"),
        ({"hints": "full,-travel.*"}, "full,-travel.*"),
        ({"hints": ["ticket.closed", "ticket.fields"]}, "ticket.closed,ticket.fields"),
    ],
)  # fmt: skip
def test_the_set_is_for_the_stages_on_the_augmented_environment(
    tmp_path: Path, entries: dict[str, Any], augmented: str
) -> None:
    loaded = profile(tmp_path, **entries)
    assert [loaded.feedback(stage) for stage in CURRICULUM] == ["none", augmented, augmented, "none"]


@pytest.mark.parametrize(
    ("hints", "wanted"), [("loud", "unknown feedback 'loud'"), (5, "name of a hint set"), ([], "hint set")]
)
def test_what_is_no_set_is_refused(tmp_path: Path, hints: Any, wanted: str) -> None:
    with pytest.raises(EnvtuneError, match=wanted):
        profile(tmp_path, hints=hints)
