"""Commands on the environment: its tasks, scores, hints, and looking at episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from envtune.cli.app import FeedbackOption, ReleaseOption, ReleasesOption, app
from envtune.errors import EnvtuneError


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
    release: ReleasesOption = None,
    tokenizer: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Option("--tokenizer", help="A model's folder or hub id: count tokens, list the tasks over budget."),
    ] = None,
    max_result_characters: Annotated[
        Optional[int],  # noqa: UP045 - typer
        typer.Option("--max-result-characters", help="With --tokenizer: shorten longer results, and count then."),
    ] = None,
) -> None:
    """Play all ground truths through the environment: full progress and no error output, or exit code 1.

    With --tokenizer: say instead how many tokens they take, and which tasks exceed which of the paper's budgets.
    """
    from envtune.bfcl import RELEASES
    from envtune.validation import validate as run

    if max_result_characters is not None and tokenizer is None:
        raise EnvtuneError("--max-result-characters goes with --tokenizer; name one")
    releases = [release] if release else list(RELEASES)
    if tokenizer is not None:
        from rich.console import Console

        from envtune.tables.budgets import print_budgets

        print_budgets(releases, tokenizer, max_result_characters, Console())
        return
    failed = False
    for name in releases:
        for report in run(name):
            known = [check for check in report.checks if check.known and check.problem]
            note = "".join(f"; known defect {check.task.id}: {check.known}" for check in known)
            typer.echo(f"{name:8} {report.category:13} {report.playable} of {len(report.checks)} can be played{note}")
            for check in report.unexpected:
                failed = True
                typer.echo(f"    {check.task.id}: {check.problem or 'a known defect that is none any more'}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def defects(
    release: ReleasesOption = None,
) -> None:
    """List the tasks that are known to be wrong: which cannot be passed, which pass by accident."""
    from rich.console import Console

    from envtune.bfcl import RELEASES
    from envtune.tables.defects import defects_tables

    console = Console()
    for table in defects_tables([release] if release else list(RELEASES)):
        console.print(table)


@app.command()
def hints(
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer
        typer.Argument(help="Stored trajectories, as `envtune view` takes them: what followed each hint in them."),
    ] = None,
    release: ReleasesOption = None,
    listed: Annotated[bool, typer.Option("--list", help="Every hint: what it is for, what it says.")] = False,
    feedback: Annotated[str, typer.Option("--set", help="With --list: the hint set.")] = "full",
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer
        typer.Option("--out", help="Play two scripted policies over all tasks, and write all tables into this folder."),
    ] = None,
) -> None:
    """Print which failures the hint sets cover; or the hints; or what followed them in trajectories."""
    from rich.console import Console

    from envtune.bfcl import RELEASES, get_release
    from envtune.tables import hints as tables

    console = Console()
    if sum((bool(files), listed, out is not None)) > 1:
        raise EnvtuneError("files, --list and --out are three different things; name one of them")
    if out is not None:
        for path in tables.write_hints(out, console):
            typer.echo(path)
    elif listed:
        tables.print_hints(feedback, console)
    elif files:
        from envtune.stored import read_stored

        stored = (one for file in files for one in read_stored(file, release))
        tables.print_outcomes(((one.task, one.trajectory) for one in stored), console)
    else:
        tables.print_coverage([get_release(release).name] if release else list(RELEASES), console)


@app.command()
def play(
    task_id: Annotated[str, typer.Argument(help="For instance multi_turn_base_0.")],
    release: ReleaseOption = "paper",
    policy: Annotated[
        str, typer.Option("--policy", help="Who replies: gold, human, or an OpenAI-compatible endpoint with its /v1.")
    ] = "gold",
    model: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Option("--model", help="The endpoint's name of the model; not needed where it has only one."),
    ] = None,
    feedback: FeedbackOption = "none",
    rules: Annotated[str, typer.Option("--rules", help="training (5 steps a turn) or bfcl (20).")] = "training",
    temperature: Annotated[float, typer.Option("--temperature", help="Of the endpoint's model.")] = 0.0,
    max_tokens: Annotated[
        Optional[int],  # noqa: UP045 - typer
        typer.Option("--max-tokens", help="Limit of one reply of the endpoint's model."),
    ] = None,
    api_key: Annotated[str, typer.Option("--api-key", envvar="ENVTUNE_API_KEY", help="Of the endpoint.")] = "none",
    max_result_characters: Annotated[
        Optional[int],  # noqa: UP045 - typer
        typer.Option("--max-result-characters", help="The model is given no more of one result."),
    ] = None,
    prompt: Annotated[bool, typer.Option("--prompt", help="Show the whole system prompt.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show long texts whole.")] = False,
) -> None:
    """Play one episode on the terminal: replies, results, hints, and the state against the ground truth's."""
    from envtune.environment import Episode
    from envtune.tasks import find_task
    from envtune.viewer.play import STEPS
    from envtune.viewer.play import play as run

    decoding = {"temperature": temperature, **({} if max_tokens is None else {"max_tokens": max_tokens})}
    task, steps = find_task(task_id, release), STEPS.get(rules, 1)  # Episode refuses other rules
    episode = Episode(task, feedback, steps, rules, max_result_characters)
    run(episode, policy, model=model, api_key=api_key, decoding=decoding, prompt=prompt, full=full)


@app.command()
def view(
    files: Annotated[
        list[Path],
        typer.Argument(help="Trajectories: evaluation's, verl's validation dumps, or what score takes (.gz too)."),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer
        typer.Option("--out", help="The page; without it beside the first file, as .html."),
    ] = None,
    release: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Option("--release", help='paper or current, for lines {"id", "turns"}; the others say it themselves.'),
    ] = None,
    max_characters: Annotated[
        int, typer.Option("--max-characters", min=0, help="Of one text that the page holds; 0: all of them.")
    ] = 8000,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write stored trajectories as one HTML page that needs no network: calls, hints, state differences, scores."""
    from envtune.viewer.page import default_page, write_page

    page = out or default_page(files[0])
    counts = write_page(files, page, release, max_characters or None)
    of_each = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())
    typer.echo(f"{sum(counts.values())} episodes ({of_each}), {page.stat().st_size / 1e6:.1f} MB: {page}")
    if open_page:
        typer.launch(str(page))


@app.command("openenv-server")
def openenv_server(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    release: ReleaseOption = "paper",
    feedback: FeedbackOption = "none",
    rules: Annotated[str, typer.Option("--rules", help="training or bfcl.")] = "training",
    reward: Annotated[str, typer.Option("--reward", help="Of an episode: progress, binary or format.")] = "progress",
    max_steps_per_turn: Annotated[int, typer.Option("--max-steps-per-turn", help="Replies without an answer.")] = 5,
    max_result_characters: Annotated[
        Optional[int],  # noqa: UP045 - typer
        typer.Option("--max-result-characters", help="Of one tool result, for the model; all without it."),
    ] = None,
    max_sessions: Annotated[int, typer.Option("--max-sessions", min=1, help="Episodes at once.")] = 256,
) -> None:
    """Serve the episode to OpenEnv clients (needs the extra "openenv")."""
    from envtune.adapters.openenv_server import serve

    serve(
        host, port, max_sessions=max_sessions, release=release, reward=reward, feedback=feedback, rules=rules,
        max_steps_per_turn=max_steps_per_turn, max_result_characters=max_result_characters,
    )  # fmt: skip
