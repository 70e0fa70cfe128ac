"""`envtune hints` as a user meets it, and the committed tables against what the code gives."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from envtune.cli import app
from envtune.environment import Episode
from envtune.environment.hints import hint_set
from envtune.environment.scripted_policies import RandomPolicy, play
from envtune.hint_study import hint_outcomes
from envtune.profile import ROOT
from envtune.tables.hints import coverage_rows, outcome_rows, scripted_trajectories
from envtune.tasks import find_task

COMMITTED = ROOT / "results" / "hints"


def run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["hints", *arguments])
    if done.exception is not None and done.exit_code:
        raise done.exception
    return done.output


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_the_table_of_failures() -> None:
    said = run("--release", "paper")
    assert "authors: 24 of 176 errors, raises and False statuses (13.6 %)" in " ".join(said.split())
    assert "current" not in said and "TradingBot" in said
    both = run()
    assert "bfcl-eval 2025.6.8" in both and "bfcl-eval 2026.3.23" in both


def test_the_list_of_hints() -> None:
    said = run("--list", "--set", "authors")
    assert f"authors: 48 hints, digest {hint_set('authors').digest}" in said and "authors.48" in said
    assert "fs.name.nowhere" in run("--list")


def test_stored_trajectories(tmp_path: Path) -> None:
    task = find_task("multi_turn_base_0")
    stored = tmp_path / "t.jsonl"
    stored.write_text(
        "".join(json.dumps(play(Episode(task, feedback), RandomPolicy(task, 1)).as_dict()) + "\n"
                for feedback in ("full", "none"))
    )  # fmt: skip
    said = run(str(stored))
    assert "withheld" in said and "all" in said
    calls = tmp_path / "calls.jsonl"
    calls.write_text(json.dumps({"id": task.id, "turns": [[["cd(folder='nowhere')"], ["ls()"]]]}) + "\n")
    assert "fs.name.nowhere" in run(str(calls), "--release", "paper")


def test_bad_arguments(tmp_path: Path) -> None:
    from envtune.errors import EnvtuneError

    for arguments, wanted in (
        (("--list", "--out", str(tmp_path)), "three different things"),
        (("--list", "--set", "loud"), "unknown feedback"),
        (("--release", "v5"), "unknown BFCL release"),
        ((str(tmp_path / "none.jsonl"),), "none.jsonl"),
    ):
        with pytest.raises(EnvtuneError, match=wanted):
            run(*arguments)


def test_the_committed_table_of_failures_is_what_the_code_gives(release: str) -> None:
    wanted = [{name: str(value) for name, value in row.items()} for row in coverage_rows(release)]
    assert read(COMMITTED / f"coverage_{release}.csv") == wanted, "run `make hints`"


def test_the_committed_outcomes_are_what_the_code_gives(release: str) -> None:
    rows = outcome_rows(hint_outcomes(scripted_trajectories(release, "perturbed-gold")))
    wanted = [{name: str(value) for name, value in row.items()} for row in rows]
    assert read(COMMITTED / f"outcomes_{release}_perturbed-gold.csv") == wanted, "run `make hints`"
    page = (COMMITTED / "README.md").read_text(encoding="utf-8")
    assert hint_set("full").digest in page and hint_set("authors").digest in page, "run `make hints`"
