"""The command that writes and prints a run's record."""

from __future__ import annotations

import typer

from envtune.cli.app import ArmOption, ProfileOption, SeedOption, app


@app.command()
def record(profile: ProfileOption = "cpu", arm: ArmOption = None, seed: SeedOption = None) -> None:
    """Write a run's run.json anew from the run's files, and print what each stage took."""
    from rich.console import Console

    from envtune.profile import load_profile
    from envtune.run_record import format_run_record, read_run_record, write_run_record

    path = write_run_record(load_profile(profile, arm=arm, seed=seed))
    format_run_record(read_run_record(path), Console(highlight=False))
    typer.echo(path)
