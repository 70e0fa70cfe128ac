"""The environment of the benchmarks from other packages, for tests that start something in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from envtune.profile import ROOT

EVAL_PYTHON = os.environ.get("ENVTUNE_EVAL_PYTHON") or str(ROOT / ".venv-eval" / "bin" / "python")
needs_eval = pytest.mark.skipif(not Path(EVAL_PYTHON).exists(), reason="no .venv-eval: run `make setup-eval`")


def job(number: int, item: str, root: str, folder: Path) -> dict[str, Any]:
    """A job whose agent and user are at two addresses of an endpoint."""
    addresses = {"base_url": f"{root}/agent/{number}/v1", "user_base_url": f"{root}/user/{number}/v1"}
    fixed = {"model": "m", "user_model": "u", "seed": 1}
    return {"number": number, "item": item, "folder": str(folder), **fixed, **addresses}
