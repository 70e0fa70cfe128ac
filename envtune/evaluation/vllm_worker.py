"""What runs inside vLLM's worker process during an evaluation, so that one server can serve one checkpoint after another.

Starting a server costs a minute or more on a CPU, loading other weights into it less than a second. vLLM can do that
by itself (`reload_weights`), but on a CPU it packs linear layers into oneDNN handles, and the output layer of a model
with tied embeddings then keeps its old weights without a word. So the packing is switched off, and after every load
the weights that are served are compared with those in the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import vllm._custom_ops
from safetensors import safe_open
from transformers import AutoConfig
from vllm.platforms import current_platform

_NOT_ARCHITECTURE = ("transformers_version", "_name_or_path", "dtype", "use_cache")


class CheckpointWorker:
    """vLLM makes this class a base of its worker (`--worker-extension-cls`); its methods are called by name."""

    def __new__(cls, *args: Any, **kwargs: Any) -> CheckpointWorker:
        if current_platform.is_cpu():
            vllm._custom_ops._supports_onednn = False  # before the model is built
        return super().__new__(cls)

    def envtune_load(self, folder: str, loaded: str) -> dict[str, int]:
        """Load the .safetensors weights in `folder` into the running model, and give a checksum of both sides.

        loaded: the folder whose weights are served so far; it must hold the same architecture, else ValueError.
        {"served", "checkpoint"}: sums of the weights' bit patterns modulo 2**63, a tied output layer counted once.
        vLLM fuses tensors and pads them with zeros, which changes neither. Equal sums: these weights are served.
        """
        if _architecture(folder) != _architecture(loaded):
            raise ValueError(f"{folder} and {loaded} are not of one architecture")
        runner: Any = self.model_runner  # type: ignore[attr-defined]
        runner.reload_weights(weights_path=folder)
        served = [parameter for parameter in runner.get_model().parameters() if parameter.numel()]
        kind = served[0].dtype
        return {"served": _checksum(iter(served)), "checkpoint": _checksum(_tensors(Path(folder), kind))}


def _architecture(folder: str) -> dict[str, Any]:
    """The configuration with transformers' defaults filled in, without what only says how the file was written."""
    config: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    return {key: value for key, value in config.items() if key not in _NOT_ARCHITECTURE}


def _tensors(folder: Path, kind: torch.dtype) -> Iterator[torch.Tensor]:
    """The checkpoint's tensors in the server's number type, a tied output layer left out."""
    tied = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings", False)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if not (tied and name == "lm_head.weight"):
                    yield tensors.get_tensor(name).to(kind)


def _checksum(tensors: Iterator[torch.Tensor]) -> int:
    total = 0
    for tensor in tensors:
        bits = tensor.detach().contiguous().view({4: torch.int32, 2: torch.int16}[tensor.element_size()])
        total += int(bits.sum(dtype=torch.int64))
    return total % 2**63  # a number that every JSON reader takes
