"""The GitHub workflows: well-formed, safe by zizmor's rules, and calling nothing that the kit does not have.

They cannot run here. What GitHub checks when it reads them is in the schema that check-jsonschema carries.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envtune.curriculum import ARMS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["on"] = content.pop(True)  # YAML 1.1 reads `on` as a truth value
    return content


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in load(path)["jobs"].values():
        yield from job["steps"]


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_four() -> None:
    assert [path.stem for path in WORKFLOWS] == ["gpu", "image", "learning", "tests"]


def test_training_is_held_to_the_committed_runs_every_week_and_by_hand() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "learning.yml")
    assert set(workflow["on"]) == {"schedule", "workflow_dispatch"}
    [job] = workflow["jobs"].values()
    assert any("make test-learning " in step.get("run", "") for step in job["steps"])
    test = (ROOT / "tests" / "learning" / "test_stage1_learns.py").read_text(encoding="utf-8")
    [seconds] = re.findall(r"@pytest\.mark\.timeout\((\d+)\)", test)
    assert int(seconds) < 60 * job["timeout-minutes"], "the test's own limit tells more than a job that is cut off"


@each
def test_it_is_a_workflow_by_githubs_schema(path: Path) -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)


@each
def test_zizmor_finds_nothing_unsafe(path: Path) -> None:
    run(BIN / "zizmor", "--offline", "--no-config", "--persona", "pedantic", path)


@each
def test_its_scripts_are_bash(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            run("bash", "-n", "-c", step["run"])


@each
def test_inputs_and_names_reach_scripts_as_variables_only(path: Path) -> None:
    assert not [step["run"] for step in steps(path) if "${{" in step.get("run", "")]


@each
def test_actions_are_pinned_by_commit_with_the_tag_beside_it(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text(encoding="utf-8"))
    assert len(used) == sum("uses" in step for step in steps(path)) > 0
    for line in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_pin() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, pin in re.findall(r"uses: *(\S+)@(.*)", path.read_text(encoding="utf-8")):
            pins.setdefault(name, set()).add(pin)
    assert all(len(found) == 1 for found in pins.values()), pins


@each
def test_it_may_do_little_and_not_for_long(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}, "a job that needs more says so itself"
    assert "cancel-in-progress" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert isinstance(job["timeout-minutes"], int), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, "no later step is to find the token in .git"


def test_only_what_publishes_may_write_and_never_for_a_pull_request() -> None:
    writing = {
        (path.stem, name): {scope for scope, right in job.get("permissions", {}).items() if right == "write"}
        for path in WORKFLOWS
        for name, job in load(path)["jobs"].items()
    }
    assert {job: scopes for job, scopes in writing.items() if scopes} == {
        ("image", "publish"): {"packages", "id-token", "attestations"},
        ("gpu", "propose"): {"contents", "pull-requests", "actions"},
    }
    image = load(ROOT / ".github" / "workflows" / "image.yml")["jobs"]
    assert image["publish"]["if"] == "github.event_name != 'pull_request'"
    assert image["check"]["if"] == "github.event_name == 'pull_request'"
    assert set(load(ROOT / ".github" / "workflows" / "gpu.yml")["on"]) == {"workflow_dispatch"}


@each
def test_make_has_the_targets_and_variables_that_are_used(path: Path) -> None:
    for script in (step["run"] for step in steps(path) if "run" in step):
        for target, variables in re.findall(r"\bmake ([a-z][\w-]*)((?: [A-Z_]+=(?:\"[^\"]*\"|\S+))*)", script):
            assert re.search(rf"^(?:[a-z-]+ )*{target}(?: [a-z-]+)*:", MAKEFILE, re.MULTILINE), target
            for name in re.findall(r"([A-Z_]+)=(?=[\"\w$])", variables):
                assert re.search(rf"\$[({{](?:or \$\()?{name}\b", MAKEFILE), f"the Makefile has no variable {name}"


def test_tests_runs_what_a_change_must_pass_on_every_python_of_the_kit() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "tests.yml")
    assert {"push", "pull_request", "workflow_dispatch"} == set(workflow["on"])
    [job] = workflow["jobs"].values()
    supported = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert job["strategy"]["matrix"]["python"] == [
        f"3.{minor}" for minor in range(int(supported[1]), int(supported[2]))
    ]
    scripts = " ".join(step.get("run", "") for step in job["steps"])
    assert "make lint" in scripts and "make test " in scripts and "chromium" in scripts


def test_gpu_offers_the_profiles_on_gpus_and_all_arms() -> None:
    inputs = load(ROOT / ".github" / "workflows" / "gpu.yml")["on"]["workflow_dispatch"]["inputs"]
    assert sorted(inputs["profile"]["options"]) == gpu_profiles()
    assert inputs["arm"]["options"] == list(ARMS)
    gpu = yaml.safe_load((ROOT / "reproduce" / "gpu.yaml").read_text(encoding="utf-8"))
    assert inputs["seed"]["default"] == str(gpu["seed"])


def gpu_profiles() -> list[str]:
    """The profile `gpu`, and those that extend it, also by way of another."""
    extends = {}
    for path in (ROOT / "reproduce").glob("*.yaml"):
        [content, *_] = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if "name" in content:
            extends[path.stem] = content.get("extends")
    found = {"gpu"}
    while more := {name for name, base in extends.items() if base in found} - found:
        found |= more
    return sorted(found)


def test_gpu_runs_of_one_profile_wait_for_each_other_and_go_on() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "gpu.yml")
    assert workflow["concurrency"] == {"group": "gpu-${{ inputs.profile }}", "cancel-in-progress": False}
    job = workflow["jobs"]["reproduce"]
    assert job["runs-on"] == ["self-hosted", "gpu"]
    assert job["timeout-minutes"] == 5 * 24 * 60, "GitHub's limit for a runner of one's own"
    hours = re.search(r"\btimeout .* (\d+)h make reproduce", " ".join(step.get("run", "") for step in job["steps"]))
    assert int(hours[1]) < 5 * 24, "it stops by itself before, and keeps what it has"
    assert any("ENVTUNE_RUNS=" in step.get("run", "") for step in job["steps"]), "checkpoints outlive the job"


def test_new_results_are_tested_on_their_pull_request() -> None:
    [script] = [
        step["run"]
        for step in load(ROOT / ".github" / "workflows" / "gpu.yml")["jobs"]["propose"]["steps"]
        if "run" in step
    ]
    assert "gh pr create" in script and "git add --all results" in script
    [started] = re.findall(r"gh workflow run (\S+)", script)
    assert "workflow_dispatch" in load(ROOT / ".github" / "workflows" / started)["on"]


def test_image_builds_the_targets_of_the_dockerfile_with_its_arguments() -> None:
    path = ROOT / ".github" / "workflows" / "image.yml"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM .* AS (\S+)", dockerfile, re.MULTILINE | re.IGNORECASE))
    for job in load(path)["jobs"].values():
        assert set(job["strategy"]["matrix"]["target"]) == {"cpu", "gpu"} <= targets
    arguments = set(re.findall(r"^ARG ([A-Z_]+)", dockerfile, re.MULTILINE))
    assert {"COMMIT", "CPU_BASE_IMAGE", "GPU_BASE_IMAGE"} <= arguments
    given = set(re.findall(r"^\s+([A-Z_]+)=\$\{\{|format\('([A-Z_]+)=", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for pair in given for name in pair if name} <= arguments
    for step in steps(path):
        options = step.get("with", {})
        if options.get("push"):
            assert options["provenance"] == "mode=max" and options["sbom"] is True
