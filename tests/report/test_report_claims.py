"""The report of an experiment: the claims with their figure, where there are any, and what is said in place of one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.made_experiment import make_experiment
from made_reports import profile_in
from test_report_page import Seen

from envtune.claims import write_claims
from envtune.figures import write_figures
from envtune.profile import ROOT, Profile, load_profile
from envtune.report import write_report


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    profile = profile_in(tmp_path_factory.mktemp("experiment"), "mini")
    make_experiment(profile.run_dir.parent)
    write_claims(profile)
    write_figures(profile)
    return profile


@pytest.fixture(scope="module")
def seen(experiment: Profile) -> Seen:
    return Seen(write_report(experiment).read_text(encoding="utf-8"))


def test_every_claim_has_its_sentence_its_row_and_the_figure(seen: Seen) -> None:
    for said in (
        "(1) stage 1 raises the format reward: holds.", "(2) progress reward against binary reward: holds.",
        "(3) augmented against standard feedback: inconclusive.", "(4) curriculum against a single stage: holds.",
        "95 % interval of the difference over seeds", "starting weights abababababab",
    ):  # fmt: skip
        assert said in seen.text, said
    assert seen.ids.count("claims") == 1, "the figure stands with the claims, not once more among the others"
    assert "tested" in seen.ids and len(seen.ids) == len(set(seen.ids))


def test_what_was_registered_is_a_link_from_where_the_page_lies(experiment: Profile, tmp_path: Path) -> None:
    for out in (None, tmp_path / "page.html"):
        path = write_report(experiment, out)
        links = [value for name, value in Seen(path.read_text(encoding="utf-8")).attributes if name == "href"]
        [link] = [value for value in links if value and not value.startswith("#")]
        assert (path.parent / link).resolve() == ROOT / "reproduce" / "mini.md"


def test_it_says_that_it_is_of_several_runs(seen: Seen) -> None:
    assert "an experiment of 12 runs" in seen.text and "runs/mini.full.seed1/run.json" in seen.text
    assert "no suite is run on what it trains" in seen.text and "make tables" not in seen.text


def test_a_profile_without_claims_has_no_such_part(empty: Profile, tmp_path: Path) -> None:
    page = Seen(write_report(empty, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "tested" not in page.ids
    assert all(value and value.startswith("#") for name, value in page.attributes if name == "href")


def test_one_run_of_the_experiment_has_a_page_of_its_own(
    experiment: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    run = load_profile("mini", arm="full", seed=1)
    text = Seen(write_report(run).read_text(encoding="utf-8")).text
    assert "No run: there is no" in text and "an experiment of" not in text and "No tables in" in text
