"""Folders that a run writes to: space, files, whether they can be written at all, and the length of Ray's sockets."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envtune.doctor.check import Outcome, failed, ok, warning
from envtune.doctor.needs import DiskNeed
from envtune.files import cache_dir

if TYPE_CHECKING:
    from envtune.profile import Profile

GB = 1e9
_SOCKET_LIMIT = 107  # bytes of a path of a Unix socket, on Linux
# As Ray names them; a process id has seven digits at the most.
_SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_TEMPORARY_NEED = 5 * GB  # reckoned: Ray's logs and what spills; checkpoints never go there
_CACHE_NEED = 0.5 * GB  # BFCL's two releases and the CPU profile's weights
_FILES = 20_000  # reckoned: files that a run makes, so inodes


# The places that a run writes to, by name; a name is all that a check needs before the needs are known.
PLACES = ("run folder", "temporary files", "cache", "hub's cache")


@dataclass(frozen=True)
class Place:
    """A folder that a run writes to. need: bytes, None where it is not known; setting: the variable that moves it."""

    folder: Path
    need: float | None
    setting: str


@dataclass(frozen=True)
class Space:
    """Of a file system: its device number, free bytes, free inodes (None where it does not count them)."""

    device: int
    free: int
    inodes: int | None


def places(profile: Profile, need: DiskNeed, environment: Mapping[str, str]) -> dict[str, Place]:
    """What a run writes to. What is there already is taken off the need: a run may go on."""
    run = None if need.run is None else max(0.0, need.run - size_of(profile.run_dir))
    hub = hub_cache(environment)
    model = max(0.0, need.hub - size_of(hub / f"models--{str(profile.start_model).replace('/', '--')}"))
    found = (
        Place(profile.run_dir, run, "ENVTUNE_RUNS"),
        Place(temporary_folder(environment), _TEMPORARY_NEED, "TMPDIR"),
        Place(cache_dir(), _CACHE_NEED, "ENVTUNE_CACHE"),
        Place(hub, model, "HF_HOME"),
    )
    return dict(zip(PLACES, found, strict=True))


def temporary_folder(environment: Mapping[str, str]) -> Path:
    """Where Ray keeps its sockets, logs and what spills (in ray/ there)."""
    return Path(environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp")


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where models from the hub are kept, by the hub's own rules."""
    if environment.get("HF_HUB_CACHE"):
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    home = environment.get("HF_HOME") or os.path.join(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def space_at(folder: Path) -> Space:
    """The file system of a folder that may not be there yet."""
    there = existing(folder)
    stat = os.statvfs(there)
    return Space(there.stat().st_dev, stat.f_bavail * stat.f_frsize, stat.f_favail if stat.f_files else None)


def size_of(folder: Path) -> int:
    """Bytes on disk of all files in a folder; 0 where there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:  # gone since it was listed: a run may be writing
                continue
    return total


def disk(
    name: str, all_places: Mapping[str, Place], reason: str = "", spaces: Mapping[str, Space] | None = None
) -> Outcome:
    """Whether one place can be written and has room for all places on its file system.

    reason: why the run's need is not known; spaces: of each place's file system, looked up by default.
    """
    place = all_places[name]
    problem = write_problem(place.folder)
    elsewhere = f"or name another place with {place.setting}"
    if problem:
        return failed(problem, f"make it writable for this user, {elsewhere}")
    spaces = {key: space_at(one.folder) for key, one in all_places.items()} if spaces is None else spaces
    space = spaces[name]
    sharing = [key for key in all_places if spaces[key].device == space.device]
    wants = {key: all_places[key].need or 0.0 for key in sharing}
    needed, found = wants[name], ""
    if name == max(sharing, key=lambda key: wants[key]):  # the largest answers for all that share its file system
        needed = sum(wants.values())
        found = "".join(f", {key}" for key in sharing if key != name)
    with_others = f" (with {found.removeprefix(', ')})" if found else ""
    found = f"{place.folder}: {_gb(space.free)} free, {_gb(needed)} needed{with_others}"
    if space.free < needed:
        return failed(found, f"free {_gb(needed - space.free)} there, {elsewhere}")
    if space.inodes is not None and space.inodes < _FILES:
        return failed(f"{found}; only {space.inodes} more files can be made", f"remove small files there, {elsewhere}")
    if place.need is None:
        return warning(
            f"{place.folder}: {_gb(space.free)} free; the need is not known: {reason}",
            "make setup where the environment is not ready; else see what envtune train --dry-run reckons",
        )
    return ok(found)


def _gb(number: float) -> str:
    """Bytes as people read them."""
    return f"{number / GB:.0f} GB" if number >= 10 * GB else f"{number / GB:.1f} GB"


def write_problem(folder: Path) -> str:
    """Why a file cannot be made in a folder (or the nearest one above it), found by making one; empty when it can."""
    there = existing(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".envtune-doctor-") as file:
            file.write(b"envtune doctor\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{there} cannot be written: {error.strerror}"
    return ""


def writable(folders: Sequence[Path]) -> Outcome:
    """Whether files can be made in folders that no setting moves: verl puts sockets into /tmp by name."""
    problems = [problem for folder in folders if (problem := write_problem(folder))]
    if problems:
        return failed(
            "; ".join(problems), "verl puts sockets there whatever TMPDIR says: make it writable (chmod 1777)"
        )
    return ok(", ".join(map(str, folders)))


def socket_path(environment: Mapping[str, str]) -> Outcome:
    """Whether Ray's socket has a short enough path in the folder for temporary files."""
    folder = temporary_folder(environment)
    length = len(os.fsencode(folder / _SOCKET))
    found = f"{folder}: Ray's sockets will have paths of {length} of {_SOCKET_LIMIT} bytes"
    if length > _SOCKET_LIMIT:
        longest = _SOCKET_LIMIT - len(_SOCKET) - 1
        return failed(found, f"Ray would not start: set TMPDIR to a folder whose path has {longest} bytes at the most")
    return ok(found)
