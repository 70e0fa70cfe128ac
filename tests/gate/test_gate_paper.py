"""`envtune regress --against-paper`: one side held to what the paper printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_sides import make_side, refused, regress, verdicts

from envtune.evaluation.bfcl_v3.protocol import SUITE as BFCL_V3

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SUITE = "bfcl-memory"
PAPER = {"memory_kv": 9, "memory_vector": 24, "memory_rec_sum": 41}  # of 155: 5.81, 15.48 and 26.45 %


def memory(folder: Path, checkpoint: str = "start", model: str = MODEL, items: int = 155, **passed: int) -> Path:
    counts = {**PAPER, **passed}
    strata = {stratum: verdicts(number, items) for stratum, number in counts.items()}
    return make_side(folder, strata, suite=SUITE, checkpoint=checkpoint, model=model, options={}, tools_cut=[])


def held(folder: Path, report: Path, *more: str) -> tuple[int, dict[str, str]]:
    """Exit code, and cell -> verdict."""
    done = regress("--candidate", folder, "--against-paper", "--json", report, *more)
    assert done.exit_code in (0, 1), done.output
    told = json.loads(report.read_text())
    assert told["kind"] == "paper" and told["regressed"] is (done.exit_code == 1)
    return done.exit_code, {cell["label"].removeprefix(f"{SUITE}/"): cell["verdict"] for cell in told["cells"]}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def test_the_papers_own_counts(tmp_path: Path, report: Path) -> None:
    folder = memory(tmp_path / "records")
    assert held(folder, report) == (
        0,
        {
            "average": "consistent",
            "memory_kv": "consistent",
            "memory_vector": "inconclusive",
            "memory_rec_sum": "inconclusive",
        },
    )
    assert set(held(folder, report, "--margin", "20")[1].values()) == {"consistent"}
    refused(regress("--candidate", folder, "--against-paper", "--margin", "0"), "--margin")


def test_lower_than_the_paper(tmp_path: Path, report: Path) -> None:
    code, cells = held(memory(tmp_path / "records", memory_rec_sum=5), report)
    assert code == 1 and cells["memory_rec_sum"] == "inconsistent" and cells["memory_kv"] == "consistent"
    (cell,) = [one for one in json.loads(report.read_text())["cells"] if one["label"] == "bfcl-memory/memory_rec_sum"]
    assert cell["is_lower"] and cell["paper"] == 26.45 and cell["items"] == 155
    assert cell["interval"]["estimate"] == pytest.approx(5 / 155)


def test_higher_than_the_paper_is_no_failure(tmp_path: Path, report: Path) -> None:
    code, cells = held(memory(tmp_path / "records", memory_kv=80), report)
    assert code == 0 and cells["memory_kv"] == "inconsistent"


def test_what_was_not_run_says_nothing(tmp_path: Path, report: Path) -> None:
    strata = {"memory_kv": verdicts(9, 155), "memory_vector": verdicts(0, 20)}
    folder = make_side(tmp_path / "records", strata, suite=SUITE, checkpoint="start", model=MODEL)
    code, cells = held(folder, report)
    assert (code, cells["memory_kv"], cells["memory_vector"], cells["average"]) == (
        0,
        "consistent",
        "not run",
        "not run",
    )
    few = memory(tmp_path / "few", items=50)
    refused(regress("--candidate", few, "--against-paper"), "nothing was run as the paper ran it", "of 155 items")


def test_no_such_row(tmp_path: Path) -> None:
    for name, folder in (
        ("Scripted", memory(tmp_path / "a", model="Scripted")),
        ("stage2", memory(tmp_path / "b", checkpoint="stage2")),
        ("tau2", make_side(tmp_path / "c", {"airline": verdicts(1, 2)}, checkpoint="start", model=MODEL)),
    ):
        refused(regress("--candidate", folder, "--against-paper"), "the paper has no row", name)


def test_the_cpu_profile_claims_nothing() -> None:
    records = Path(__file__).parents[2] / "results" / "cpu" / "records"
    refused(regress("--candidate", records, "--against-paper", "--suite", BFCL_V3), "the paper has no row", "SmolLM2")
