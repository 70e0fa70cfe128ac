"""How far runs are, from made files: finished, running, killed, failed and not begun ones."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from helpers.made_curves import make_run_folder
from helpers.made_experiment import make_experiment
from rich.console import Console

from envtune.claims import write_claims
from envtune.files import write_json, write_jsonl
from envtune.profile import Profile, load_profile
from envtune.progress import read_progress, show_experiment, show_progress, time_left
from envtune.training.metrics import new_attempt
from envtune.training.processes import is_held, only_one


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path))
    return tmp_path


def run(arm: str = "full", seed: int = 1) -> Profile:
    return load_profile("mini", arm=arm, seed=seed)


def finish(profile: Profile, lengths: dict[str, int]) -> None:
    make_run_folder(profile.run_dir.parent, profile.run_dir.name, profile.arm, profile.seed, lengths)


def begin(profile: Profile, stage: str, steps: int, seconds: float = 10.0, **end: str) -> Path:
    """A stage in progress; end: of its attempt, which goes on without it."""
    attempt = new_attempt(profile.stage_dir(stage), 0)
    rows = [{"step": step, "data": {"timing_s/step": seconds + step % 2}} for step in range(1, steps + 1)]
    write_jsonl(attempt / "verl.jsonl", [{"step": 0, "data": {}}, *rows])
    if end:
        write_json(attempt / "end.json", end)
    return attempt


def said(profile: str = "mini", **which: object) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_progress(profile, console, **which)  # type: ignore[arg-type]
    return console.export_text()


def test_every_run_of_the_experiment_has_a_line_also_before_any_has_begun(runs: Path) -> None:
    text = said()
    assert text.count("not begun") == 12 and "0 of 12 over" in text
    assert list(runs.iterdir()) == []


def test_steps_speed_and_time_left(runs: Path) -> None:
    profile = run()
    finish(profile, {"stage1": 16})
    begin(profile, "stage2", 5, seconds=10)
    [one] = read_progress([profile])
    assert one.state == "stopped"
    stage = one.current
    assert stage is not None and (stage.name, stage.step, stage.planned, stage.seconds) == ("stage2", 5, 8, 11)
    assert time_left(one, [one]) == pytest.approx((3 + 2 * 8) * 11)
    [other] = read_progress([run(seed=2)])
    assert time_left(other, [other]) is None and time_left(other, [one, other]) == pytest.approx((16 + 3 * 8) * 11)
    assert "stage2: 5/8" in said()


def test_time_left_leaves_out_what_will_be_taken_over(runs: Path) -> None:
    begin(run(), "stage1", 4, seconds=10)
    full, binary, single = found = read_progress([run(), run("binary-reward"), run("single-stage")])
    assert time_left(full, found) == pytest.approx((12 + 3 * 8) * 10.5)
    assert time_left(binary, found) == pytest.approx(3 * 8 * 10.5)
    assert time_left(single, found) == pytest.approx(40 * 10.5)
    assert time_left(binary, [binary, full]) == pytest.approx((16 + 3 * 8) * 10.5)
    [other] = read_progress([run("binary-reward", seed=2)])
    assert time_left(other, [*found, other]) == pytest.approx((16 + 3 * 8) * 10.5)


def test_a_run_is_running_while_its_process_lives(runs: Path) -> None:
    profile = run()
    begin(profile, "stage1", 2)
    begun, over = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(profile.run_dir, begun, over))
    process.start()
    try:
        assert begun.wait(20)
        assert read_progress([profile])[0].state == "running"
        assert "last sign of life" in said()
    finally:
        over.set()
        process.join(20)
    assert read_progress([profile])[0].state == "stopped" and not is_held(profile.run_dir)


def _hold(folder: Path, begun: multiprocessing.synchronize.Event, over: multiprocessing.synchronize.Event) -> None:  # type: ignore[name-defined]
    with only_one(folder):
        begun.set()
        over.wait(20)


def test_what_failed_is_told_with_its_log(runs: Path) -> None:
    begin(run(), "stage1", 2, outcome="failed", message="verl ended with code 1")
    begin(run(seed=2), "stage1", 2, outcome="interrupted")
    single = run("single-stage")
    begin(single, "single", 3)
    decision = {"outcome": "collapsed", "step": 3, "reason": "the format rate fell"}
    write_json(single.stage_dir("single") / "gate.json", {"decision": decision})
    states = [one.state for one in read_progress([run(), run(seed=2), single])]
    assert states == ["failed", "stopped", "collapsed"]
    text = said()
    assert "verl ended with code 1; log:" in text and "collapsed at step 3: the format rate fell" in text


def test_a_stage_taken_over_and_the_end(runs: Path) -> None:
    profile = run()
    finish(profile, {"stage1": 16, "stage2": 16, "stage3": 16, "stage4": 16})
    write_json(profile.stage_dir("stage1") / "done.json", {"steps": 16, "taken_from": {"run": "mini.full.seed9"}})
    [one] = read_progress([profile])
    assert (one.state, one.current, time_left(one, [one])) == ("done", None, 0)
    text = said()
    assert "stage1 taken over from mini.full.seed9" in text and "1 of 12 over" in text


def test_a_profile_without_an_experiment_and_one_run_of_another_have_one_line(runs: Path) -> None:
    assert said("gpu").count("not begun") == 1
    assert said("mini", seed=2, arm="full").count("not begun") == 1


def test_an_experiment_is_summed_up_with_its_verdicts(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVTUNE_RESULTS", str(tmp_path / "results"))
    make_experiment(runs)
    write_claims(load_profile("mini"))
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_experiment("mini", console)
    text = console.export_text()
    assert "12 of 12 over. Runs" in text
    assert "(2) progress reward against binary reward: holds." in text and "results/mini/claims.md" in text
