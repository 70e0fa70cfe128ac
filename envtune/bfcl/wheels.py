"""Fetching a pinned wheel from the package index, once, by hash, without installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from envtune.errors import EnvtuneError
from envtune.files import cache_dir, sha256_file


def fetch_wheel(name: str, version: str, sha256: str) -> Path:
    """Path of the wheel `name==version` in the cache; downloaded with pip when it is not there yet.

    Raises EnvtuneError when it cannot be downloaded or its SHA-256 is not `sha256`.
    """
    wheels = cache_dir() / "wheels"
    stem = name.replace("-", "_")
    for found in wheels.glob(f"{stem}-{version}-*.whl"):
        if sha256_file(found) == sha256:
            return found
        found.unlink()
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheels) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", folder, f"{name}=={version}"], capture_output=True, text=True, check=False
        )
        downloaded = list(Path(folder).glob("*.whl"))
        if done.returncode or not downloaded:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise EnvtuneError(
                f"{name}=={version} could not be downloaded with pip ({reason}); check the network, or put the wheel "
                f"into {wheels}"
            )
        found = sha256_file(downloaded[0])
        if found != sha256:
            raise EnvtuneError(
                f"{name}=={version} from the package index has SHA-256 {found}, not the pinned {sha256}; "
                "do not use it: check the index that pip is configured with"
            )
        target = wheels / downloaded[0].name
        os.replace(downloaded[0], target)
    return target


def unpack_wheel(wheel: Path, target: Path) -> Path:
    """Unpack `wheel` into the folder `target`, whole or not at all; a folder that is there is left as it is."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary)
        os.chmod(temporary, 0o755)
        try:
            os.rename(temporary, target)
        except OSError:
            if not target.is_dir():  # anything but another process having been faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
