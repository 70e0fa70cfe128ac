"""Is a run possible, and what would it take: everything that can be said without a GPU, and nothing is run.

    make reproduce PROFILE=gpu DRY_RUN=1        (envtune train --profile gpu --dry-run)

Each stage's full verl configuration is composed and put through verl's own validation; settings that are not the
paper's are listed with the reason; the GPU lock is resolved; disk and memory are reckoned, hours estimated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from envtune.curriculum import Stage
from envtune.doctor.needs import GPU_BYTES
from envtune.errors import EnvtuneError
from envtune.profile import Profile
from envtune.training.config import compose, validate
from envtune.training.cost import (
    GIB,
    KEPT,
    Assumptions,
    StageCost,
    cache_tokens_per_gpu,
    peak_disk,
    plan_stage,
    stage_cost,
    training_bytes_per_gpu,
)
from envtune.training.dataset import EpisodeSpec, select_specs
from envtune.training.gates import read_gate
from envtune.training.lock_check import check_lock
from envtune.training.model_shape import ModelShape, shape_of
from envtune.training.paper_settings import departures, load_settings, stale, unexplained

# The profile that claims to be the paper's, and what those that extend it come down to: each departure needs a reason.
PAPER_PROFILE = "gpu"


@dataclass
class Findings:
    """What the checks found. configs: of the stages that verl accepts; problems: sentences, none when all holds."""

    configs: dict[str, DictConfig] = field(default_factory=dict)
    specs: dict[str, list[EpisodeSpec]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def dry_run(profile: Profile, console: Console | None = None) -> int:
    """Check a profile and print what was found; 0 when all of it holds, else 1."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(
        f"[bold]Dry run of profile {profile.name}, arm {profile.arm}, seed {profile.seed}[/bold] {profile.about}"
    )
    findings = check_stages(profile)
    _print_stages(console, profile, findings)
    _print_departures(console, profile, findings)
    if profile.base == PAPER_PROFILE and not findings.problems:
        configs, settings = from_start_model(profile, findings.configs), load_settings(profile.reasons)
        findings.problems += unexplained(configs, settings)
        if profile.arm == "full":
            findings.problems += stale(configs, settings)
    if profile.verl.get("trainer.device") != "cpu":  # what follows is about GPUs
        lock = check_lock("gpu")
        console.print(f"\n{lock.message}.", markup=False)
        if lock.holds is False:
            findings.problems.append(lock.message)
        _print_cost(console, profile, findings)
    for problem in findings.problems:
        console.print(f"Problem: {problem}", style="red", markup=False)
    verdict = f"{len(findings.problems)} problems; see above." if findings.problems else "All of this holds."
    console.print(f"\n{verdict}")
    return 1 if findings.problems else 0


def check_stages(profile: Profile) -> Findings:
    """Compose and validate every stage's configuration; a stage that fails is a problem, not the end."""
    findings = Findings()
    try:
        read_gate(profile.gate)
    except EnvtuneError as error:
        findings.problems.append(str(error))
    start: str = str(profile.start_model)
    for stage in profile.curriculum:
        try:
            specs = stage_specs(profile, stage)
            config = compose(profile, stage, start, len(specs))
            validate(config)
        except EnvtuneError as error:
            findings.problems.append(f"{stage.name}: {error}")
        else:
            findings.configs[stage.name] = config
            findings.specs[stage.name] = specs
        start = str(profile.stage_dir(stage.name) / "model")
    return findings


def stage_specs(profile: Profile, stage: Stage) -> list[EpisodeSpec]:
    """The episodes of a stage, as its rows will ask for them."""
    return select_specs(
        stage.data,
        release=profile.release,
        reward=stage.reward,
        feedback=profile.feedback(stage),
        ids=profile.tasks.ids(stage.data),
        **profile.tasks.cut,
    )


def from_start_model(profile: Profile, configs: Mapping[str, DictConfig]) -> dict[str, DictConfig]:
    """The configurations with the profile's model in each: a later stage's is the result of the one before it."""
    copies = {name: config.copy() for name, config in configs.items()}
    for config in copies.values():
        config.actor_rollout_ref.model.path = str(profile.start_model)
    return copies


def _print_stages(console: Console, profile: Profile, findings: Findings) -> None:
    table = Table(
        "stage", "reward", "feedback", "tasks", "steps", "prompts", "rollouts", "prompt", "response", "starts from"
    )
    table.title = "Composed, and accepted by verl's own validation"
    for stage in profile.curriculum:
        if config := findings.configs.get(stage.name):
            before = profile.before(stage)
            table.add_row(
                stage.name,
                stage.reward,
                findings.specs[stage.name][0].feedback,
                str(len(findings.specs[stage.name])),
                str(config.trainer.total_training_steps),
                str(config.data.train_batch_size),
                str(config.actor_rollout_ref.rollout.n),
                str(config.data.max_prompt_length),
                str(config.data.max_response_length),
                "the model" if before is None else before.name,
            )
    rule = {"plateau": "when accuracy has stopped rising, or after these steps", "epochs": "after these steps"}
    table.caption = f"A stage ends {rule.get(str(profile.gate.get('rule', 'plateau')), '')}; a collapse ends the run."
    console.print(table)


def _print_departures(console: Console, profile: Profile, findings: Findings) -> None:
    table = Table(
        Column("verl's key", overflow="fold", min_width=43),
        "stages",
        "paper",
        "here",
        "why",
        title="Settings that are not the paper's",
    )
    for departure in departures(from_start_model(profile, findings.configs), load_settings(profile.reasons)):
        stages = "all" if len(departure.stages) == len(profile.curriculum) else ", ".join(departure.stages)
        table.add_row(departure.key, stages, str(departure.paper), str(departure.ours), departure.why or "")
    if profile.base != PAPER_PROFILE:
        table.caption = "Where no reason is given it is the profile's own, above."
    console.print(table)


def _print_cost(console: Console, profile: Profile, findings: Findings) -> None:
    """Disk, memory and hours; nothing where a stage could not be composed or the model's size is not known."""
    shape = shape_of(str(profile.start_model))
    if shape is None or len(findings.configs) < len(profile.curriculum):
        console.print(
            f"What it takes is not reckoned: the size of {profile.start_model} is not known here, or see below."
        )
        return
    assumptions = Assumptions()
    costs = stage_costs(profile, findings, shape, assumptions)
    table = Table("stage", "steps", "hours (ESTIMATE)", "GPU-hours (ESTIMATE)", "checkpoints, GB", "stays, GB")
    table.title = "What it takes"
    for cost in costs:
        low, high = cost.hours
        gpus = cost.plan.gpus
        table.add_row(
            cost.plan.name,
            str(cost.plan.steps),
            f"{low:.0f} to {high:.0f}",
            f"{low * gpus:.0f} to {high * gpus:.0f}",
            f"{cost.checkpoints / 1e9:.0f}",
            f"{cost.disk / 1e9:.0f}",
        )
    low, high = (sum(cost.hours[side] for cost in costs) for side in (0, 1))
    gpus = costs[0].plan.gpus
    table.add_section()
    hours, gpu_hours = f"{low:.0f} to {high:.0f}", f"{low * gpus:.0f} to {high * gpus:.0f}"
    stays = f"{sum(cost.disk for cost in costs) / 1e9:.0f}"
    table.add_row("all", str(sum(cost.plan.steps for cost in costs)), hours, gpu_hours, "", stays)
    console.print(table)
    console.print("The hours are an estimate of training alone, not a measurement. It assumes that")
    for sentence in assumptions.sentences():
        console.print(f"  - {sentence}")
    for sentence in hardware(findings.configs, costs, shape):
        console.print(sentence)


def stage_costs(profile: Profile, findings: Findings, shape: ModelShape, assumptions: Assumptions) -> list[StageCost]:
    """The cost of each stage, in order."""
    validation = len(
        select_specs("validation", release=profile.release, reward="progress", ids=profile.tasks.ids("validation"))
    )
    costs = []
    for name, config in findings.configs.items():
        prompts = [opening_length(spec) for spec in findings.specs[name]]
        plan = plan_stage(name, config, prompts, validation, assumptions.characters_per_token)
        costs.append(stage_cost(plan, config, shape, assumptions))
    return costs


@cache
def opening_length(spec: EpisodeSpec) -> int:
    """Characters of the messages that an episode opens with."""
    messages = spec.episode().start()
    return sum(len(message["content"]) for message in messages)


def hardware(configs: Mapping[str, DictConfig], costs: list[StageCost], shape: ModelShape) -> list[str]:
    """Sentences on GPUs, their memory, and disk."""
    config = next(iter(configs.values()))
    rollout, plan = (
        config.actor_rollout_ref.rollout,
        max((cost.plan for cost in costs), key=lambda one: one.response_budget),
    )
    state = training_bytes_per_gpu(shape, plan.gpus, reference=bool(config.actor_rollout_ref.actor.use_kl_loss))
    tokens = cache_tokens_per_gpu(shape, GPU_BYTES, rollout.gpu_memory_utilization, rollout.tensor_model_parallel_size)
    replicas = plan.gpus / rollout.tensor_model_parallel_size
    longest = plan.prompt_length + plan.response_budget
    return [
        f"GPUs: {config.trainer.nnodes} node{'s' if config.trainer.nnodes > 1 else ''} with {config.trainer.n_gpus_per_node} of {GPU_BYTES / 1e9:.0f} GB, CUDA 13, "
        f"and nvcc for set-up; {state / GIB:.0f} GiB of each hold weights, gradients, optimizer and reference while "
        "training, the rest is for activations.",
        f"Rollout: {tokens * rollout.tensor_model_parallel_size:,.0f} tokens of keys and values fit beside the weights of a "
        f"replica, {tokens * rollout.tensor_model_parallel_size / longest:.0f} episodes of full length; a step brings "
        f"{plan.trajectories / replicas:.0f} to each.",
        f"Disk: {peak_disk(costs) / 1e9:.0f} GB at the most for checkpoints, results and rollouts (a stage has {KEPT} checkpoints "
        f"at once, and none when its result is handed over), {2 * shape.parameters / 1e9:.0f} GB "
        "for the model from the hub, about 15 GB for the environment; the hub must be reachable or the model in its cache.",
    ]
