"""Processor, memory, shared memory, and the limits that a container or a shell sets."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

from envtune.doctor.cgroup import Limits, read_limits
from envtune.doctor.check import Outcome, failed, ok, warning
from envtune.doctor.needs import GIB, Needs

_PROC = Path("/proc")
_SHM = Path("/dev/shm")
# Without RAY_ADDRESS, Ray takes 30 % of the memory that is available for its object store, and where /dev/shm is small
# no more than this; what does not fit there either goes to its folder in TMPDIR, with a warning.
_OBJECT_STORE_SHARE, _OBJECT_STORE_CAP = 0.3, 10e9
_GPU_SHM = GIB  # NCCL and vLLM; NVIDIA's own advice for containers. verl's weights go through GPU memory there


def processor(
    needs: Needs, proc: Path = _PROC, limits: Limits | None = None, cores: int | None = None, machine: str | None = None
) -> Outcome:
    """Cores that may be used, and AVX, without which vLLM's CPU build does not start."""
    limits = read_limits(proc) if limits is None else limits
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    machine = platform.machine() if machine is None else machine
    usable = min(cores, limits.cores or cores)
    found = f"{cores} cores"
    if limits.cores is not None and limits.cores < cores:
        found += f", of which the control group allows {limits.cores:g}"
    if needs.extra == "cpu" and machine == "x86_64":
        flags = _flags(proc)
        if "avx2" not in flags:
            return failed(f"{found}; no AVX2", "vLLM's CPU build needs AVX2: take another machine or virtual processor")
        found += ", AVX-512" if "avx512f" in flags else ", AVX2 (slower than AVX-512)"
    if usable >= needs.cores:
        return ok(found)
    if needs.extra == "cpu":
        return warning(
            found, f"the profile was measured on {needs.cores} cores; expect it to take longer, or give it more"
        )
    return failed(
        f"{found}; {needs.cores} are needed",
        "verl asks Ray for 3 cores a GPU and waits for ever where there are fewer: take a larger machine, or raise the "
        "container's limit (docker run --cpus)",
    )


def _flags(proc: Path) -> set[str]:
    for line in (proc / "cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def memory_bytes(proc: Path, limits: Limits) -> tuple[int, int]:
    """(total, available) bytes, of the machine or of the control group where that has less."""
    lines = (line.split() for line in (proc / "meminfo").read_text(encoding="utf-8").splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    total, available = kib["MemTotal"] << 10, kib["MemAvailable"] << 10
    if limits.memory is not None and limits.memory < total:
        total = limits.memory
    if limits.memory_left is not None:
        available = min(available, limits.memory_left)
    return total, available


def memory(needs: Needs, proc: Path = _PROC, limits: Limits | None = None) -> Outcome:
    """Memory in all and free of other processes, against what the profile was measured or reckoned to take."""
    limits = read_limits(proc) if limits is None else limits
    total, available = memory_bytes(proc, limits)
    found = f"{total / GIB:.1f} GiB, {available / GIB:.1f} available"
    if limits.memory is not None and limits.memory <= total:
        found += " (limit of the control group)"
    needed = f"{needs.memory / GIB:.1f} GiB"
    if needs.extra != "cpu":
        if available >= needs.memory:
            return ok(found)
        return warning(found, f"{needed} are reckoned, not measured; more memory, or end other processes")
    if total < needs.memory:
        return failed(found, f"the profile takes {needed} at the most: a larger machine or limit (docker run --memory)")
    if available < needs.memory:
        return warning(found, f"the profile takes {needed} at the most: end other processes first")
    return ok(found)


def shared_memory(
    needs: Needs,
    environment: Mapping[str, str],
    shm: Path = _SHM,
    sizes: tuple[int, int] | None = None,
    available: int | None = None,
) -> Outcome:
    """Space in /dev/shm. sizes: its (total, free) bytes; available: of memory; both are looked up by default."""
    if not shm.is_dir():
        return failed(f"there is no {shm}", "mount a tmpfs there; a container has one unless it was taken away")
    if sizes is None:
        usage = shutil.disk_usage(shm)
        sizes = usage.total, usage.free
    if available is None:
        available = memory_bytes(_PROC, read_limits())[1]
    total, free = sizes
    found = f"{shm}: {_size(total)}, {_size(free)} free"
    least = needs.workers * needs.bucket if not needs.gpus else _GPU_SHM
    whose = "verl's transfer of weights" if not needs.gpus else "NCCL and vLLM"
    store = 0.0 if environment.get("RAY_ADDRESS") else min(_OBJECT_STORE_SHARE * available, _OBJECT_STORE_CAP)
    advised = f"{int((least + store) / GIB) + 1}g"
    how = f"in Docker: docker run --shm-size={advised} (compose: shm_size); else: mount -o remount,size={advised} {shm}"
    if free < least:
        return failed(
            found, f"{_size(least)} are needed there for {whose}; {how}; or remove what a killed run left in it"
        )
    if free < least + store:
        return warning(
            found,
            f"Ray's object store ({_size(store)}) does not fit and goes to a disk, which is slower; {how}",
        )
    return ok(found)


def _size(number: float) -> str:
    """Bytes as people read them."""
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"


def open_files(needs: Needs, limits: tuple[int, int] | None = None) -> Outcome:
    """How many files a process may hold open. limits: (soft, hard)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE) if limits is None else limits
    least, advised = needs.open_files
    how = f"ulimit -n {advised}"
    if _below(hard, advised):
        how += f" (the hard limit is {hard}: docker run --ulimit nofile={advised}, or /etc/security/limits.conf)"
    return _against(soft, least, advised, "open files", "ulimit -n", f"before the run: {how}")


def processes(needs: Needs, soft: int | None = None, limits: Limits | None = None) -> Outcome:
    """How many processes and threads there may be. soft: the shell's limit; limits: the control group's."""
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0] if soft is None else soft
    limits = read_limits() if limits is None else limits
    least, advised = needs.processes
    if limits.processes is not None and (soft == resource.RLIM_INFINITY or limits.processes < soft):
        how = f"raise the container's limit: docker run --pids-limit {advised}"
        return _against(limits.processes, least, advised, "processes and threads", "pids.max of the control group", how)
    how = f"before the run: ulimit -u {advised}"
    return _against(soft, least, advised, "processes and threads", "ulimit -u", how)


def _against(value: int, least: int, advised: int, what: str, where: str, how: str) -> Outcome:
    found = f"{'no limit' if value == resource.RLIM_INFINITY else value} ({where})"
    if _below(value, least):
        return failed(found, f"a run needs {least} {what} at least, {advised} are advised; {how}")
    if _below(value, advised):
        return warning(found, f"{advised} {what} are advised; {how}")
    return ok(found)


def _below(value: int, bound: int) -> bool:
    return value != resource.RLIM_INFINITY and value < bound
