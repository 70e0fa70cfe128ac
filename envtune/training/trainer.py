"""verl's trainers with what this kit adds: reported episodes, the time split, stage gates, and a rule for checkpoints.

Each of verl's modes is registered again under `envtune_<mode>` (`trainer.v1.trainer_mode` names one; `envtune_sync` is
the paper's). verl's own hooks and registry are used; no function of verl is replaced. What is added:

  reports      means of what each training episode says of itself (`episode/...`), tokens, and the time split
  order        in the synchronous mode prompts have ids that follow from step and place, and a batch is in their order,
               not in that in which episodes happened to end: the same seed gives the same batches (unless
               `algorithm.filter_groups` is on: which prompts are drawn then depends on what ends first)
  gate         after each step `envtune.training.gates.decide` is asked; a stage that has converged ends with its next
               checkpoint, one that has collapsed at once
  checkpoints  before one is written, those that the rule does not keep are removed (`checkpoints.prune`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import transfer_queue as tq
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils

from envtune.training import checkpoints, gates, metrics
from envtune.training.time_split import time_split

PREFIX = "envtune_"


class _Additions(PPOTrainer):
    """What is added to each mode; before one of verl's trainers among the bases."""

    verl_mode: str

    _asked_at, _asked = 0, 0  # the step that prompts were last drawn for, and how many so far
    _saved_at = 0  # the step of this run's last checkpoint

    # verl asks for the mode by its own names ("sync" or another), and sets it from the configuration
    trainer_mode = property(lambda self: self.verl_mode, lambda self, value: None)

    @property
    def _stage_dir(self) -> Path:
        return Path(self.config.envtune.stage_dir)

    def _next_train_batch(self, num_prompts: int | None = None) -> Any:
        batch = super()._next_train_batch(num_prompts)
        if self.verl_mode == "sync":
            if self._asked_at != self.global_steps:
                self._asked_at, self._asked = self.global_steps, 0
            count = len(batch["uid"])
            ids = [f"{self.global_steps:06d}-{self._asked + place:04d}" for place in range(count)]
            self._asked += count
            tensordict_utils.assign_non_tensor_stack(batch, "uid", ids)
        return batch

    def _balance_batch(self, batch: KVBatchMeta, *args: Any, **kwargs: Any) -> KVBatchMeta:
        rows = sorted(zip(batch.keys, batch.tags, strict=True), key=lambda row: _place(row[0]))
        ordered = KVBatchMeta(
            partition_id=batch.partition_id, keys=[key for key, _ in rows], tags=[tag for _, tag in rows]
        )
        ordered.extra_info.update(batch.extra_info)
        return super()._balance_batch(ordered, *args, **kwargs)

    def _save_checkpoint(self) -> None:
        history = dict(metrics.merged(self._stage_dir))
        onset = self._decide(history).onset
        checkpoints.prune(Path(self.config.trainer.default_local_dir), history, onset)
        super()._save_checkpoint()
        self._saved_at = self.global_steps

    def _compute_metrics(self, batch: KVBatchMeta, metrics_of_step: dict, timing_raw: dict, *args: Any, **kwargs: Any):
        super()._compute_metrics(batch, metrics_of_step, timing_raw, *args, **kwargs)
        metrics_of_step.update(_reports(batch, timing_raw))
        self._ask_the_gate(metrics_of_step)

    def _ask_the_gate(self, metrics_of_step: dict[str, Any]) -> None:
        history = {**dict(metrics.merged(self._stage_dir)), self.global_steps: metrics_of_step}
        outcome = self._decide(history).outcome
        saved = self._saved_at == self.global_steps
        # what has converged goes on to its next checkpoint: verl saves while the rollout engines sleep, and now they do not
        if outcome == "collapsed" or (outcome == "converged" and saved):
            self.total_training_steps = self.global_steps  # verl's loop ends after reporting this step

    def _decide(self, history: dict[int, Any]) -> gates.Decision:
        gate = gates.read_gate(OmegaConf.to_container(self.config.envtune.gate))
        return gates.decide(gate, [gates.point(step, data) for step, data in history.items()])


def _place(key: str) -> tuple[str, int, int]:
    """Place of a trajectory in its batch, from verl's key for it: prompt, number of the rollout, number of the output."""
    prompt, session, output = key.rsplit("_", 2)
    return prompt, int(session), int(output)


def _reports(batch: KVBatchMeta, timing_raw: dict[str, float]) -> dict[str, float]:
    """What the step's episodes say of themselves, on average, their tokens in sum, and where the time went."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    tags = [tag for tag in batch.tags if not tag.get("is_padding", False)]
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    extras = [getattr(value, "data", value) for value in data["extra_fields"]]
    infos = [extra["reward_extra_info"] for extra in extras]
    numbers = [name for name, value in infos[0].items() if isinstance(value, (int, float))]
    return {
        **{f"episode/{name}": float(np.mean([info[name] for info in infos])) for name in numbers},
        "tokens/prompt": float(sum(tag["prompt_len"] for tag in tags)),
        "tokens/response": float(sum(tag["response_len"] for tag in tags)),
        "tokens/sampled": float(sum(extra["sampled_tokens"] for extra in extras)),
        **time_split(timing_raw, [extra["seconds"] for extra in extras]),
    }


@register_trainer(PREFIX + "sync")
class EnvtuneSync(_Additions, PPOTrainerSync):
    """The paper's: rollout and update take turns, on the same GPUs."""

    verl_mode = "sync"


@register_trainer(PREFIX + "colocate_async")
class EnvtuneColocateAsync(_Additions, PPOTrainerColocateAsync):
    """The next step's episodes begin before this one's are all used; same GPUs."""

    verl_mode = "colocate_async"


@register_trainer(PREFIX + "separate_async")
class EnvtuneSeparateAsync(_Additions, PPOTrainerSeparateAsync):
    """Rollout and update on GPUs of their own."""

    verl_mode = "separate_async"
