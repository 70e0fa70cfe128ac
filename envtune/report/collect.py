"""What a report and a model card say, from what a run left in runs/ and in results/.

What is not there is None or empty, and `Collected.missing` says of it what would make it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import checkpoint_names
from envtune.experiment import Experiment
from envtune.profile import ROOT, Profile
from envtune.report.examples import Comparison, compare
from envtune.run_record import RECORD, read_run_record
from envtune.tables.collect import Run, read_runs
from envtune.viewer.text import visible

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from envtune.training.paper_settings import Departure

_README = ROOT / "reproduce" / "README.md"
_CLAIMS = "claims"  # the claims' page and figure
_SECTION = "## Where this kit departs"


@dataclass(frozen=True)
class Collected:
    """All that is said of a run. record: run.json; tables: name -> Markdown; figures: SVG files; runs: those that the
    tables are made of; departures: settings that are not the paper's; departs: the kit's own, in Markdown; comparisons: of
    the starting model with the last checkpoint, a suite each; missing: part -> why it is not there; claims: claims.md, None where
    none was tested; registration: the file that says what was fixed before the runs."""

    profile: Profile
    record: Mapping[str, Any] | None
    tables: Mapping[str, str]
    figures: tuple[Path, ...]
    runs: tuple[Run, ...]
    departures: tuple[Departure, ...]
    departs: str
    comparisons: tuple[Comparison, ...]
    missing: Mapping[str, str]
    claims: str | None = None
    claims_figure: Path | None = None
    registration: Path | None = None

    @property
    def last_checkpoint(self) -> str | None:
        """The last checkpoint that was measured."""
        names = {run.checkpoint for run in self.runs}
        return next((name for name in reversed(checkpoint_names(self.profile)) if name in names), None)


def collect(profile: Profile) -> Collected:
    """Read it all. Raises EnvtuneError on a file that is there and cannot be read."""
    missing: dict[str, str] = {}
    make = f"PROFILE={profile.name}"
    record = None
    if (profile.run_dir / RECORD).is_file():
        record = read_run_record(profile.run_dir / RECORD)
    else:
        missing["record"] = _no_record(profile)
    tables = {path.stem: path.read_text(encoding="utf-8") for path in sorted(profile.results_dir.glob("table*.md"))}
    experiment = _experiment(profile)
    if not tables and (experiment is None or experiment.evaluate):
        missing["tables"] = f"No tables in {_short(profile.results_dir)}; `make tables {make}` writes them."
    drawn = sorted((profile.results_dir / "figures").glob("*.svg"))
    claims_file = profile.results_dir / f"{_CLAIMS}.md"
    claims = claims_file.read_text(encoding="utf-8") if claims_file.is_file() else None
    of_claims = next((path for path in drawn if path.stem == _CLAIMS), None) if claims is not None else None
    figures = tuple(path for path in drawn if path.stem != _CLAIMS)
    if not figures:
        missing["figures"] = f"No figures in {_short(profile.results_dir)}; `make figures {make}` writes them."
    found: tuple[Departure, ...] = ()
    try:
        found = _departures(profile)
    except ImportError as error:
        missing["departures"] = (
            f"The settings cannot be compared here: {error.name} is not installed; `make setup {make}`."
        )
    comparisons = compare(profile)
    if not comparisons:
        missing["examples"] = (
            f"No examples: {_short(profile.run_dir / 'evaluation')} has no suite that was run on the starting model and on a "
            f"later checkpoint; `make evaluate {make}` runs them."
        )
    return Collected(
        profile=profile,
        record=record,
        tables=tables,
        figures=figures,
        runs=tuple(read_runs(profile.results_dir / "records")),
        departures=found,
        departs=departs(_README),
        comparisons=comparisons,
        missing=missing,
        claims=claims,
        claims_figure=of_claims,
        registration=profile.registration,
    )


def _experiment(profile: Profile) -> Experiment | None:
    """The experiment that the profile's own results are of; None for a single run."""
    return profile.experiment if profile.run_dir.name == profile.name else None


def _no_record(profile: Profile) -> str:
    make = f"PROFILE={profile.name}"
    experiment = _experiment(profile)
    if experiment is None:
        return f"No run: there is no {_short(profile.run_dir / RECORD)} here; `make reproduce {make}` makes one."
    arm, seed = experiment.runs[0]
    return (
        f"This page is of an experiment of {len(experiment.runs)} runs: the arms {', '.join(experiment.arms)} with the "
        f"seeds {', '.join(map(str, experiment.seeds))}. Each has a record of its own, such as "
        f"runs/{profile.name}.{arm}.seed{seed}/run.json; `make report {make} ARM={arm} SEED={seed}` writes a page about it."
    )


def departs(readme: Path) -> str:
    """The table of the kit's departures from the authors' release, as reproduce/README.md has it."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvtuneError(f"{readme} cannot be read ({error.strerror}); restore it from the repository") from error
    match = re.search(rf"^{re.escape(_SECTION)}[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise EnvtuneError(
            f'{readme} has no section "{_SECTION.removeprefix("## ")}..."; restore it from the repository'
        )
    return match[1].strip()


def setting_text(value: Any) -> str:
    """A setting's value as YAML writes it; a path in the checkout from there on."""
    return visible(str(value).lower() if isinstance(value, bool) else str(value).removeprefix(f"{ROOT}/"))


def _departures(profile: Profile) -> tuple[Departure, ...]:
    """Where the settings are not the paper's: of the stages that have begun what verl was given, else what the profile
    would give."""
    from envtune.training.paper_settings import departures, load_settings

    return tuple(departures(_configs(profile), load_settings(profile.reasons)))


def _configs(profile: Profile) -> dict[str, DictConfig]:
    from omegaconf import OmegaConf

    from envtune.run_record.inputs import read_config

    read = {stage.name: read_config(profile.stage_dir(stage.name)) for stage in profile.curriculum}
    begun = {name: OmegaConf.create(config) for name, config in read.items() if config is not None}
    if begun:
        return begun
    from envtune.tasks import load_tasks
    from envtune.training.config import compose

    return {
        stage.name: compose(
            profile,
            stage,
            profile.start_model,
            len(profile.tasks.ids(stage.data) or load_tasks(profile.release, stage.data)),
        )
        for stage in profile.curriculum
    }


def _short(path: Path) -> str:
    """Relative to the checkout, where it is in it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
