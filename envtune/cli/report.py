"""Figures, the report of a profile's run, and its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from envtune.cli.app import ArmOption, ProfileOption, SeedOption, app

_OutOption = Annotated[Optional[Path], typer.Option("--out", help="The file; in results/<profile>/ without it.")]  # noqa: UP045 - typer


@app.command()
def figures(profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None) -> None:
    """Write the ablation figures and the training curves into results/<profile>/figures/."""
    from envtune.figures import write_figures
    from envtune.profile import load_profile

    for path in write_figures(load_profile(profile, arm=arm, seed=seed)):
        typer.echo(path)


@app.command()
def claims(profile: ProfileOption = "mini") -> None:
    """Test the claims on the held-out tasks of all the profile's runs, and write them with the curves into results/<profile>/."""
    from envtune.claims import write_claims
    from envtune.profile import load_profile

    for path in write_claims(load_profile(profile)):
        typer.echo(path)


@app.command()
def report(
    profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None, out: _OutOption = None
) -> None:
    """Write one page with the run's tables, figures, cost, departures from the paper and examples."""
    from envtune.profile import load_profile
    from envtune.report import write_report

    typer.echo(write_report(load_profile(profile, arm=arm, seed=seed), out))


@app.command("model-card")
def model_card(
    profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None, out: _OutOption = None
) -> None:
    """Write the model card of the run's last checkpoint, for the Hugging Face hub."""
    from envtune.profile import load_profile
    from envtune.report import write_model_card

    typer.echo(write_model_card(load_profile(profile, arm=arm, seed=seed), out))
