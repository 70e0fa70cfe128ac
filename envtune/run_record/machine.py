"""What a run ran with: code, packages, image, hardware.

The code that writes a record may be newer than the code that ran. So each attempt keeps its own snapshot
(`write_snapshot`), and a record takes the last one. An attempt without it has its provenance alone: then this process's
answer is taken where it agrees with that (a diff may have been edited since), and else what the provenance says.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.doctor.cgroup import read_limits
from envtune.doctor.check import without_secrets
from envtune.doctor.gpu import survey
from envtune.doctor.machine import memory_bytes
from envtune.files import write_json
from envtune.profile import ROOT
from envtune.provenance import provenance
from envtune.run_record.inputs import prompt_sha256
from envtune.run_record.reading import read_object

SNAPSHOT = "snapshot.json"
_NVIDIA_SMI_S = 10.0
_DIFF = ("git", "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv")
_AGREE = ("commit", "dirty", "envtune", "python")


def hardware() -> dict[str, Any]:
    """{host: {"cores", "memory_bytes", "gpus": [{"name", "memory_bytes", "driver"}]}} of this machine, as far as this
    process may use it (a container's limits count). Of several nodes each would have to be asked."""
    limits = read_limits()
    cores = len(os.sched_getaffinity(0))
    gpus = [
        {"name": gpu.name, "memory_bytes": int(gpu.total), "driver": gpu.driver}
        for gpu in survey(os.environ, _NVIDIA_SMI_S).gpus
    ]
    return {
        platform.node(): {
            "cores": min(cores, limits.cores or cores),
            "memory_bytes": memory_bytes(Path("/proc"), limits)[0],
            "gpus": gpus,
        }
    }


def snapshot(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """{"code": {"commit", "dirty", "envtune", "diff", "diff_sha256"}, "image", "python", "packages",
    "prompt_sha256"} of this process.

    diff: of the tracked files against the commit (results/ aside, as in `provenance`), "" when there is none, None
    outside a checkout; values of the environment's secret variables are blotted out of it, and its hash is of what is
    left. image: `ENVTUNE_IMAGE`. packages: every installed distribution.
    """
    origin = provenance()
    diff = _diff(environment)
    image = environment.get("ENVTUNE_IMAGE") or None
    return {
        "code": {
            **{key: origin[key] for key in ("commit", "dirty", "envtune")},
            "diff": diff,
            "diff_sha256": None if diff is None else _sha256(diff),
        },
        "image": without_secrets(image, environment) if image else None,
        "python": origin["python"],
        "packages": dict(_packages()),
        "prompt_sha256": prompt_sha256(),
    }


def write_snapshot(attempt: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Keep what this process runs beside an attempt's attempt.json, for the record; gives the file's path."""
    path = attempt / SNAPSHOT
    write_json(path, snapshot(environment))
    return path


def ran_with(attempts: Sequence[tuple[str, Path, Mapping[str, Any]]], environment: Mapping[str, str]) -> dict[str, Any]:
    """The run's snapshot, and where it is from (`as_of`): "<stage>/attempts/<number>", or "written" for this process.

    attempts: (its name in the run, folder, provenance or {}) of all attempts at all stages, in order.
    """
    for name, folder, origin in reversed(attempts):
        kept = read_object(folder / SNAPSHOT)
        if kept is not None:
            return {**kept, "as_of": name}
        if origin:
            now = provenance()
            packages = origin.get("packages") or {}
            if all(origin.get(key) == now[key] for key in _AGREE) and packages == now["packages"]:
                break
            code = {key: origin.get(key) for key in ("commit", "dirty", "envtune")}
            return {
                "code": {**code, "diff": None, "diff_sha256": None},
                "image": None,
                "python": origin.get("python"),
                "packages": packages,
                "prompt_sha256": None,
                "as_of": name,
            }
    return {**snapshot(environment), "as_of": "written"}


@functools.cache
def _packages() -> Mapping[str, str]:
    """Of two distributions with one name the first on the path is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # what a broken installation left behind has none
            found.setdefault(name, distribution.version)
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: item[0].lower())))


def _diff(environment: Mapping[str, str]) -> str | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run([*_DIFF, "--", ".", ":(exclude)results"], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return without_secrets(done.stdout.decode("utf-8", "replace"), environment) if done.returncode == 0 else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
