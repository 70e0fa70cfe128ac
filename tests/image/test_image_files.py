"""What can be said of Dockerfile, .dockerignore and compose.yaml without an engine. test_image.py builds and runs them.

pytest tests/image/test_image_files.py
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
TARGETS = ("cpu", "gpu")
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY", re.IGNORECASE)
# What make's key of an environment is made of, for each target, and of the one for evaluation: see `key` in the Makefile.
KEY_FILES = {
    "cpu": {"requirements-cpu.txt", "requirements-torch-cpu.txt", "pyproject.toml", "envtune/bootstrap.py"},
    "gpu": {"requirements-gpu.txt", "pyproject.toml", "envtune/bootstrap.py"},
    "eval": {"requirements-eval.txt", "requirements-torch-cpu.txt", "pyproject.toml", "envtune/bootstrap.py"},
}


def tool(name: str) -> Path:
    """A program of this environment."""
    return Path(sysconfig.get_path("scripts")) / name


def instructions(text: str) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction, continued lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word
    ]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Name of a stage -> its instructions, after those of the stage that it is built on."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = list(found.get(base, ()))
        if name:
            found[name].append((word, rest))
    return found


def values(target: str, word: str) -> list[str]:
    return [rest for keyword, rest in stages()[target] if keyword == word]


def context() -> set[str]:
    """The files that `docker build` sends to the engine, by the SDK's own reading of .dockerignore."""
    from docker.utils.build import exclude_paths

    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    return {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


# ---- Dockerfile


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_that_is_ignored_has_a_reason_beside_it() -> None:
    ignored = re.findall(r"hadolint +ignore=(\S+)(.*)", DOCKERFILE.read_text(encoding="utf-8"))
    assert all(re.match(r" # \S+ \S+", reason) for _, reason in ignored), ignored
    assert not (ROOT / ".hadolint.yaml").exists(), "rules are ignored where they are broken"


def test_it_builds_with_an_old_frontend() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE), "would be fetched from a registry"
    assert "<<" not in text, "heredocs are newer than the frontend of Debian's Docker"


@pytest.mark.parametrize("target", TARGETS)
def test_a_base_image_is_an_argument_with_a_pinned_default(target: str) -> None:
    name = f"{target.upper()}_BASE_IMAGE"
    (default,) = re.findall(rf"^ARG {name}=(\S+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(r"docker\.io/[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", default)
    assert values(target, "FROM")[0] == f"${{{name}}} AS {target}-system"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_make_reproduce_as_a_user_who_is_not_root(target: str) -> None:
    assert values(target, "USER")[-1] == "1000:1000"
    assert values(target, "CMD") == ['["make", "reproduce"]'] and not values(target, "ENTRYPOINT")
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(values(target, "ENV"))))
    assert environment["PROFILE"] == target
    written = ("ENVTUNE_RUNS", "ENVTUNE_RESULTS", "ENVTUNE_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    assert all(environment[name].startswith("/data/") for name in written)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_no_secret_and_no_place_of_one_machine(target: str) -> None:
    said = values(target, "ARG") + values(target, "ENV")
    assert not [line for line in said if SECRET.search(line)]
    runs = " ".join(values(target, "RUN"))
    assert not re.search(r"index[-_]url|find[-_]links|trusted-host|https?://", runs, re.IGNORECASE)


@pytest.mark.parametrize("target", TARGETS)
def test_packages_are_cached_in_mounts(target: str) -> None:
    for run in values(target, "RUN"):
        if "apt-get" in run:
            assert run.count("--mount=type=cache") == 2 and "--no-install-recommends" in run
        if "make setup" in run:
            assert "--mount=type=cache" in run and "uid=1000" in run


@pytest.mark.parametrize("target", TARGETS)
def test_the_environment_is_made_before_the_code_is_copied(target: str) -> None:
    """Of what make's key is made of, all is there at that step; of what changes often, nothing."""
    steps = [(word, rest) for word, rest in stages()[target] if word in ("COPY", "RUN")]
    (setup,) = (at for at, (_, rest) in enumerate(steps) if "make setup" in rest)
    before = [path for word, rest in steps[:setup] if word == "COPY" for path in rest.split()[1:-1]]
    key_files = KEY_FILES[target] | KEY_FILES["eval"]
    assert set(before) == key_files | {"Makefile", "README.md", "LICENSE", "envtune/__init__.py"}
    assert "make setup setup-eval" in steps[setup][1]
    assert [rest.split()[1:] for word, rest in steps[setup + 1 :] if word == "COPY"] == [[".", "./"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (locks,) = re.findall(rf"^{target.upper()}_LOCKS := (.*)$", makefile, re.MULTILINE)
    (key,) = re.findall(r"^key = .* cat \$\(1\) (.*); }", makefile, re.MULTILINE)
    assert {*locks.split(), *key.split()} == KEY_FILES[target]
    (evaluation,) = re.findall(r"^EVAL_READY := .*\$\(call key,(.*)\)$", makefile, re.MULTILINE)
    assert {*evaluation.split(), *key.split()} == KEY_FILES["eval"]


# ---- the build context


def test_what_is_copied_is_in_the_context() -> None:
    files = context()
    for target in TARGETS:
        for path in (path for rest in values(target, "COPY") for path in rest.split()[1:-1]):
            assert path == "." or path in files, path
    assert {"reproduce/cpu.yaml", "envtune/profile.py", "results/paper/table1.csv"} <= files


def test_the_context_keeps_out_what_is_not_needed(tmp_path: Path) -> None:
    from docker.utils.build import exclude_paths

    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    out = [
        ".git/config", ".env", ".venv/bin/python", ".venv-gpu/bin/python", "runs/cpu/model/config.json", "data/runs/x",
        "results/cpu/records/start.jsonl.gz", "envtune/__pycache__/profile.pyc", "envtune.egg-info/x", "tests/x.py",
        ".pytest_cache/x", ".hypothesis/x", "build/x", "id_rsa", "compose.yaml", "Dockerfile",
    ]  # fmt: skip
    kept = ["envtune/cli/app.py", "reproduce/cpu.yaml", "results/paper/figures.csv", "Makefile"]
    for name in out + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sent = exclude_paths(str(tmp_path), [line for line in patterns if line and not line.startswith("#")])
    assert {path for path in sent if (tmp_path / path).is_file()} - {".dockerignore", "Dockerfile"} == set(kept)


def test_the_context_is_small() -> None:
    assert sum((ROOT / path).stat().st_size for path in context()) < 20e6


# ---- compose.yaml


def test_compose_follows_its_schema() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_builds_targets_that_there_are() -> None:
    for name, service in compose()["services"].items():
        build = service["build"]
        assert build["target"] == "${TARGET:-gpu}" and set(TARGETS) <= set(stages()), name
        arguments = {rest.partition("=")[0] for word, rest in instructions(DOCKERFILE.read_text()) if word == "ARG"}
        assert set(build["args"]) <= arguments


def test_compose_publishes_on_this_machine_only_unless_told() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("${BIND:-127.0.0.1}:") for port in ports)


def test_compose_gives_no_service_more_than_it_needs() -> None:
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["user"] == "${RUN_AS:-1000:1000}", name
        assert not service.get("privileged") and service.get("network_mode") != "host", name


def test_compose_trains_after_the_doctor_and_watches_its_servers() -> None:
    services = compose()["services"]
    assert services["train"]["depends_on"] == {"doctor": {"condition": "service_completed_successfully"}}
    assert services["train"]["command"] == ["make", "reproduce"]
    assert services["server"]["profiles"] == ["serve"], "training and serving take the same GPUs"
    for name in ("server", "tensorboard"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    for name in ("doctor", "train", "server"):
        assert services[name]["runtime"] == "${RUNTIME:-nvidia}" and services[name]["shm_size"]


def test_compose_explains_every_variable_that_it_takes() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    head, _, body = text.partition("\nname: ")
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", body)) | set(
        re.findall(r"^ +([A-Z_]+):(?: #.*)?$", body, re.MULTILINE)
    )
    assert used - {"CPU_BASE_IMAGE", "GPU_BASE_IMAGE"} <= set(re.findall(r"[A-Z_]{2,}", head))
