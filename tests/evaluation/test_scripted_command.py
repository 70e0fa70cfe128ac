"""`python -m envtune.evaluation.scripted`: the endpoint in a process of its own, also for suites from other packages."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.eval_environment import needs_eval

from envtune.errors import EnvtuneError
from envtune.evaluation.direct import Request, evaluate_request
from envtune.evaluation.scripted.__main__ import _parser
from envtune.evaluation.scripted.__main__ import endpoint as from_command_line
from envtune.evaluation.suite import UserModel
from envtune.evaluation.suites import Choice
from envtune.tasks import load_tasks


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """(the process, what it says of itself)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "envtune.evaluation.scripted", *arguments], stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_until_a_signal(number: signal.Signals) -> None:
    task = load_tasks("current", "validation")[0]
    with started("--split", "validation") as (process, said):
        body = json.dumps({"model": said["model"], "messages": [{"role": "user", "content": "Hello."}]}).encode()
        headers = {"X-Envtune-Item": task.id, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{said['base_url']}/chat/completions", body, headers)
        with urllib.request.urlopen(request) as answer:
            assert json.loads(answer.read())["choices"][0]["message"]["content"]
        process.send_signal(number)
        assert process.wait(timeout=20) == 0


@needs_eval
@pytest.mark.parametrize(
    ("policy", "passed"), [("gold", {"airline": 2, "retail": 2}), ("silent", {"airline": 2, "retail": 0})]
)
def test_a_suite_of_another_package_end_to_end(tmp_path: Path, policy: str, passed: dict[str, int]) -> None:
    """The suite's worker says what is said, and plays it against the endpoint that says it. What airline's first tasks ask
    for is against the policy: who does nothing passes them."""
    strata = tuple(passed)
    with started("--suite", "tau2", "--strata", ",".join(strata), "--policy", policy) as (_, said):
        (summary,) = evaluate_request(
            Request(
                choices=[Choice("tau2", strata=strata, limit=2)],
                model=said["model"],
                base_url=said["base_url"],
                out=tmp_path,
                reply_format="fc",
                user=UserModel.at(said["base_url"], said["model"]),
            )
        )["tau2"]
    assert summary["complete"]
    assert {stratum: counts["passed"] for stratum, counts in summary["strata"].items()} == passed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "other"], "there is no suite 'other'; choose of: bfcl-v3"),
        (["--suite", "tau2", "--strata", "bank"], "tau2 has no stratum 'bank'"),
        (["--suite", "tau2", "--option", "data=x"], "tau2 has no option 'data'"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(EnvtuneError, match=message):
        from_command_line(arguments)


def test_one_default_release() -> None:
    assert _parser().get_default("release") == Choice("bfcl-v3").release == "paper"


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EnvtuneError, match="cannot be had"):
        from_command_line(["--split", "validation", "--port", str(taken.getsockname()[1])])
