"""What a run needs, reckoned before it starts: disk and memory by arithmetic, hours as an estimate.

Disk and memory follow from the model's size and the configuration. The hours are an ESTIMATE: nobody has published
GPU-hours for this method, so they rest on the `Assumptions` below, which are printed beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from envtune.training.model_shape import ModelShape

GIB = 2**30
KEPT = 3  # checkpoints of a stage that exist at once, by the rule of `envtune.training.checkpoints.prune`


@dataclass(frozen=True)
class Assumptions:
    """What the estimate of hours supposes; none of it is measured with this kit.

    response_share: mean length of a trajectory after its prompt, as a share of the budget, low and high;
    written_share: of that, what the model wrote itself (the rest is the environment's); utilisation: share of a GPU's
    peak reached in forward and backward passes; peak_flops: an H100's, dense bfloat16; tokens_per_second: written by one
    GPU during rollout, the wait for the longest episode included; overhead: factor for weight transfer, environment and
    start-up; write_speed: of checkpoints, bytes a second; characters_per_token: of prompts and rollouts.
    """

    response_share: tuple[float, float] = (0.2, 0.6)
    written_share: float = 0.4
    utilisation: float = 0.35
    peak_flops: float = 989e12
    tokens_per_second: float = 2000.0
    overhead: float = 1.25
    write_speed: float = 1e9
    characters_per_token: float = 4.0

    def sentences(self) -> list[str]:
        """The assumptions in words."""
        low, high = self.response_share
        return [
            f"a trajectory fills {low:.0%} (low) or {high:.0%} (high) of its response budget; {self.written_share:.0%} "
            "of that is written by the model",
            f"forward and backward passes reach {self.utilisation:.0%} of an H100's {self.peak_flops / 1e12:.0f} TFLOP/s; "
            "a token costs four forward passes (old and reference log-probabilities, update, recomputation) and one backward",
            f"a GPU writes {self.tokens_per_second:.0f} tokens a second during rollout, waiting for the longest included",
            f"{self.overhead - 1:.0%} on top for weight transfer, environment and start-up; checkpoints are written at "
            f"{self.write_speed / 1e9:.0f} GB/s; {self.characters_per_token:.0f} characters a token",
        ]


@dataclass(frozen=True)
class StagePlan:
    """What one stage will do, read from its configuration. Lengths in tokens, an epoch's last partial batch dropped."""

    name: str
    steps: int
    trajectories: int
    validations: int
    prompt_length: float
    response_budget: int
    checkpoints_written: int
    checkpoints_kept: int  # at any one time, the one being written included
    gpus: int


@dataclass(frozen=True)
class StageCost:
    """One stage's cost. hours: low and high; disk: bytes that stay when it has ended; checkpoints: bytes that its
    checkpoints take until then."""

    plan: StagePlan
    hours: tuple[float, float]
    disk: float
    checkpoints: float


def plan_stage(
    name: str, config: DictConfig, prompts: Sequence[int], validation_tasks: int, per_token: float
) -> StagePlan:
    """The plan of one stage. prompts: characters that each of its episodes opens with; per_token: characters a token."""
    batch = config.data.train_batch_size
    trainer = config.trainer
    steps = trainer.total_training_steps
    written = checkpoints_written(config)
    mean_prompt = sum(prompts) / len(prompts) / per_token
    return StagePlan(
        name=name,
        steps=steps,
        trajectories=batch * config.actor_rollout_ref.rollout.n,
        validations=0 if trainer.test_freq <= 0 else validation_tasks // trainer.test_freq,
        prompt_length=min(mean_prompt, config.data.max_prompt_length),
        response_budget=config.data.max_response_length,
        checkpoints_written=written,
        checkpoints_kept=min(written, KEPT),
        gpus=trainer.n_gpus_per_node * trainer.nnodes,
    )


def checkpoints_written(config: DictConfig) -> int:
    """How many a stage writes: every `save_freq` steps and at its last."""
    return -(-config.trainer.total_training_steps // config.trainer.save_freq)


def stage_cost(plan: StagePlan, config: DictConfig, shape: ModelShape, assumptions: Assumptions) -> StageCost:
    """Hours (estimated) and disk of one stage."""
    checkpoint = checkpoint_bytes(shape, list(config.actor_rollout_ref.actor.checkpoint.save_contents))
    seconds = [
        plan.steps * step_seconds(plan, shape, share, assumptions) * assumptions.overhead
        + plan.checkpoints_written * checkpoint / assumptions.write_speed
        for share in assumptions.response_share
    ]
    rollouts = 0.0
    if OmegaConf.select(config, "trainer.rollout_data_dir"):
        length = plan.prompt_length + assumptions.response_share[1] * plan.response_budget
        rollouts = plan.steps * plan.trajectories * length * assumptions.characters_per_token
    disk = result_bytes(shape) + rollouts
    return StageCost(plan, (seconds[0] / 3600, seconds[1] / 3600), disk, plan.checkpoints_kept * checkpoint)


def peak_disk(costs: Sequence[StageCost]) -> float:
    """Bytes that a run takes at the most: what each stage leaves, and the checkpoints of the one that is running."""
    return max(sum(one.disk for one in costs[: number + 1]) + cost.checkpoints for number, cost in enumerate(costs))


def result_bytes(shape: ModelShape) -> int:
    """A stage's result in fp32, for the next stage and for evaluation."""
    return 4 * shape.parameters


def step_seconds(plan: StagePlan, shape: ModelShape, share: float, assumptions: Assumptions) -> float:
    """One step's rollout, validation, log-probabilities and update, without overhead or checkpoints."""
    response = share * plan.response_budget
    written = (plan.trajectories + plan.validations) * response * assumptions.written_share
    length = plan.prompt_length + response
    attention = 2 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * length  # causal: half of it
    forward = 2 * shape.parameters + attention
    passes = 4 + 2  # a backward pass costs two forward ones
    flops = plan.trajectories * length * forward * passes
    rate = plan.gpus * assumptions.utilisation * assumptions.peak_flops
    return written / (plan.gpus * assumptions.tokens_per_second) + flops / rate


def checkpoint_bytes(shape: ModelShape, contents: Sequence[str]) -> int:
    """Size of one checkpoint: weights, AdamW's two moments, and with `hf_model` the whole model once more, all fp32."""
    sizes = {"model": 4, "optimizer": 8, "hf_model": 4}
    return shape.parameters * sum(sizes.get(part, 0) for part in contents)


def training_bytes_per_gpu(shape: ModelShape, gpus: int, reference: bool) -> float:
    """Sharded weights, gradients and AdamW's moments in fp32, and the reference model's weights; no activations."""
    return shape.parameters * (16 + 4 * reference) / gpus


def cache_tokens_per_gpu(shape: ModelShape, gpu_bytes: float, utilisation: float, tensor_parallel: int) -> float:
    """Tokens whose keys and values fit beside bfloat16 weights in vLLM's share of one GPU."""
    free = gpu_bytes * utilisation - 2 * shape.parameters / tensor_parallel
    return max(free, 0.0) / (shape.cache_bytes_per_token / tensor_parallel)
