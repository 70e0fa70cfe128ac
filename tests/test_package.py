"""Importing the package stays light: no heavy library, and quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "verl", "vllm", "ray", "pandas", "numpy")


@pytest.mark.parametrize(
    "module", ["envtune", "envtune.cli", "envtune.tasks", "envtune.environment", "envtune.scoring"]
)
def test_import_needs_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_training_imports_verl_and_ray() -> None:
    found = []
    for path in (ROOT / "envtune").rglob("*.py"):
        if "training" in path.relative_to(ROOT / "envtune").parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in ("verl", "ray")]
    assert found == []


def test_nothing_evaluates_text() -> None:
    # preload.py stands in for `python -c`: what it runs is the command line of this kit's own processes
    allowed = {"preload.py"}
    found = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "envtune").rglob("*.py")
        if path.name not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
    ]
    assert found == []


@pytest.mark.benchmark
def test_import_time(benchmark) -> None:  # type: ignore[no-untyped-def]
    """A figure to watch, in the benchmark's table; nothing is asserted on a clock."""
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", "import envtune"], check=True), rounds=3, iterations=1
    )
