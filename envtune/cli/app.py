"""The application that the commands register with, and the options that several of them take."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

app = typer.Typer(
    help="Environment Tuning (arXiv 2510.10197) as a reproducible kit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProfileOption = Annotated[str, typer.Option("--profile", help="A file in reproduce/, without .yaml: cpu, gpu, ...")]
ArmOption = Annotated[
    Optional[str],  # noqa: UP045 - typer
    typer.Option("--arm", help="full, or an ablation: no-augmentation, binary-reward, single-stage."),
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045 - typer
    typer.Option("--seed", help="Of data order and sampling; the profile's own without it."),
]
NodesOption = Annotated[
    Optional[int],  # noqa: UP045 - typer
    typer.Option("--nodes", envvar="NNODES", help="Nodes of the Ray cluster at RAY_ADDRESS; the profile's without it."),
]
ReleaseOption = Annotated[str, typer.Option("--release", help="BFCL release: paper (2025.6.8) or current (2026.3.23).")]

ReleasesOption = Annotated[
    Optional[str], typer.Option("--release", help="paper or current; both without it.")  # noqa: UP045 - typer
]

FeedbackOption = Annotated[
    str,
    typer.Option(
        "--feedback",
        help="Hint set: none (or standard), full (or augmented), authors, or ids of hints with commas between; see "
        "`envtune hints --list`.",
    ),
]


def options_given(context: typer.Context) -> list[str]:
    """The parameters that the command line itself sets, by their Python names: not those of variables, nor defaults."""
    return [name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
