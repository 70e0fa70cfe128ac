"""Evaluation: of a profile's run, of any endpoint or checkpoint; and the endpoint without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from envtune.cli.app import ArmOption, ProfileOption, SeedOption, app, options_given
from envtune.errors import EnvtuneError

_SUITES = "bfcl-v3, bfcl-memory, bfcl-web-search, acebench-agent, bfcl-single-turn, tau2"


def _option(name: str, text: str, **more: Any) -> Any:
    return typer.Option(name, help=text, **more)


# Options that only one of the two forms of `evaluate` takes.
_OF_A_PROFILE = frozenset({"profile", "arm", "baselines"})
_OF_SUITES = frozenset(
    [
        "out",
        "reply_format",
        "release",
        "split",
        "strata",
        "items",
        "limit",
        "repeats",
        "temperature",
        "max_tokens",
        "concurrency",
        "user_base_url",
        "user_model",
        "option",
        "server",
    ]
)


@app.command()
def evaluate(
    context: typer.Context,
    profile: ProfileOption = "cpu",
    arm: ArmOption = None,
    seed: SeedOption = None,
    suite: Annotated[Optional[str], _option("--suite", f"With commas between, or all: {_SUITES}.")] = None,  # noqa: UP045 - typer
    base_url: Annotated[
        Optional[str],  # noqa: UP045 - typer
        _option("--base-url", "An OpenAI-compatible endpoint, with its /v1. Its key: ENVTUNE_API_KEY."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045 - typer
        _option("--model", "The endpoint's name of the model; without --base-url a folder or hub id that vLLM serves."),
    ] = None,
    baselines: Annotated[
        bool, _option("--baselines", "The models as released that the profile names, instead of its own run.")
    ] = False,
    out: Annotated[Optional[Path], _option("--out", "Folder for the records.")] = None,  # noqa: UP045 - typer
    reply_format: Annotated[
        str, _option("--format", "kit: the format that the kit trains; fc: native function calling.")
    ] = "kit",
    release: Annotated[str, _option("--release", "Of bfcl-v3: paper or current.")] = "paper",
    split: Annotated[
        str, _option("--split", "Of bfcl-v3: test (400 held out), heldout (300), validation, train, full (800).")
    ] = "test",
    strata: Annotated[Optional[str], _option("--strata", "Only these categories, with commas between.")] = None,  # noqa: UP045 - typer
    items: Annotated[Optional[str], _option("--items", "Only these ids, with commas between.")] = None,  # noqa: UP045 - typer
    limit: Annotated[Optional[int], _option("--limit", "The first so many items of each category.")] = None,  # noqa: UP045 - typer
    repeats: Annotated[
        int, _option("--repeats", "Runs with seeds from --seed on (paper: 20 for 8B models, 3 for Qwen).")
    ] = 1,
    temperature: Annotated[float, _option("--temperature", "Of sampling.")] = 0.0,
    max_tokens: Annotated[int, _option("--max-tokens", "New tokens a reply.")] = 4096,
    concurrency: Annotated[int, _option("--concurrency", "Items at once.")] = 16,
    user_base_url: Annotated[
        Optional[str],  # noqa: UP045 - typer
        _option(
            "--user-base-url",
            "Endpoint of the model that plays the user. Key: ENVTUNE_USER_API_KEY.",
            envvar="ENVTUNE_USER_BASE_URL",
        ),
    ] = None,
    user_model: Annotated[
        Optional[str],  # noqa: UP045 - typer
        _option("--user-model", "Its name (ACEBench's authors used gpt-4o).", envvar="ENVTUNE_USER_MODEL"),
    ] = None,
    option: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer
        _option("--option", "Of one suite: SUITE.NAME=VALUE, as bfcl-web-search.cassette=FILE."),
    ] = None,
    server: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer
        _option("--server", "Of `vllm serve`: NAME=VALUE, as max-model-len=32768."),
    ] = None,
) -> None:
    """Evaluate a profile's checkpoints on its suites; or with --suite any endpoint or checkpoint."""
    _refuse_unused(context, _OF_SUITES if suite is None else _OF_A_PROFILE, "with" if suite is None else "without")
    if suite is None:
        if baselines and (model is not None or base_url is not None):
            raise EnvtuneError(
                "--baselines evaluates the models that the profile names; leave out --model and --base-url"
            )
        from envtune.evaluation.run import evaluate as run
        from envtune.profile import load_profile

        run(load_profile(profile, arm=arm, seed=seed), base_url=base_url, model=model, with_baselines=baselines)
        return
    if model is None or out is None:
        raise EnvtuneError(
            "--suite needs --model (with --base-url, its name there) and --out, a folder for the records"
        )
    from envtune.evaluation.direct import Request, evaluate_request
    from envtune.evaluation.suite import UserModel
    from envtune.evaluation.suites import SUITES, Choice

    names = list(SUITES) if suite == "all" else [name.strip() for name in suite.split(",")]
    if "bfcl-v3" not in names and (
        of_bfcl := [name for name in options_given(context) if name in ("release", "split")]
    ):
        raise EnvtuneError(f"--{of_bfcl[0]} is only used by bfcl-v3; leave it out, or add that suite")
    own = _suite_options(option or [], names)
    choices = [
        Choice(
            name,
            items=_listed(items, "--items"),
            strata=_listed(strata, "--strata"),
            limit=limit,
            release=release,
            split=split,
            options=own.get(name, {}),
        )
        for name in names
    ]
    if server and base_url is not None:
        raise EnvtuneError("--server is of the vLLM that serves --model; leave it out with --base-url")
    user = None
    if (user_base_url is None) != (user_model is None):
        raise EnvtuneError("--user-base-url and --user-model (or their variables) go together; give both or neither")
    if user_base_url is not None and user_model is not None:
        user = UserModel.at(user_base_url, user_model)
    evaluate_request(
        Request(
            choices=choices,
            model=model,
            out=out,
            base_url=base_url,
            reply_format=reply_format,
            seed=42 if seed is None else seed,
            repeats=repeats,
            decoding={"temperature": temperature, "max_tokens": max_tokens},
            concurrency=concurrency,
            user=user,
            server=dict(_pair(text, "--server") for text in server or []),
        )
    )


def _refuse_unused(context: typer.Context, unused: frozenset[str], how: str) -> None:
    """Raise EnvtuneError for an option on the command line that this form would not use. how: "with" or "without"
    --suite it would."""
    if wrong := [name for name in options_given(context) if name in unused]:
        option = "--format" if wrong[0] == "reply_format" else f"--{wrong[0].replace('_', '-')}"
        where = (
            "put the setting into the profile's section `evaluation`, or name suites"
            if how == "with"
            else "leave it out"
        )
        raise EnvtuneError(f"{option} is only used {how} --suite; {where}")


def _listed(text: str | None, option: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    if not (parts := tuple(part.strip() for part in text.split(",") if part.strip())):
        raise EnvtuneError(f"{option} is empty; give names with commas between, or leave it out for all")
    return parts


def _pair(text: str, option: str) -> tuple[str, Any]:
    """NAME=VALUE; true, false and whole numbers as such. Raises EnvtuneError on anything else."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise EnvtuneError(f"{option} takes NAME=VALUE, not {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.lstrip("-").isdigit() else value


def _suite_options(texts: list[str], suites: list[str]) -> dict[str, dict[str, Any]]:
    """SUITE.NAME=VALUE as suite -> name -> value. Raises EnvtuneError for a suite that is not run."""
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, value = _pair(text, "--option")
        suite, dot, key = name.partition(".")
        if not dot or suite not in suites:
            raise EnvtuneError(f"--option takes SUITE.NAME=VALUE with one of {', '.join(suites)}, not {text!r}")
        options.setdefault(suite, {})[key] = value
    return options


@app.command()
def calibrate(
    row: Annotated[
        str, _option("--row", "A published result in results/published/bfcl_v3.csv: qwen3-8b-fc, xlam-2-8b-fc-r.")
    ] = "qwen3-8b-fc",
    profile: ProfileOption = "gpu",
    base_url: Annotated[
        Optional[str],  # noqa: UP045 - typer
        _option(
            "--base-url", "An endpoint that serves the row's model; without it vLLM does, with the profile's options."
        ),
    ] = None,
    model: Annotated[Optional[str], _option("--model", "Its name there; the row's hub id without it.")] = None,  # noqa: UP045 - typer
    out: Annotated[Optional[Path], _option("--out", "Folder for the records.")] = None,  # noqa: UP045 - typer
    max_tokens: Annotated[int, _option("--max-tokens", "New tokens a reply.")] = 4096,
    concurrency: Annotated[int, _option("--concurrency", "Items at once.")] = 64,
) -> None:
    """Is a set-up right: run a public model whose BFCL V3 numbers the benchmark's authors publish, and compare.

    Exit code 1 when the published average lies outside the interval of ours.
    """
    from envtune.evaluation.direct import Request, evaluate_request
    from envtune.evaluation.records import read_records
    from envtune.evaluation.session import run_folder
    from envtune.evaluation.suites import BFCL_V3, Choice
    from envtune.files import atomic_write
    from envtune.profile import load_profile
    from envtune.tables.calibration import calibrate as compare
    from envtune.tables.calibration import published

    expected, chosen, seed = published(row), load_profile(profile), 42
    folder = out or chosen.run_dir.parent / "calibration" / row
    (summary,) = evaluate_request(
        Request(
            choices=[Choice(BFCL_V3, release=expected.release, split="full")],
            model=model or expected.hub_id,
            base_url=base_url,
            out=folder,
            reply_format="fc",
            seed=seed,
            decoding={"temperature": 0.001, "max_tokens": max_tokens},
            concurrency=concurrency,
            server={**(chosen.evaluation.get("server") or {}), **expected.serve},
        )
    )[BFCL_V3]
    result = compare(expected, read_records(run_folder(folder, BFCL_V3, seed) / "records.jsonl"), summary)
    with atomic_write(folder / "calibration.md") as stream:
        stream.write(result.markdown)
    typer.echo(result.markdown)
    typer.echo(f"written: {folder / 'calibration.md'}")
    raise typer.Exit(0 if result.is_right else 1)
