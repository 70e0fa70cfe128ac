"""`envtune regress --speed`: pytest-benchmark's own files, and its own rule."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from made_sides import EDITS, edit, mutate, refused, regress


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that pytest-benchmark wrote, of two benchmarks."""
    folder = tmp_path_factory.mktemp("speed")
    code = (
        "import pytest\n@pytest.mark.parametrize('n', [10, 20])\ndef test_sum(benchmark, n): benchmark(sum, range(n))\n"
    )
    (folder / "test_sum.py").write_text(code)
    options = ["--benchmark-json=one.json", "--benchmark-max-time=0.01", "--benchmark-min-rounds=3", "-q"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_sum.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "one.json"


@pytest.fixture
def files(measured: Path, tmp_path: Path) -> tuple[Path, Path]:
    copies = tmp_path / "before.json", tmp_path / "after.json"
    for copy in copies:
        shutil.copy(measured, copy)
    return copies


def times(path: Path, factor: float) -> None:
    """Make the first benchmark's mean this many times the second file's."""
    edit(path, lambda data: data["benchmarks"][0]["stats"].update(mean=data["benchmarks"][0]["stats"]["mean"] * factor))


@pytest.mark.parametrize(("factor", "code"), [(1.09, 0), (1.11, 1), (0.5, 0)])
def test_ten_percent(files: tuple[Path, Path], tmp_path: Path, factor: float, code: int) -> None:
    times(files[1], factor)
    report = tmp_path / "report.json"
    done = regress("--speed", *files, "--json", report)
    assert done.exit_code == code, done.output
    assert "test_sum[10]" in done.stdout, "pytest-benchmark's table"
    told = json.loads(report.read_text())
    assert told["kind"] == "speed" and len(told["slower"]) == code and told["other_machine"] is False


def test_another_machine_is_said(files: tuple[Path, Path]) -> None:
    edit(files[1], lambda data: data["machine_info"]["cpu"].update(brand_raw="another"))
    assert "different processors" in regress("--speed", *files).stdout


def test_no_benchmarks(files: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = files
    refused(regress("--speed", before, tmp_path / "none.json"), "none.json")
    edit(after, lambda data: data["benchmarks"].pop() and None)
    refused(regress("--speed", before, after), "test_sum[20]", str(after))
    refused(regress("--speed", after, before), "test_sum[20]", str(after))
    for content in ("", "[]", "{}", '{"benchmarks": 3}', '{"benchmarks": [{"fullname": "x", "stats": {"mean": "1"}}]}'):
        after.write_text(content)
        refused(regress("--speed", before, after), str(after))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_mutated_files(measured: Path, tmp_path: Path, edits: Any) -> None:
    copy = tmp_path / "mutated.json"
    shutil.copy(measured, copy)
    edit(copy, lambda data: mutate(data, edits))
    done = regress("--speed", measured, copy)
    assert done.exit_code in (0, 1, 2)
    if done.exit_code == 2:
        refused(done)
