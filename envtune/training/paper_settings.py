"""The paper's training settings beside a run's: what is the same, what differs, and why.

The settings are data (paper_settings.yaml beside this file); a run's are the verl configurations of its stages.

    python -m envtune.training.paper_settings     prints the table of reproduce/README.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from envtune.profile import ROOT

_FILE = Path(__file__).with_name("paper_settings.yaml")
MISSING = "not set"


@dataclass(frozen=True)
class Setting:
    """One published setting. paper: its value, or a mapping of stage to value; why: the reason for departing from it."""

    key: str
    paper: Any
    why: str | None = None

    def value(self, stage: str) -> Any:
        """What the paper has in a stage."""
        return self.paper[stage] if isinstance(self.paper, Mapping) else self.paper


@dataclass(frozen=True)
class Departure:
    """One setting that is not the paper's in some stages, where it has the same two values."""

    key: str
    stages: tuple[str, ...]
    paper: Any
    ours: Any
    why: str | None


def load_settings() -> tuple[Setting, ...]:
    """The published settings, in the file's order."""
    return tuple(Setting(**entry) for entry in yaml.safe_load(_FILE.read_text(encoding="utf-8")))


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
            if not _same(paper, ours):
                pair = (repr(paper), repr(ours))
                pairs.setdefault(pair, []).append(stage)
                values[pair] = (paper, ours)
        found += [Departure(setting.key, tuple(stages), *values[pair], setting.why) for pair, stages in pairs.items()]
    return found


def unexplained(configs: Mapping[str, DictConfig], settings: Sequence[Setting] | None = None) -> list[str]:
    """What keeps a configuration from being the paper's with its departures stated; one sentence each.

    Meant for the profiles at the paper's scale: a departure without a reason, or a reason that is none any more.
    """
    settings = load_settings() if settings is None else settings
    departed = departures(configs, settings)
    problems = [
        f"{departure.key} is {departure.ours}, the paper has {departure.paper}, and no reason is given"
        for departure in departed
        if departure.why is None
    ]
    keys = {departure.key for departure in departed}
    stale = [setting.key for setting in settings if setting.why is not None and setting.key not in keys]
    return problems + [f"{key} has a reason for departing from the paper but does not depart" for key in stale]


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
            cells.append("=" if all(map(_same, paper, ours)) else _cell(ours))
        lines.append(f"| {' | '.join(cells)} | {setting.why or ''} |")
    return "\n".join(lines)


def _cell(values: Sequence[Any]) -> str:
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    texts = [text.removeprefix(f"{ROOT}/") for text in texts]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def main() -> None:
    """Print the table for the profiles in reproduce/."""
    from rich.console import Console

    from envtune.training.config import compose_all

    Console(soft_wrap=True, highlight=False).print(markdown_table(compose_all()), markup=False)


if __name__ == "__main__":
    main()
