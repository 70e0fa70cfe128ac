"""What all tests share: `from helpers...` finds tests/helpers, no deadlines, and fixtures for the tasks of both releases
and for a browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from envtune.tasks import Task, load_tasks

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("kit", deadline=None)  # a busy machine is no failure
settings.load_profile("kit")

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session", params=["paper", "current"])
def release(request: pytest.FixtureRequest) -> str:
    """Each of the two BFCL releases in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def tasks(release: str) -> tuple[Task, ...]:
    """The 800 tasks of a release."""
    return load_tasks(release)


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and in CI the page must be tried in a browser")
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by playwright: the system's (on Debian: apt-get install chromium), or the one that `playwright
    install chromium` fetched; `ENVTUNE_CHROMIUM` names another. Without one a test is skipped, but not in CI, which installs it."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        _missing("playwright is not installed")
    with sync_playwright() as driver:
        found = os.environ.get("ENVTUNE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
        program = found or driver.chromium.executable_path
        if not Path(program).exists():
            _missing("no Chromium here (apt-get install chromium, playwright install chromium, or ENVTUNE_CHROMIUM)")
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's sandbox does not start for root
        chromium = driver.chromium.launch(executable_path=program, args=sandbox)
        yield chromium
        chromium.close()
