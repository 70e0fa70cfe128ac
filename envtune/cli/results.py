"""The command that audits the paper's published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from envtune.cli.app import app
from envtune.errors import EnvtuneError


@app.command("audit-paper")
def audit_paper(
    json_file: Annotated[
        Optional[Path],  # noqa: UP045 - typer
        typer.Option("--json", help="Write all of it there too, with the numbers that fit each cell."),
    ] = None,
    folder: Annotated[
        Optional[Path],  # noqa: UP045 - typer
        typer.Option("--folder", help="The paper's figures as data; results/paper without it."),
    ] = None,
) -> None:
    """Recompute the paper's printed averages, gains and counts, and say what does not add up. Exit code 1 when a file of
    figures cannot be read; findings are what it is for, so 0 with them too."""
    from rich.console import Console

    from envtune.files import write_json
    from envtune.tables.audit import audit
    from envtune.tables.audit.text import print_audit
    from envtune.tables.paper import PAPER

    try:
        told = audit(folder or PAPER)
    except EnvtuneError as error:
        typer.echo(f"envtune: {error}", err=True)
        raise typer.Exit(1) from error
    print_audit(told, Console(highlight=False))
    if json_file is not None:
        write_json(json_file, told.as_dict())
