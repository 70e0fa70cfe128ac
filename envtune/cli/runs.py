"""Commands on a profile's run, in the order of the Makefile: model, data, training, evaluation, tables, summary."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from envtune.cli.app import ProfileOption, app


@app.command("setup-model")
def setup_model(profile: ProfileOption = "cpu") -> None:
    """Prepare the model that training starts from."""
    from envtune.models import prepare_model
    from envtune.profile import load_profile

    typer.echo(f"starting model: {prepare_model(load_profile(profile))}")


@app.command()
def data(profile: ProfileOption = "cpu") -> None:
    """Write each stage's training rows and the validation rows as parquet."""
    from envtune.profile import load_profile
    from envtune.training import write_data

    typer.echo(f"training data: {write_data(load_profile(profile))}")


@app.command()
def train(
    profile: ProfileOption = "cpu",
    stage: Annotated[
        Optional[str], typer.Option("--stage", help="stage1 to stage4; all of them without it.")  # noqa: UP045 - typer
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compose and check everything, run nothing.")] = False,
) -> None:
    """Train the stages of the curriculum, each from the last one's weights; a finished stage is not repeated."""
    from envtune.profile import load_profile
    from envtune.training import train as run

    if dry_run:
        from envtune.training.dry_run import dry_run as check

        raise typer.Exit(check(load_profile(profile)))
    run(load_profile(profile), stage=stage)


@app.command()
def evaluate(
    profile: ProfileOption = "cpu",
    base_url: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Option("--base-url", help="An OpenAI-compatible endpoint to evaluate instead, with its /v1."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Option("--model", help="The endpoint's name of the model; alone: a folder to serve and evaluate."),
    ] = None,
) -> None:
    """Evaluate the starting model and each stage's result in distribution, judged by BFCL's own checker."""
    from envtune.evaluation import evaluate as run
    from envtune.profile import load_profile

    run(load_profile(profile), base_url=base_url, model=model)


@app.command()
def tables(profile: ProfileOption = "cpu") -> None:
    """Write Table 1 from the records and the paper's figures."""
    from envtune.profile import load_profile
    from envtune.tables import write_tables

    for path in write_tables(load_profile(profile)):
        typer.echo(path)


@app.command()
def summary(profile: ProfileOption = "cpu") -> None:
    """Say on the terminal what there is of a run, and where."""
    from envtune.profile import load_profile
    from envtune.tables import summarise

    summarise(load_profile(profile))
