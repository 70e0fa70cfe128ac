"""Limits of the process's control groups, version 1 and 2: a container's are smaller than the machine's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 2**60  # version 1 writes a number near 2**63 where there is no limit


@dataclass(frozen=True)
class Limits:
    """None where there is no limit. memory, memory_left: bytes; cores: may be a fraction; processes: threads count."""

    memory: int | None = None
    memory_left: int | None = None
    cores: float | None = None
    processes: int | None = None


def read_limits(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Limits:
    """The least limit of the process's groups and all those above them, as far as they can be seen from here."""
    memory: list[tuple[int, int]] = []  # (limit, what is left of it)
    for folder in _folders(proc, cgroups, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is not None:
            memory.append((limit, max(0, limit - _used(folder))))
    cores = [quota for folder in _folders(proc, cgroups, "cpu") if (quota := _quota(folder)) is not None]
    processes = [
        limit for folder in _folders(proc, cgroups, "pids") if (limit := _number(folder / "pids.max")) is not None
    ]
    return Limits(
        memory=min((limit for limit, _ in memory), default=None),
        memory_left=min((left for _, left in memory), default=None),
        cores=min(cores, default=None),
        processes=min(processes, default=None),
    )


def _folders(proc: Path, cgroups: Path, controller: str) -> Iterator[Path]:
    """Folders of one controller's groups, from the process's own up to the root.

    A container often sees its own group mounted at the root, and its path is the host's: only the root is there then.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # version 2 has one tree and no names; a hybrid machine mounts it beside version 1's
        base = cgroups / controller if controllers else cgroups
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(base):
                break
            if folder.is_dir():
                yield folder


def _number(file: Path) -> int | None:
    """The limit in a file; None where it is "max", version 1's way to say so, or there is no such file."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _used(folder: Path) -> int:
    """Bytes in use that cannot be had back: page cache that is not in use goes when memory is asked for."""
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return used
    stat = {name: int(value) for name, _, value in (line.partition(" ") for line in lines) if value.isdigit()}
    return used - stat.get("total_inactive_file", stat.get("inactive_file", 0))


def _quota(folder: Path) -> float | None:
    """Cores that the group may use, from cpu.max ("QUOTA PERIOD") or version 1's two files."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    except OSError:
        quota, period = "max", "0"
    if quota != "max":
        return int(quota) / int(period)
    first, second = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return first / second if first and second else None
