"""The paper's training settings beside a run's: what is the same, what differs, and why.

The settings are data (paper_settings.yaml beside this file); a run's are the verl configurations of its stages.

    python -m envtune.training.paper_settings     prints the tables of reproduce/README.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from envtune.profile import ROOT, Profile, load_profile, names
from envtune.training.cost import KEPT, checkpoint_bytes
from envtune.training.model_shape import HUB

_FILE = Path(__file__).with_name("paper_settings.yaml")
MISSING = "not set"


@dataclass(frozen=True)
class Setting:
    """One published setting. paper: its value, or a mapping of stage to value; also: other values that were published;
    why: the reason for departing from all of them."""

    key: str
    paper: Any
    why: str | None = None
    also: Sequence[Any] = ()

    def value(self, stage: str) -> Any:
        """What the paper has in a stage. A stage that the paper has no settings for (the single one of an ablation) has
        those of the last, whose tasks it takes."""
        if not isinstance(self.paper, Mapping):
            return self.paper
        return self.paper.get(stage, list(self.paper.values())[-1])

    def is_published(self, stage: str, value: Any) -> bool:
        """Whether a value is one of the published ones."""
        return any(_same(paper, value) for paper in (self.value(stage), *self.also))


@dataclass(frozen=True)
class Departure:
    """One setting that is not the paper's in some stages, where it has the same two values."""

    key: str
    stages: tuple[str, ...]
    paper: Any
    ours: Any
    why: str | None


def load_settings(reasons: Mapping[str, str] | None = None) -> tuple[Setting, ...]:
    """The published settings, in the file's order; `reasons` of a profile (key -> why) go before the file's own."""
    settings = (Setting(**entry) for entry in yaml.safe_load(_FILE.read_text(encoding="utf-8")))
    return tuple(replace(one, why=(reasons or {}).get(one.key, one.why)) for one in settings)


def departures(configs: Mapping[str, DictConfig], settings: Sequence[Setting] | None = None) -> list[Departure]:
    """Where the stages' verl configurations are not the paper's; `configs` maps a stage's name to its configuration.

    A key that a configuration lacks counts as `MISSING`. Stages with the same pair of values share an entry.
    """
    found: list[Departure] = []
    for setting in load_settings() if settings is None else settings:
        pairs: dict[tuple[str, str], list[str]] = {}
        values: dict[tuple[str, str], tuple[Any, Any]] = {}
        for stage, config in configs.items():
            paper, ours = setting.value(stage), OmegaConf.select(config, setting.key, default=MISSING)
            if not setting.is_published(stage, ours):
                pair = (repr(paper), repr(ours))
                pairs.setdefault(pair, []).append(stage)
                values[pair] = (paper, ours)
        found += [Departure(setting.key, tuple(stages), *values[pair], setting.why) for pair, stages in pairs.items()]
    return found


def unexplained(configs: Mapping[str, DictConfig], settings: Sequence[Setting] | None = None) -> list[str]:
    """Departures from the paper without a reason, one sentence each. Meant for the profiles at the paper's scale."""
    return [
        f"{departure.key} is {departure.ours}, the paper has {departure.paper}, and no reason is given"
        for departure in departures(configs, settings)
        if departure.why is None
    ]


def stale(configs: Mapping[str, DictConfig], settings: Sequence[Setting] | None = None) -> list[str]:
    """Reasons for a departure that is none, one sentence each. `configs`: of all four stages."""
    settings = load_settings() if settings is None else settings
    departed = {departure.key for departure in departures(configs, settings)}
    return [
        f"{setting.key} has a reason for departing from the paper but does not depart"
        for setting in settings
        if setting.why is not None and setting.key not in departed
    ]


def _same(paper: Any, ours: Any) -> bool:
    if isinstance(paper, bool) or isinstance(ours, bool) or isinstance(paper, str):
        return type(paper) is type(ours) and paper == ours
    return not isinstance(ours, str) and ours is not None and float(paper) == float(ours)


def markdown_table(profiles: Mapping[str, Mapping[str, DictConfig]]) -> str:
    """Every published setting, its key in verl and its value in each profile; `profiles`: name -> stage -> configuration.

    A value that changes from stage to stage is given for each. "=": the paper's.
    """
    lines = [
        f"| verl's key | paper | {' | '.join(profiles)} | why not the paper's |",
        "|---" * (3 + len(profiles)) + "|",
    ]
    for setting in load_settings():
        cells = [f"`{setting.key}`"]
        stages = list(next(iter(profiles.values())))
        paper = [setting.value(stage) for stage in stages]
        cells.append(_cell(paper))
        for configs in profiles.values():
            ours = [OmegaConf.select(configs[stage], setting.key, default=MISSING) for stage in stages]
            cells.append("=" if all(map(setting.is_published, stages, ours)) else _cell(ours))
        lines.append(f"| {' | '.join(cells)} | {setting.why or ''} |")
    return "\n".join(lines)


def _cell(values: Sequence[Any]) -> str:
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    texts = [text.removeprefix(f"{ROOT}/") for text in texts]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def recipes_table(profiles: Iterable[Profile]) -> str:
    """The profiles at the paper's scale: model, its size, and the room that a stage's checkpoints take at once."""
    published = next(setting for setting in load_settings() if setting.key == "actor_rollout_ref.model.path")
    lines = [
        "| profile | model | one of the paper's | parameters | checkpoints, GB | settings that are not the paper's |",
        "|---" * 6 + "|",
    ]
    for profile in profiles:
        model = str(profile.start_model)
        shape = HUB[model]
        size = KEPT * checkpoint_bytes(shape, ("model", "optimizer", "extra", "hf_model"))
        ours = "" if published.is_published("stage1", model) else profile.reasons["actor_rollout_ref.model.path"]
        lines.append(
            f"| `{profile.name}` | {model} | {'no' if ours else 'yes'} | {shape.parameters / 1e9:.2f} B | {size / 1e9:.0f} | "
            f"{f'the model: {ours}' if ours else 'those of the table below'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables for the profiles in reproduce/."""
    from rich.console import Console

    from envtune.training.config import compose_all

    console = Console(soft_wrap=True, highlight=False)
    recipes = [profile for name in names() if (profile := load_profile(name)).base == "gpu"]
    for table in (recipes_table(recipes), markdown_table(compose_all())):
        console.print(table, markup=False)
        console.print()


if __name__ == "__main__":
    main()
