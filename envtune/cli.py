"""The command line: `envtune --help`. Each command reads its options and calls one function of one package.

What those functions need is imported inside the commands, so that `envtune --help` and `envtune score` start fast.
Bad input ends with one sentence on stderr and exit code 2 (see `envtune.errors`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from envtune import __version__
from envtune.errors import EnvtuneError

app = typer.Typer(
    help="Environment Tuning (arXiv 2510.10197) as a reproducible kit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProfileOption = Annotated[str, typer.Option("--profile", help="A file in reproduce/, without .yaml: cpu or gpu.")]
ReleaseOption = Annotated[str, typer.Option("--release", help="BFCL release: paper (2025.6.8) or current (2026.3.23).")]


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except EnvtuneError as error:
        print(f"envtune: {error}", file=sys.stderr)  # noqa: T201 - rich would wrap and colour the one line
        sys.exit(2)


@app.command()
def score(
    trajectories: Annotated[Path, typer.Argument(help='JSON Lines (or .gz): {"id", "turns": turns > steps > calls}.')],
    out: Annotated[Path, typer.Option("--out", help="Where the scores go, one line a trajectory.")],
    release: ReleaseOption = "paper",
) -> None:
    """Score stored trajectories: the official verdict, and each turn by the training rule."""
    from envtune.scoring import score_file

    number = score_file(trajectories, release, out)
    typer.echo(f"{number} trajectories scored: {out}")


@app.command()
def validate(
    release: Annotated[
        Optional[str], typer.Option("--release", help="paper or current; both without it.")  # noqa: UP045 - typer
    ] = None,
) -> None:
    """Play all ground truths through the environment: full progress and no error output, or exit code 1."""
    from envtune.bfcl import RELEASES
    from envtune.validation import KNOWN_DEFECTS
    from envtune.validation import validate as run

    failed = False
    for name in [release] if release else list(RELEASES):
        for report in run(name):
            known = [check.task.id for check in report.checks if check.known and check.problem]
            note = "".join(f"; named defect {task}: {KNOWN_DEFECTS[task]}" for task in known)
            typer.echo(f"{name:8} {report.category:13} {report.sound} of {len(report.checks)} sound{note}")
            for check in report.unexpected:
                failed = True
                typer.echo(f"    {check.task.id}: {check.problem or 'a named defect that is none any more'}", err=True)
    if failed:
        raise typer.Exit(1)


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


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    main()
