"""The command that looks at the machine before a run."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from envtune.cli.app import ProfileOption, app


@app.command()
def doctor(
    profile: ProfileOption = "cpu",
    nodes: Annotated[
        Optional[int],  # noqa: UP045 - typer
        typer.Option("--nodes", min=1, envvar="NNODES", help="Nodes of the run; the profile's number without it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Say whether this machine can run a profile, and what to do where it cannot; exit code 1 when a check failed."""
    import json

    from rich.console import Console

    from envtune.doctor import examine, report
    from envtune.profile import load_profile

    loaded = load_profile(profile)
    checks = examine(loaded, profile, nodes)
    if as_json:
        typer.echo(json.dumps(report.as_json(loaded.name, checks), indent=2))
    else:
        report.print_report(loaded.name, checks, Console(highlight=False, width=None if sys.stdout.isatty() else 140))
    if report.has_failed(checks):
        raise typer.Exit(1)
