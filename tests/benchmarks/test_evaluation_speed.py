"""The evaluation's speed, beside bfcl-eval's own `generate` and `evaluate` on the same items in the same run.

    make bench-eval

The work: the 400 held-out tasks of BFCL V3, native function calling, against a scripted endpoint in a process of its own
whose replies take a fixed time a token; a tenth of the tasks goes wrong, so that verdicts can differ. Both sides start as
a user starts them, in a fresh process, with the same number of items at once, after a short run that fills the caches.

The ideal time is what the endpoint's latencies alone take: each item's replies one after the other, the items in order,
each by the slot that is free first. It comes from the scripts and the latency a token, not from a measurement. The bars
at the end are what this kit promises; one that is missed fails the run.
"""

from __future__ import annotations

import heapq
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval

from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.tasks import load_tasks

RELEASE, SPLIT = "current", "test"
AT_ONCE = 16  # the command's default
SECONDS_A_TOKEN = 0.004
POLICY: dict[str, Any] = {"policy": "errors", "error_share": 0.1}
TASKS = load_tasks(RELEASE, SPLIT)
IDS = [task.id for task in TASKS]
UPSTREAM = Path(__file__).parents[1] / "helpers" / "upstream_bfcl.py"


def latencies() -> dict[str, float]:
    """Seconds that the endpoint takes for each item, over all its replies."""
    with ScriptedEndpoint(TASKS, latency_per_token_s=SECONDS_A_TOKEN, **POLICY) as endpoint:
        return {item: sum(map(endpoint.latency, endpoint.replies(item))) for item in IDS}


def ideal(taken: Sequence[float], slots: int) -> float:
    """When the last item ends, if each is started by the slot that is free first."""
    free = [0.0] * slots
    for seconds in taken:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


@contextmanager
def served() -> Iterator[str]:
    """The base URL of the endpoint."""
    options = {"release": RELEASE, "split": SPLIT, "latency-per-token-s": SECONDS_A_TOKEN}
    options |= {name.replace("_", "-"): value for name, value in POLICY.items()}
    command = [sys.executable, "-m", "envtune.evaluation.scripted"]
    command += [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"]
    finally:
        process.terminate()
        process.communicate()


def run(command: list[str]) -> tuple[float, str]:
    """(seconds, what it printed) of a process from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return seconds, done.stdout


def ours(url: str, out: Path, *more: str) -> tuple[float, float, dict[str, str | None]]:
    """(seconds of the whole command, of its items, id -> what failed or None)."""
    envtune = str(Path(sys.executable).with_name("envtune"))
    options = {
        "suite": "bfcl-v3", "release": RELEASE, "split": SPLIT, "format": "fc", "base-url": url, "model": "scripted",
        "concurrency": AT_ONCE, "out": out,
    }  # fmt: skip
    seconds, _ = run([envtune, "evaluate", *(f"--{name}={value}" for name, value in options.items()), *more])
    (summary,) = out.glob("bfcl-v3/*/summary.json")
    records = [json.loads(line) for line in (summary.parent / "records.jsonl").read_text().splitlines()]
    verdicts = {record["id"]: None if record["passed"] else record["error_type"] for record in records}
    return seconds, json.loads(summary.read_text())["seconds"], verdicts


def upstream(url: str, folder: Path, ids: list[str]) -> tuple[float, dict[str, Any]]:
    """(seconds of the whole process, what upstream_bfcl.py says)."""
    path = folder / f"{len(ids)}.json"
    path.write_text(json.dumps(ids))
    seconds, said = run([EVAL_PYTHON, str(UPSTREAM), "--base-url", url, "--ids", str(path), "--threads", str(AT_ONCE)])
    return seconds, json.loads(said)


@needs_eval
def test_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = latencies()
    best = ideal(list(taken.values()), AT_ONCE)
    with served() as url:
        few = IDS[:: len(IDS) // 8]
        ours(url, tmp_path / "first", "--items", ",".join(few))
        upstream(url, tmp_path, few)
        whole, items, verdicts = ours(url, tmp_path / "ours")
        other, theirs = upstream(url, tmp_path, IDS)
    alone = theirs["imports"] + sum(taken.values()) + theirs["evaluate"]
    lines = [
        f"{len(IDS)} items, {AT_ONCE} at once, {1e3 * SECONDS_A_TOKEN:g} ms a token; the ideal time is {best:.1f} s",
        f"{'':40}{'seconds':>8}{'ideal / it':>12}{'it / envtune':>14}",
        *(
            f"{name:40}{seconds:8.1f}{best / seconds:12.2f}{seconds / whole:14.2f}"
            for name, seconds in {
                "envtune evaluate": whole,
                "  from its first request on": items,
                "bfcl-eval": other,
                "  imports": theirs["imports"],
                "  generate": theirs["generate"],
                "  evaluate": theirs["evaluate"],
                "bfcl-eval, 1 thread: not run, at least": alone,
            }.items()
        ),
    ]
    with capsys.disabled():
        print("\n", *lines, sep="\n")
    assert verdicts == theirs["verdicts"]
    assert {None} < set(verdicts.values())
    assert best / items >= 0.9
    assert other / whole >= 2
