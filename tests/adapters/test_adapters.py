"""The adapters, each checked in an environment that has its library: their pins exclude each other and vLLM's.

verifiers_checks.py and openenv_checks.py are what runs there; here are only the calls, and what needs no library.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"verifiers": "envtune.adapters.verifiers_env", "openenv": "envtune.adapters.openenv_server"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_with_the_real_library(library: str) -> None:
    python = ROOT / f".venv-{library}" / "bin" / "python"
    assert python.exists(), f"{python} is missing: `make setup-adapters` makes it"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/adapters/{library}_checks.py"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_extra_is_named(library: str) -> None:
    missing = f"import sys; sys.modules['{library}'] = None; import {LIBRARIES[library]}"
    done = subprocess.run([sys.executable, "-c", missing], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("envtune.errors.EnvtuneError") and f"pip install '.[{library}]'" in last


def test_the_server_command_says_so_in_one_line() -> None:
    code = "import sys; sys.modules['openenv'] = None; from envtune.cli import main; sys.argv[1:] = ['openenv-server']; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and ".[openenv]" in done.stderr


def test_the_package_alone_is_light() -> None:
    code = "import sys, envtune.adapters; print([m for m in ('verifiers', 'openenv', 'fastapi') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_adapters_import_these_libraries() -> None:
    found = []
    for path in (ROOT / "envtune").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            found += [path.parent.name for name in names if name.split(".")[0] in LIBRARIES]
    assert set(found) == {"adapters"}
