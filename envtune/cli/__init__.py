"""The command line: `envtune --help`. Each command reads its options and calls one function of one package.

What those functions need is imported inside the commands, so that `envtune --help` and `envtune score` start fast.
Bad input ends with one sentence on stderr and exit code 2 (see `envtune.errors`).
"""

from __future__ import annotations

import sys

import typer

from envtune import __version__
from envtune.cli import doctor, environment, evaluation, gate, record, report, results, runs
from envtune.cli.app import app
from envtune.errors import EnvtuneError

__all__ = ["app", "doctor", "environment", "evaluation", "gate", "main", "record", "report", "results", "runs"]


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except EnvtuneError as error:
        print(f"envtune: {error}", file=sys.stderr)  # noqa: T201 - rich would wrap and colour the one line
        sys.exit(2)
