"""The regression gate: `envtune regress`. Exit codes: 0 no regression, 1 a regression, 2 nothing can be said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from envtune.cli.app import app
from envtune.errors import EnvtuneError

if TYPE_CHECKING:
    from envtune.gate.show import Shown

_LONGEST = 800  # characters of the sentence on stderr: names come out of files
_WIDTH = 150  # of a table that goes into a log
_MODES = (
    "give --baseline and --candidate; or --candidate with --against-paper; or --training with --reference; or --speed"
)

_Path = Optional[Path]  # noqa: UP045 - typer
_Text = Optional[str]  # noqa: UP045 - typer
_Texts = Optional[list[str]]  # noqa: UP045 - typer
_Paths = Optional[tuple[Path, Path]]  # noqa: UP045 - typer


@app.command()
def regress(
    baseline: Annotated[_Path, typer.Option("--baseline", help="Records of what is known to be good.")] = None,
    candidate: Annotated[_Path, typer.Option("--candidate", help="Records of what is new.")] = None,
    suite: Annotated[_Texts, typer.Option("--suite", help="Only this suite; may be given several times.")] = None,
    level: Annotated[float, typer.Option("--level", help="Probability of a false alarm.")] = 0.05,
    checkpoint: Annotated[_Text, typer.Option("--checkpoint", help="On both sides; the last stage without it.")] = None,
    baseline_checkpoint: Annotated[_Text, typer.Option("--baseline-checkpoint", help="That of the baseline.")] = None,
    candidate_checkpoint: Annotated[
        _Text, typer.Option("--candidate-checkpoint", help="That of the candidate.")
    ] = None,
    against_paper: Annotated[
        bool, typer.Option("--against-paper", help="Hold the candidate to the paper's values, without a baseline.")
    ] = False,
    margin: Annotated[
        float, typer.Option("--margin", help="Points; with --against-paper a wider interval is inconclusive.")
    ] = 10.0,
    training: Annotated[
        _Path, typer.Option("--training", help="A run's folder (runs/<profile>), or its run.json.")
    ] = None,
    reference: Annotated[
        _Path, typer.Option("--reference", help="Reference runs for --training: results/reference/<profile>.json.")
    ] = None,
    add_reference: Annotated[
        bool,
        typer.Option("--add-reference", help="Add the run of --training to the reference runs, without judging it."),
    ] = False,
    speed: Annotated[
        _Paths, typer.Option("--speed", help="Two files of pytest --benchmark-json: the baseline, then the candidate.")
    ] = None,
    json_file: Annotated[_Path, typer.Option("--json", help="Write the report here, for programs.")] = None,
    summary: Annotated[
        _Path, typer.Option("--summary", help="Append the report here, as Markdown ($GITHUB_STEP_SUMMARY).")
    ] = None,
) -> None:
    """Say whether a model's records, a training run or benchmarks are worse than a baseline.

    Records: results/<profile>/records, a run's evaluation folder, a folder in one of them, or one file of records. Exit
    code 0: no regression; 1: a regression; 2: the inputs cannot be compared, or make no sense.
    """
    try:
        if (speed is not None) + (training is not None) + (candidate is not None) != 1:
            raise EnvtuneError(_MODES)
        if speed is not None:
            shown = _speed(*speed)
        elif training is not None:
            if reference is None:
                raise EnvtuneError("--training needs --reference, a file of reference runs")
            if add_reference:
                _add(training, reference)
                return
            shown = _training(training, reference, level)
        elif candidate is not None and against_paper:
            if baseline is not None:
                raise EnvtuneError("--against-paper takes no --baseline; run the command twice")
            shown = _paper(candidate, candidate_checkpoint or checkpoint, suite or [], margin)
        elif candidate is not None and baseline is not None:
            names = baseline_checkpoint or checkpoint, candidate_checkpoint or checkpoint
            shown = _records(baseline, candidate, names, suite or [], level)
        else:
            raise EnvtuneError(_MODES)
        _write(shown, json_file, summary)
    except EnvtuneError as error:
        sentence = "".join(letter if letter.isprintable() else " " for letter in str(error))
        sentence = (
            sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST // 2]} ... {sentence[-_LONGEST // 2 :]}"
        )
        typer.echo(f"envtune: {sentence}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(1 if shown.regressed else 0)


def _records(
    baseline: Path, candidate: Path, checkpoints: tuple[str | None, str | None], suites: list[str], level: float
) -> Shown:
    from envtune.gate.compare import compare
    from envtune.gate.sources import read_side
    from envtune.gate.views import of_records

    before = read_side("baseline", baseline, checkpoints[0], suites)
    return of_records(compare(before, read_side("candidate", candidate, checkpoints[1], suites), level))


def _paper(candidate: Path, checkpoint: str | None, suites: list[str], margin: float) -> Shown:
    from envtune.gate.paper import against_paper
    from envtune.gate.sources import read_side
    from envtune.gate.views import of_paper

    return of_paper(against_paper(read_side("candidate", candidate, checkpoint, suites), margin))


def _training(run: Path, reference: Path, level: float) -> Shown:
    from envtune.gate.reference import read_reference, read_training_run
    from envtune.gate.training import judge
    from envtune.gate.views import of_training

    return of_training(judge(read_training_run(run), read_reference(reference), level))


def _add(run: Path, reference: Path) -> None:
    from envtune.gate.reference import add_reference, read_training_run

    typer.echo(f"{reference}: {add_reference(read_training_run(run), reference)} reference runs")


def _speed(baseline: Path, candidate: Path) -> Shown:
    from envtune.gate import speed
    from envtune.gate.views import of_speed

    slow = speed.slower(baseline, candidate)
    typer.echo(speed.table(baseline, candidate))
    other = speed.other_machine(baseline, candidate)
    return of_speed(slow, baseline, candidate, f"{speed.PERCENT} % ({speed.FIELD})", other)


def _write(shown: Shown, json_file: Path | None, summary: Path | None) -> None:
    """Onto the terminal, and into the files that are named."""
    from rich.console import Console

    from envtune.files import write_json
    from envtune.gate.show import append, as_json, markdown, print_shown

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in a record is no reason to fail in a plain locale
    console = Console(highlight=False)
    print_shown(shown, console if console.is_terminal else Console(highlight=False, width=_WIDTH))
    if json_file is not None:
        write_json(json_file, as_json(shown))
    if summary is not None:
        append(summary, markdown(shown))
