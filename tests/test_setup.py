"""What a newcomer runs first: the Makefile, the lock files, and the script that installs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from envtune import bootstrap

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements-cpu.txt", "requirements-gpu.txt", "requirements-torch-cpu.txt")
LOCK = """\
# a comment
uv==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via envtune (pyproject.toml)
setuptools==2.0 \\
    --hash=sha256:cc
    # via
    #   torch
flash-attn==3.0 \\
    --hash=sha256:dd
"""


def make(*arguments: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make` as a person types it: nothing of a `make` that runs these tests is passed on."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=inherited | variables, capture_output=True, text=True, check=False)


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_entries_are_taken_from_a_lock_with_all_their_hashes() -> None:
    assert bootstrap.select(LOCK, only=("uv",)) == "uv==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    rest = bootstrap.select(LOCK, leave_out=("flash-attn",))
    assert re.findall(r"^[a-z-]+", rest, re.MULTILINE) == ["uv", "setuptools"]
    with pytest.raises(bootstrap.SetupError, match="no entry for pip"):
        bootstrap.select(LOCK, only=("pip", "uv"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash_and_no_place_of_its_own(lock: str) -> None:
    lines = [
        line for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    names = [line for line in lines if not line.startswith(" ")]
    hashes = [line for line in lines if line.startswith("    --hash=sha256:")]
    assert names and len(names) + len(hashes) == len(lines), "no options, indexes, addresses or paths"
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+ \\", line) for line in names), "exact versions, hashes follow"


def test_the_two_environments_share_the_trainer_and_what_set_up_needs_first() -> None:
    cpu, gpu = pins("requirements-cpu.txt"), pins("requirements-gpu.txt")
    assert {cpu["verl"], gpu["verl"]} == {"0.9.1"}
    assert "torch" not in cpu, "its CPU build has a lock of its own"
    assert pins("requirements-torch-cpu.txt")["torch"].removesuffix("+cpu") in (ROOT / "pyproject.toml").read_text()
    assert {*bootstrap.FIRST, *bootstrap.LAST} <= set(gpu) and set(bootstrap.FIRST) <= set(cpu)


def test_the_locks_hold_what_pyproject_pins_exactly() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for lock, names in {"requirements-cpu.txt": ("cpu", "test"), "requirements-gpu.txt": ("gpu", "test")}.items():
        wanted = [line.split("==") for name in names for line in extras[name] if "==" in line]
        for name, version in wanted:
            name = name.split("[")[0]
            assert name == "torch" or pins(lock)[name] == version, f"{name} in {lock}: run `make lock`"


def test_help_is_the_default_and_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()]
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert sorted(listed) == sorted(targets)
    assert {"setup", "data", "train", "evaluate", "tables", "reproduce", "test", "test-slow"} <= set(listed)


def commands(*arguments: str) -> list[str]:
    """What `make` would run of the command line and pytest, without running it."""
    return re.findall(r"^(\.venv\S*/bin/.*?) *$", make("-n", *arguments).stdout, re.MULTILINE)


def test_reproduce_runs_each_step_once_and_in_order() -> None:
    steps = ["setup-model", "data", "train", "evaluate", "tables", "figures", "report", "model-card", "summary"]
    for profile, venv in {"cpu": ".venv", "gpu": ".venv-gpu"}.items():
        expected = [f"{venv}/bin/envtune {step} --profile {profile}" for step in steps]
        assert commands("reproduce", f"PROFILE={profile}") == expected


def test_a_dry_run_of_the_gpu_profile_uses_the_cpu_environment() -> None:
    assert commands("reproduce", "PROFILE=gpu", "DRY_RUN=1") == [".venv/bin/envtune train --profile gpu --dry-run"]


@pytest.mark.parametrize("wrong", ["PROFILE=tpu", "DRY_RUN=yes"])
def test_a_misspelt_variable_is_named(wrong: str) -> None:
    done = make("reproduce", wrong)
    assert done.returncode == 2 and wrong in done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that set-up reads, in a folder of their own."""
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "envtune").mkdir()
    shutil.copy(ROOT / "envtune" / "bootstrap.py", tmp_path / "envtune")
    return tmp_path


def interpreter(path: Path, body: str) -> str:
    """A stand-in for a Python interpreter, as a shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_a_fitting_python_set_up_says_what_to_install(tree: Path) -> None:
    done = make("setup", f"PYTHON={interpreter(tree / 'old', 'exit 1')}", folder=tree)
    assert done.returncode == 2 and "No Python 3.11 or 3.12 found" in done.stderr
    assert not (tree / ".venv").exists()


def test_a_python_without_venv_is_named_with_the_package_to_install(tree: Path) -> None:
    body = 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac'
    done = make("setup", f"PYTHON={interpreter(tree / 'bare', body)}", folder=tree)
    assert done.returncode == 2 and "sudo apt-get install python3.12-venv" in done.stderr


def test_a_step_that_fails_leaves_no_stamp_and_one_that_succeeds_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real steps but for what they install: a lock of nothing but what pip and uv cannot find."""
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    (tmp_path / "requirements-cpu.txt").write_text(LOCK, encoding="utf-8")
    stamp = tmp_path / ".venv" / ".setup-new"
    arguments = ["--profile", "cpu", "--venv", str(tmp_path / ".venv"), "--stamp", str(stamp)]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert bootstrap.main(arguments) == 1
    assert "set-up failed" in capfd.readouterr().err
    assert not stamp.exists() and (tmp_path / ".venv" / "bin" / "python").exists()

    (stamp.parent / ".setup-old").touch()
    monkeypatch.setattr(bootstrap, "_pip", lambda *_, **__: None)
    monkeypatch.setattr(bootstrap, "_uv", lambda *_, **__: None)
    monkeypatch.setattr(bootstrap, "install_torch", lambda *_: None)
    assert bootstrap.main(arguments) == 0
    assert stamp.exists() and not (stamp.parent / ".setup-old").exists()
    monkeypatch.setattr(bootstrap, "set_up", None)  # a further call does nothing
    assert bootstrap.main(arguments) == 0


def test_uv_gets_the_index_that_pip_is_set_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://other.example/simple")
    assert bootstrap._uv_environment(Path(sys.executable))["UV_DEFAULT_INDEX"] == "https://index.example/simple"
