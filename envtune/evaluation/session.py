"""Several suites and seeds for one model after another; where their records lie.

OUT/<suite>/seed<seed>/     the run folder of one repeat (records.py)
OUT/<suite>/runs.json       mean and spread over the repeats
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import Checkpoint
from envtune.evaluation.runner import run_suite
from envtune.evaluation.server import VllmServer
from envtune.evaluation.suite import Suite, Target
from envtune.evaluation.suites import Choice, open_suite
from envtune.evaluation.upstream.client import UnavailableSuite
from envtune.files import write_json
from envtune.spread import Spread


@dataclasses.dataclass(frozen=True)
class OpenSuites:
    """suites: name -> the open suite; skipped: name -> why an optional one could not be had."""

    suites: Mapping[str, Suite]
    skipped: Mapping[str, str]


@contextlib.contextmanager
def open_suites(choices: Sequence[Choice], logs: Path, user: bool, console: Console) -> Iterator[OpenSuites]:
    """All chosen suites, open for the length of a with block. logs: folder for what their processes print.

    Raises EnvtuneError when one that is not optional cannot be had.
    """
    if len({choice.suite for choice in choices}) < len(choices):
        raise EnvtuneError("each suite can be named once")
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvtuneError(f"{logs} cannot be made ({error.strerror}); name another folder") from error
    opened: dict[str, Suite] = {}
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for choice in choices:
            try:
                suite = stack.enter_context(open_suite(choice, logs / f"{choice.suite}.log", user))
            except UnavailableSuite as reason:
                if not choice.optional:
                    raise
                skipped[choice.suite] = str(reason)
                console.print(f"{choice.suite}: left out: {reason}")
                continue
            opened[choice.suite] = suite
        yield OpenSuites(opened, skipped)


@contextlib.contextmanager
def stopped_cleanly() -> Iterator[None]:
    """Inside the block SIGTERM, as from `docker stop` or a cluster's scheduler, unwinds what has begun, so that no server or
    worker is left behind; the process then ends with 143."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def load(server: VllmServer, one: Checkpoint, console: Console) -> str:
    """Serve a checkpoint, with a spinner on a terminal; gives what `VllmServer.load` does."""
    with console.status(f"vLLM loads {one.name}") if console.is_terminal else contextlib.nullcontext():
        return server.load(one.model)


def run_folder(out: Path, suite: str, seed: int) -> Path:
    """Where the records of one repeat lie."""
    return out / suite / f"seed{seed}"


def with_seed(target: Target, seed: int) -> Target:
    """The same model asked with another seed."""
    return dataclasses.replace(target, decoding={**target.decoding, "seed": seed})


def evaluate_model(
    suites: Mapping[str, Suite],
    target: Target,
    out: Path,
    seeds: Mapping[str, Sequence[int]],
    about: Mapping[str, Any],
    console: Console,
) -> dict[str, list[dict[str, Any]]]:
    """Run every suite with each of its seeds; suite -> summaries, one a seed. What is complete is not run again."""
    ended = {}
    for name, suite in suites.items():
        summaries = []
        for seed in seeds[name]:
            folder = run_folder(out, name, seed)
            said = {**about, "seed": seed}
            summaries.append(run_suite(suite, with_seed(target, seed), folder, about=said, console=console))
            say(name, said, summaries[-1], folder, console)
        write_json(out / name / "runs.json", over_runs(name, seeds[name], summaries))
        ended[name] = summaries
    return ended


def over_runs(suite: str, seeds: Sequence[int], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{"suite", "seeds", "complete", "average" and "strata": {"runs": accuracies in percent, "mean", "sd"}}; mean None
    unless all are there, sd (of the runs, n - 1) None below two."""
    strata = dict.fromkeys(stratum for summary in summaries for stratum in summary["strata"])
    return {
        "suite": suite,
        "seeds": list(seeds),
        "complete": all(summary["complete"] for summary in summaries),
        "average": _spread([summary["average"] for summary in summaries]),
        "strata": {s: _spread([summary["strata"].get(s, {}).get("accuracy") for summary in summaries]) for s in strata},
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    figure = Spread.of(values)
    rounded = {name: None if one is None else round(one, 4) for name, one in (("mean", figure.mean), ("sd", figure.sd))}
    return {"runs": list(values), **rounded}


def say(suite: str, about: Mapping[str, Any], summary: Mapping[str, Any], folder: Path, console: Console) -> None:
    """One line on the terminal for a run that has ended."""
    shares = ", ".join(
        f"{stratum} {counts['passed']}/{counts['passed'] + counts['failed']}"
        for stratum, counts in summary["strata"].items()
    )
    who = about.get("checkpoint") or about.get("model")
    console.print(f"{who}, {suite}, seed {about.get('seed', '')}: {shares} ({summary['seconds']:.0f} s): {folder}")


def refuse_incomplete(ended: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raise EnvtuneError when something could not be run."""
    left = [name for name, summaries in ended.items() if not all(summary["complete"] for summary in summaries)]
    if left:
        raise EnvtuneError(
            f"no verdict could be had on some items of {', '.join(left)}; run the same command again to try those (the "
            "records say what happened)"
        )
