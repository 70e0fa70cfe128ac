"""A CPU seen through the interface of ``torch.cuda``, as verl's workers ask for it.

verl calls its accelerator through ``get_torch_device()``: memory figures, random state, caches. ``torch.cpu`` has
only a part of these names, so this module is ``torch.cpu`` plus the missing ones. Memory is the process's own:
"allocated" and "reserved" are its resident set in bytes (``/proc/self/status``), "total" is the machine's.

No command runs this file: `envtune.training.cpu_platform` hands it to verl.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch

get_rng_state = torch.get_rng_state
set_rng_state = torch.set_rng_state
manual_seed = torch.manual_seed
manual_seed_all = torch.manual_seed


def __getattr__(name: str) -> Any:
    """Everything that ``torch.cpu`` does define (streams, ``is_available``, ``device_count``, ``synchronize``...)."""
    return getattr(torch.cpu, name)


def get_device_name(device: object = None) -> str:
    return "cpu"


def memory_allocated(device: object = None) -> int:
    """Resident set of this process now, in bytes."""
    return _status_bytes("VmRSS")


def max_memory_allocated(device: object = None) -> int:
    """Largest resident set of this process so far, in bytes."""
    return _status_bytes("VmHWM")


memory_reserved = memory_allocated
max_memory_reserved = max_memory_allocated


def mem_get_info(device: object = None) -> tuple[int, int]:
    """(free, total) memory of the machine, in bytes."""
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def reset_peak_memory_stats(device: object = None) -> None:
    """The kernel keeps the peak; there is nothing to reset."""


def empty_cache() -> None:
    """There is no caching allocator to empty."""


def ipc_collect() -> None:
    """There are no device handles shared between processes."""


def set_per_process_memory_fraction(fraction: float, device: object = None) -> None:
    """The kernel decides; verl only asks for this to spare GPU memory."""


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no field {field}")
