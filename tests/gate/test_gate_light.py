"""The gate needs the package's base and the extra `results`: a CI job that compares records installs no trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from made_sides import again, make_side, verdicts

HEAVY = ("aiohttp", "openai", "torch", "transformers", "verl", "vllm")
SCRIPT = f"""
import importlib.abc, sys

class Refused(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refused())
from envtune.cli import main

main()
"""


def test_without_what_trains(tmp_path: Path) -> None:
    records = make_side(tmp_path / "records", {"airline": verdicts(20, 40), "retail": verdicts(9, 30)})
    command = [sys.executable, "-c", SCRIPT, "regress", "--baseline", str(records), "--candidate", str(again(records))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Baseline: " in done.stdout and "pooled" in done.stdout
