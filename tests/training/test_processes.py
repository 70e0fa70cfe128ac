"""A run's processes are gone when it is, also those that left its process group."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from envtune.training.processes import kill_marked, marked, watched

LEAVES_A_CHILD = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
    "print(child.pid, flush=True); time.sleep(60)"
)


def child_of(log: Path) -> psutil.Process:
    while not log.read_text().strip():
        time.sleep(0.05)
    return psutil.Process(int(log.read_text()))


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(KeyboardInterrupt),
        log.open("wb") as stream,
        marked(os.environ, tmp_path) as environment,
        watched([sys.executable, "-c", LEAVES_A_CHILD], environment, stream, tmp_path) as process,
    ):
        child = child_of(log)
        raise KeyboardInterrupt
    assert process.returncode is not None
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_run_left_is_found_by_its_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "ENVTUNE_RUN_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment) as left:
        assert kill_marked(tmp_path / "other") == 0
        assert kill_marked(tmp_path) == 1
        assert left.wait() == -9
