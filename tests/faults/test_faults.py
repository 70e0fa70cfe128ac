"""Runs that survive: whatever is killed and whenever, the same command goes on, and the result is the undisturbed run's.

    make test-faults          (about an hour on two cores; ENVTUNE_FAULTS=40 kills more, ENVTUNE_FAULTS_SEED=2 others)

All on real parts: four stages of the tiny run (`helpers/tiny_run.py`), three steps each, a checkpoint every second one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.tiny_run import make_profile, no_process_left, rows, weights

from envtune.profile import Profile, load_profile

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3 * 3600)]

STEPS = 3
KILLS = int(os.environ.get("ENVTUNE_FAULTS", "22"))
SEED = int(os.environ.get("ENVTUNE_FAULTS_SEED", "1"))
STAGES = ("stage1", "stage2", "stage3", "stage4")
# what differs between two runs of the same thing: clocks, memory, and ratios of them
_UNREPEATABLE = ("time", "timing", "perf/", "split/", "idle_share")


def tiny(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return make_profile(folder, **{"trainer.total_training_steps": STEPS, "trainer.save_freq": 2})


def start(profile: Path, runs: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "envtune.cli", "train", "--profile", str(profile), *options]
    with log.open("ab") as output:
        return subprocess.Popen(command, env={**os.environ, "ENVTUNE_RUNS": str(runs)}, stdout=output, stderr=output)


def loaded(profile: Path, runs: Path) -> Profile:
    before = os.environ.get("ENVTUNE_RUNS")
    os.environ["ENVTUNE_RUNS"] = str(runs)
    try:
        return load_profile(str(profile))
    finally:
        if before is None:
            del os.environ["ENVTUNE_RUNS"]
        else:
            os.environ["ENVTUNE_RUNS"] = before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Profile]]:
    """The run that the others are compared with: its profile's file, and the run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    patch = pytest.MonkeyPatch()
    patch.setenv("ENVTUNE_RUNS", str(folder / "runs"))
    patch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
    path = tiny(folder)
    began = time.monotonic()
    assert start(path, folder / "runs", folder / "log.txt").wait() == 0, (folder / "log.txt").read_text()
    print(f"\nundisturbed: {time.monotonic() - began:.0f} s")
    yield path, loaded(path, folder / "runs")
    patch.undo()


def copy_of(undisturbed: tuple[Path, Profile], runs: Path) -> Profile:
    """A run with the same model and data, not begun."""
    path, whole = undisturbed
    profile = loaded(path, runs)
    for part in ("model", "data"):
        shutil.copytree(whole.run_dir / part, profile.run_dir / part)
    return profile


def repeatable(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if not any(word in key for word in _UNREPEATABLE)}


def assert_same_run(profile: Profile, whole: Profile) -> None:
    """Steps, order of the data, what was sampled, every metric that is no clock, and the weights."""
    for name in STAGES:
        one, other = profile.stage_dir(name), whole.stage_dir(name)
        assert json.loads((one / "done.json").read_text())["steps"] == STEPS
        ours, theirs = rows(one / "metrics.jsonl"), rows(other / "metrics.jsonl")
        assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
        for step in range(1, STEPS + 1):
            sampled = [
                [(row["gts"], row["output"], row["score"]) for row in rows(at / "rollouts" / f"{step}.jsonl")]
                for at in (one, other)
            ]
            assert sampled[0] == sampled[1], f"{name}, step {step}: other data or other replies"
        for mine, its in zip(ours, theirs, strict=True):
            left, right = repeatable(mine["data"]), repeatable(its["data"])
            assert left.keys() == right.keys()
            for key, value in right.items():
                assert left[key] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (
                    f"{name} {mine['step']}: {key}"
                )
        before, after = weights(other / "model"), weights(one / "model")
        assert all(before[key].equal(after[key]) for key in before), f"{name}: other weights"


def victims(profile: Profile) -> dict[str, list[psutil.Process]]:
    """Processes that a run has started, by what they are."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("ENVTUNE_RUN_DIR") != str(profile.run_dir):
                continue
            command = " ".join(process.cmdline())
            title = process.name()
        except psutil.Error:
            continue
        kind = next((kind for kind, mark in _KINDS if mark in command or mark in title), "other")
        found.setdefault(kind, []).append(process)
    return found


_KINDS = (
    ("verl", "envtune.training.main"), ("vLLM", "vLLM"), ("vLLM", "CpuVllm"), ("worker", "WorkerDict"),
    ("agent loop", "AgentLoopWorker"), ("task runner", "TaskRunner"), ("GCS", "gcs_server"), ("raylet", "raylet"),
    ("preload", "training.preload"), ("Ray's head", "training.cluster"),
)  # fmt: skip


def test_many_kills(undisturbed: tuple[Path, Profile], tmp_path: Path) -> None:
    """At random moments, of random processes; the driver as often as all others together. A run that is done before all
    kills are used up is compared, and another begun."""
    chance, killed, began = random.Random(SEED), Counter[str](), time.monotonic()
    for number in itertools.count(1):
        runs, log, starts = tmp_path / f"runs{number}", tmp_path / f"log{number}.txt", 0
        profile = copy_of(undisturbed, runs)
        before = sum(killed.values())
        code = -1
        while code != 0:
            driver, starts = start(undisturbed[0], runs, log), starts + 1
            assert starts < 4 * KILLS, log.read_text()[-5000:]
            while sum(killed.values()) < KILLS:
                _sleep_while_alive(driver, chance.uniform(3, 75))
                if driver.poll() is not None:
                    break
                killed[_kill_one(profile, driver, chance)] += 1
            code = driver.wait()
        assert no_process_left(profile, within_s=30)
        assert_same_run(profile, undisturbed[1])
        attempts = {name: len(list((profile.stage_dir(name) / "attempts").iterdir())) for name in STAGES}
        print(
            f"\nrun {number}: {sum(killed.values()) - before} kills, {starts} starts, attempts {attempts}, equal to the "
            f"undisturbed run; so far {dict(killed)}, seed {SEED}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if sum(killed.values()) >= KILLS:
            break


def _kill_one(profile: Profile, driver: subprocess.Popen[bytes], chance: random.Random) -> str:
    """Kill a process of the run; gives what it was."""
    there = victims(profile)
    kind = "driver" if not there or chance.random() < 0.5 else chance.choice(sorted(there))
    if kind == "driver":
        driver.kill()
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(there[kind]).kill()
    return kind


def _sleep_while_alive(process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.2)


def test_one_worker_is_killed_and_the_same_command_goes_on(undisturbed: tuple[Path, Profile], tmp_path: Path) -> None:
    profile = copy_of(undisturbed, tmp_path / "runs")
    driver = start(undisturbed[0], tmp_path / "runs", tmp_path / "log.txt")
    checkpoint = profile.stage_dir("stage1") / "checkpoints" / "global_step_2" / "data.pt"
    while not checkpoint.is_file():
        assert driver.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.1)
    workers = victims(profile).get("worker") or []
    assert workers, "no worker was found"
    workers[0].kill()
    assert driver.wait() == 0, (tmp_path / "log.txt").read_text()
    said = (tmp_path / "log.txt").read_text()
    assert "going on with a new cluster" in said
    assert len(list((profile.stage_dir("stage1") / "attempts").iterdir())) == 2
    assert_same_run(profile, undisturbed[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_the_disk_fills_up_while_a_checkpoint_is_written(undisturbed: tuple[Path, Profile], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", runs], check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        profile = copy_of(undisturbed, runs)
        driver = start(undisturbed[0], runs, tmp_path / "log.txt", "--stage", "stage1")
        reported = profile.stage_dir("stage1") / "attempts" / "001" / "verl.jsonl"
        while not (reported.is_file() and reported.read_text()):
            assert driver.poll() is None, (tmp_path / "log.txt").read_text()
            time.sleep(0.05)
        ballast = runs / "ballast"
        with ballast.open("wb") as stream:  # room for less than one checkpoint is left
            stream.write(bytes(shutil.disk_usage(runs).free - 2_000_000))
        assert driver.wait() != 0
        said = (tmp_path / "log.txt").read_text()
        assert "No space left" in said or ("needs" in said and "GB" in said) or "is full" in said, said
        assert not (profile.stage_dir("stage1") / "done.json").exists()
        # before it starts, it is refused in one sentence
        assert start(undisturbed[0], runs, tmp_path / "second.txt", "--stage", "stage1").wait() == 2
        assert (tmp_path / "second.txt").read_text().count("make room") == 1
        ballast.unlink()
        assert start(undisturbed[0], runs, tmp_path / "log.txt").wait() == 0, (tmp_path / "log.txt").read_text()
        assert_same_run(profile, undisturbed[1])
    finally:
        subprocess.run(["umount", "-l", runs], check=True)
