"""The two BFCL releases that this kit uses. They differ in the conversation, state or ground truth of 394 of
the 800 tasks and in the tool docs of all, so they are never mixed.

`paper` is the release whose API classes the paper's own environment was built from; `current` is the newest with
sound data. Every artefact names the release it came from.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from envtune.bfcl.wheels import fetch_wheel, unpack_wheel
from envtune.errors import EnvtuneError
from envtune.files import cache_dir

CATEGORIES = ("base", "miss_func", "miss_param", "long_context")


@dataclass(frozen=True)
class Release:
    """A pinned release of the package `bfcl-eval`.

    name: what artefacts call it; version: on the package index; sha256: of the wheel; data_prefix: of its data files.
    """

    name: str
    version: str
    sha256: str
    data_prefix: str

    def folder(self) -> Path:
        """The unpacked `bfcl_eval` package, fetched on first use. Raises EnvtuneError when it cannot be had."""
        return _unpacked(self) / "bfcl_eval"


@functools.cache
def _unpacked(release: Release) -> Path:
    target = cache_dir() / "bfcl-eval" / f"{release.version}-{release.sha256[:12]}"
    if target.is_dir():
        return target
    return unpack_wheel(fetch_wheel("bfcl-eval", release.version, release.sha256), target)


RELEASES: Mapping[str, Release] = MappingProxyType(
    {
        "paper": Release(
            name="paper",
            version="2025.6.8",
            sha256="f93fee3a66d33f8ea09e5174b4ba72aa80732b31506be1043da8ffb23c299cc3",
            data_prefix="BFCL_v3",
        ),
        "current": Release(
            name="current",
            version="2026.3.23",
            sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
            data_prefix="BFCL_v4",
        ),
    }
)


def get_release(name: str) -> Release:
    """The release called `name`. Raises EnvtuneError when there is none."""
    try:
        return RELEASES[name]
    except KeyError:
        raise EnvtuneError(f"unknown BFCL release {name!r}; choose one of: {', '.join(RELEASES)}") from None
