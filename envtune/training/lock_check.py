"""Whether a profile's lock can be installed elsewhere: on Python 3.12 and a Linux with glibc 2.31 or later.

Two questions to uv, neither of which downloads or installs a package: does resolving pyproject.toml under the lock
give the lock again, and does the package index have a file for that platform for every entry.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envtune.errors import EnvtuneError

PYTHON = "3.12"
PLATFORM = "x86_64-manylinux_2_31"
_ROOT = Path(__file__).resolve().parents[2]
_UNREACHABLE = re.compile(
    r"client error \(Connect\)|error sending request|dns error|Connection refused|timed out", re.I
)


@dataclass(frozen=True)
class LockCheck:
    """holds: None where no package index could be reached; message: one sentence."""

    holds: bool | None
    message: str


def check_lock(extra: str, environment: Mapping[str, str] | None = None, root: Path = _ROOT) -> LockCheck:
    """Check requirements-<extra>.txt in `root`; `environment` is uv's (this process's by default)."""
    lock = root / f"requirements-{extra}.txt"
    try:
        locked = set(re.findall(r"^[A-Za-z0-9._-]+==[^\s;]+", lock.read_text(encoding="utf-8"), re.MULTILINE))
    except FileNotFoundError as error:
        raise EnvtuneError(f"{lock} is missing; the check runs in a checkout of the project") from error
    target = ["--python-version", PYTHON, "--python-platform", PLATFORM]
    resolve = ["compile", "pyproject.toml", "--extra", extra, "--extra", "test", "-c", lock.name, "--no-header"]
    resolved = _uv([*resolve, "--no-annotate", *target], root, environment)
    if resolved.returncode:
        return _failure(f"{lock.name} does not resolve", resolved.stderr)
    differing = locked ^ set(resolved.stdout.split())
    if differing:
        return LockCheck(False, f"{lock.name} is not what pyproject.toml asks for: {', '.join(sorted(differing))}")
    with tempfile.TemporaryDirectory() as folder:
        install = ["install", "--dry-run", "--require-hashes", "--no-deps", "--target", folder, "-r", lock.name]
        installed = _uv([*install, *target], root, environment)
    if installed.returncode:
        return _failure(f"{lock.name} cannot be installed", installed.stderr)
    return LockCheck(True, f"{lock.name}: its {len(locked)} packages resolve for Python {PYTHON} on {PLATFORM}")


def _uv(arguments: list[str], root: Path, environment: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise EnvtuneError("uv is not installed in this environment; `make setup` installs it")
    env = None if environment is None else dict(environment)
    return subprocess.run([uv, "-q", "pip", *arguments], cwd=root, env=env, capture_output=True, text=True, check=False)


def _failure(what: str, message: str) -> LockCheck:
    if _UNREACHABLE.search(message):
        return LockCheck(None, f"{what.split()[0]} was not checked: no package index can be reached from here")
    return LockCheck(False, f"{what}: {' '.join(message.split())}")
