"""The environment of the benchmarks from other packages, for tests that start something in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envtune.profile import ROOT

EVAL_PYTHON = os.environ.get("ENVTUNE_EVAL_PYTHON") or str(ROOT / ".venv-eval" / "bin" / "python")
needs_eval = pytest.mark.skipif(not Path(EVAL_PYTHON).exists(), reason="no .venv-eval: run `make setup-eval`")
