"""vLLM's CPU build as verl's rollout engine: verl's own server, naming our worker extension to vLLM.

Why an extension is needed is said in `envtune.training.cpu_worker`. `envtune.training.cpu_platform` registers the
replica with verl under the name ``vllm``.
"""

from __future__ import annotations

from typing import Any

import ray
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica


class CpuVllmServer(vLLMHttpServer):
    """verl's vLLM server with the worker extension for CPUs."""

    def _get_worker_extension_cls(self) -> str:
        return "envtune.training.cpu_worker.CpuWorkerExtension"


class CpuVllmReplica(vLLMReplica):
    """verl's vLLM replica with the server above. Arguments: as `vLLMReplica`'s."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(CpuVllmServer)
