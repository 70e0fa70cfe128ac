"""`envtune regress --profile`: the run on this machine against the records of it that git has."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from made_sides import again, edit, make_run, make_side, refused, regress, verdicts

GOOD, BAD = {"airline": verdicts(60, 100)}, {"airline": verdicts(25, 100)}
ARM = ("--arm", "binary-reward", "--seed", "7")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with committed records of two runs of profile cpu, and a folder for runs."""
    repository = tmp_path / "repository"
    make_side(repository / "results" / "cpu" / "records", GOOD)
    make_side(repository / "results" / "cpu.binary-reward.seed7" / "records", BAD)
    git(tmp_path, "init", "--quiet", str(repository))
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "Results")
    monkeypatch.setenv("ENVTUNE_RESULTS", str(repository / "results"))
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    return tmp_path


def ran(place: Path, run: str, strata: dict[str, list[bool]]) -> None:
    """A run's evaluation, and its records written over the committed ones, as `make reproduce` does."""
    folder = make_run(place / "runs" / run / "evaluation", strata)
    edit(folder / "summary.json", lambda data: data["provenance"].update(time="2026-11-02T10:00:00+00:00"))
    records = place / "repository" / "results" / run / "records"
    shutil.rmtree(records, ignore_errors=True)
    shutil.move(again(make_side(place / run, strata)), records)


def test_the_baseline_is_what_git_has(place: Path) -> None:
    ran(place, "cpu", BAD)
    report = place / "report.json"
    done = regress("--profile", "cpu", "--json", report)
    assert done.exit_code == 1, done.output
    head = git(place / "repository", "rev-parse", "HEAD")[:12]
    told = json.loads(report.read_text())
    assert told["baseline"]["source"] == f"{head}:results/cpu/records"
    assert told["candidate"]["source"] == str(place / "runs" / "cpu" / "evaluation")
    assert (told["lines"][0]["baseline"], told["lines"][0]["candidate"]) == (0.6, 0.25)


def test_arm_and_seed_choose_the_run(place: Path) -> None:
    ran(place, "cpu.binary-reward.seed7", BAD)
    done = regress("--profile", "cpu", *ARM)
    assert done.exit_code == 0 and "cpu.binary-reward.seed7/records" in done.stdout
    refused(regress("--profile", "cpu"), str(place / "runs" / "cpu" / "evaluation"))


def test_what_is_committed_of_the_run_itself_is_no_baseline(place: Path) -> None:
    ran(place, "cpu", GOOD)
    git(place / "repository", "commit", "--quiet", "--all", "-m", "Results of this run")
    refused(regress("--profile", "cpu"), "the same records", "nothing was compared")


def test_no_baseline(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(place, "cpu.binary-reward.seed8", GOOD)
    refused(
        regress("--profile", "cpu", "--arm", "binary-reward", "--seed", "8"), "no records of this run are committed"
    )
    ran(place, "cpu", GOOD)
    monkeypatch.setenv("ENVTUNE_RESULTS", str(place / "elsewhere"))
    refused(regress("--profile", "cpu"), str(place / "elsewhere" / "cpu"), "in no git repository", "--baseline")
    refused(regress("--profile", "none"), "no profile 'none'")


def test_a_bad_baseline_is_named_as_git_names_it(place: Path) -> None:
    path = place / "repository" / "results" / "cpu" / "records" / "tau2" / "stage4.seed42.json"
    path.write_text("[]")
    git(place / "repository", "commit", "--quiet", "--all", "-m", "Damage")
    ran(place, "cpu", GOOD)
    said = refused(regress("--profile", "cpu"), ":results/cpu/records/tau2/stage4.seed42.json holds no JSON object")
    assert "envtune-baseline-" not in said
