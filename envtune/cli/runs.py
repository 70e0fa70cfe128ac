"""Commands on a profile's run, in the order of the Makefile: model, data, training, evaluation, tables, summary."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from envtune.cli.app import ArmOption, NodesOption, ProfileOption, SeedOption, app


@app.command("setup-model")
def setup_model(profile: ProfileOption = "cpu") -> None:
    """Prepare the model that training starts from."""
    from envtune.models import prepare_model
    from envtune.profile import load_profile

    typer.echo(f"starting model: {prepare_model(load_profile(profile))}")


@app.command()
def data(profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None) -> None:
    """Write each stage's training rows and the validation rows as parquet."""
    from envtune.profile import load_profile
    from envtune.training import write_data

    typer.echo(f"training data: {write_data(load_profile(profile, arm=arm, seed=seed))}")


@app.command()
def train(
    profile: ProfileOption = "cpu",
    arm: ArmOption = None,
    seed: SeedOption = None,
    stage: Annotated[
        Optional[str], typer.Option("--stage", help="stage1 to stage4, or single; all of the arm without it.")  # noqa: UP045 - typer
    ] = None,
    nodes: NodesOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compose and check everything, run nothing.")] = False,
) -> None:
    """Train the stages of the curriculum, each from the last one's weights; a finished stage is not repeated."""
    from envtune.profile import load_profile, with_nodes

    chosen = with_nodes(load_profile(profile, arm=arm, seed=seed), nodes)
    if dry_run:
        from envtune.training.dry_run import dry_run as check

        raise typer.Exit(check(chosen))
    from envtune.training import train as run

    run(chosen, stage=stage)


@app.command()
def ablations(
    profile: ProfileOption = "cpu",
    arm: Annotated[
        Optional[str], typer.Option("--arm", help="Arms with commas between; the profile's, or all, without it.")  # noqa: UP045 - typer
    ] = None,
    seeds: Annotated[
        Optional[str], typer.Option("--seeds", help="With commas between; the profile's, or 42,43,44, without it.")  # noqa: UP045 - typer
    ] = None,
    nodes: NodesOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compose and check every run, run nothing.")] = False,
) -> None:
    """Data, training, evaluation and table of every arm with every seed; what is done is not repeated."""
    from envtune.ablations import run_ablations

    raise typer.Exit(run_ablations(profile, arms=arm, seeds=seeds, nodes=nodes, dry_run=dry_run))


@app.command()
def progress(profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None) -> None:
    """Say how far each run of the profile's experiment is (or its one run), and about how long it still takes."""
    from rich.console import Console

    from envtune.progress import show_progress

    show_progress(profile, Console(highlight=False), arm=arm, seed=seed)


@app.command()
def tables(
    profile: ProfileOption = "cpu",
    arm: ArmOption = None,
    seed: SeedOption = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Percentage points: a wider interval cannot be called consistent.")
    ] = 10.0,
) -> None:
    """Write Tables 1 and 2 from the records and the paper's figures."""
    from envtune.profile import load_profile
    from envtune.tables import write_tables

    for path in write_tables(load_profile(profile, arm=arm, seed=seed), margin):
        typer.echo(path)


@app.command()
def summary(profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None) -> None:
    """Say on the terminal what there is of a run, and where; of an experiment its runs and the verdicts."""
    from envtune.profile import load_profile

    chosen = load_profile(profile, arm=arm, seed=seed)
    if chosen.experiment is not None and arm is None and seed is None:
        from rich.console import Console

        from envtune.progress import show_experiment

        show_experiment(profile, Console(highlight=False))
        return
    from envtune.tables import summarise

    summarise(chosen)
