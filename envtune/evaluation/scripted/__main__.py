"""The scripted endpoint in a process of its own.

    python -m envtune.evaluation.scripted --suite bfcl-v3 --release current --policy gold --port 8000
    python -m envtune.evaluation.scripted --suite tau2 --strata airline --policy silent

What is said in a suite from another package comes from that suite's worker (`make setup-eval`). Prints one line {"base_url": ..., "model": ...} when it can be asked, and runs until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.evaluation.scripted.endpoint import ScriptedEndpoint
from envtune.evaluation.scripted.policies import POLICIES
from envtune.evaluation.suites import BFCL_V3, SUITES, Choice, suite_scripts
from envtune.tasks import load_tasks


def endpoint(arguments: list[str]) -> ScriptedEndpoint:
    """The endpoint that the command line asks for. Raises EnvtuneError on a port in use, or a suite that cannot be had."""
    asked = vars(_parser().parse_args(arguments))
    suite, release, split, strata, options = (
        asked.pop(name) for name in ("suite", "release", "split", "strata", "option")
    )
    tasks, scripts = (), None
    if suite == BFCL_V3:
        tasks = load_tasks(release, split)
    else:
        choice = Choice(
            suite,
            strata=tuple(strata.split(",")) if strata else None,
            options=dict(option.partition("=")[::2] for option in options),
        )
        with tempfile.TemporaryDirectory() as folder:
            scripts = suite_scripts(choice, Path(folder) / "log")
    try:
        return ScriptedEndpoint(tasks, scripts=scripts, **asked)
    except OSError as error:
        raise EnvtuneError(f"port {asked['port']} cannot be had: {error}; leave --port out for any free one") from error


async def run(scripted: ScriptedEndpoint) -> None:
    """Serve until a signal comes."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def ready() -> None:
        sys.stdout.write(json.dumps({"base_url": scripted.base_url, "model": scripted.model}) + "\n")
        sys.stdout.flush()

    await scripted.serve(stopped, ready)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="envtune.evaluation.scripted", description="A scripted endpoint, no model.")
    options: dict[str, Any] = {
        "--suite": {"default": BFCL_V3, "help": ", ".join(SUITES)},
        "--release": {"default": "paper", "help": "of BFCL: paper or current"},
        "--split": {"default": None, "help": "of its tasks; all without it"},
        "--strata": {"default": None, "help": "of another suite: only these, with commas between"},
        "--option": {
            "action": "append",
            "default": [],
            "metavar": "NAME=VALUE",
            "help": "of another suite: data, mode, ...",
        },
        "--policy": {"choices": sorted(POLICIES), "default": "gold"},
        "--error-share": {"type": float, "default": 0.0, "help": "of the items, for the policy errors"},
        "--failing": {"type": float, "default": 0.0, "help": "share of the requests that meet a fault"},
        "--failing-seed": {"type": int, "default": 0},
        "--latency-s": {"type": float, "default": 0.0, "help": "of each reply"},
        "--latency-per-token-s": {"type": float, "default": 0.0, "help": "of each reply, times its tokens"},
        "--context-tokens": {"type": int, "default": None, "help": "refuse longer conversations"},
        "--port": {"type": int, "default": 0, "help": "0: any free one"},
    }
    for name, option in options.items():
        parser.add_argument(name, **option)
    return parser


def main() -> None:
    try:
        asyncio.run(run(endpoint(sys.argv[1:])))
    except EnvtuneError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
