"""The regression gate: `envtune regress`. Exit codes: 0 no regression, 1 a regression, 2 nothing can be said."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from envtune.cli.app import ArmOption, SeedOption, app, options_given
from envtune.errors import EnvtuneError

if TYPE_CHECKING:
    from envtune.gate.show import Shown

_LONGEST = 800  # characters of the sentence on stderr: names come out of files
_WIDTH = 150  # of a table that goes into a log
_FORMS = (
    "give --baseline and --candidate; or --profile; or --candidate with --against-paper; or --training with --reference; "
    "or --speed"
)
_FILES = ("json_file", "summary")
_RECORDS = ("candidate", "suite", "level", "checkpoint", "baseline_checkpoint", "candidate_checkpoint", *_FILES)
# What makes a form of the command -> the other options that it uses. The first that is given decides.
_USED = MappingProxyType(
    {
        "speed": _FILES,
        "add_reference": ("training", "reference"),
        "training": ("reference", "level", *_FILES),
        "against_paper": ("candidate", "suite", "checkpoint", "candidate_checkpoint", "margin", *_FILES),
        "profile": ("arm", "seed", *_RECORDS),
        "baseline": _RECORDS,
    }
)

_Path = Optional[Path]  # noqa: UP045 - typer
_Text = Optional[str]  # noqa: UP045 - typer
_Texts = Optional[list[str]]  # noqa: UP045 - typer
_Paths = Optional[tuple[Path, Path]]  # noqa: UP045 - typer


@app.command()
def regress(
    context: typer.Context,
    baseline: Annotated[_Path, typer.Option("--baseline", help="Records of what is known to be good.")] = None,
    candidate: Annotated[_Path, typer.Option("--candidate", help="Records of what is new.")] = None,
    profile: Annotated[
        _Text,
        typer.Option(
            "--profile", help="Its run of this machine (or --candidate) against the records that are committed."
        ),
    ] = None,
    arm: ArmOption = None,
    seed: SeedOption = None,
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
    names = baseline_checkpoint or checkpoint, candidate_checkpoint or checkpoint
    try:
        form = _form(context)
        if form == "speed" and speed is not None:
            shown = _speed(*speed)
        elif form == "add_reference" and training is not None and reference is not None:
            _add(training, reference)
            return
        elif form == "training" and training is not None and reference is not None:
            shown = _training(training, reference, level)
        elif form == "against_paper" and candidate is not None:
            shown = _paper(candidate, names[1], suite or [], margin)
        elif form == "profile" and profile is not None:
            shown = _run(profile, arm, seed, candidate, names, suite or [], level)
        elif form == "baseline" and baseline is not None and candidate is not None:
            shown = _records(baseline, candidate, names, suite or [], level)
        else:
            raise EnvtuneError(_FORMS)
        _write(shown, json_file, summary)
    except EnvtuneError as error:
        sentence = "".join(letter if letter.isprintable() else " " for letter in str(error))
        sentence = (
            sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST // 2]} ... {sentence[-_LONGEST // 2 :]}"
        )
        typer.echo(f"envtune: {sentence}", err=True)
        if summary is not None:
            _append_refusal(summary, sentence)
        raise typer.Exit(2) from None
    raise typer.Exit(1 if shown.regressed else 0)


def _form(context: typer.Context) -> str:
    """The form of the command, a key of _USED. Raises EnvtuneError for an option that it would not use."""
    given = options_given(context)
    form = next((name for name in _USED if name in given), "")
    if not form:
        raise EnvtuneError(_FORMS)
    if unused := [name for name in given if name not in (form, *_USED[form])]:
        raise EnvtuneError(f"{_option(unused[0])} is not used with {_option(form)}; leave it out ({_FORMS})")
    if "checkpoint" in given and {"baseline_checkpoint", "candidate_checkpoint"} & set(given):
        raise EnvtuneError(
            "--checkpoint names that of both sides; leave it out, or --baseline-checkpoint and --candidate-checkpoint"
        )
    return form


def _option(name: str) -> str:
    return "--json" if name == "json_file" else f"--{name.replace('_', '-')}"


def _records(
    baseline: Path, candidate: Path, checkpoints: tuple[str | None, str | None], suites: list[str], level: float
) -> Shown:
    from envtune.gate.compare import compare
    from envtune.gate.sources import read_side
    from envtune.gate.views import of_records

    before = read_side("baseline", baseline, checkpoints[0], suites)
    return of_records(compare(before, read_side("candidate", candidate, checkpoints[1], suites), level))


def _run(
    profile: str,
    arm: str | None,
    seed: int | None,
    candidate: Path | None,
    checkpoints: tuple[str | None, str | None],
    suites: list[str],
    level: float,
) -> Shown:
    """A run of this machine against the committed records of the same profile, arm and seed."""
    from dataclasses import replace

    from envtune.gate.committed import committed_records
    from envtune.gate.compare import compare
    from envtune.gate.sources import read_side
    from envtune.gate.views import of_records
    from envtune.profile import load_profile

    run = load_profile(profile, arm=arm, seed=seed)
    after = read_side("candidate", candidate or run.run_dir / "evaluation", checkpoints[1], suites)
    with committed_records(run.results_dir) as (folder, name):
        before = read_side("baseline", folder, checkpoints[0], suites)
        return of_records(compare(replace(before, source=Path(name)), after, level))


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


def _append_refusal(summary: Path, sentence: str) -> None:
    """A file that cannot be written may be why; stderr has the sentence then."""
    from envtune.gate.show import append, refusal

    with contextlib.suppress(EnvtuneError):
        append(summary, refusal(sentence))
