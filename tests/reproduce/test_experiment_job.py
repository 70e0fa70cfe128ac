"""`make reproduce` of a profile with an experiment, and in the background: with a stand-in for the command line, which says
what it was called with. make, setsid, nohup and flock are real."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = """\
#!/bin/sh
echo "envtune $* NNODES=${NNODES-none}"
[ "$1" = ablations ] || [ "$1" = train ] || exit 0
trap 'echo interrupted; exit 1' TERM
while [ ! -e go-on ]; do sleep 0.1; done
"""
BLOCK = """\
name: mine
extends: cpu
experiment:
  arms: [full]
  seeds: [1]
  evaluate: false
seed: 0
"""

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make` in a copy of what it reads, whose environments are there."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "reproduce", tmp_path / "reproduce")
    (tmp_path / "reproduce" / "mine.yaml").write_text(BLOCK)
    (tmp_path / "reproduce" / "below-mini.yaml").write_text("name: below-mini\nextends: mini\n")
    (tmp_path / "reproduce" / "suites.yaml").write_text(
        "name: suites\nextends: mini\nexperiment: {evaluate: true, seeds: [1]}\n"
    )
    stand_in = tmp_path / ".venv" / "bin" / "envtune"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (tmp_path / ".venv-gpu").symlink_to(".venv")
    for name in ("ready", "ready-eval"):
        (tmp_path / name).touch()
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ENVTUNE"))
    }

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *arguments, "CPU_READY=ready", "GPU_READY=ready", "EVAL_READY=ready-eval"]
        return subprocess.run(
            command, cwd=tmp_path, env=inherited | variables, capture_output=True, text=True, check=False
        )

    yield run
    for file in (tmp_path / "runs").glob("*.pid"):
        if text := file.read_text().strip():
            try:
                os.killpg(int(text), signal.SIGKILL)
            except ProcessLookupError:
                continue


def steps(make: Make, *arguments: str) -> list[str]:
    done = make("-n", *arguments)
    assert done.returncode == 0, done.stderr
    joined = done.stdout.replace("\\\n", " ")
    return [" ".join(line.split()) for line in re.findall(r"^\.venv\S*/bin/envtune (.*)$", joined, re.MULTILINE)]


@pytest.mark.parametrize("profile", ["mini", "below-mini", "mine"])
def test_an_experiment_is_all_its_runs_then_claims_figures_and_a_report(make: Make, profile: str) -> None:
    names = ["ablations", "claims", "figures", "report", "summary"]
    assert steps(make, "reproduce", f"PROFILE={profile}") == [f"{name} --profile {profile}" for name in names]
    assert steps(make, "reproduce", f"PROFILE={profile}", "DRY_RUN=1") == [f"ablations --profile {profile} --dry-run"]
    assert "environment ready: .venv-eval" not in make("-n", "reproduce", f"PROFILE={profile}").stdout


def test_an_experiment_with_suites_has_their_environment_and_tables(make: Make) -> None:
    """The nearest file of those that extend each other decides."""
    assert [line.split()[0] for line in steps(make, "reproduce", "PROFILE=suites")] == [
        "ablations", "claims", "tables", "figures", "report", "summary",
    ]  # fmt: skip
    assert "environment ready: .venv-eval" in make("-n", "reproduce", "PROFILE=suites").stdout


def test_arms_and_seeds_narrow_it_and_what_is_made_of_them_stays_the_profiles(make: Make) -> None:
    said = steps(make, "reproduce", "PROFILE=mini", "ARM=full single-stage", "SEEDS=1 2")
    assert said[0] == "ablations --profile mini --arm full,single-stage --seeds 1,2"
    assert said[1:] == [f"{name} --profile mini" for name in ("claims", "figures", "report", "summary")]


def test_a_seed_asks_for_one_run_with_its_evaluation(make: Make) -> None:
    said = steps(make, "reproduce", "PROFILE=mini", "ARM=full", "SEED=2")
    assert [line.split()[0] for line in said] == [
        "setup-model", "data", "train", "evaluate", "tables", "figures", "report", "model-card", "summary",
    ]  # fmt: skip
    assert all(line.endswith("--arm full --seed 2") for line in said[1:])
    assert steps(make, "train", "PROFILE=mini", "ARM=full")[-1] == "train --profile mini --arm full"


def test_tables_are_written_for_a_report_only_where_suites_are_run(make: Make) -> None:
    assert [line.split()[0] for line in steps(make, "report", "PROFILE=mini")] == ["figures", "report"]
    assert steps(make, "report", "PROFILE=cpu")[0] == "tables --profile cpu"


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_in_the_background_it_outlives_its_caller_once_at_a_time_and_can_be_stopped(make: Make, tmp_path: Path) -> None:
    asked = ("reproduce", "PROFILE=gpu", "BACKGROUND=1", "ARM=binary-reward", "SEED=43")
    begun = make(*asked, NNODES="2")
    assert begun.returncode == 0, begun.stderr
    log = tmp_path / "runs" / "gpu.binary-reward.seed43.log"
    wait_for(lambda: "envtune train" in log.read_text())
    assert "train --profile gpu --arm binary-reward --seed 43 NNODES=2" in log.read_text()
    assert "make progress PROFILE=gpu ARM=binary-reward SEED=43" in begun.stdout and f"{log.name}" in begun.stdout

    again = make(*asked)
    assert again.returncode != 0 and "is running already, as process" in again.stderr
    assert log.read_text().count("envtune train") == 1

    [stop] = re.findall(r"kill -- -\d+", begun.stdout)
    subprocess.run(["bash", "-c", stop], check=True)
    wait_for(lambda: "interrupted" in log.read_text())
    (tmp_path / "go-on").touch()
    wait_for(lambda: "is running" not in make(*asked).stderr)
    wait_for(lambda: "envtune summary" in log.read_text())


def test_what_ends_at_once_is_told_at_once(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin" / "envtune").write_text("#!/bin/sh\necho no room; exit 3\n")
    done = make("reproduce", "PROFILE=mini", "BACKGROUND=1")
    assert done.returncode == 2 and "mini has ended already" in done.stderr and "no room" in done.stderr


def test_the_background_is_for_the_whole_job(make: Make) -> None:
    for wrong in (("train", "BACKGROUND=1"), ("reproduce", "BACKGROUND=yes")):
        done = make(*wrong, "PROFILE=cpu")
        assert done.returncode == 2 and "BACKGROUND=" in done.stderr
