"""Two files of pytest-benchmark (pytest --benchmark-json FILE): is anything slower?

The comparison is pytest-benchmark's own, of --benchmark-compare-fail, which as an option only compares a run that goes on
with a saved one; the table is that of `pytest-benchmark compare`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envtune.evaluation.repeat import read_object
from envtune.gate.errors import Incomparable

FIELD, PERCENT = "mean", 10
_AGAIN = "write it anew with `pytest --benchmark-json`"


def slower(baseline: Path, candidate: Path) -> list[str]:
    """A sentence for each benchmark of both files whose mean is more than 10 % above the baseline's.

    Raises Incomparable when a file is none of pytest-benchmark's, or the two are not of the same benchmarks.
    """
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise Incomparable("--speed needs pytest-benchmark, which is not installed; run `make setup`")
    from pytest_benchmark.utils import parse_compare_fail

    check = parse_compare_fail(f"{FIELD}:{PERCENT}%")
    before, now = _stats(baseline), _stats(candidate)
    for one, other, lacking in ((before, now, candidate), (now, before, baseline)):
        if missing := [name for name in one if name not in other]:
            raise Incomparable(f"{lacking} lacks the benchmark {missing[0]!a}; run the same benchmarks for both files")
    told = {name: check.fails(now[name], stats) for name, stats in before.items()}
    return [f"{name}: {why}" for name, why in told.items() if why]


def other_machine(baseline: Path, candidate: Path) -> bool:
    """Whether the files say that they were measured on different processors."""
    machines = [read_object(path, _AGAIN).get("machine_info") for path in (baseline, candidate)]
    processors = [one.get("cpu") if isinstance(one, dict) else None for one in machines]
    brands = [one.get("brand_raw") if isinstance(one, dict) else None for one in processors]
    return brands[0] != brands[1]


def table(baseline: Path, candidate: Path) -> str:
    """pytest-benchmark's table of both files. Raises Incomparable where it does not take one of them."""
    program = "import sys; from pytest_benchmark.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "compare", "--group-by=fullname", "--columns=min,mean,stddev,rounds"]
    files = [str(path.absolute()) for path in (baseline, candidate)]
    done = subprocess.run([*command, *files], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Incomparable(f"pytest-benchmark cannot show {baseline} and {candidate} as a table; {_AGAIN}")
    return done.stdout


def _stats(path: Path) -> dict[str, Mapping[str, Any]]:
    """Benchmark -> its statistics, in seconds."""
    listed = read_object(path, _AGAIN).get("benchmarks")
    stats: dict[str, Mapping[str, Any]] = {}
    for one in listed if isinstance(listed, list) else ():
        name, of_it = (one.get("fullname"), one.get("stats")) if isinstance(one, dict) else (None, None)
        value = of_it.get(FIELD) if isinstance(of_it, dict) else None
        if (
            not isinstance(name, str)
            or isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 < value < 1e9
        ):
            raise Incomparable(f"{path} has a benchmark without a name or a {FIELD} in seconds; {_AGAIN}")
        if name in stats:
            raise Incomparable(f"{path} has the benchmark {name!a} twice; {_AGAIN}")
        stats[name] = of_it
    if not stats:
        raise Incomparable(f"{path} is no file of pytest-benchmark, or has no benchmark in it; {_AGAIN}")
    return stats
