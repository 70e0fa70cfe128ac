"""A suite from another package, killed in the middle and run again, against an endpoint of which 5 % of the requests fail.

bfcl-memory has all that can go wrong: items that wait for conversations, and files that these leave.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.eval_environment import needs_eval

from envtune.evaluation.records import Record, read_records
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suites import Choice, suite_scripts

SUITE, STRATUM, SCENARIO = "bfcl-memory", "memory_rec_sum", "notetaker"


def command(url: str, out: Path, items: list[str]) -> list[str]:
    options = {"suite": SUITE, "strata": STRATUM, "items": ",".join(items), "base-url": url, "model": "scripted"}
    options |= {"format": "fc", "concurrency": "4", "out": str(out)}
    return [sys.executable, "-m", "envtune.cli", "evaluate", *(f"--{name}={value}" for name, value in options.items())]


def records(out: Path, name: str = "records.jsonl") -> list[Record]:
    path = out / SUITE / "seed42" / name
    return read_records(path) if path.exists() else []


@needs_eval
@pytest.mark.timeout(300)
def test_killed_and_failing(tmp_path: Path) -> None:
    scripts = suite_scripts(Choice(SUITE, strata=(STRATUM,)), tmp_path / "log")
    items = [item for item in scripts if SCENARIO in item and "prereq" not in item]
    before = [item for item in scripts if SCENARIO in item and "prereq" in item]
    assert (len(items), len(before)) == (25, 5)
    with ScriptedEndpoint(scripts=scripts, policy="errors", error_share=0.3) as calm:
        subprocess.run(command(calm.base_url, tmp_path / "calm", items), check=True, capture_output=True)
    expected = {record.id: (record.outcome, record.error_type) for record in records(tmp_path / "calm")}
    assert Counter(outcome for outcome, _ in expected.values()).keys() == {"passed", "failed"}

    out = tmp_path / "out"
    with ScriptedEndpoint(
        scripts=scripts, policy="errors", error_share=0.3, failing=0.05, failing_seed=1, latency_s=0.05
    ) as rough:
        run = command(rough.base_url, out, items)
        first = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while len(_lines(out)) < 6 and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        done = {json.loads(line)["id"] for line in _lines(out)}
        assert 6 <= len(done) < len(items), "it was to be killed in the middle"
        asked = len(rough.requests)
        subprocess.run(run, check=True, capture_output=True)
        again = set(rough.requests[asked:])
    assert again == set(items) - done, "no item is run twice, no prerequisite either, and none is left out"
    ended = {record.id: (record.outcome, record.error_type) for record in records(out)}
    assert ended == expected
    assert {record.id for record in records(out, "prerequisites.jsonl")} == set(before)
    conversations = [json.loads(line)["id"] for line in (out / SUITE / "seed42" / "trajectories.jsonl").open()]
    assert sorted(conversations) == sorted(items + before)


def _lines(out: Path) -> list[str]:
    """Whole lines of the records so far."""
    path = out / SUITE / "seed42" / "records.jsonl"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []
