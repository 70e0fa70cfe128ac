"""GPUs: as nvidia-smi sees them, and as torch does."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from envtune.doctor.check import Answer, Outcome, ask, failed, not_applicable, ok, warning
from envtune.doctor.needs import GPU_BYTES, Needs

GB = 1e9
_FIELDS = ("name", "memory.total", "memory.used", "driver_version", "mig.mode.current", "compute_cap")
_LEAST_DRIVER = {11: 450, 12: 525, 13: 580}  # CUDA's major release: driver (NVIDIA's minor version compatibility)
_LOCKED_CUDA = "13.0"  # of the GPU lock's torch, where none is installed that says it
_COMPAT = Path("/usr/local/cuda/compat")  # newer CUDA on an older driver, as NVIDIA's images carry it
_FLASH_ATTN = (8, 0)
_HALF = 0.5
_ASK_TORCH = """
import torch
print("imported", flush=True)
import json
there = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "available": there,
                  "count": torch.cuda.device_count() if there else 0}))
"""


@dataclass(frozen=True)
class Gpu:
    """One line of nvidia-smi. total, used: bytes; capability: None where the driver is too old to tell."""

    name: str
    total: float
    used: float
    driver: str
    split: bool
    capability: tuple[int, int] | None


@dataclass(frozen=True)
class Survey:
    """What nvidia-smi sees: its GPUs, processes on them by name; problem: why there is nothing."""

    gpus: tuple[Gpu, ...] = ()
    processes: tuple[str, ...] = ()
    problem: str = ""


def survey(environment: Mapping[str, str], seconds: float) -> Survey:
    """Ask nvidia-smi, as the environment's PATH finds it."""
    answer = _query("gpu", _FIELDS, environment, seconds)
    if answer.code not in (0, None):  # drivers before 510 do not know compute_cap
        older = _query("gpu", _FIELDS[:-1], environment, seconds)
        answer = older if older.code == 0 else answer
    if answer.code != 0:
        return Survey(problem=answer.reason)
    gpus = tuple(_gpu([cell.strip() for cell in line.split(",")]) for line in answer.out.splitlines() if line.strip())
    apps = _query("compute-apps", ("process_name",), environment, seconds)
    lines = apps.out.splitlines() if apps.code == 0 else []
    return Survey(gpus, tuple(line.strip() for line in lines if line.strip()))


def _query(what: str, fields: Sequence[str], environment: Mapping[str, str], seconds: float) -> Answer:
    command = ["/usr/bin/env", "nvidia-smi", f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits"]
    answer = ask(command, seconds, environment)  # env looks in the given PATH, not in this process's
    return Answer(None, problem="nvidia-smi is not installed here") if answer.code in (126, 127) else answer


def _gpu(cells: list[str]) -> Gpu:
    name, total, used, driver, split, *capability = cells
    number = re.fullmatch(r"(\d+)\.(\d+)", capability[0]) if capability else None
    return Gpu(
        name,
        _mebibytes(total),
        _mebibytes(used),
        driver,
        split == "Enabled",
        (int(number[1]), int(number[2])) if number else None,
    )


def _mebibytes(cell: str) -> float:
    return float(cell) * 2**20 if cell.replace(".", "").isdigit() else 0.0  # "[N/A]" on some boards


def number(needs: Needs, seen: Survey) -> Outcome:
    """As many GPUs as the profile has workers on a node."""
    if not seen.gpus:
        return failed(
            f"no GPU: {seen.problem or 'nvidia-smi lists none'}; the profile needs {needs.gpus}",
            "install NVIDIA's driver; in a container: docker run --gpus all, with the NVIDIA Container Toolkit on the "
            "host; without GPUs: --profile cpu",
        )
    names = ", ".join(sorted({gpu.name for gpu in seen.gpus}))
    found = f"{len(seen.gpus)} of {needs.gpus}: {names}"
    if any(gpu.split for gpu in seen.gpus):
        return failed(f"{found}; MIG is on", "a worker needs a whole GPU: sudo nvidia-smi -mig 0, then restart")
    if len(seen.gpus) < needs.gpus:
        return failed(
            found, f"take a machine with {needs.gpus}, or set trainer.n_gpus_per_node in the profile's verl keys"
        )
    return ok(found)


def gpu_memory(needs: Needs, seen: Survey) -> Outcome:
    """Memory of the smallest GPU, against the 80 GB that the settings are reckoned for."""
    if not seen.gpus:
        return not_applicable("no GPU")
    least = min(gpu.total for gpu in seen.gpus)
    found = f"{least / GB:.0f} GB each"
    if least >= GPU_BYTES:
        return ok(found)
    how = "lower actor.ppo_max_token_len_per_gpu and rollout.gpu_memory_utilization in the profile's verl keys"
    if least < GPU_BYTES * _HALF:
        return failed(found, f"the settings are reckoned for {GPU_BYTES / GB:.0f} GB and will not fit: larger GPUs")
    return warning(found, f"the settings are reckoned for {GPU_BYTES / GB:.0f} GB; larger GPUs, or {how}")


def occupied(needs: Needs, seen: Survey) -> Outcome:
    """Whether something else has the GPUs' memory: vLLM refuses to start when its share is not free."""
    if not seen.gpus:
        return not_applicable("no GPU")
    busy = [gpu for gpu in seen.gpus if gpu.used > (1 - needs.gpu_share) * gpu.total]
    names = f" ({', '.join(sorted(set(seen.processes)))})" if seen.processes else ""
    found = (
        f"{max(gpu.used for gpu in seen.gpus) / GB:.1f} GB in use at the most, {len(seen.processes)} processes{names}"
    )
    how = "end them: nvidia-smi lists them (those of other containers only on the host)"
    if busy:
        return failed(f"{found}; too full on {len(busy)} GPUs", f"rollouts take {needs.gpu_share:.0%} of each; {how}")
    return warning(found, f"they share the GPUs with the run; {how}") if seen.processes else ok(found)


def driver(seen: Survey, cuda: str | None = None, compat: Path = _COMPAT) -> Outcome:
    """The driver, against the CUDA that torch was built with. cuda: its version, looked up by default."""
    if not seen.gpus:
        return not_applicable("no GPU")
    cuda = cuda or torch_cuda() or _LOCKED_CUDA
    version = seen.gpus[0].driver
    least = _LEAST_DRIVER.get(int(cuda.split(".")[0]), max(_LEAST_DRIVER.values()))
    found = f"{version}; torch's CUDA {cuda} needs {least} or later"
    if int(version.split(".")[0]) >= least:
        return ok(found)
    if any(compat.glob("libcuda.so*")):
        return warning(found, f"{compat} may make up for it: see whether torch finds the GPUs, below")
    return failed(
        found, f"update NVIDIA's driver to {least} or later (on the host, not in the container), then restart"
    )


def torch_cuda() -> str | None:
    """The CUDA release that the installed torch was built with, read from its files; None without one."""
    try:
        file = Path(str(metadata.distribution("torch").locate_file("torch/version.py")))
    except metadata.PackageNotFoundError:
        return None
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    match = re.search(r"^cuda\b[^=]*= *'([\d.]+)'", text, re.MULTILINE)
    return match[1] if match else None


def capability(seen: Survey) -> Outcome:
    """Compute capability, against what flash-attn runs on."""
    if not seen.gpus:
        return not_applicable("no GPU")
    known = [gpu.capability for gpu in seen.gpus if gpu.capability]
    if not known:
        return warning("nvidia-smi does not tell it", "update the driver; flash-attn needs 8.0 (A100, H100 and later)")
    found = ".".join(map(str, min(known)))
    if min(known) < _FLASH_ATTN:
        return failed(found, "flash-attn needs 8.0: an A100, H100 or later")
    return ok(found)


def torch_sees(needs: Needs, environment: Mapping[str, str], seconds: float) -> Outcome:
    """What torch finds, asked in a process of its own: importing it takes seconds, and a sick driver can hang it."""
    answer = ask([sys.executable, "-c", _ASK_TORCH], seconds, environment)
    again = "make setup PROFILE=gpu, then ask .venv-gpu/bin/envtune doctor --profile gpu"
    if answer.code is None:
        if answer.out.startswith("imported"):
            return failed(
                f"CUDA did not answer within {seconds:.0f} s", "a GPU or its driver hangs: see dmesg, restart"
            )
        return warning(
            f"importing torch took longer than {seconds:.0f} s", "ask again: the second time it is in memory"
        )
    if answer.code:
        return failed(f"torch cannot be asked: {answer.reason}", again)
    told = json.loads(answer.out.splitlines()[-1])
    if told["cuda"] is None:
        return failed(f"torch {told['version']} is built without CUDA", again)
    found = f"torch {told['version']}: {told['count']} GPUs"
    if told["count"] < needs.gpus:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        why = (
            f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it"
            if visible is not None
            else "see the driver, above; on machines with NVSwitch: systemctl start nvidia-fabricmanager"
        )
        return failed(f"{found} of {needs.gpus}", why)
    return ok(found)
