"""`envtune regress` on records: what it decides, what it prints, and which records it finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_sides import PROTOCOL, SUITE, again, edit, make_run, make_side, refused, regress, verdicts

from envtune.evaluation.migrate import upgrade_summary
from envtune.evaluation.records import read_records
from envtune.files import write_json, write_jsonl

OLD = Path(__file__).parents[1] / "fixtures" / "evaluation_schema1"
GOOD = {"airline": verdicts(60, 100), "retail": verdicts(30, 60)}
BAD = {"airline": verdicts(25, 100), "retail": verdicts(30, 60)}


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return make_side(tmp_path / "before" / "records", GOOD)


def test_the_same_verdicts_are_no_regression(baseline: Path) -> None:
    done = regress("--baseline", baseline, "--candidate", again(baseline))
    assert done.exit_code == 0, done.output
    assert "No regression at level 0.05: +0.00 points over 160 items" in done.stdout


def test_the_same_records_are_no_comparison(baseline: Path, tmp_path: Path) -> None:
    """As when `envtune tables` has written a run's records over those that it is held to."""
    copy, summary = Path(shutil.copytree(baseline, tmp_path / "copy")), tmp_path / "summary.md"
    for candidate in (baseline, copy):
        done = regress("--baseline", baseline, "--candidate", candidate, "--summary", summary)
        refused(done, "baseline and candidate are the same records", "nothing was compared")
    assert summary.read_text().count("### Regression gate: nothing compared\n") == 2
    later = again(copy)
    for folder in (baseline, later):
        make_side(folder, {"base": verdicts(30, 60)}, suite="acebench-agent")
    done = regress("--baseline", baseline, "--candidate", later)
    assert done.exit_code == 0 and "acebench-agent: the same records on both sides" in done.stdout


def test_a_regression_is_named_with_its_items(baseline: Path, tmp_path: Path) -> None:
    worse = make_side(tmp_path / "after" / "records", BAD, checkpoint_sha256="other", model="Another model")
    report, summary = tmp_path / "report.json", tmp_path / "summary.md"
    summary.write_text("before\n")
    done = regress("--baseline", baseline, "--candidate", worse, "--json", report, "--summary", summary)
    assert done.exit_code == 1, done.output
    assert "Regression at level 0.05: pooled -21.88 points" in done.stdout
    assert "airline -35.00 points" in done.stdout and "retail +" not in done.stdout
    assert "35 items lost" in done.stdout and "and 15 more" in done.stdout
    told = json.loads(report.read_text())
    assert (told["schema"], told["kind"], told["regressed"], told["level"]) == (1, "records", True, 0.05)
    assert {item["id"] for item in told["lost"]} == {f"airline_{number}" for number in range(25, 60)}
    assert told["gained"] == []
    assert {line["comparison"]["stratum"]: line["regressed"] for line in told["lines"]} == {
        "pooled": True,
        "airline": True,
        "retail": False,
    }
    (airline,) = [line for line in told["lines"] if line["comparison"]["stratum"] == "airline"]
    assert (airline["baseline"], airline["candidate"]) == (0.6, 0.25)
    assert (airline["comparison"]["losses"], airline["comparison"]["gains"]) == (35, 0)
    assert told["candidate"]["model"] == "Another model" and told["candidate"]["weights"] == "other"
    assert told["baseline"]["commits"] == ["c0ffee" * 6] and told["baseline"]["seeds"] == {SUITE: [42]}
    text = summary.read_text()
    assert text.startswith("before\n### Regression gate") and "| airline | 100 | 60.00 | 25.00 |" in text
    assert text.count("- airline\\_") == 20


def test_too_few_items_to_show_anything_is_said(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for passed, code, could in ((3, 0, False), (20, 1, True)):
        before = make_side(tmp_path / f"before{passed}", {"base": verdicts(passed, 30)})
        after = make_side(tmp_path / f"after{passed}", {"base": verdicts(0, 30)})
        done = regress("--baseline", before, "--candidate", after, "--json", report)
        assert done.exit_code == code and ("none could be shown" in done.stdout) is not could
        assert json.loads(report.read_text())["could_regress"] is could


def test_an_improvement_is_no_regression(baseline: Path, tmp_path: Path) -> None:
    worse = make_side(tmp_path / "after" / "records", BAD)
    assert regress("--baseline", worse, "--candidate", baseline).exit_code == 0


def test_a_stricter_level_lets_a_small_loss_pass(baseline: Path, tmp_path: Path) -> None:
    little = make_side(tmp_path / "after" / "records", {**GOOD, "airline": verdicts(53, 100)})
    assert regress("--baseline", baseline, "--candidate", little).exit_code == 1
    assert regress("--baseline", baseline, "--candidate", little, "--level", "0.0001").exit_code == 0
    refused(regress("--baseline", baseline, "--candidate", little, "--level", "nan"), "--level")


def test_layouts(baseline: Path, tmp_path: Path) -> None:
    """Wherever the same records lie, the same is found."""
    run = tmp_path / "runs" / "cpu" / "evaluation"
    folder, known = make_run(run, GOOD), again(baseline)
    places = [
        baseline, baseline.parent, baseline / SUITE, baseline / SUITE / "stage4.seed42.jsonl.gz",
        run, run.parent, run / "stage4", run / "stage4" / SUITE, folder, folder / "records.jsonl",
    ]  # fmt: skip
    for place in places:
        done = regress("--baseline", known, "--candidate", place)
        assert done.exit_code == 0, (place, done.output)
        assert "over 160 items" in done.stdout, place


def test_the_last_stage_is_taken_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    for checkpoint, passed in (("start", 1), ("stage2", 2), ("stage10", 60), ("baseline-other", 3)):
        make_side(folder, {"airline": verdicts(passed, 100)}, checkpoint=checkpoint)
    other = again(folder)
    done = regress("--baseline", folder, "--candidate", other)
    assert done.exit_code == 0 and done.stdout.count("checkpoint stage10 (the last there is)") == 2
    done = regress("--baseline", folder, "--candidate", folder, "--candidate-checkpoint", "start")
    assert done.exit_code == 1 and "checkpoint start," in done.stdout
    assert regress("--baseline", folder, "--candidate", other, "--checkpoint", "start").exit_code == 0
    message = refused(regress("--baseline", folder, "--candidate", folder, "--checkpoint", "stage3"), str(folder))
    assert "stage10" in message
    for name in ("stage2", "stage10"):
        for path in (folder / SUITE).glob(f"{name}.*"):
            path.unlink()
    refused(regress("--baseline", folder, "--candidate", folder), "--baseline-checkpoint")


def test_checkpoints_that_nobody_named_must_be_the_same(baseline: Path, tmp_path: Path) -> None:
    """A run that has got to stage3 is not compared with a baseline's stage4 unasked."""
    make_side(baseline, GOOD, checkpoint="stage3")
    short = again(make_side(tmp_path / "short", GOOD, checkpoint="stage3"))
    sides = ("--baseline", baseline, "--candidate", short)
    refused(regress(*sides), "stage4", "stage3", "--checkpoint", "--baseline-checkpoint", "--candidate-checkpoint")
    done = regress(*sides, "--checkpoint", "stage3")
    assert done.exit_code == 0 and done.stdout.count("checkpoint stage3,") == 2
    named = ("--baseline-checkpoint", "stage4", "--candidate-checkpoint", "stage3")
    assert regress(*sides, *named).exit_code == 0
    refused(regress(*sides, "--checkpoint", "stage3", *named), "leave it out")


def test_seeds_may_be_others_and_more(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for seed in (1, 2, 3):
        make_side(before, GOOD, seed=seed)
    for seed in (7, 8):
        make_side(after, BAD, seed=seed)
    report = tmp_path / "report.json"
    assert regress("--baseline", before, "--candidate", after, "--json", report).exit_code == 1
    told = json.loads(report.read_text())
    assert told["baseline"]["seeds"] == {SUITE: [1, 2, 3]} and told["candidate"]["seeds"] == {SUITE: [7, 8]}
    assert len(told["lost"]) == 35


def test_several_suites_never_mix(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        make_side(folder, {"base": verdicts(20, 40)})
        make_side(folder, {"base": verdicts(20 if folder == before else 0, 40)}, suite="acebench-agent")
    report = tmp_path / "report.json"
    done = regress("--baseline", before, "--candidate", after, "--json", report)
    told = json.loads(report.read_text())
    assert done.exit_code == 1
    assert [line["comparison"]["stratum"] for line in told["lines"]] == [
        "pooled",
        "acebench-agent/base",
        f"{SUITE}/base",
    ]
    assert [line["comparison"]["items"] for line in told["lines"]] == [80, 40, 40]
    assert {item["id"].partition("/")[0] for item in told["lost"]} == {"acebench-agent"}
    assert regress("--baseline", before, "--candidate", again(after), "--suite", SUITE).exit_code == 0


def test_a_suite_on_one_side_alone(baseline: Path, tmp_path: Path) -> None:
    """A candidate may bring a suite; what the baseline has must be there."""
    both = again(make_side(make_side(tmp_path / "both", GOOD), {"base": verdicts(1, 4)}, suite="acebench-agent"))
    more, less = ("--baseline", baseline, "--candidate", both), ("--baseline", both, "--candidate", baseline)
    assert "--suite" in refused(regress(*less), "acebench-agent")
    report = tmp_path / "report.json"
    done = regress(*more, "--json", report)
    assert done.exit_code == 0 and "acebench-agent: only the candidate has it: new, and not compared" in done.stdout
    told = json.loads(report.read_text())
    assert told["new"] == ["acebench-agent"] and told["lines"][0]["comparison"]["items"] == 160
    worse = make_side(make_side(tmp_path / "bad", BAD), {"base": verdicts(4, 4)}, suite="acebench-agent")
    assert regress("--baseline", baseline, "--candidate", worse).exit_code == 1
    for sides in (more, less):
        assert regress(*sides, "--suite", SUITE).exit_code == 0
        refused(regress(*sides, "--suite", "acebench-agent"), "acebench-agent", str(baseline))
    other = make_side(tmp_path / "other", {"base": verdicts(1, 4)}, suite="acebench-agent")
    refused(regress("--baseline", baseline, "--candidate", other), SUITE, str(other))


def test_what_could_have_been_shown_is_said(tmp_path: Path) -> None:
    """Of 100 items 20 change between two runs that are equally good; of 2,000 items 80 do."""
    report = tmp_path / "report.json"
    for items, changed, bounds in ((100, 10, (0.1, 0.12)), (2000, 40, (0.01, 0.012))):
        passes, others = items // 2 - changed, items - items // 2 - changed
        before = [True] * passes + [True] * changed + [False] * changed + [False] * others
        after = [True] * passes + [False] * changed + [True] * changed + [False] * others
        sides = make_side(tmp_path / f"b{items}", {"base": before}), make_side(tmp_path / f"a{items}", {"base": after})
        done = regress("--baseline", sides[0], "--candidate", sides[1], "--json", report)
        assert done.exit_code == 0, done.output
        told = json.loads(report.read_text())
        assert told["power"] == 0.8 and bounds[0] < told["detectable"] < bounds[1]
        points = f"{100 * told['detectable']:.1f} points over all {items} items (baseline 50.0 %)"
        assert f"A drop of about {points} would be called a regression with 80 % probability" in done.stdout
        assert ("evaluate more seeds on each side" in done.stdout) is (items == 100)
    few = make_side(tmp_path / "few", {"base": verdicts(2, 30)})
    done = regress("--baseline", few, "--candidate", again(few), "--json", report)
    assert json.loads(report.read_text())["detectable"] is None
    assert "No drop over all 30 items would be called a regression with 80 % probability" in done.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"release": "current"}, "release"),
        ({"protocol": {**PROTOCOL, "name": "tau2-2-kit"}}, "protocol.name"),
        ({"protocol": {**PROTOCOL, "format": "fc"}}, "protocol.format"),
        ({"packages": {"upstream": "1.2.4"}}, "packages.upstream"),
        ({"options": {"mode": "replay"}}, "options.mode"),
        ({"decoding": {"temperature": 0.0, "seed": 42}}, "decoding.temperature"),
        ({"tools_cut": []}, "tools_cut"),
        ({"user": {"model": "user-2", "decoding": {}}}, "user.model"),
        ({"something": "new"}, "something"),
    ],
)
def test_what_was_measured_in_another_way(baseline: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    other = make_side(tmp_path / "after", GOOD, **change)
    refused(regress("--baseline", baseline, "--candidate", other), f"(not the same: {named})", str(other))


def test_other_items(baseline: Path, tmp_path: Path) -> None:
    fewer = make_side(tmp_path / "after", {**GOOD, "retail": verdicts(30, 59)})
    refused(regress("--baseline", baseline, "--candidate", fewer), "items.retail, items_sha256")


def test_a_decoding_seed_is_no_difference(tmp_path: Path) -> None:
    one, other = make_side(tmp_path / "one", GOOD, seed=1), make_side(tmp_path / "other", GOOD, seed=2)
    assert regress("--baseline", one, "--candidate", other).exit_code == 0


def test_two_models_under_one_name(tmp_path: Path) -> None:
    mixed = make_side(make_side(tmp_path / "m", GOOD, seed=1), GOOD, seed=2, checkpoint_sha256="older")
    refused(regress("--baseline", mixed, "--candidate", mixed), str(mixed), "mixes 2 models")


def test_records_of_an_older_release(tmp_path: Path) -> None:
    """Schema 1, alone and against the same measurement in today's schema."""
    evaluation = Path(shutil.copytree(OLD, tmp_path / "evaluation"))
    today = tmp_path / "records" / "bfcl-v3" / "start.seed42.json"
    write_json(today, upgrade_summary(json.loads((OLD / "start" / "summary.json").read_text())))
    records = read_records(OLD / "start" / "records.jsonl")
    write_jsonl(today.with_suffix(".jsonl.gz"), [record.as_dict() for record in records])
    refused(regress("--baseline", evaluation, "--candidate", today.parent), "the same records")
    later = again(evaluation)
    for place in (evaluation, evaluation / "start", evaluation / "start" / "records.jsonl", today.parent):
        done = regress("--baseline", later, "--candidate", place)
        assert done.exit_code == 0, (place, done.output)
        assert "none could be shown: 4 items in 2 clusters" in done.stdout
    edit(evaluation / "start" / "summary.json", lambda data: data["identity"].update(release="current"))
    refused(regress("--baseline", evaluation, "--candidate", today.parent), "release")


def test_usage(baseline: Path, tmp_path: Path) -> None:
    for arguments in (
        (), ("--baseline", baseline), ("--candidate", baseline), ("--training", tmp_path),
        ("--baseline", baseline, "--candidate", baseline, "--against-paper"),
        ("--candidate", baseline, "--training", tmp_path, "--reference", tmp_path),
    ):  # fmt: skip
        refused(regress(*arguments))


@pytest.mark.parametrize(
    ("form", "unused", "named"),
    [
        ("--baseline b --candidate c", "--margin 10", "--margin is not used with --baseline"),
        ("--baseline b --candidate c", "--add-reference", "--baseline is not used with --add-reference"),
        ("--baseline b --candidate c", "--reference r", "--reference is not used with --baseline"),
        ("--baseline b --candidate c", "--training t", "--baseline is not used with --training"),
        ("--baseline b --candidate c", "--seed 42", "--seed is not used with --baseline"),
        ("--candidate c --against-paper", "--level 0.05", "--level is not used with --against-paper"),
        ("--candidate c --against-paper", "--baseline-checkpoint s", "--baseline-checkpoint is not used"),
        ("--training t --reference r", "--suite tau2", "--suite is not used with --training"),
        ("--training t --reference r --add-reference", "--level 0.1", "--level is not used with --add-reference"),
        ("--training t --reference r --add-reference", "--json j", "--json is not used with --add-reference"),
        ("--speed b c", "--level 0.1", "--level is not used with --speed"),
        ("--speed b c", "--checkpoint start", "--checkpoint is not used with --speed"),
        ("--profile cpu", "--baseline b", "--baseline is not used with --profile"),
    ],
)
def test_what_a_form_does_not_use_is_refused(form: str, unused: str, named: str) -> None:
    """Even with the value that it would have anyway."""
    refused(regress(*form.split(), *unused.split()), named)
